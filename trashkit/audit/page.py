"""The audit as one self-contained HTML page: what was found, the worst of it drawn on the photos, and the data set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import masks, photos
from trashkit.audit.engine import AuditResult
from trashkit.audit.page_data_set import data_set
from trashkit.audit.registry import checks
from trashkit.coco import Coco
from trashkit.coco.dataset import ids_in
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.finding import Finding, Severity
from trashkit.progress import Progress, silent
from trashkit.report import html
from trashkit.report.overlay import sheet

Pixels = NDArray[np.uint8]

PER_CODE = 12
"""Worst findings of each code that are drawn."""
SIDE = 320
"""Longest side of a drawing in pixels."""
RED, BLUE, BLANK = (235, 60, 50), (60, 130, 235), 58
COLORS = {Severity.ERROR: "#d64541", Severity.WARNING: "#e0a100", Severity.INFO: "#4a90d9"}


def audit_page(
    coco: Coco,
    result: AuditResult,
    *,
    images: Path | None = None,
    against: Coco | None = None,
    progress: Progress = silent,
) -> str:
    """A whole HTML document. Photos are read from `images`; where they are absent, a blank canvas of the image's size
    is drawn on. Never raises for what the file or the photos hold."""
    title = f"Audit of {coco.path.name if coco.path else 'annotations'}"
    facts = _Facts(coco, images)
    return html.page(
        title,
        [
            *_summary(coco, result),
            html.heading("The worst findings"),
            html.paragraph(
                f"At most {PER_CODE} of each code, worst first. Red: what it is about. Blue: what that is related to.",
                css="note",
            ),
            html.gallery(list(_cards(facts, _worst(result.findings), against, progress))),
            html.heading("The data set"),
            *data_set(coco, images=images, against=against),
        ],
    )


def _summary(coco: Coco, result: AuditResult) -> Iterable[html.Html]:
    counts = ", ".join(f"{coco.count(block):,} {block}" for block in ("images", "annotations", "categories"))
    severities = Counter(finding.severity for finding in result.findings)
    yield html.paragraph(f"{counts}.", css="lead")
    if not result.findings:
        yield html.paragraph("Nothing was found.", css="lead")
        return
    chips = [
        html.Html(
            f'<span class="chip" style="background:{COLORS[one]}">{severities[one]:,} {html.safe(one.value)}</span>'
        )
        for one in Severity
    ]
    yield html.paragraph(html.join(chips))
    by_code = Counter(finding.code for finding in result.findings)
    known = checks()
    bars = [
        (f"{code} {known[code].name}"[:28], float(number), COLORS[known[code].severity])
        for code, number in by_code.most_common(20)
    ]
    yield html.bars("Findings by code", bars, form="{:,.0f}")
    rows = [
        (code, known[code].name, known[code].severity.value, number, known[code].title)
        for code, number in sorted(by_code.items())
    ]
    table = html.table(("code", "name", "severity", "findings", "what it is"), rows)
    yield html.folded("What each code means", [table])


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    chosen: list[Finding] = []
    for code in sorted(by_code, key=lambda code: (by_code[code][0].severity.rank, code)):
        # Of a group, such as photos of one scene, the first stands for all.
        groups: dict[object, Finding] = {}
        for finding in by_code[code]:
            groups.setdefault(_group(finding), finding)
        chosen += sorted(groups.values(), key=_badness)[:PER_CODE]
    return chosen


def _group(finding: Finding) -> object:
    if finding.row is None or not finding.related:
        return id(finding)
    return finding.block, frozenset((finding.row, *finding.related))


def _badness(finding: Finding) -> float:
    return -finding.score if finding.score is not None and math.isfinite(finding.score) else 0.0


class _Facts:
    """Rows of a damaged or sound file, looked up when a drawing needs them."""

    def __init__(self, coco: Coco, folder: Path | None) -> None:
        self.coco = coco
        self.folder = folder
        self.images = coco.records("images")
        self.image_row = {
            image["id"]: row
            for row, image in reversed(list(enumerate(self.images)))
            if isinstance(image, dict) and ids_in(image.get("id"))
        }
        self.names = {
            category["id"]: str(category.get("name"))
            for category in coco.records("categories")
            if isinstance(category, dict) and ids_in(category.get("id"))
        }

    def annotation(self, row: int) -> dict[str, Any]:
        record = self.coco.record("annotations", row)
        return record if isinstance(record, dict) else {}

    def image_of(self, annotation: dict[str, Any]) -> int | None:
        wanted = annotation.get("image_id")
        return self.image_row.get(wanted) if ids_in(wanted) else None

    def class_of(self, annotation: dict[str, Any]) -> str:
        wanted = annotation.get("category_id")
        return self.names.get(wanted, "unknown") if ids_in(wanted) else "unknown"

    def size(self, row: int) -> tuple[int, int] | None:
        """(width, height), None where the file has no usable ones or the canvas would be absurd."""
        image = self.images[row]
        if not isinstance(image, dict):
            return None
        width, height = image.get("width"), image.get("height")
        for side in (width, height):
            if isinstance(side, bool) or not isinstance(side, int | float) or not 0 < side < 2**31:
                return None
        assert width is not None and height is not None
        return int(width), int(height)

    def photo(self, row: int) -> tuple[Pixels, float] | None:
        """A photo or blank canvas no longer than 4 x SIDE, and its scale against the file's size."""
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


def _cards(facts: _Facts, findings: Sequence[Finding], against: Coco | None, progress: Progress) -> Iterable[html.Card]:
    other = _Facts(against, facts.folder) if against is not None else None
    for n, finding in enumerate(findings):
        progress("drawing", n, len(findings))
        facets = {"code": f"{finding.code} {finding.name}", "severity": finding.severity.value}
        drawing: Pixels | None = None
        if finding.row is not None and finding.block == "annotations":
            annotation = facts.annotation(finding.row)
            facets["class"] = facts.class_of(annotation)
            drawing = _draw_annotation(facts, annotation, [facts.annotation(row) for row in finding.related[:5]])
        elif finding.row is not None and finding.block == "images":
            # A leak's related rows are images of the other file.
            home = other if finding.code == "I011" and other is not None else facts
            drawing = _draw_images([(facts, finding.row), *((home, row) for row in finding.related[:3])])
        where = [
            f"annotation {finding.annotation_id}" if finding.annotation_id is not None else "",
            f"image {finding.image_id}" if finding.image_id is not None else "",
            finding.file_name or "",
            "" if finding.row is None else f"{finding.block}[{finding.row}]",
            f"fix: {finding.fix}" if finding.fix else "",
        ]
        body = html.join(
            [
                html.picture(drawing, alt=finding.message) if drawing is not None else html.Html(""),
                html.paragraph(finding.message),
                html.paragraph(" · ".join(part for part in where if part), css="note"),
            ]
        )
        yield html.Card(f"{finding.code} {finding.name}", body, facets)


def _rings(segmentation: Any, height: int, width: int) -> list[NDArray[np.float64]]:
    """Outlines [V, 2] in pixels of whatever can be drawn."""
    if isinstance(segmentation, dict):
        if check_segmentation(segmentation, height, width):
            return []
        covered = masks.mask(segmentation, height, width).astype(np.uint8)
        outlines, _ = cv2.findContours(covered, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return [outline[:, 0].astype(float) for outline in outlines]
    rings = []
    for ring in segmentation if isinstance(segmentation, list) else []:
        numbers = [v for v in ring if isinstance(v, int | float)] if isinstance(ring, list) else []
        points = np.array(numbers[: len(numbers) // 2 * 2], dtype=float).reshape(-1, 2)
        if len(points) and np.isfinite(points).all():
            rings.append(points)
    return rings


def _draw_annotation(facts: _Facts, annotation: dict[str, Any], related: list[dict[str, Any]]) -> Pixels | None:
    """The annotation's surroundings with its outline in red, and related ones in blue."""
    row = facts.image_of(annotation)
    seen = facts.photo(row) if row is not None else None
    if row is None or seen is None:
        return None
    photo, scale = seen
    width, height = facts.size(row) or (photo.shape[1], photo.shape[0])
    mine = [ring * scale for ring in _rings(annotation.get("segmentation"), height, width)]
    others = [
        ring * scale
        for one in related
        if facts.image_of(one) == row
        for ring in _rings(one.get("segmentation"), height, width)
    ]
    left, top, right, bottom = _window(mine, photo.shape[1], photo.shape[0])
    crop = photo[top:bottom, left:right]
    zoom = SIDE / max(crop.shape[:2])
    size = (max(1, round(crop.shape[1] * zoom)), max(1, round(crop.shape[0] * zoom)))
    drawn = np.ascontiguousarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC))
    for rings, color in ((others, BLUE), (mine, RED)):
        for ring in rings:
            # OpenCV draws in 1/16 pixels; what lies absurdly far outside is left at the rim of what it can hold.
            points = np.clip((ring - (left, top)) * zoom * 16, -(2**24), 2**24).round().astype(np.int32)
            cv2.polylines(drawn, [points], True, color, 2, cv2.LINE_AA, 4)
    return drawn.astype(np.uint8)


def _window(rings: Sequence[NDArray[np.float64]], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a picture to show: the outlines with room around them, the whole where there are none inside."""
    if rings:
        points = np.concatenate(rings)
        low, high = points.min(axis=0), points.max(axis=0)
        room = 0.35 * float((high - low).max()) + 12
        left, top = (int(v) for v in np.clip(np.floor(low - room), 0, (width, height)))
        right, bottom = (int(v) for v in np.clip(np.ceil(high + room), 0, (width, height)))
        if right - left >= 4 and bottom - top >= 4:
            return left, top, right, bottom
    return 0, 0, width, height


def _draw_images(rows: Iterable[tuple[_Facts, int]]) -> Pixels | None:
    pictures = []
    for facts, row in rows:
        seen = facts.photo(row) if row < len(facts.images) else None
        if seen is not None:
            pictures.append(photos.shrink(seen[0], SIDE))
    return sheet(pictures, columns=2) if pictures else None
