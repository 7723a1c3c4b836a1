"""Checks of RLE segmentations: wrong sizes and counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.checks.rings import restored_hit
from trashkit.audit.readings.masks import other_mask
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.shapes import Shapes
from trashkit.finding import Severity


def _wrong_size(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation={"size": [640, 480], "counts": [48100, 6400, 640 * 480 - 54500]})


@check("G040", "rle-size", Severity.ERROR, broken=_wrong_size)
def rle_size(shapes: Shapes) -> Iterator[Hit]:
    """The `size` of an RLE is not the image's height and width, in this order.

    Example::

        {"images": [{"id": 1, "width": 640, "height": 480}], "annotations": [{"image_id": 1,
         "segmentation": {"size": [640, 480], "counts": [48100, 6400, 252700]}}]}

    Fix: `trashkit fix --unsafe` corrects it where the bbox proves what was meant: height and width exchanged, alone or
    because the mask was written row by row. Otherwise export the mask again.
    """
    for annotation, mask in shapes.masks.items():
        if mask.size_problem:
            yield _restored(shapes, annotation, mask.size_problem)


def _restored(shapes: Shapes, annotation: int, message: str) -> Hit:
    """A damaged mask is never deleted: its counts are there, and may be read by a person."""
    hit = restored_hit(shapes, annotation, message)
    return hit if hit.proposal is not None else hit._replace(fix=None)


def _wrong_counts(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation={"size": [480, 640], "counts": [100, 50, 3]})


@check("G041", "rle-counts", Severity.ERROR, broken=_wrong_counts)
def rle_counts(shapes: Shapes) -> Iterator[Hit]:
    """The `counts` of an RLE are not run lengths or do not sum to its size, so that pycocotools reads invalid memory.

    Counts that run along rows, or that count the background as the object, are reported, too, where bbox and area fit
    only then.

    Example::

        {"segmentation": {"size": [480, 640], "counts": [100, 50, 3]}}

    Fix: `trashkit fix --unsafe` restores counts that were quoted (`b'...'`), escaped (doubled backslashes), encoded in
    base64 or written as text, where they then fill the image and agree with bbox and area. Otherwise export the mask
    again.
    """
    for annotation, mask in shapes.masks.items():
        if mask.counts_problem:
            yield _restored(shapes, annotation, mask.counts_problem)
            continue
        right = proven_mask(shapes, annotation)
        if right is not None:
            proposal = {"set": {"segmentation": right[0]}}
            yield Hit(int(shapes.rows[annotation]), right[1], fix="unsafe", proposal=proposal)


def proven_mask(shapes: Shapes, annotation: int) -> tuple[dict[str, Any], str] | None:
    """The mask that bbox and area prove in place of an annotation's own, and what is wrong; None if nothing is."""
    read, row = shapes.masks[annotation], shapes.rows[annotation]
    stated, true = shapes.table.bbox[row], np.array(read.box)
    off = np.abs(np.concatenate((stated[:2], stated[:2] + stated[2:])) - true).max()
    if read.size_problem or read.counts_problem or not off > 2:
        return None
    return other_mask(shapes.table.coco.record("annotations", int(row)), read)
