"""Two versions of a file's annotations, object by object: what was moved, relabelled, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiftyone.core.fields import ObjectId

from trashkit.coco import Annotation, Dataset
from trashkit.coco.edit import same_value
from trashkit.coco.edit_match import match_annotations
from trashkit.review.outlines import outline


def pairs_of(now: Dataset, before: Dataset, images: Mapping[int, int]) -> dict[int, Annotation]:
    """The annotation of `before` that an annotation of `now`, by its row, was: as `trashkit edits diff` pairs them.

    images: row of an image in `before` by its row in `now`.
    """
    old = [one for one in before.annotations if one.image_row in set(images.values())]
    new = [one for one in now.annotations if one.image_row in images]
    ids = {row: before.image_by_row[other].id for row, other in images.items()}
    named = {before.classes.names[index]: key for key, index in before.classes.index_of.items()}
    records = [before.coco.record("annotations", one.row) for one in old]
    renamed = [
        {
            **now.coco.record("annotations", one.row),
            "image_id": ids[one.image_row],
            "category_id": named.get(now.classes.names[one.class_index]),
        }
        for one in new
    ]
    sizes = {image.id: (image.height, image.width) for image in before.images}
    pairs, _ = match_annotations(records, renamed, sizes)
    return {new[at].row: old[other] for at, other in pairs.items()}


def changes_of(
    now: Dataset, before: Dataset, name: str, rows: tuple[int, int], pairs: Mapping[int, Annotation]
) -> dict[str, Any]:
    """Fields of one image of `now`: how many annotations differ, and the outlines that they had before.

    rows: the image's row in `now` and in `before`. pairs: see `pairs_of`.
    """
    image_row, other_row = rows
    image = now.image_by_row[image_row]
    mine = now.annotations_of(image_row)
    met = {pairs[one.row].row: one for one in mine if one.row in pairs}
    labels = []
    for one in before.annotations_of(other_row):
        twin = met.get(one.row)
        change = "deleted" if twin is None else _change(twin, one, now, before)
        if change:
            labels.append(_label(before, one, change, (image.width, image.height)))
    added = sum(one.row not in pairs for one in mine)
    return {
        f"{name}_outlines": {"_cls": "Polylines", "polylines": labels},
        f"{name}_edits": len(labels) + added,
    }


def _class(dataset: Dataset, one: Annotation) -> str:
    return dataset.classes.names[one.class_index]


def _change(now: Annotation, before: Annotation, file: Dataset, other: Dataset) -> str:
    """What became of an annotation; empty where nothing did."""
    moved = not same_value(now.segmentation, before.segmentation)
    renamed = _class(file, now) != _class(other, before)
    parts = [f"now {_class(file, now)}"] * renamed + ["reshaped"] * moved
    return ", ".join(parts)


def _label(dataset: Dataset, one: Annotation, change: str, size: tuple[int, int]) -> dict[str, Any]:
    shown = outline(dataset.coco.record("annotations", one.row), size)
    return {
        "_id": ObjectId(),
        "_cls": "Polyline",
        "attributes": {},
        "tags": [],
        "label": _class(dataset, one),
        "points": shown.rings,
        "closed": True,
        "filled": False,
        "change": change,
    }
