"""Two COCO files made one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trashkit.coco.dataset import Coco, ids_in
from trashkit.coco.origin import joined_info
from trashkit.errors import TrashkitError


def merge(files: Sequence[Coco], *, prefixes: Sequence[str] | None = None) -> Coco:
    """One Coco that holds the images, annotations and categories of several.

    Categories are joined by name. An id keeps its value where it is free and gets the next free number where an
    earlier file uses it; references follow. Unknown keys of rows are kept; other top-level entries are the first
    file's, but for ``info.labels_of_models`` (`trashkit.coco.origin`), which is that of all. prefixes: one per file,
    put before each ``file_name``, for photo folders that are merged side by side.
    Raises TrashkitError for rows whose references cannot be followed, and for no files at all.
    """
    if not files:
        raise TrashkitError("there is nothing to merge", hint="name at least one annotation file")
    prefixes = prefixes or [""] * len(files)
    categories: list[dict[str, Any]] = []
    by_name: dict[str, Any] = {}
    images: list[Any] = []
    annotations: list[Any] = []
    fresh = {block: _fresh_ids() for block in ("images", "annotations", "categories")}
    for coco in files:
        coco.refuse_repeated()
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
                    f"{coco.path}: annotations[{row}] refers to an image or category that is not there",
                    hint=f"`trashkit audit {coco.path}` names them all",
                ) from error
            annotations.append({**record, "id": fresh["annotations"](record["id"]), **references})
    others = {name: item for name, item in files[0].items.items() if name not in fresh}
    info = joined_info(files)
    if info is not None:
        others["info"] = Coco.of({"info": info}).items["info"]
    made = Coco.of({"images": images, "annotations": annotations, "categories": categories})
    return Coco({**others, **made.items})


def _objects(coco: Coco, block: str) -> list[dict[str, Any]]:
    records = coco.records(block)
    for row, record in enumerate(records):
        named = isinstance(record, dict) and ids_in(record.get("id"))
        if not named or (block == "categories" and not isinstance(record.get("name"), str)):
            raise TrashkitError(
                f"{coco.path}: {block}[{row}] has no usable id or name",
                hint=f"`trashkit audit {coco.path}` names them all",
            )
    return records


def _fresh_ids() -> Callable[[Any], Any]:
    """A function that gives an id back while it is free, and the next free whole number once it is taken."""
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
