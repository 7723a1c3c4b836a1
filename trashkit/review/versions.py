"""Two versions of a file's annotations, object by object: what was moved, relabelled, deleted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fiftyone.core.fields import ObjectId

from trashkit.coco import Annotation, Dataset
from trashkit.coco.edit import same_value
from trashkit.review.outlines import outline


def changes_of(now: Dataset, before: Dataset, image_row: int, name: str) -> dict[str, Any]:
    """Fields of one image of `now`: how many annotations differ, and the outlines that they had before.

    Annotations are matched by id where it is the only one of its kind in each file, else by their values alone.
    """
    image = now.image_by_row[image_row]
    mine = now.annotations_of(image_row)
    theirs = before.annotations_of(before.image_by_id[image.id].row)
    by_id = {one.id: one for one in mine}
    often = [Counter(one.id for one in side) for side in (mine, theirs)]
    met: set[Any] = set()
    labels = []
    for one in theirs:
        twin = by_id.get(one.id)
        if max(counts[one.id] for counts in often) > 1:
            twin = next((other for other in mine if not _change(other, one, now, before)), None)
        if twin is not None:
            met.add(twin.row)
        change = "deleted" if twin is None else _change(twin, one, now, before)
        if change:
            labels.append(_label(before, one, change, (image.width, image.height)))
    added = sum(one.row not in met for one in mine)
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
