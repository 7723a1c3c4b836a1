"""Merge COCO files into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trashkit.coco.dataset import Coco, is_valid_id
from trashkit.coco.model_labels import merged_info
from trashkit.errors import TrashkitError


def merge(files: Sequence[Coco], *, prefixes: Sequence[str] | None = None) -> Coco:
    """Merge the images, annotations and categories of several COCO files.

    Categories are matched by name. An id keeps its value if it is free, and gets the next free number if an earlier
    file uses it; references are updated. Unknown keys of rows are kept. Other top-level entries are taken from the
    first file, except ``info.labels_of_models`` (`trashkit.coco.model_labels`), which is combined from all. prefixes:
    one per file, prepended to each ``file_name``, for photos in several folders.
    Raises TrashkitError for rows with references that do not resolve, and for an empty list of files.
    """
    if not files:
        raise TrashkitError("there is nothing to merge", hint="give at least one annotation file")
    prefixes = prefixes or [""] * len(files)
    categories: list[dict[str, Any]] = []
    by_name: dict[str, Any] = {}
    images: list[Any] = []
    annotations: list[Any] = []
    fresh = {block: _fresh_ids() for block in ("images", "annotations", "categories")}
    for coco in files:
        coco.require_unique_keys()
    for coco, prefix in zip(files, prefixes, strict=True):
        category_ids: dict[Any, Any] = {}
        for record in _objects(coco, "categories"):
            if record["name"] not in by_name:
                by_name[record["name"]] = fresh["categories"](record["id"])
                categories.append({**record, "id": by_name[record["name"]]})
            category_ids[record["id"]] = by_name[record["name"]]
        image_ids: dict[Any, Any] = {}
        for record in _objects(coco, "images"):
            image_ids[record["id"]] = fresh["images"](record["id"])
            images.append(
                {**record, "id": image_ids[record["id"]], "file_name": prefix + str(record.get("file_name", ""))}
            )
        for row, record in enumerate(_objects(coco, "annotations")):
            try:
                references = {
                    "image_id": image_ids[record["image_id"]],
                    "category_id": category_ids[record["category_id"]],
                }
            except (KeyError, TypeError) as error:
                raise TrashkitError(
                    f"{coco.path}: annotations[{row}] refers to an image or category that does not exist",
                    hint=f"`trashkit audit {coco.path}` lists them all",
                ) from error
            annotations.append({**record, "id": fresh["annotations"](record["id"]), **references})
    others = {name: item for name, item in files[0].items.items() if name not in fresh}
    info = merged_info(files)
    if info is not None:
        others["info"] = Coco.of({"info": info}).items["info"]
    made = Coco.of({"images": images, "annotations": annotations, "categories": categories})
    return Coco({**others, **made.items})


def _objects(coco: Coco, block: str) -> list[dict[str, Any]]:
    records = coco.records(block)
    for row, record in enumerate(records):
        named = isinstance(record, dict) and is_valid_id(record.get("id"))
        if not named or (block == "categories" and not isinstance(record.get("name"), str)):
            raise TrashkitError(
                f"{coco.path}: {block}[{row}] has no usable id or name",
                hint=f"`trashkit audit {coco.path}` lists them all",
            )
    return records


def _fresh_ids() -> Callable[[Any], Any]:
    """A function that returns an id if it is free, else the next free integer."""
    taken: set[Any] = set()
    highest = 0

    def claim(wanted: Any) -> Any:
        nonlocal highest
        claimed = wanted if wanted not in taken else highest + 1
        taken.add(claimed)
        if isinstance(claimed, int):
            highest = max(highest, claimed)
        return claimed

    return claim
