"""Checks of ids: duplicates, and references to rows that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.readings.ids import References
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.fields import shown
from trashkit.audit.views.table import Ints, Table, other_blocks, repeated, rows_by_id
from trashkit.coco.dataset import is_valid_id
from trashkit.finding import FixKind, Severity


def _duplicates(ids: list[Any], block: str, what: str, fix: FixKind | None) -> Iterator[Hit]:
    for value, rows in repeated([value if is_valid_id(value) else None for value in ids]):
        for row in rows[1:]:
            others = [other for other in rows if other != row]
            message = f"{what} id {shown(value)} is used by {len(rows)} rows, first by {block}[{rows[0]}]"
            yield Hit(row, message, float(len(rows)), fix, others, block)


def _image_twice(coco: dict[str, Any]) -> None:
    coco["images"][1]["id"] = coco["images"][0]["id"]


@check("S010", "duplicate-image-id", Severity.ERROR, on="file", broken=_image_twice)
def duplicate_image_id(table: Table) -> Iterator[Hit]:
    """Two images have the same id, so it is unclear which of them annotations refer to.

    Reported once for each row after the first.

    Example::

        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]}

    Fix: give the later image a new id, and correct the annotations that belong to it.
    """
    yield from _duplicates(table.image_ids, "images", "image", None)


def _annotation_twice(coco: dict[str, Any]) -> None:
    coco["annotations"][1]["id"] = coco["annotations"][0]["id"]


@check("S011", "duplicate-annotation-id", Severity.ERROR, on="file", broken=_annotation_twice)
def duplicate_annotation_id(table: Table) -> Iterator[Hit]:
    """Two annotations have the same id; pycocotools silently drops one of them.

    Reported once for each row after the first.

    Example::

        {"annotations": [{"id": 5, "image_id": 1}, {"id": 5, "image_id": 2}]}

    Fix: `trashkit fix` gives the later one a new id.
    """
    yield from _duplicates(table.annotation_ids, "annotations", "annotation", "safe")


def _category_twice(coco: dict[str, Any]) -> None:
    coco["categories"][1]["id"] = coco["categories"][0]["id"]


@check("S012", "duplicate-category-id", Severity.ERROR, on="file", broken=_category_twice)
def duplicate_category_id(table: Table) -> Iterator[Hit]:
    """Two categories have the same id, so it is unclear which class annotations refer to.

    Example::

        {"categories": [{"id": 1, "name": "Paper"}, {"id": 1, "name": "Glass"}]}

    Fix: remove one of them, or give it a new id and correct its annotations.
    """
    yield from _duplicates(table.category_ids, "categories", "category", None)


def _no_image(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["image_id"] = 999


@check("S013", "dangling-image-id", Severity.ERROR, on="file", broken=_no_image)
def dangling_image_id(table: Table) -> Iterator[Hit]:
    """An annotation refers to an image that does not exist in the file.

    Example::

        {"images": [{"id": 1}], "annotations": [{"id": 5, "image_id": 2}]}

    Fix: where only the type differs (`"1"` for 1, but not `"007"` for 7), `trashkit fix` corrects it, and with
    `--unsafe` where it is the file name of one image. Otherwise add the image, or let `trashkit fix --unsafe` delete
    the annotation; it does not where an id looks similar, ids are repeated, or all may count from another number.
    """
    yield from _dangling(table, "image_id", table.image_row, table.image_ids, table.reader.image_references)


def _dangling(table: Table, field: str, target: Ints, ids: list[Any], references: References) -> Iterator[Hit]:
    """Annotations whose reference does not exist, with what it was meant to be or whether they can only be deleted."""
    rows = np.flatnonzero(target == -1).tolist()
    values = {row: table.coco.record("annotations", row).get(field) for row in rows}
    used = [ids[row] for row in np.unique(target[target >= 0]).tolist()]
    block = "images" if field == "image_id" else "categories"
    unclear = _why_unclear(table, block, ids, [*used, *values.values()]) if rows else ""
    for row, value in values.items():
        meant = references.read(value)
        why = meant.why or unclear
        message = f"{field} {shown(value)} does not exist in the file" + (f"; {why}" if why else "")
        if meant.id is not None:
            fix: FixKind = "safe" if meant.by_type else "unsafe"
            yield Hit(row, message, fix=fix, proposal={"set": {field: meant.id}})
        else:
            yield Hit(row, message, fix="unsafe" if meant.lost and not unclear else None)


def _why_unclear(table: Table, block: str, ids: list[Any], used: list[Any]) -> str:
    """Why references that do not exist may still be right, so that nothing is deleted; empty if nothing suggests it."""
    if block not in table.coco.blocks():
        return f"the file has no list of {block} to look it up"
    if any(row is not None and not isinstance(row, dict) for row in table.records(block)):
        return f"some rows of {block} are not objects"
    known = [one for one in ids if is_valid_id(one)]
    if len(set(known)) < len(known):
        return f"an id of {block} is used more than once, perhaps in its place"
    whole = {one for one in used if type(one) is int}
    for step, where in ((1, "from 0"), (-1, "from 1")):
        if 2 <= len(whole) == len({*map(shown, used)}) and {one + step for one in whole} <= set(known):
            return f"perhaps each {'image_id' if block == 'images' else 'category_id'} counts {where}, unlike the ids"
    return ""


def _no_category(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["category_id"] = 999


@check("S014", "dangling-category-id", Severity.ERROR, on="file", broken=_no_category)
def dangling_category_id(table: Table) -> Iterator[Hit]:
    """An annotation refers to a category that does not exist in the file.

    Example::

        {"categories": [{"id": 1, "name": "Paper"}], "annotations": [{"id": 5, "category_id": 2}]}

    Fix: where only the type differs (`"2"` for 2), `trashkit fix` corrects it, and with `--unsafe` where it is the name
    of one category. Otherwise add the category, relabel the annotation, or let `trashkit fix --unsafe` delete it; it
    does not where an id or a name looks similar, ids are repeated, or all may count from another number.
    """
    yield from _dangling(table, "category_id", table.category_row, table.category_ids, table.reader.category_references)


def _licences(table: Table) -> tuple[dict[str, list[int]], list[int], list[int]]:
    """Image rows by unknown licence id, with a null licence, and with a licence that is not an id."""
    known = rows_by_id([r.get("id") if isinstance(r, dict) else None for r in table.records("licenses")])
    dangling: dict[str, list[int]] = {}
    null: list[int] = []
    other: list[int] = []
    for row, record in enumerate(table.records("images")):
        if not isinstance(record, dict) or "license" not in record:
            continue
        value = record["license"]
        if value is None:
            null.append(row)
        elif is_valid_id(value) and value in known:
            continue
        elif isinstance(value, int) and not isinstance(value, bool):
            dangling.setdefault(shown(value), []).append(row)
        else:
            other.append(row)
    return dangling, null, other


def _no_licence(coco: dict[str, Any]) -> None:
    coco["images"][0]["license"] = 9


@check("S015", "dangling-licence-id", Severity.WARNING, on="file", broken=_no_licence)
def dangling_licence_id(table: Table) -> Iterator[Hit]:
    """Images refer to a licence that does not exist in the file. One finding for each such id.

    Example::

        {"licenses": [{"id": 1, "name": "CC BY 4.0"}], "images": [{"id": 1, "license": 4}]}

    Fix: add the licence, or correct the id.
    """
    for value, rows in _licences(table)[0].items():
        message = f"license {value} of {len(rows)} images does not exist in the file"
        yield Hit(rows[0], message, float(len(rows)), related=rows[1:], block="images")


def _null_licence(coco: dict[str, Any]) -> None:
    coco["images"][0]["license"] = None


@check("S016", "licence-null", Severity.INFO, on="file", broken=_null_licence)
def licence_null(table: Table) -> Iterator[Hit]:
    """Images have a null licence, so it is unclear whether they may be published. One finding for the file.

    Example::

        {"images": [{"id": 1, "license": null}]}

    Fix: find out the licence of the photos, and set its id.
    """
    rows = _licences(table)[1]
    if rows:
        yield Hit(None, f"{len(rows)} images have license null", float(len(rows)), related=rows, block="images")


def _text_licence(coco: dict[str, Any]) -> None:
    coco["images"][0]["license"] = "CC BY 4.0"


@check("S017", "licence-no-id", Severity.INFO, on="file", broken=_text_licence)
def licence_no_id(table: Table) -> Iterator[Hit]:
    """Images have a licence that is not the id of a licence, but text or something else. One finding for the file.

    Example::

        {"images": [{"id": 1, "license": "CC BY 4.0"}]}

    Fix: list the licences under `licenses`, and refer to them by id.
    """
    rows = _licences(table)[2]
    if rows:
        value = shown(table.records("images")[rows[0]]["license"])
        message = f"{len(rows)} images have a license that is not an id, such as {value}"
        yield Hit(None, message, float(len(rows)), related=rows, block="images")


def _undefined_scene(coco: dict[str, Any]) -> None:
    coco["scene_annotations"] = [{"image_id": 1, "background_ids": [7]}]
    coco["scene_categories"] = [{"id": 0, "name": "Clean"}]


@check("S018", "dangling-reference", Severity.WARNING, on="file", broken=_undefined_scene)
def dangling_reference(table: Table) -> Iterator[Hit]:
    """A row refers to an image, an annotation, a category or a row of another block that does not exist.

    In images and in blocks that are not part of COCO, `image_id` refers to an image, `annotation_ids` to annotations,
    and `video_id` to a row of `videos` if the file has such a block. In a block such as `scene_annotations`, other
    fields whose names end in `_id` or `_ids` refer to rows of `scene_categories`, if the file has them. (S013 and S014
    check the images and categories of annotations.)

    Example::

        {"scene_annotations": [{"image_id": 0, "background_ids": [7]}], "scene_categories": [{"id": 0}]}

    Fix: correct the reference, or add the missing row.
    """
    targets = _Targets(table)
    blocks = other_blocks(table.coco)
    for block in ["images", *blocks] if blocks else ():
        for row, record in enumerate(table.records(block)):
            missing = list(dict.fromkeys(targets.missing(block, record))) if isinstance(record, dict) else []
            if missing:
                yield Hit(row, f"{block}[{row}]: {'; '.join(missing)}", float(len(missing)), block=block)


class _Targets:
    """Finds the block that a field refers to by the field's name, and the references that do not exist."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.ids: dict[str, set[Any]] = {}
        self.blocks = set(table.coco.blocks())

    def of(self, block: str, key: str) -> str | None:
        """The block that a field refers to; None if it is not a reference, or the block is unknown."""
        stem = key.removesuffix("_ids").removesuffix("_id")
        if stem == key or not stem:
            return None
        for plural in (f"{stem}s", f"{stem}es", f"{stem.removesuffix('y')}ies"):
            # a block such as scene_annotations may have categories of its own: scene_categories
            if plural in self.blocks and (plural != "categories" or self._own(block) is None):
                return plural
        return self._own(block) or {"image": "images", "annotation": "annotations"}.get(stem)

    def _own(self, block: str) -> str | None:
        own = block.removesuffix("_annotations") + "_categories"
        return own if block.endswith("_annotations") and own in self.blocks else None

    def missing(self, block: str, record: dict[str, Any]) -> Iterator[str]:
        for key, value in record.items():
            target = self.of(block, key)
            if target is None or (block == "images" and value is None):
                continue
            for one in value if isinstance(value, list) else [value]:
                if not (is_valid_id(one) and one in self._ids(target)):
                    known = {"images": "an image", "annotations": "an annotation", "categories": "a category"}
                    yield f"{key} {shown(one)} is not the id of {known.get(target, f'a row of {target}')}"

    def _ids(self, target: str) -> set[Any]:
        if target not in self.ids:
            table = self.table
            own = {"images": table.image_ids, "annotations": table.annotation_ids, "categories": table.category_ids}
            values = own.get(target) or [r.get("id") for r in table.records(target) if isinstance(r, dict)]
            self.ids[target] = {value for value in values if is_valid_id(value)}
        return self.ids[target]


def _licence_twice(coco: dict[str, Any]) -> None:
    coco["licenses"].append({"id": 1, "name": "CC0"})


@check("S019", "duplicate-id-elsewhere", Severity.WARNING, on="file", broken=_licence_twice)
def duplicate_id_elsewhere(table: Table) -> Iterator[Hit]:
    """Two licences, or two rows of a block that is not part of COCO, have the same id: references to it are ambiguous.

    Reported once for each row after the first.

    Example::

        {"licenses": [{"id": 1, "name": "CC BY 4.0"}, {"id": 1, "name": "CC0"}]}

    Fix: give the later one a new id, and correct the references to it.
    """
    for block in ("licenses", *other_blocks(table.coco)):
        ids = [record.get("id") if isinstance(record, dict) else None for record in table.records(block)]
        yield from _duplicates(ids, block, block, None)
