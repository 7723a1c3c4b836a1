"""The text of the file: what JSON does not have, and blocks and rows that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from trashkit.audit.registry import Hit, check
from trashkit.audit.rows import RowProblem, shown, text_problems
from trashkit.audit.table import Table
from trashkit.coco.segmentation import check_segmentation
from trashkit.finding import Severity


def _of_kind(table: Table, kind: str) -> Iterator[Hit]:
    """One hit for each row with problems of a kind."""
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
    """A row holds NaN, Infinity or a number out of range, which JSON does not have.

    Python's json reads and writes them, most other readers (orjson, browsers, pandas, jq) refuse the whole file. They
    usually come from a division by zero in a converter, so the value is wrong as well.

    Example::

        {"id": 7, "area": NaN, "bbox": [Infinity, Infinity, -Infinity, -Infinity]}

    Cure: `trashkit fix` computes area and box afresh where the segmentation is sound; else delete the annotation.
    """
    yield from _of_kind(table, "json")
    for name, item in table.coco.items.items():
        if isinstance(item, msgspec.Raw):
            try:
                msgspec.json.decode(item)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                yield Hit(None, f"{shown(name)} holds what strict JSON parsers refuse, such as NaN", block="file")


def _twice(coco: dict[str, Any]) -> str:
    text = json.dumps(coco)
    return text.replace('"iscrowd": 0', '"iscrowd": 0, "iscrowd": 0', 1)


@check("S002", "duplicate-key", Severity.ERROR, on="file", broken=_twice)
def duplicate_key(table: Table) -> Iterator[Hit]:
    """A JSON object gives the same key more than once, and readers keep one of the values without a word.

    Which one they keep differs between readers. At the top of the file a whole list can vanish this way.

    Example::

        {"id": 7, "category_id": 3, "category_id": 5}

    Cure: decide by hand which value is meant, and remove the other.
    """
    yield from _of_kind(table, "duplicate-key")
    for problem in nested_keys(table):
        yield Hit(None, problem, block="file")
    if table.coco.repeated:
        names = ", ".join(map(shown, table.coco.repeated))
        yield Hit(None, f"the file gives the top-level key {names} more than once; the last was taken", block="file")


def nested_keys(table: Table) -> Iterator[str]:
    """Keys given twice in values and rows that no other check reads: info, licences, blocks that are not COCO's own."""
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
    """The file has no list of images, annotations or categories, or something else in its place.

    Example::

        {"images": [], "annotations": null}

    Cure: export the file again; a test set without labels has an empty list `annotations`.
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

    Cure: delete the row, as `trashkit fix --unsafe` does.
    """
    for hit in _of_kind(table, "object"):
        yield hit._replace(fix="unsafe")


def _no_name(coco: dict[str, Any]) -> None:
    del coco["images"][0]["file_name"]


@check("S005", "missing-field", Severity.ERROR, on="file", broken=_no_name)
def missing_field(table: Table) -> Iterator[Hit]:
    """A row lacks a field without which it cannot be used.

    Images need id, file_name, width and height; annotations id, image_id, category_id and segmentation; categories id
    and name.

    Example::

        {"id": 7, "width": 512, "height": 512}

    Cure: add the field; `trashkit audit --images DIR` tells the size of a photo.
    """
    yield from _of_kind(table, "missing")


def _no_area(coco: dict[str, Any]) -> None:
    del coco["annotations"][0]["area"]


@check("S006", "missing-measure", Severity.WARNING, on="file", broken=_no_area)
def missing_measure(table: Table) -> Iterator[Hit]:
    """An annotation lacks area, bbox or iscrowd, which pycocotools asks for when it evaluates.

    Where all annotations lack the same field, one finding says so.

    Example::

        {"id": 7, "image_id": 1, "category_id": 3, "segmentation": [[10, 10, 60, 10, 60, 60]]}

    Cure: `trashkit fix` computes them.
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
                fixable = name == "iscrowd" or _may_measure(table, row)
                yield Hit(row, f"{name} is missing", fix="safe" if fixable else None)


def _text_width(coco: dict[str, Any]) -> None:
    coco["images"][0]["width"] = "640"


@check("S007", "wrong-type", Severity.ERROR, on="file", broken=_text_width)
def wrong_type(table: Table) -> Iterator[Hit]:
    """A field holds a value of the wrong type or out of its range.

    Ids are whole numbers (texts are taken too), file_name and name are texts, width and height positive whole numbers,
    area is a number from 0 up, bbox four of them, iscrowd 0 or 1, and segmentation a list of rings or an RLE object.

    Example::

        {"id": 7, "file_name": "photo.jpg", "width": "640", "height": -480}

    Cure: correct the value; `trashkit fix` computes area and box afresh where these are the only ones.
    """
    others = {(p.block, p.row) for p in table.problems if p.kind == "type" and p.field not in ("area", "bbox")}
    for hit in _of_kind(table, "type"):
        fixable = (hit.block, hit.row) not in others and _may_measure(table, hit.row)
        yield hit._replace(fix="safe") if fixable else hit


def _may_measure(table: Table, row: int | None) -> bool:
    """Whether an annotation's segmentation rasterises on an image of known size, so that a fix can measure it."""
    if row is None or table.image_row[row] < 0:
        return False
    width, height = table.width[table.image_row[row]], table.height[table.image_row[row]]
    if not (width == width // 1 and height == height // 1):
        return False
    record = table.coco.record("annotations", row)
    return check_segmentation(record.get("segmentation"), int(height), int(width)) is None


def _infinite_box(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["bbox"][0] = float("inf")


@check("S008", "field-not-finite", Severity.ERROR, on="file", broken=_infinite_box)
def field_not_finite(table: Table) -> Iterator[Hit]:
    """A number outside the segmentation (a size, `area`, `bbox`) is NaN, infinite or too large for a float.

    Annotations with empty segmentations often carry a box from plus to minus infinity.

    Example::

        {"id": 7, "segmentation": [], "bbox": [Infinity, Infinity, -Infinity, -Infinity]}

    Cure: `trashkit fix` computes area and box afresh where the segmentation is sound.
    """
    measures = {p.row for p in table.problems if p.kind == "number" and p.field in ("area", "bbox")}
    for hit in _of_kind(table, "number"):
        fixable = hit.block == "annotations" and hit.row in measures and _may_measure(table, hit.row)
        yield hit._replace(fix="safe" if fixable else None)
