"""Ids: what is used twice, and what refers to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.registry import Hit, check
from trashkit.audit.rows import shown
from trashkit.audit.table import Table, other_blocks, repeated, rows_by_id
from trashkit.coco.dataset import ids_in
from trashkit.finding import FixKind, Severity


def _duplicates(ids: list[Any], block: str, what: str, fix: FixKind | None) -> Iterator[Hit]:
    for value, rows in repeated([value if ids_in(value) else None for value in ids]):
        for row in rows[1:]:
            others = [other for other in rows if other != row]
            message = f"{what} id {shown(value)} is used by {len(rows)} rows, first by {block}[{rows[0]}]"
            yield Hit(row, message, float(len(rows)), fix, others, block)


def _image_twice(coco: dict[str, Any]) -> None:
    coco["images"][1]["id"] = coco["images"][0]["id"]


@check("S010", "duplicate-image-id", Severity.ERROR, on="file", broken=_image_twice)
def duplicate_image_id(table: Table) -> Iterator[Hit]:
    """Two images have the same id, so that annotations cannot tell them apart.

    Reported once for each row after the first.

    Example::

        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]}

    Cure: give the later image its own id, and its annotations with it. Nobody but you knows which are whose.
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

    Cure: `trashkit fix` gives the later one a free id.
    """
    yield from _duplicates(table.annotation_ids, "annotations", "annotation", "safe")


def _category_twice(coco: dict[str, Any]) -> None:
    coco["categories"][1]["id"] = coco["categories"][0]["id"]


@check("S012", "duplicate-category-id", Severity.ERROR, on="file", broken=_category_twice)
def duplicate_category_id(table: Table) -> Iterator[Hit]:
    """Two categories have the same id: which class their annotations mean is unknown.

    Example::

        {"categories": [{"id": 1, "name": "Paper"}, {"id": 1, "name": "Glass"}]}

    Cure: remove one of them, or give it its own id and correct its annotations.
    """
    yield from _duplicates(table.category_ids, "categories", "category", None)


def _no_image(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["image_id"] = 999


@check("S013", "dangling-image-id", Severity.ERROR, on="file", broken=_no_image)
def dangling_image_id(table: Table) -> Iterator[Hit]:
    """An annotation names an image that the file does not have.

    Example::

        {"images": [{"id": 1}], "annotations": [{"id": 5, "image_id": 2}]}

    Cure: add the image, or let `trashkit fix --unsafe` delete the annotation.
    """
    for row in np.flatnonzero(table.image_row == -1).tolist():
        value = table.coco.record("annotations", row).get("image_id")
        yield Hit(row, f"image_id {shown(value)} names no image of the file", fix="unsafe")


def _no_category(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["category_id"] = 999


@check("S014", "dangling-category-id", Severity.ERROR, on="file", broken=_no_category)
def dangling_category_id(table: Table) -> Iterator[Hit]:
    """An annotation names a category that the file does not have.

    Example::

        {"categories": [{"id": 1, "name": "Paper"}], "annotations": [{"id": 5, "category_id": 2}]}

    Cure: add the category, relabel the annotation, or let `trashkit fix --unsafe` delete it.
    """
    for row in np.flatnonzero(table.category_row == -1).tolist():
        value = table.coco.record("annotations", row).get("category_id")
        yield Hit(row, f"category_id {shown(value)} names no category of the file", fix="unsafe")


def _licences(table: Table) -> tuple[dict[str, list[int]], list[int], list[int]]:
    """Image rows by dangling licence id, with a null licence, and with something that is no id of a number."""
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
        elif ids_in(value) and value in known:
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
    """Images name a licence that the file does not have. One finding for each such id.

    Example::

        {"licenses": [{"id": 1, "name": "CC BY 4.0"}], "images": [{"id": 1, "license": 4}]}

    Cure: add the licence, or correct the id.
    """
    for value, rows in _licences(table)[0].items():
        message = f"license {value} of {len(rows)} images names no licence of the file"
        yield Hit(rows[0], message, float(len(rows)), related=rows[1:], block="images")


def _null_licence(coco: dict[str, Any]) -> None:
    coco["images"][0]["license"] = None


@check("S016", "licence-null", Severity.INFO, on="file", broken=_null_licence)
def licence_null(table: Table) -> Iterator[Hit]:
    """Images whose licence is null: nobody can tell whether they may be published. One finding for the file.

    Example::

        {"images": [{"id": 1, "license": null}]}

    Cure: find out under which licence the photos came, and name it.
    """
    rows = _licences(table)[1]
    if rows:
        yield Hit(None, f"{len(rows)} images have license null", float(len(rows)), related=rows, block="images")


def _text_licence(coco: dict[str, Any]) -> None:
    coco["images"][0]["license"] = "CC BY 4.0"


@check("S017", "licence-no-id", Severity.INFO, on="file", broken=_text_licence)
def licence_no_id(table: Table) -> Iterator[Hit]:
    """Images whose licence is a text or something else, where COCO has the id of a licence. One finding for the file.

    Example::

        {"images": [{"id": 1, "license": "CC BY 4.0"}]}

    Cure: list the licences under `licenses`, and name them by id.
    """
    rows = _licences(table)[2]
    if rows:
        value = shown(table.records("images")[rows[0]]["license"])
        message = f"{len(rows)} images have a license that is no id of a licence, such as {value}"
        yield Hit(None, message, float(len(rows)), related=rows, block="images")


def _undefined_scene(coco: dict[str, Any]) -> None:
    coco["scene_annotations"] = [{"image_id": 1, "background_ids": [7]}]
    coco["scene_categories"] = [{"id": 0, "name": "Clean"}]


@check("S018", "dangling-reference", Severity.WARNING, on="file", broken=_undefined_scene)
def dangling_reference(table: Table) -> Iterator[Hit]:
    """A row refers to an image, an annotation, a category or a row of another block that does not exist.

    In blocks that COCO does not know, `image_id` means an image, `annotation_ids` annotations, and `video_id` a row of
    `videos` where the file has such a block; so too in images. In a block such as `scene_annotations` other fields
    whose names end in `_id` or `_ids` mean rows of `scene_categories`, where the file has that. (Images and categories
    of annotations are S013's and S014's.)

    Example::

        {"scene_annotations": [{"image_id": 0, "background_ids": [7]}], "scene_categories": [{"id": 0}]}

    Cure: correct the row or add what it names.
    """
    targets = _Targets(table)
    blocks = other_blocks(table.coco)
    for block in ["images", *blocks] if blocks else ():
        for row, record in enumerate(table.records(block)):
            missing = list(dict.fromkeys(targets.missing(block, record))) if isinstance(record, dict) else []
            if missing:
                yield Hit(row, f"{block}[{row}]: {'; '.join(missing)}", float(len(missing)), block=block)


class _Targets:
    """Finds the block that a field refers to by the field's name, and what of it is not there."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.ids: dict[str, set[Any]] = {}
        self.blocks = set(table.coco.blocks())

    def of(self, block: str, key: str) -> str | None:
        """The block that a field means; None where it is no reference, or nobody knows to what."""
        stem = key.removesuffix("_ids").removesuffix("_id")
        if stem == key or not stem:
            return None
        for plural in (f"{stem}s", f"{stem}es", f"{stem.removesuffix('y')}ies"):
            # a block of its own may have its own categories: scene_categories
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
                if not (ids_in(one) and one in self._ids(target)):
                    known = {"images": "image", "annotations": "annotation", "categories": "category"}
                    yield f"{key} {shown(one)} names no {known.get(target, f'row of {target}')}"

    def _ids(self, target: str) -> set[Any]:
        if target not in self.ids:
            table = self.table
            own = {"images": table.image_ids, "annotations": table.annotation_ids, "categories": table.category_ids}
            values = own.get(target) or [r.get("id") for r in table.records(target) if isinstance(r, dict)]
            self.ids[target] = {value for value in values if ids_in(value)}
        return self.ids[target]


def _licence_twice(coco: dict[str, Any]) -> None:
    coco["licenses"].append({"id": 1, "name": "CC0"})


@check("S019", "duplicate-id-elsewhere", Severity.WARNING, on="file", broken=_licence_twice)
def duplicate_id_elsewhere(table: Table) -> Iterator[Hit]:
    """Two licences, or two rows of a block that COCO does not know, have the same id: what refers to it is in doubt.

    Reported once for each row after the first.

    Example::

        {"licenses": [{"id": 1, "name": "CC BY 4.0"}, {"id": 1, "name": "CC0"}]}

    Cure: give the later one its own id, and correct what refers to it.
    """
    for block in ("licenses", *other_blocks(table.coco)):
        ids = [record.get("id") if isinstance(record, dict) else None for record in table.records(block)]
        yield from _duplicates(ids, block, block, None)
