"""Read rows of a damaged file field by field: columns of valid values, and a list of problems."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from trashkit.coco.dataset import Coco, decode, is_valid_id

Problem = Literal["json", "duplicate-key", "object", "missing", "optional", "type", "number"]
"""json: not valid JSON. object: the row is not an object. missing, optional: a field is absent. number: not finite."""


class RowProblem(NamedTuple):
    """One problem of one row: which field it is about, and a message."""

    kind: Problem
    block: str
    row: int
    field: str
    message: str


def shown(value: Any, width: int = 40) -> str:
    """A value for messages: one line of JSON, shortened."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= width else text[: width - 1] + "…"


def value_of(raw: msgspec.Raw) -> Any:
    """Value of one row; None for numbers of thousands of digits and lists that are nested too deeply."""
    try:
        return decode(raw)
    except (ValueError, RecursionError):
        return None


def _is_id(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "is not finite"
    return None if is_valid_id(value) else "is neither an integer nor a string"


def _is_text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "is not a non-empty string"


def _is_number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is not a number"
    return None if number(value) is not None else "is not finite"


def _is_area(value: Any) -> str | None:
    wrong = _is_number(value)
    return wrong or (None if value >= 0 else "is negative")


def _is_side(value: Any) -> str | None:
    wrong = _is_number(value)
    if wrong:
        return wrong
    return None if value == int(value) and 0 < value < 2**31 else "is not a positive integer"


def _is_box(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) != 4:
        return "is not a list of four numbers"
    return next((wrong for wrong in map(_is_number, value) if wrong), None)


def _is_flag(value: Any) -> str | None:
    return None if isinstance(value, bool | int) and value in (0, 1) else "is neither 0 nor 1"


def _is_shape(value: Any) -> str | None:
    return None if isinstance(value, list | dict) else "is neither a list of rings nor an RLE object"


FIELDS: dict[str, dict[str, Any]] = {
    "images": {"id": _is_id, "file_name": _is_text, "width": _is_side, "height": _is_side},
    "categories": {"id": _is_id, "name": _is_text},
    "annotations": {
        "id": _is_id,
        "image_id": _is_id,
        "category_id": _is_id,
        "segmentation": _is_shape,
        "area": _is_area,
        "bbox": _is_box,
        "iscrowd": _is_flag,
    },
}
"""Fields that COCO requires, each with a function that says what is wrong with a value."""

OPTIONAL = {"area", "bbox", "iscrowd"}
"""Fields that are not needed for training."""


_MISSING_MESSAGE = {name: f"{name} is missing" for name in sorted(OPTIONAL)}


def number(value: Any) -> float | None:
    """A finite float, or None for everything else, including numbers that are too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


def field_problems(block: str, row: int, record: Any, problems: list[RowProblem]) -> None:
    """Append what is wrong with the fields of one row."""
    if not isinstance(record, dict):
        problems.append(RowProblem("object", block, row, "", f"{shown(record)} is not an object"))
        return
    for name, wrong in FIELDS[block].items():
        if name not in record:
            kind: Problem = "optional" if name in OPTIONAL else "missing"
            problems.append(RowProblem(kind, block, row, name, f"{name} is missing"))
            continue
        reason = wrong(record[name])
        if reason:
            kind = "number" if reason == "is not finite" else "type"
            problems.append(RowProblem(kind, block, row, name, f"{name} {shown(record[name])} {reason}"))


def text_problems(block: str, row: int, raw: msgspec.Raw, problems: list[RowProblem]) -> None:
    """Append what is wrong with the text of one row: repeated keys."""
    pieces = bytes(raw).split(b'"')
    strings = pieces[1::2]
    # If all strings differ and none is escaped, no key can be repeated: this settles nearly every row.
    if len(set(strings)) == len(strings) and not any(b"\\" in piece for piece in strings):
        return
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in items]
        twice.extend(sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else ())

    try:
        json.loads(bytes(raw), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return
    if twice:
        names = ", ".join(shown(key) for key in twice[:5])
        problems.append(RowProblem("duplicate-key", block, row, "", f"key {names} occurs more than once"))


def strict_problem(block: str, row: int, raw: msgspec.Raw, problems: list[RowProblem]) -> bool:
    """Append a problem if a row is not valid JSON; returns whether it did."""
    try:
        msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = bytes(raw)
        tokens = [token for token in ("NaN", "Infinity") if token.encode() in text]
        found = " and ".join(tokens) or "a number or string"
        problems.append(RowProblem("json", block, row, "", f"contains {found}, which is not valid JSON"))
        return True
    return False


@dataclass(frozen=True)
class Rows:
    """Rows of a block as plain values."""

    records: list[Any]

    def column(self, name: str) -> list[Any]:
        """One field of every row; None where it is missing."""
        return [record.get(name) if isinstance(record, dict) else None for record in self.records]


def read_rows(coco: Coco, block: str, problems: list[RowProblem]) -> Rows:
    """Rows of a small block, checked field by field."""
    records = []
    for row, raw in enumerate(coco.rows(block)):
        text_problems(block, row, raw, problems)
        strict_problem(block, row, raw, problems)
        record = value_of(raw)
        field_problems(block, row, record, problems)
        records.append(record)
    return Rows(records)


class _ValidAnnotation(msgspec.Struct, gc=False):
    """An annotation whose fields are valid, or optional and missing; all others are read slowly."""

    id: int | str
    image_id: int | str
    category_id: int | str
    segmentation: msgspec.Raw
    area: float | msgspec.UnsetType = msgspec.UNSET
    bbox: tuple[float, float, float, float] | msgspec.UnsetType = msgspec.UNSET
    iscrowd: int | msgspec.UnsetType = msgspec.UNSET


class AnnotationColumns(NamedTuple):
    """See `trashkit.audit.views.table.Table`."""

    ids: list[Any]
    image_row: npt.NDArray[np.int64]
    category_row: npt.NDArray[np.int64]
    area: npt.NDArray[np.float64]
    bbox: npt.NDArray[np.float64]
    crowd: npt.NDArray[np.bool_]


def read_annotations(
    coco: Coco, images: dict[Any, int], categories: dict[Any, int], problems: list[RowProblem]
) -> AnnotationColumns:
    """Columns of the annotations without their segmentations; a file of 450 MB takes seconds."""
    rows = coco.rows("annotations")
    count = len(rows)
    ids: list[Any] = [None] * count
    image_row, category_row = np.full(count, -2), np.full(count, -2)
    area, bbox = np.full(count, math.nan), np.full((count, 4), math.nan)
    crowd = np.zeros(count, bool)
    decode_valid = msgspec.json.Decoder(_ValidAnnotation).decode
    for row, raw in enumerate(rows):
        text_problems("annotations", row, raw, problems)
        try:
            read = decode_valid(raw)
            if read.iscrowd not in (0, 1, msgspec.UNSET) or bytes(memoryview(read.segmentation)[:1]) not in b"[{":
                raise ValueError
            if read.area is not msgspec.UNSET and read.area < 0:
                raise ValueError
        except (msgspec.MsgspecError, ValueError, RecursionError):
            record = _read_slowly(row, raw, problems)
            ids[row] = record.get("id")
            image_id, category_id = record.get("image_id"), record.get("category_id")
            image_row[row] = images.get(image_id, -1) if is_valid_id(image_id) else -2
            category_row[row] = categories.get(category_id, -1) if is_valid_id(category_id) else -2
            made = number(record.get("area"))
            area[row] = math.nan if made is None else made
            box = record.get("bbox")
            if _is_box(box) is None:
                bbox[row] = box
            crowd[row] = record.get("iscrowd") in (1, True)
            continue
        ids[row] = read.id
        image_row[row] = images.get(read.image_id, -1)
        category_row[row] = categories.get(read.category_id, -1)
        if msgspec.UNSET in (read.area, read.bbox, read.iscrowd):
            lacking = [name for name in _MISSING_MESSAGE if getattr(read, name) is msgspec.UNSET]
            problems += [RowProblem("optional", "annotations", row, name, _MISSING_MESSAGE[name]) for name in lacking]
        if read.area is not msgspec.UNSET:
            area[row] = read.area
        if read.bbox is not msgspec.UNSET:
            bbox[row] = read.bbox
        crowd[row] = read.iscrowd == 1
    return AnnotationColumns(ids, image_row, category_row, area, bbox, crowd)


def _read_slowly(row: int, raw: msgspec.Raw, problems: list[RowProblem]) -> dict[str, Any]:
    strict_problem("annotations", row, raw, problems)
    record = value_of(raw)
    field_problems("annotations", row, record, problems)
    return record if isinstance(record, dict) else {}
