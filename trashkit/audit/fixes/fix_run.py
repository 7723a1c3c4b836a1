"""One run of fixes: which of them are wanted, and how findings become edits of a working copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from trashkit.audit.fixes.repair import distance_outside, safety_of_change
from trashkit.audit.readings.evidence import evidence_of
from trashkit.audit.readings.holes import area_without_holes, hole_of, holes_of
from trashkit.audit.readings.placement import contradiction
from trashkit.audit.settings import Settings
from trashkit.coco.dataset import Coco, encode, is_number, is_valid_id
from trashkit.edits.edit import canonical, id_of, same_value
from trashkit.edits.working_copy import WorkingCopy
from trashkit.errors import TrashkitError
from trashkit.finding import Finding, FixKind, RowFinding, about_row
from trashkit.images.photos import photo_info, photo_path
from trashkit.raster.measures import bounding_box, union_area

AREA_SHARE = 0.01
"""`area` is corrected along with a new segmentation when it is off by more than this share of the true area ..."""
BOX_OFF = 0.5
"""... and `bbox` when an edge is off by more than this many pixels: up to half a pixel is a rounding convention."""


ELSEWHERE = frozenset({"photo-leak", "file-name-in-both-files"})
"""Checks of images that are in another file, too, so that their annotations are not lost."""


class FixRun:
    """Collects the edits of fixes; later fixes see what earlier ones made of a row.

    rows: the working copy of the file. unsafe: whether unsafe fixes are wanted. settings: thresholds. images: folder
    of the photos, None if there is none. misplaced: ids of images whose size does not fit their annotations.
    of_other_size: ids of images whose photo has another size, so that nothing is clipped.
    rescaled: whether the coordinates of the file are in another unit, so that nothing is measured.
    kept_back: code, block and row of fixes that were not applied because they are unsafe.
    lost: names of the findings by annotation row that is deleted because nothing can restore it.
    most_changed: the most pixels that a repair changed of one mask, of those that say how many they change.
    """

    def __init__(
        self, coco: Coco, *, unsafe: bool = False, settings: Settings | None = None, images: Path | None = None
    ) -> None:
        self.rows = WorkingCopy(coco)
        self.settings = settings or Settings()
        self.unsafe = unsafe
        self.images = images
        self.kept_back: set[tuple[str, str, int]] = set()
        self.misplaced: set[Any] = set()
        self.of_other_size: set[Any] = set()
        self._other_photos: set[int] = set()
        self.rescaled = False
        self.lost: dict[int, str] = {}
        self.most_changed = 0

    def set_misplaced(self, findings: Iterable[Finding]) -> None:
        """Name the images whose annotations were drawn for another size; clipping these annotations would lose them."""
        findings = list(findings)
        self.rescaled = any(finding.name == "file-at-other-scale" for finding in findings)
        rows = (finding.row for finding in findings if isinstance(finding, RowFinding))
        self.misplaced = {id_of(self.rows.record("images", row)) for row in rows}

    def set_of_other_size(self, findings: Iterable[Finding]) -> None:
        """Name the images whose photo has another size than the file says: their border is not where it seems to be.

        In addition to those known already, since photos are looked at in the first round only.
        """
        self._other_photos |= {one.row for one in findings if one.name == "photo-size" and one.row is not None}
        left = (row for row in self._other_photos if self.rows.has("images", row) and not self._fits_photo(row))
        self.of_other_size = {id_of(self.rows.record("images", row)) for row in left}

    def _fits_photo(self, row: int) -> bool:
        """Whether the size of an image, as it is now, is that of its photo."""
        image = self.rows.record("images", row)
        return (image.get("width"), image.get("height")) in self.photo_sizes(image)

    def allowed(self, finding: RowFinding, kind: FixKind) -> bool:
        """Whether a fix of this kind is wanted; records those that are kept back.

        A fix that the check calls unsafe is unsafe, however little it changes the mask.
        """
        if self.unsafe or (kind == "safe" and finding.fix == "safe"):
            return True
        self.kept_back.add((finding.code, finding.block, finding.row))
        return False

    def set(
        self,
        finding: RowFinding,
        after: Mapping[str, Any],
        *,
        kind: FixKind = "safe",
        note: str | None = None,
        retype: bool = False,
    ) -> None:
        """Give fields of the finding's row new values; fields that have them already are skipped.

        note: what the edit says, by default the finding's message. retype: replace 1.0 by 1, too, which are equal.
        """
        record = self.rows.record(*finding.place)
        same = _same_text if retype else same_value
        new = {key: value for key, value in after.items() if key not in record or not same(record[key], value)}
        if new and self.allowed(finding, kind):
            said = finding.message if note is None else note
            self.rows.change(*finding.place, new, reason=finding.name, author=finding.code, note=said)

    def remove(self, finding: RowFinding, *, kind: FixKind = "unsafe", lost: bool = True) -> None:
        """Delete the finding's row. lost: whether its object is lost with it, see `FixRun.lost`."""
        if self.rows.has(*finding.place) and self.allowed(finding, kind):
            self.rows.delete(*finding.place, reason=finding.name, author=finding.code, note=finding.message)
            if lost and finding.block == "annotations":
                self.lost[finding.row] = finding.name

    def remove_image(self, finding: RowFinding) -> None:
        """Delete the finding's image and all rows that refer to it by ``image_id``; unsafe.

        If another image has the same id, it is unclear which image those rows belong to, and they are kept. Its
        annotations are lost, unless the image is removed for being in another file, too.
        """
        image_id = id_of(self.rows.record("images", finding.row))
        if not self.allowed(finding, "unsafe"):
            return
        self.remove(finding)
        if image_id is None or self._image_ids[image_id] > 1:
            return
        for block, row in self._referring.get(image_id, ()):
            self.remove(about_row(finding, row, block), lost=finding.name not in ELSEWHERE)

    @cached_property
    def _image_ids(self) -> Counter[Any]:
        return Counter(map(id_of, self.rows.coco.records("images")))

    @cached_property
    def _referring(self) -> dict[Any, list[tuple[str, int]]]:
        """Rows of all other blocks by the image that they refer to."""
        found: dict[Any, list[tuple[str, int]]] = {}
        for block in self.rows.coco.blocks():
            for row, record in enumerate(self.rows.coco.records(block) if block != "images" else ()):
                value = record.get("image_id") if isinstance(record, dict) else None
                if is_valid_id(value):
                    found.setdefault(value, []).append((block, row))
        return found

    def reshape(self, finding: RowFinding, segmentation: Any, *, kind: FixKind | None = None) -> None:
        """Give the finding's row another segmentation, and correct area and box where they are then off.

        kind: None measures whether the change is safe, see `trashkit.audit.fixes.repair.safety_of_change`.
        """
        record = self.rows.record(*finding.place)
        size = self.rows.size_of(record)
        old = record.get("segmentation")
        if size is None or canonical(old) == canonical(segmentation):
            return
        note, changed = finding.message, 0
        if kind is None:
            kind, changed = safety_of_change(old, segmentation, *size)
            note += f"; {changed} pixels change" if changed >= 0 else ""
        measures = self.wrong_measures({**record, "segmentation": segmentation})
        if record.get("image_id") in self.misplaced:
            measures = {}  # the old area and box show what is wrong
        elif isinstance(segmentation, list) and holes_of(_rings(old), evidence_of(record).area).kind == "hole":
            measures["area"] = round(area_without_holes(segmentation), 2)  # it goes on telling of the hole
        before = len(self.rows.edits)
        self.set(finding, {"segmentation": segmentation, **measures}, kind=kind, note=note)
        if len(self.rows.edits) > before:
            self.most_changed = max(self.most_changed, changed)

    def wrong_measures(
        self, record: Mapping[str, Any], *, share: float = AREA_SHARE, off: float = BOX_OFF
    ) -> dict[str, Any]:
        """The right `area` and `bbox` of an annotation, each only if the record's value is missing or off.

        Empty where box and segmentation contradict each other, see `trashkit.audit.readings.placement.contradiction`.
        """
        if self.rescaled:
            return {}  # what is measured now is in another unit, or will be when the file is audited again
        size = self.rows.size_of(record)
        segmentation: Any = record.get("segmentation")
        area = union_area(segmentation, *size) if size else None
        if area is None:
            return {}
        right: dict[str, Any] = {}
        box = bounding_box(segmentation)
        corners = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        if contradiction(evidence_of(record), corners, area, size) is not None:
            return {}  # the shape may be what is wrong
        # The area is the only witness of a hole.
        if not _close(record.get("area"), area, share * area) and hole_of(record, size)[0] not in ("hole", "unclear"):
            right["area"] = round(area, 2) if _close(round(area, 2), area, share * area) else area
        if not _box_close(record.get("bbox"), box, off):
            right["bbox"] = [round(value, 2) for value in box]
        return right

    def photo_sizes(self, image: Any) -> frozenset[tuple[int, int]]:
        """(width, height) of an image's photo, as stored and after its EXIF rotation; empty if that is not known."""
        name = image.get("file_name") if isinstance(image, dict) else None
        if self.images is None or not isinstance(name, str) or not name:
            return frozenset()
        try:
            info = photo_info(photo_path(self.images, name))
        except (TrashkitError, OSError, ValueError):
            return frozenset()
        return frozenset({(info.width, info.height), info.oriented_size})

    def distance_outside(self, record: Any) -> float:
        """How many pixels an annotation reaches out of its image; 0 if the image's size is unknown."""
        size = self.rows.size_of(record)
        return distance_outside(record.get("segmentation"), *size) if size else 0.0


def _rings(segmentation: Any) -> list[list[float]]:
    sound = isinstance(segmentation, list) and all(isinstance(ring, list) and len(ring) > 5 for ring in segmentation)
    return segmentation if sound else []


def _same_text(one: Any, other: Any) -> bool:
    return bytes(encode(one)) == bytes(encode(other))


def _close(value: Any, right: float, tolerance: float) -> bool:
    return is_number(value) and abs(value - right) <= tolerance


def _box_close(box: Any, right: list[float], tolerance: float) -> bool:
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return False
    edges = [*box[:2], box[0] + box[2], box[1] + box[3]]
    right_edges = [*right[:2], right[0] + right[2], right[1] + right[3]]
    return all(_close(edge, value, tolerance + 1e-6) for edge, value in zip(edges, right_edges, strict=True))
