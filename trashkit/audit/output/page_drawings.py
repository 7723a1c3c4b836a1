"""Drawings for the audit page: an annotation in its photo, photos side by side, outlines that extend outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Coco
from trashkit.coco.classes import class_map
from trashkit.coco.dataset import image_size, is_valid_id
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.finding import Finding, RowFinding
from trashkit.images import photos
from trashkit.raster import masks
from trashkit.report.overlay import sheet

Pixels = NDArray[np.uint8]

SIDE = 320
"""Longest side of a drawing in pixels."""
RED, BLUE, GREEN, BLANK, OUTSIDE = (235, 60, 50), (60, 130, 235), (0, 200, 83), 58, 24
OF_WHOLE_IMAGE = frozenset({"axes-swapped", "annotated-at-other-scale", "x-and-y-exchanged", "ring-outside"})
"""Checks whose findings are visible only if all annotations are drawn, including parts outside the image."""
WITH_BOXES = frozenset({"annotated-at-other-scale", "x-and-y-exchanged"})
MOST_OUTLINES = 300
"""Most annotations of one image that are drawn."""
MOST_OUTSIDE = 3.0
"""A drawing extends outside the image by up to this many times its longer side."""


class RowLookup:
    """Rows of a file, valid or damaged, looked up when a drawing needs them. folder: of the photos."""

    def __init__(self, coco: Coco, folder: Path | None) -> None:
        self.coco = coco
        self.folder = folder
        self.images = coco.records("images")
        self.image_row = {
            image["id"]: row
            for row, image in reversed(list(enumerate(self.images)))
            if isinstance(image, dict) and is_valid_id(image.get("id"))
        }
        self.names = {
            category["id"]: str(category.get("name"))
            for category in coco.records("categories")
            if isinstance(category, dict) and is_valid_id(category.get("id"))
        }

    @cached_property
    def of_image(self) -> dict[int, list[int]]:
        """Rows of annotations by the row of their image."""
        found: dict[int, list[int]] = {}
        for row, record in enumerate(self.coco.records("annotations")):
            image = self.image_of(record) if isinstance(record, dict) else None
            if image is not None:
                found.setdefault(image, []).append(row)
        return found

    def annotation(self, row: int) -> dict[str, Any]:
        """An annotation's record; empty if the row is not an object."""
        record = self.coco.record("annotations", row)
        return record if isinstance(record, dict) else {}

    def image_of(self, annotation: dict[str, Any]) -> int | None:
        """The row of an annotation's image."""
        wanted = annotation.get("image_id")
        return self.image_row.get(wanted) if is_valid_id(wanted) else None

    def class_of(self, annotation: dict[str, Any]) -> str:
        """The name of an annotation's category."""
        wanted = annotation.get("category_id")
        return self.names.get(wanted, "unknown") if is_valid_id(wanted) else "unknown"

    @cached_property
    def colors(self) -> dict[Any, tuple[int, int, int]]:
        """Class colours (RGB) by category id; empty if the categories are not a valid class map."""
        known = [
            one
            for one in self.coco.records("categories")
            if isinstance(one, dict) and is_valid_id(one.get("id")) and isinstance(one.get("name"), str)
        ]
        try:
            mapping = class_map(known)
        except TrashkitError:
            return {}
        return {key: mapping.shown_colors[index] for key, index in mapping.index_of.items()}

    def relabelled(self, finding: Finding) -> tuple[str, tuple[int, int, int]] | None:
        """Name and colour of the class that a finding proposes; None if it proposes none."""
        wanted = _proposed(finding, "set").get("category_id")
        return (
            (self.names[wanted], self.colors.get(wanted, GREEN))
            if is_valid_id(wanted) and wanted in self.names
            else None
        )

    def size(self, row: int) -> tuple[int, int] | None:
        """(width, height) of an image; None if the file has no usable ones."""
        size = image_size(self.images[row], rounded=True)
        return (size[1], size[0]) if size else None

    def photo(self, row: int) -> tuple[Pixels, float] | None:
        """A photo or blank canvas of at most 4 x SIDE pixels, and its scale relative to the size in the file."""
        size, image = self.size(row), self.images[row]
        longest = 4 * SIDE
        if self.folder is not None and isinstance(image, dict) and isinstance(image.get("file_name"), str):
            try:
                seen = photos.thumbnail(photos.photo_path(self.folder, image["file_name"]), longest, size)
                return seen, seen.shape[1] / (size[0] if size else seen.shape[1])
            except TrashkitError:
                pass
        if size is None or max(size) / min(size) > 100:
            return None
        scale = min(1.0, longest / max(size))
        shape = (max(1, round(size[1] * scale)), max(1, round(size[0] * scale)), 3)
        return np.full(shape, BLANK, np.uint8), scale


def _rings(segmentation: Any, height: int, width: int) -> list[NDArray[np.float64]]:
    """Outlines [V, 2] in pixels of all parts that can be drawn."""
    if isinstance(segmentation, dict):
        if check_segmentation(segmentation, height, width):
            return []
        covered = masks.mask(segmentation, height, width).astype(np.uint8)
        outlines, _ = cv2.findContours(covered, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return [outline[:, 0].astype(float) for outline in outlines]
    rings = []
    for ring in segmentation if isinstance(segmentation, list) else []:
        numbers = [v for v in ring if isinstance(v, int | float)] if isinstance(ring, list) else []
        try:
            points = np.array(numbers[: len(numbers) // 2 * 2], dtype=float).reshape(-1, 2)
        except OverflowError:  # an integer that is too large for a float
            continue
        if len(points) and np.isfinite(points).all():
            rings.append(points)
    return rings


def _box_in_file(annotation: dict[str, Any]) -> list[NDArray[np.float64]]:
    """The four corners of `bbox` as a list of one ring; empty if it is not a box."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return []
    numbers = _rings([box], 1, 1)
    if not numbers or numbers[0].shape != (2, 2):
        return []
    (left, top), (wide, high) = numbers[0]
    ring = np.array([(left, top), (left + wide, top), (left + wide, top + high), (left, top + high)], dtype=float)
    return [ring] if np.isfinite(ring).all() else []


def _proposed(finding: Finding, what: str) -> dict[str, Any]:
    """Fields that a finding proposes to change, see `Finding.proposal`."""
    fields = finding.proposal.get(what) if isinstance(finding.proposal, dict) else None
    return fields if isinstance(fields, dict) else {}


def _after(lookup: RowLookup, finding: Finding) -> list[tuple[dict[str, Any], tuple[int, int, int]]]:
    """Annotations that a finding proposes, and the colours of their outlines: that of a new class, else green."""
    if not isinstance(finding.proposal, dict):
        return []
    found = []
    fields = _proposed(finding, "set")
    if "segmentation" in fields:
        found.append((fields, GREEN))
    elif isinstance(finding, RowFinding) and (new := lookup.relabelled(finding)) is not None:
        found.append((lookup.annotation(finding.row), new[1]))
    added = finding.proposal.get("add")
    found += [(one, GREEN) for one in (added if isinstance(added, list) else []) if isinstance(one, dict)]
    return found


def draw_finding(lookup: RowLookup, finding: RowFinding) -> Pixels | None:
    """Draw the image or annotation that a finding is about; None if its image is unknown.

    For checks of OF_WHOLE_IMAGE, draw all annotations on a canvas that includes parts outside the image.
    """
    if finding.name in OF_WHOLE_IMAGE:
        image = finding.row if finding.block == "images" else lookup.image_of(lookup.annotation(finding.row))
        return None if image is None else _draw_whole(lookup, image, finding)
    after = _after(lookup, finding)
    if finding.block == "images" and after:
        return draw_annotation(lookup, {"image_id": after[0][0].get("image_id")}, [], after=after)
    if finding.block == "images":
        return draw_images([(lookup, finding.row), *((lookup, row) for row in finding.related[:3])])
    annotation = lookup.annotation(finding.row)
    related = [lookup.annotation(row) for row in finding.related[:5]]
    return draw_annotation(lookup, annotation, related, box=finding.name == "bbox-mismatch", after=after)


def _draw_whole(lookup: RowLookup, row: int, finding: RowFinding) -> Pixels | None:
    """Draw a whole image with all outlines in red, those of the finding thicker, including parts outside the image.

    For checks of WITH_BOXES, the boxes given in the file are drawn in blue.
    """
    seen = lookup.photo(row)
    if seen is None:
        return None
    photo, _ = seen
    width, height = lookup.size(row) or (photo.shape[1], photo.shape[0])
    rows = lookup.of_image.get(row, [])[:MOST_OUTLINES]
    if finding.block == "annotations" and finding.row not in rows:
        rows = [*rows, finding.row]
    outlines = [
        (ring, 2 if number == finding.row or finding.block == "images" else 1)
        for number in rows
        for ring in _rings(lookup.annotation(number).get("segmentation"), height, width)
    ]
    boxes = [box for n in rows for box in _box_in_file(lookup.annotation(n))] if finding.name in WITH_BOXES else []
    image = np.array([width, height], dtype=float)
    points = np.concatenate([np.array([(0, 0), image]), *(ring for ring, _ in outlines), *boxes])
    margin = 0.03 * image.max()
    low = np.maximum(points.min(axis=0), -MOST_OUTSIDE * image.max()) - margin
    high = np.minimum(points.max(axis=0), image + MOST_OUTSIDE * image.max()) + margin
    zoom = SIDE / float((high - low).max())
    wide, tall = (max(1, round(float(v))) for v in (high - low) * zoom)
    drawn = np.full((tall, wide, 3), OUTSIDE, np.uint8)
    left, top = (round(float(v)) for v in -low * zoom)
    size = (max(1, min(wide - left, round(width * zoom))), max(1, min(tall - top, round(height * zoom))))
    drawn[top : top + size[1], left : left + size[0]] = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    cv2.rectangle(drawn, (left, top), (left + size[0] - 1, top + size[1] - 1), (230, 230, 230), 1)
    for box in boxes:
        _outline(drawn, (box - low) * zoom, BLUE, 1)
    for ring, thick in outlines:
        _outline(drawn, (ring - low) * zoom, RED, thick)
    return drawn


def _outline(drawn: Pixels, ring: NDArray[np.float64], color: tuple[int, int, int], thick: int) -> None:
    # OpenCV draws in 1/16 pixels; points that are too far outside for its integers are clipped.
    points = np.clip(ring * 16, -(2**24), 2**24).round().astype(np.int32)
    cv2.polylines(drawn, [points], True, color, thick, cv2.LINE_AA, 4)


def draw_annotation(
    lookup: RowLookup,
    annotation: dict[str, Any],
    related: list[dict[str, Any]],
    *,
    box: bool = False,
    after: Sequence[tuple[dict[str, Any], tuple[int, int, int]]] = (),
) -> Pixels | None:
    """Draw an annotation and its surroundings: its outline in red, related ones in blue.

    box: also draw the box given in the file, in thin blue. after: annotations of the image after a fix, with the
    colours of their outlines, drawn last and thinner.
    """
    row = lookup.image_of(annotation)
    seen = lookup.photo(row) if row is not None else None
    if row is None or seen is None:
        return None
    photo, scale = seen
    width, height = lookup.size(row) or (photo.shape[1], photo.shape[0])
    mine = [ring * scale for ring in _rings(annotation.get("segmentation"), height, width)]
    others = [
        ring * scale
        for one in related
        if lookup.image_of(one) == row
        for ring in _rings(one.get("segmentation"), height, width)
    ]
    stated = [ring * scale for ring in _box_in_file(annotation)] if box else []
    proposed = [
        ([ring * scale for ring in _rings(one.get("segmentation"), height, width)], color) for one, color in after
    ]
    everything = [*mine, *stated, *(ring for rings, _ in proposed for ring in rings)]
    left, top, right, bottom = _window(everything, photo.shape[1], photo.shape[0])
    crop = photo[top:bottom, left:right]
    zoom = SIDE / max(crop.shape[:2])
    size = (max(1, round(crop.shape[1] * zoom)), max(1, round(crop.shape[0] * zoom)))
    drawn = np.ascontiguousarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC))
    canvas = drawn.astype(np.uint8)
    layers = [(others, BLUE, 2), (mine, RED, 4 if proposed else 2), (stated, BLUE, 1)]
    for rings, color, thick in [*layers, *((rings, color, 2) for rings, color in proposed)]:
        for ring in rings:
            _outline(canvas, (ring - (left, top)) * zoom, color, thick)
    return canvas


def _window(rings: Sequence[NDArray[np.float64]], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a photo to show: the outlines with a margin, or the whole photo if no outline is inside."""
    if rings:
        points = np.concatenate(rings)
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.35 * float((high - low).max()) + 12
        left, top = (int(v) for v in np.clip(np.floor(low - margin), 0, (width, height)))
        right, bottom = (int(v) for v in np.clip(np.ceil(high + margin), 0, (width, height)))
        if right - left >= 4 and bottom - top >= 4:
            return left, top, right, bottom
    return 0, 0, width, height


def draw_images(rows: Iterable[tuple[RowLookup, int]]) -> Pixels | None:
    """Photos side by side; None if there is none that can be drawn."""
    pictures = []
    for lookup, row in rows:
        seen = lookup.photo(row) if row < len(lookup.images) else None
        if seen is not None:
            pictures.append(photos.shrink(seen[0], SIDE))
    return sheet(pictures, columns=2) if pictures else None
