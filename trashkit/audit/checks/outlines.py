"""Checks of missing and carelessly drawn outlines: boxes in place of masks, and outlines with very few corners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.registry import Hit, check
from trashkit.audit.views.shapes import Shapes
from trashkit.audit.views.table import Table
from trashkit.coco.forms import has_only_boxes
from trashkit.finding import Severity


def _without_outlines(coco: dict[str, Any]) -> None:
    for annotation in coco["annotations"]:
        annotation["segmentation"] = []


@check("G006", "no-outlines", Severity.ERROR, on="file", broken=_without_outlines)
def no_outlines(table: Table) -> Iterator[Hit]:
    """No annotation of the file has an outline; all have boxes only: the file is for detection, not for segmentation.

    While this finding is there, the single annotations have none that say the same, and no fix deletes them. Score: how
    many annotations.

    Example::

        {"annotations": [{"id": 5, "bbox": [10, 10, 50, 50]}, {"id": 6, "segmentation": [], "bbox": [3, 4, 20, 20]}]}

    Fix: outline the objects, or give the file that has outlines.
    """
    rows = table.coco.rows("annotations")
    first: Any = table.coco.record("annotations", 0) if rows else None
    if isinstance(first, dict) and not first.get("segmentation"):
        records = table.coco.records("annotations")
        if has_only_boxes(records):
            message = f"none of the {len(records)} annotations has an outline (segmentation), only boxes (bbox)"
            yield Hit(None, message, float(len(records)))


def _boxes(shapes: Shapes) -> np.ndarray[Any, Any]:
    """[n] whether an annotation has one ring, which is an axis-aligned rectangle."""
    area = (shapes.box[:, 2] - shapes.box[:, 0]) * (shapes.box[:, 3] - shapes.box[:, 1])
    one = (shapes.ring_count == 1) & (shapes.vertices <= 5)
    return np.asarray(one & (shapes.area > 0) & (shapes.area >= 0.999 * area))


def _box(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(
        segmentation=[[60, 50, 160, 50, 160, 130, 60, 130]], area=8000, bbox=[60, 50, 100, 80]
    )


@check("G050", "box-as-mask", Severity.WARNING, broken=_box)
def box_as_mask(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation is its own bounding box: a detection label, not a mask. Score: its area in pixels².

    Models learn rectangular objects from it. It is a warning because some objects are rectangular.

    Example::

        {"segmentation": [[60, 50, 160, 50, 160, 130, 60, 130]], "bbox": [60, 50, 100, 80]}

    Fix: outline the object.
    """
    for annotation in np.flatnonzero(_boxes(shapes)).tolist():
        left, top, right, bottom = shapes.box[annotation]
        yield Hit(
            int(shapes.rows[annotation]),
            f"segmentation is a box of {right - left:.5g}x{bottom - top:.5g} px",
            float(shapes.area[annotation]),
        )


def _triangle(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation=[[60, 50, 160, 50, 110, 130]], area=4000, bbox=[60, 50, 100, 80])


@check("G051", "coarse-outline", Severity.INFO, broken=_triangle)
def coarse_outline(shapes: Shapes) -> Iterator[Hit]:
    """A large object is outlined by five corners or fewer (`coarse_vertices`), and is not a box.

    Large: its longest side is at least 64 pixels (`coarse_side`) once the image's longest side is 512. Score: this
    side.

    Example::

        {"segmentation": [[60, 50, 400, 60, 230, 330]]}

    Fix: check it, and outline it again where that matters.
    """
    settings = shapes.table.settings
    scale = np.minimum(settings.training_side / np.maximum(shapes.width, shapes.height), 1.0)
    side = np.maximum(shapes.box[:, 2] - shapes.box[:, 0], shapes.box[:, 3] - shapes.box[:, 1]) * scale
    corners = shapes.vertices / np.maximum(shapes.ring_count, 1)
    coarse = (corners <= settings.coarse_vertices) & (side >= settings.coarse_side) & ~_boxes(shapes)
    for annotation in np.flatnonzero(coarse & (shapes.area > 0)).tolist():
        rings = int(shapes.ring_count[annotation])
        drawn = f"{rings} rings of about " if rings > 1 else ""
        length = f"{side[annotation]:.0f} px long at training size"
        message = f"{drawn}{corners[annotation]:.0f} corners outline an object {length}"
        yield Hit(int(shapes.rows[annotation]), message, float(side[annotation]))
