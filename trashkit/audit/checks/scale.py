"""Checks of the scale of a whole file: coordinates in another unit, and images too large to be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trashkit.audit.registry import Hit, check
from trashkit.audit.views.table import Table
from trashkit.finding import Severity
from trashkit.raster.masks import MOST_PIXELS


def _fractions(coco: dict[str, Any]) -> None:
    for annotation in coco["annotations"]:
        ring = annotation["segmentation"][0]
        ring[0::2], ring[1::2] = [x / 640 for x in ring[0::2]], [y / 480 for y in ring[1::2]]


@check("G015", "file-at-other-scale", Severity.ERROR, on="file", broken=_fractions)
def file_at_other_scale(table: Table) -> Iterator[Hit]:
    """The coordinates of the whole file are in another unit or order, or too small or too large by one factor.

    All polygons in 0..1 are fractions of width and height, as YOLO writes them. Percent, thousandths and any other
    factor are reported where bbox, area or the images' sizes show them; the message says which. So are polygons that
    fit their boxes only with x and y exchanged, mirrored, or all moved by the same distance. Where only the sizes show
    that everything is too large, the factor may be known as a least one: then there is no fix. While this finding is
    there, annotations have no findings about their size and position, which would all say the same. If it is not proven
    whether the polygons are wrong, these findings remain, without a fix. Score: how many annotations.

    Example::

        {"images": [{"id": 1, "width": 640, "height": 480}], "annotations": [{"image_id": 1,
         "segmentation": [[0.25, 0.5, 0.75, 0.5, 0.75, 0.9]]}]}

    Fix: `trashkit fix --unsafe` multiplies, exchanges or moves the coordinates where it is proven what is wrong, and
    recomputes boxes and areas that do not fit them. Otherwise export the file again.
    """
    scale = table.scale
    if scale is None:
        return
    if scale.move is not None:
        do = (
            "measure the boxes anew"
            if scale.target == "box"
            else "exchange them"
            if scale.move.exchanged
            else "move them"
        )
        cure = f": {do}"
    elif scale.unit and scale.target == "shape":
        by = "" if scale.unit == 1 else f" / {scale.unit}"
        cure = f": multiply x by the image's width{by} and y by its height{by}"
    elif scale.target == "box" or not scale.proven or not scale.factor:
        cure = ""
    else:
        cure = f": multiply them by {scale.factor:.6g}"
    yield Hit(
        None,
        scale.what + cure,
        float(len(scale.rows)),
        "unsafe" if scale.proven and scale.proposal else None,
        scale.rows.tolist(),
        proposal={"scale": scale.proposal} if scale.proposal else None,
    )


def _huge(coco: dict[str, Any]) -> None:
    coco["images"][0].update(width=100_000, height=100_000)


@check("S009", "image-too-large", Severity.ERROR, on="file", broken=_huge)
def image_too_large(table: Table) -> Iterator[Hit]:
    """An image has more pixels than any command draws: 268 million (2 to the power of 28), as 16384x16384 has.

    Score: how many times as many.

    Example::

        {"images": [{"id": 1, "width": 100000, "height": 100000}]}

    Fix: correct width and height, or cut the photo into parts.
    """
    for row, (width, height) in enumerate(zip(table.width.tolist(), table.height.tolist(), strict=True)):
        if width * height > MOST_PIXELS:  # false for NaN
            message = f"{width:.0f}x{height:.0f} pixels: no command draws images of more than {MOST_PIXELS:,} pixels"
            yield Hit(row, message, width * height / MOST_PIXELS, block="images")
