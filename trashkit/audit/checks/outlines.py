"""Outlines drawn with little care: boxes posing as masks, and very few corners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.registry import Hit, check
from trashkit.audit.shapes import Shapes
from trashkit.finding import Severity


def _boxes(shapes: Shapes) -> np.ndarray[Any, Any]:
    """[n] whether the one ring of an annotation is an upright rectangle."""
    area = (shapes.box[:, 2] - shapes.box[:, 0]) * (shapes.box[:, 3] - shapes.box[:, 1])
    one = (shapes.ring_count == 1) & (shapes.vertices <= 5)
    return np.asarray(one & (shapes.area > 0) & (shapes.area >= 0.999 * area))


def _box(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(
        segmentation=[[60, 50, 160, 50, 160, 130, 60, 130]], area=8000, bbox=[60, 50, 100, 80]
    )


@check("G050", "box-as-mask", Severity.WARNING, broken=_box)
def box_as_mask(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation is its own bounding box: a detection label that poses as a mask. Score: its area in pixels².

    Networks learn square objects from it. Rectangular things seen straight on do exist: hence a warning.

    Example::

        {"segmentation": [[60, 50, 160, 50, 160, 130, 60, 130]], "bbox": [60, 50, 100, 80]}

    Cure: outline the object.
    """
    for annotation in np.flatnonzero(_boxes(shapes)).tolist():
        left, top, right, bottom = shapes.box[annotation]
        yield Hit(
            int(shapes.rows[annotation]),
            f"segmentation is a plain box of {right - left:.5g}x{bottom - top:.5g} px",
            float(shapes.area[annotation]),
        )


def _triangle(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation=[[60, 50, 160, 50, 110, 130]], area=4000, bbox=[60, 50, 100, 80])


@check("G051", "coarse-outline", Severity.INFO, broken=_triangle)
def coarse_outline(shapes: Shapes) -> Iterator[Hit]:
    """A large object is outlined by five corners or fewer (`coarse_vertices`), and is no plain box.

    Large: its longest side is 64 pixels or more (`coarse_side`) once the image's longest side is 512. Score: that side.

    Example::

        {"segmentation": [[60, 50, 400, 60, 230, 330]]}

    Cure: look at it; outline it with more care where it matters.
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
