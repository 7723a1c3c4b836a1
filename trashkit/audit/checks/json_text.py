"""Checks of the file's text: invalid JSON, missing blocks, and rows and fields of the wrong type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from trashkit.audit.readings.evidence import evidence_of
from trashkit.audit.readings.holes import hole_of
from trashkit.audit.readings.placement import contradiction
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.fields import RowProblem, shown, text_problems
from trashkit.audit.views.table import Table
from trashkit.finding import Severity
from trashkit.raster.measures import bounding_box, union_area


def _of_kind(table: Table, kind: str) -> Iterator[Hit]:
    """One hit for each row that has problems of this kind."""
    found: dict[tuple[str, int], list[str]] = {}
    for problem in table.problems:
        if problem.kind == kind:
            found.setdefault((problem.block, problem.row), []).append(problem.message)
    for (block, row), messages in found.items():
        yield Hit(row, "; ".join(messages), float(len(messages)), block=block)


def _nan(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["area"] = float("nan")


@check("S001", "not-strict-json", Severity.ERROR, on="file", broken=_nan)
def not_strict_json(table: Table) -> Iterator[Hit]:
    """A row contains NaN, Infinity or a number out of range, which are not valid JSON.

    Python's json module reads and writes them, but most other readers (orjson, browsers, jq) reject the whole file.
    They usually come from a division by zero in a converter, so the value is wrong as well.

    Example::

        {"id": 7, "area": NaN, "bbox": [Infinity, Infinity, -Infinity, -Infinity]}

    Fix: `trashkit fix` recomputes area and box if the segmentation is valid; otherwise delete the annotation.
    """
    yield from _of_kind(table, "json")
    for name, item in table.coco.items.items():
        if isinstance(item, msgspec.Raw):
            try:
                msgspec.json.decode(item)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                yield Hit(None, f"{shown(name)} contains values that are not valid JSON, such as NaN", block="file")


def _twice(coco: dict[str, Any]) -> str:
    text = json.dumps(coco)
    return text.replace('"iscrowd": 0', '"iscrowd": 0, "iscrowd": 0', 1)


@check("S002", "duplicate-key", Severity.ERROR, on="file", broken=_twice)
def duplicate_key(table: Table) -> Iterator[Hit]:
    """A JSON object has the same key more than once, and readers silently keep one of the values.

    Which one they keep depends on the reader. At the top level, a whole list can be lost this way.

    Example::

        {"id": 7, "category_id": 3, "category_id": 5}

    Fix: decide which value is right, and remove the other by hand.
    """
    yield from _of_kind(table, "duplicate-key")
    for problem in nested_keys(table):
        yield Hit(None, problem, block="file")
    if table.coco.duplicate_keys:
        names = ", ".join(map(shown, table.coco.duplicate_keys))
        yield Hit(None, f"the top-level key {names} occurs more than once; the last value was used", block="file")


def nested_keys(table: Table) -> Iterator[str]:
    """Repeated keys in values and rows that no other check reads: info, licences, blocks that are not part of COCO."""
    for name, item in table.coco.items.items():
        if name in ("images", "annotations", "categories") and not isinstance(item, msgspec.Raw):
            continue
        for row, raw in enumerate((item,) if isinstance(item, msgspec.Raw) else item):
            problems: list[RowProblem] = []
            text_problems(name, row, raw, problems)
            place = shown(name) if isinstance(item, msgspec.Raw) else f"{shown(name)}[{row}]"
            yield from (f"in {place}, {problem.message}" for problem in problems)


def _no_images(coco: dict[str, Any]) -> None:
    del coco["categories"]


@check("S003", "missing-block", Severity.ERROR, on="file", broken=_no_images)
def missing_block(table: Table) -> Iterator[Hit]:
    """The file has no list of images, annotations or categories, or has something else in its place.

    Example::

        {"images": [], "annotations": null}

    Fix: export the file again. A test set without labels needs an empty list `annotations`.
    """
    for block in ("images", "annotations", "categories"):
        if block not in table.coco.items:
            yield Hit(None, f'the file has no list "{block}"', block="file")
        elif block not in table.coco.blocks():
            yield Hit(None, f'"{block}" is {shown(table.coco.top(block))}, not a list', block="file")


def _null_row(coco: dict[str, Any]) -> None:
    coco["annotations"].append(None)


@check("S004", "row-is-no-object", Severity.ERROR, on="file", broken=_null_row)
def row_is_no_object(table: Table) -> Iterator[Hit]:
    """A row of images, annotations or categories is not a JSON object.

    Example::

        {"annotations": [null, {"id": 1}]}

    Fix: write the row as an object; `trashkit fix --unsafe` deletes rows that hold nothing to read, such as null.
    """
    for hit in _of_kind(table, "object"):
        value = None if hit.row is None else table.coco.rows(hit.block)[hit.row]
        yield hit._replace(fix=None if value is not None and bytes(value)[:1] in (b'"', b"[") else "unsafe")


def _no_name(coco: dict[str, Any]) -> None:
    del coco["images"][0]["file_name"]


@check("S005", "missing-field", Severity.ERROR, on="file", broken=_no_name)
def missing_field(table: Table) -> Iterator[Hit]:
    """A row lacks a required field.

    Images need id, file_name, width and height; annotations id, image_id, category_id and segmentation; categories id
    and name.

    Example::

        {"id": 7, "width": 512, "height": 512}

    Fix: add the field.
    """
    yield from _of_kind(table, "missing")


def _no_area(coco: dict[str, Any]) -> None:
    del coco["annotations"][0]["area"]


@check("S006", "missing-measure", Severity.WARNING, on="file", broken=_no_area)
def missing_measure(table: Table) -> Iterator[Hit]:
    """An annotation lacks area, bbox or iscrowd, which pycocotools needs for evaluation.

    If all annotations lack the same field, there is one finding for the file.

    Example::

        {"id": 7, "image_id": 1, "category_id": 3, "segmentation": [[10, 10, 60, 10, 60, 60]]}

    Fix: `trashkit fix` computes them.
    """
    rows: dict[str, list[int]] = {}
    for problem in table.problems:
        if problem.kind == "optional":
            rows.setdefault(problem.field, []).append(problem.row)
    for name, lacking in rows.items():
        if len(lacking) == table.annotation_count and len(lacking) > 1:
            yield Hit(None, f"none of the {len(lacking)} annotations has {name}", fix="safe", related=lacking)
        else:
            for row in lacking:
                fixable = name == "iscrowd" or _may_measure(table, row, [name])
                yield Hit(row, f"{name} is missing", fix="safe" if fixable else None)


def _text_width(coco: dict[str, Any]) -> None:
    coco["images"][0]["width"] = "640"


@check("S007", "wrong-type", Severity.ERROR, on="file", broken=_text_width)
def wrong_type(table: Table) -> Iterator[Hit]:
    """A field has a value of the wrong type or out of range.

    Ids are integers (strings are accepted too), file_name and name are strings, width and height are positive integers,
    area is a number of at least 0, bbox four numbers, iscrowd 0 or 1, and segmentation a list of rings or an RLE
    object.

    Example::

        {"id": 7, "file_name": "photo.jpg", "width": "640", "height": -480}

    Fix: `trashkit fix` corrects values whose meaning is clear: numbers written as text (`"640"`), ids written as floats
    (`1.0`), `"false"` for iscrowd. It recomputes area and box if only these are wrong. A segmentation written as text
    is restored with `--unsafe` where bbox or area prove it. Correct other values by hand.
    """
    wrong: dict[tuple[str, int], list[str]] = {}
    for problem in table.problems:
        if problem.kind == "type":
            wrong.setdefault((problem.block, problem.row), []).append(problem.field)
    for hit in _of_kind(table, "type"):
        assert hit.row is not None
        names = wrong[hit.block, hit.row]
        record = table.coco.record(hit.block, hit.row)
        cure = table.reader.read(hit.block, record, names)
        if cure is not None:
            message = hit.message + (f"; {cure.why}" if cure.why else "")
            yield hit._replace(fix=cure.kind, message=message, proposal={"set": cure.fields})
        elif set(names) <= {"area", "bbox"} and _may_measure(table, hit.row, names):
            yield hit._replace(fix="safe")
        else:
            yield hit


def _may_measure(table: Table, row: int | None, names: list[str]) -> bool:
    """Whether an annotation can be rasterised on an image of known size, so that a fix can measure the named fields.

    The area of rings inside each other depends on which of them are holes, and nothing is measured where the bbox says
    that the shape is somewhere else.
    """
    if row is None or table.image_row[row] < 0:
        return False
    width, height = table.width[table.image_row[row]], table.height[table.image_row[row]]
    if not (width == width // 1 and height == height // 1):
        return False
    record = table.coco.record("annotations", row)
    size = (int(height), int(width))
    area = union_area(record.get("segmentation"), *size)
    if area is None:
        return False
    left, top, wide, high = bounding_box(record["segmentation"])
    if contradiction(evidence_of(record), (left, top, left + wide, top + high), area, size) is not None:
        return False
    return "area" not in names or hole_of(record, size)[0] not in ("hole", "unclear")


def _infinite_box(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["bbox"][0] = float("inf")


@check("S008", "field-not-finite", Severity.ERROR, on="file", broken=_infinite_box)
def field_not_finite(table: Table) -> Iterator[Hit]:
    """A number outside the segmentation (a size, `area`, `bbox`) is NaN, infinite or too large for a float.

    Annotations with empty segmentations often have a box from plus to minus infinity.

    Example::

        {"id": 7, "segmentation": [], "bbox": [Infinity, Infinity, -Infinity, -Infinity]}

    Fix: `trashkit fix` recomputes area and box if the segmentation is valid.
    """
    measures: dict[int, list[str]] = {}
    for problem in table.problems:
        if problem.kind == "number" and problem.block == "annotations" and problem.field in ("area", "bbox"):
            measures.setdefault(problem.row, []).append(problem.field)
    for hit in _of_kind(table, "number"):
        mine = measures.get(hit.row or 0, []) if hit.block == "annotations" else []
        fixable = bool(mine) and _may_measure(table, hit.row, mine)
        yield hit._replace(fix="safe" if fixable else None)
