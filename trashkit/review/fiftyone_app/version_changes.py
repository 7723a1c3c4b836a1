"""How the annotations of two versions of a file differ: which were reshaped, relabelled, deleted or added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from trashkit.coco import Annotation, Dataset
from trashkit.edits.edit import same_value
from trashkit.edits.match import match_annotations
from trashkit.review.outlines import outline


def match_versions(now: Dataset, before: Dataset, images: Mapping[int, int]) -> dict[int, Annotation]:
    """The annotation of `before` that each annotation of `now` was, by its row, as `trashkit edits diff` matches them.

    images: row of an image in `before` by its row in `now`.
    """
    old = [one for one in before.annotations if one.image_row in set(images.values())]
    new = [one for one in now.annotations if one.image_row in images]
    image_ids = {row: before.image_by_row[other].id for row, other in images.items()}
    category_ids = {before.classes.names[index]: key for key, index in before.classes.index_of.items()}
    old_records = [before.coco.record("annotations", one.row) for one in old]
    new_records = [
        {
            **now.coco.record("annotations", one.row),
            "image_id": image_ids[one.image_row],
            "category_id": category_ids.get(now.classes.names[one.class_index]),
        }
        for one in new
    ]
    sizes = {image.id: (image.height, image.width) for image in before.images}
    pairs, _ = match_annotations(old_records, new_records, sizes)
    return {new[n].row: old[other] for n, other in pairs.items()}


def change_fields(
    now: Dataset, before: Dataset, name: str, rows: tuple[int, int], matches: Mapping[int, Annotation]
) -> dict[str, Any]:
    """Fields of one image: how many annotations differ, and the old outlines of those.

    name: prefix of the fields. rows: the image's row in `now` and in `before`. matches: from `match_versions`.
    """
    image_row, other_row = rows
    image = now.image_by_row[image_row]
    annotations = now.annotations_of(image_row)
    current = {matches[one.row].row: one for one in annotations if one.row in matches}
    labels = []
    for one in before.annotations_of(other_row):
        change = _change(current[one.row], one, now, before) if one.row in current else "deleted"
        if change:
            labels.append(_label(before, one, change, (image.height, image.width)))
    added = sum(one.row not in matches for one in annotations)
    return {
        f"{name}_outlines": {"_cls": "Polylines", "polylines": labels},
        f"{name}_edits": len(labels) + added,
    }


def _class(dataset: Dataset, annotation: Annotation) -> str:
    return dataset.classes.names[annotation.class_index]


def _change(now: Annotation, before: Annotation, file: Dataset, other: Dataset) -> str:
    """What changed of an annotation; empty if nothing did."""
    parts = []
    if _class(file, now) != _class(other, before):
        parts.append(f"now {_class(file, now)}")
    if not same_value(now.segmentation, before.segmentation):
        parts.append("reshaped")
    return ", ".join(parts)


def _label(dataset: Dataset, annotation: Annotation, change: str, size: tuple[int, int]) -> dict[str, Any]:
    shown = outline(dataset.coco.record("annotations", annotation.row), size)
    return {
        "_id": ObjectId(),
        "_cls": "Polyline",
        "attributes": {},
        "tags": [],
        "label": _class(dataset, annotation),
        "points": shown.rings,
        "closed": True,
        "filled": False,
        "change": change,
    }
