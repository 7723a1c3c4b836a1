"""Rows as the fixes of one run leave them, and the edits that got them there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeGuard

from trashkit.audit.repair import area_of, box_of, furthest_outside, judge
from trashkit.audit.settings import Settings
from trashkit.coco.dataset import Coco, ids_in
from trashkit.coco.edit import Edit, canonical, change, delete, id_of, same_value
from trashkit.finding import Finding, FixKind

AREA_SHARE = 0.01
"""`area` is put right along with a new segmentation when it is off by more than this share of the true area ..."""
BOX_OFF = 0.5
"""... and `bbox` when an edge is off by more than this: up to half a pixel is a rounding convention."""


class Workbench:
    """Collects edits; later fixes see what earlier ones made of a row.

    coco: the source file, whose rows all edits name. unsafe: whether unsafe fixes are wanted. settings: thresholds.
    misplaced: ids of images that do not fit their annotations.
    kept_back: code, block and row of fixes that were not done because they are unsafe.
    """

    def __init__(self, coco: Coco, *, unsafe: bool = False, settings: Settings | None = None) -> None:
        self.coco = coco
        self.settings = settings or Settings()
        self.unsafe = unsafe
        self.edits: list[Edit] = []
        self.kept_back: set[tuple[str, str, int]] = set()
        self.deleted: set[tuple[str, int]] = set()
        self.current: dict[tuple[str, int], dict[str, Any]] = {}
        self.misplaced: set[Any] = set()
        self._highest: dict[str, int] = {}

    def record(self, block: str, row: int) -> Any:
        """A row as the edits so far leave it."""
        return self.current[block, row] if (block, row) in self.current else self.coco.record(block, row)

    def has(self, block: str, row: int) -> bool:
        """Whether the row exists and no edit has deleted it."""
        return 0 <= row < self.coco.count(block) and (block, row) not in self.deleted

    @cached_property
    def sizes(self) -> dict[Any, tuple[int, int]]:
        """(height, width) of images by id; the first image of an id counts, sizes that are none are left out."""
        found: dict[Any, tuple[int, int]] = {}
        for row in range(self.coco.count("images")):
            image = self.record("images", row)
            if isinstance(image, dict) and ids_in(image.get("id")):
                height, width = _side(image.get("height")), _side(image.get("width"))
                if height and width:
                    found.setdefault(image["id"], (height, width))
        return found

    def size(self, record: Any) -> tuple[int, int] | None:
        """(height, width) of an annotation's image, None where it is unknown."""
        image_id = record.get("image_id") if isinstance(record, dict) else None
        return self.sizes.get(image_id) if ids_in(image_id) else None

    def set_misplaced(self, image_rows: Iterable[int | None]) -> None:
        """Images whose annotations were drawn for another size: cutting these off at the border would lose them."""
        self.misplaced = {id_of(self.record("images", row)) for row in image_rows if row is not None}

    def fresh_id(self, block: str) -> int:
        """The next whole number above all ids of a block, and above those given out before."""
        if block not in self._highest:
            records = self.coco.records(block)
            ids = [record.get("id") for record in records if isinstance(record, dict)]
            self._highest[block] = max((value for value in ids if _is_int(value) and value < 2**53), default=0)
        self._highest[block] += 1
        return self._highest[block]

    def allowed(self, finding: Finding, kind: FixKind) -> bool:
        """Whether a fix of this kind is wanted; counts those that are kept back.

        What the check calls unsafe is unsafe, whatever it does to the mask.
        """
        if self.unsafe or (kind == "safe" and finding.fix == "safe"):
            return True
        self.kept_back.add((finding.code, finding.block, finding.row or 0))
        return False

    def set(
        self,
        finding: Finding,
        after: Mapping[str, Any],
        *,
        kind: FixKind = "safe",
        rewrite: bool = False,
        related: Iterable[int] = (),
    ) -> None:
        """Give fields of the finding's row new values, as far as they differ.

        rewrite: write the row anew even if no value differs, which takes away keys that stood there twice.
        """
        assert finding.row is not None
        block, row = finding.block, finding.row
        record = self.record(block, row)
        new = {key: value for key, value in after.items() if key not in record or not same_value(record[key], value)}
        if not (new or rewrite) or not self.allowed(finding, kind):
            return
        current = self.current.get((block, row))
        edit = change(
            self.coco,
            block,
            row,
            new,
            reason=finding.name,
            author=finding.code,
            current=current,
            note=finding.message,
            related=related,
        )
        self.edits.append(edit)
        self.current[block, row] = {**record, **new}
        if block == "images":
            self.__dict__.pop("sizes", None)

    def remove(self, finding: Finding, row: int | None = None, *, kind: FixKind = "unsafe") -> None:
        """Delete the finding's row, or another of its block."""
        place = (finding.block, finding.row if row is None else row)
        assert place[1] is not None
        if place in self.deleted or not self.allowed(finding, kind):
            return
        self.edits.append(
            delete(
                self.coco,
                finding.block,
                place[1],
                reason=finding.name,
                author=finding.code,
                current=self.current.get((place[0], place[1])),
                note=finding.message,
            )
        )
        self.deleted.add((place[0], place[1]))

    def remove_image(self, finding: Finding) -> None:
        """Delete the finding's image and all rows that refer to it by ``image_id``; unsafe.

        Where another image has the same id, nobody knows whose those rows are, and they stay.
        """
        assert finding.row is not None
        image_id = id_of(self.record("images", finding.row))
        if not self.allowed(finding, "unsafe"):
            return
        self.remove(finding)
        if image_id is None or self._image_ids[image_id] > 1:
            return
        for block, row in self._referring.get(image_id, ()):
            self.remove(replace(finding, block=block, row=row))

    @cached_property
    def _image_ids(self) -> Counter[Any]:
        return Counter(map(id_of, self.coco.records("images")))

    @cached_property
    def _referring(self) -> dict[Any, list[tuple[str, int]]]:
        """Rows of all blocks by the image that they refer to."""
        found: dict[Any, list[tuple[str, int]]] = {}
        for block in self.coco.blocks():
            for row, record in enumerate(self.coco.records(block) if block != "images" else ()):
                value = record.get("image_id") if isinstance(record, dict) else None
                if ids_in(value):
                    found.setdefault(value, []).append((block, row))
        return found

    def reshape(self, finding: Finding, segmentation: Any, *, kind: FixKind | None = None) -> None:
        """Give the finding's row another segmentation, with area and box where these are then off.

        kind: None measures whether it is safe, see `trashkit.audit.repair.judge`.
        """
        assert finding.row is not None
        record = self.record(finding.block, finding.row)
        size = self.size(record)
        old = record.get("segmentation")
        if size is None or canonical(old) == canonical(segmentation):
            return
        if kind is None:
            kind, _ = judge(old, segmentation, *size)
        measures = self.measures({**record, "segmentation": segmentation})
        if record.get("image_id") in self.misplaced:
            measures = {}  # the old area and box tell what is wrong
        self.set(finding, {"segmentation": segmentation, **measures}, kind=kind)

    def measures(self, record: Mapping[str, Any], *, share: float = AREA_SHARE, off: float = BOX_OFF) -> dict[str, Any]:
        """`area` and `bbox` of an annotation as they should be, each only where it is off (or not there)."""
        size, segmentation = self.size(record), record.get("segmentation")
        if size is None:
            return {}
        wanted: dict[str, Any] = {}
        area, box = area_of(segmentation, *size), box_of(segmentation, *size)
        if area is not None and not _close(record.get("area"), area, share * area):
            wanted["area"] = round(area, 2) if _close(round(area, 2), area, share * area) else area
        if box is not None and not _box_close(record.get("bbox"), box, off):
            wanted["bbox"] = [round(value, 2) for value in box]
        return wanted

    def outside(self, record: Any) -> float:
        """By how many pixels an annotation reaches out of its image; 0 where that cannot be said."""
        size = self.size(record)
        return furthest_outside(record.get("segmentation"), *size) if size else 0.0


def _is_int(value: Any) -> TypeGuard[int]:
    return type(value) is int


def _side(value: Any) -> int | None:
    """A side of an image in pixels, None where it is none."""
    if type(value) not in (int, float) or not 0 < value < 2**31 or value != int(value):
        return None
    return int(value)


def _close(value: Any, wanted: float, within: float) -> bool:
    return type(value) in (int, float) and abs(value - wanted) <= within


def _box_close(box: Any, wanted: list[float], within: float) -> bool:
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        return False
    edges = [*box[:2], box[0] + box[2], box[1] + box[3]]
    wanted_edges = [*wanted[:2], wanted[0] + wanted[2], wanted[1] + wanted[3]]
    return all(_close(edge, right, within + 1e-6) for edge, right in zip(edges, wanted_edges, strict=True))
