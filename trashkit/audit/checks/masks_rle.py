"""RLE segmentations whose size or counts are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trashkit.audit.registry import Hit, check
from trashkit.audit.shapes import Shapes
from trashkit.finding import Severity


def _wrong_size(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation={"size": [640, 480], "counts": [48100, 6400, 640 * 480 - 54500]})


@check("G040", "rle-size", Severity.ERROR, broken=_wrong_size)
def rle_size(shapes: Shapes) -> Iterator[Hit]:
    """The `size` of an RLE is not the image's height and width, in this order.

    Example::

        {"images": [{"id": 1, "width": 640, "height": 480}], "annotations": [{"image_id": 1,
         "segmentation": {"size": [640, 480], "counts": [48100, 6400, 252700]}}]}

    Cure: with height and width swapped the mask was likely written row by row: export it again.
    """
    for annotation, mask in shapes.masks.items():
        if mask.size_problem:
            yield Hit(int(shapes.rows[annotation]), mask.size_problem)


def _wrong_counts(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation={"size": [480, 640], "counts": [100, 50, 3]})


@check("G041", "rle-counts", Severity.ERROR, broken=_wrong_counts)
def rle_counts(shapes: Shapes) -> Iterator[Hit]:
    """The `counts` of an RLE are not run lengths, or do not sum to the size: pycocotools reads memory it should not.

    Example::

        {"segmentation": {"size": [480, 640], "counts": [100, 50, 3]}}

    Cure: export the mask again.
    """
    for annotation, mask in shapes.masks.items():
        if mask.counts_problem:
            yield Hit(int(shapes.rows[annotation]), mask.counts_problem)
