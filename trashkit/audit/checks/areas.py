"""Area and box: against the file's own figures, and against what survives training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.checks.bounds import misplaced
from trashkit.audit.registry import Hit, check
from trashkit.audit.shapes import Shapes
from trashkit.finding import FixKind, Severity


def _flat(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation=[[10, 10, 60, 10, 110, 10]], area=0, bbox=[10, 10, 100, 0])


@check("G020", "zero-area", Severity.ERROR, broken=_flat)
def zero_area(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation has points or counts, but covers nothing.

    Example::

        {"segmentation": [[10, 10, 60, 10, 110, 10]]}

    Cure: outline the object again, or let `trashkit fix --unsafe` delete the annotation.
    """
    for annotation in np.flatnonzero(shapes.area == 0).tolist():
        yield Hit(int(shapes.rows[annotation]), "segmentation covers no area", 0.0, "unsafe")


def _dot(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(
        segmentation=[[10, 10, 10.8, 10, 10.8, 10.8, 10, 10.8]], area=0.64, bbox=[10, 10, 0.8, 0.8]
    )


@check("G021", "tiny-area", Severity.WARNING, broken=_dot)
def tiny_area(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation covers less than one pixel (`tiny_area`): a slip of the mouse.

    Score: pixels² that it lacks.

    Example::

        {"segmentation": [[10, 10, 10.8, 10, 10.8, 10.8]]}

    Cure: look at it; `trashkit fix --unsafe` deletes it.
    """
    area = shapes.area
    for annotation in np.flatnonzero((area > 0) & (area < shapes.table.settings.tiny_area)).tolist():
        yield Hit(
            int(shapes.rows[annotation]),
            f"segmentation covers {area[annotation]:.3g} px²",
            float(shapes.table.settings.tiny_area - area[annotation]),
            "unsafe",
        )


def _wrong_area(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["area"] *= 2


@check("G022", "area-mismatch", Severity.WARNING, broken=_wrong_area)
def area_mismatch(shapes: Shapes) -> Iterator[Hit]:
    """`area` is more than 1 % (`area_share`) off the area of the union of the annotation's polygons.

    Evaluation sorts objects into small, medium and large by it, and the paint order of label maps follows it. Invalid
    rings are measured as make_valid mends them. Score: the share by which it is off.

    Example::

        {"segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]], "area": 100}

    Cure: `trashkit fix` computes it, but for images that do not fit their annotations (G012, G013, G014).
    """
    stated, true = shapes.table.area[shapes.rows], shapes.area
    off = np.abs(stated - true) / np.where(true > 0, true, np.nan)
    masks = np.zeros(len(shapes), bool)
    masks[list(shapes.masks)] = True
    # a mask counts whole pixels, and many files keep the area of the polygon it was made from
    perimeter = 2 * (shapes.box[:, 2] - shapes.box[:, 0] + shapes.box[:, 3] - shapes.box[:, 1])
    slack = np.where(masks, perimeter / np.where(true > 0, true, np.nan), 0.0)
    limit = np.maximum(shapes.table.settings.area_share, slack)
    for annotation in np.flatnonzero(off > limit).tolist():
        message = f"area is {stated[annotation]:.6g}, but the shape has {true[annotation]:.6g} px²"
        yield Hit(int(shapes.rows[annotation]), message, float(off[annotation]), _fix(shapes, annotation))


def _fix(shapes: Shapes, annotation: int) -> FixKind | None:
    """Area and box are computed where the segmentation can be trusted: not where the image does not fit it."""
    return "safe" if shapes.measurable[annotation] and not misplaced(shapes)[annotation] else None


def _wrong_box(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["bbox"][2] += 5


@check("G023", "bbox-mismatch", Severity.WARNING, broken=_wrong_box)
def bbox_mismatch(shapes: Shapes) -> Iterator[Hit]:
    """An edge of `bbox` lies more than one pixel (`bbox_edge`) from the segmentation's.

    Half a pixel is a rounding convention and no finding. Boxes of masks may be one pixel larger or smaller. Score: by
    how many pixels the worst edge is off.

    Example::

        {"segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]], "bbox": [10, 10, 90, 50]}

    Cure: `trashkit fix` computes it. A box as corners instead of width and height is named in the message.
    """
    stated, true = shapes.table.bbox[shapes.rows], shapes.box
    corners = stated.copy()
    corners[:, 2:] += stated[:, :2]
    off = np.abs(corners - true).max(axis=1)
    limit = np.full(len(shapes), max(shapes.table.settings.bbox_edge, 1e-9) + 1e-6)
    limit[list(shapes.masks)] += 1.0
    for annotation in np.flatnonzero(off > limit).tolist():
        as_corners = bool(np.abs(stated[annotation] - true[annotation]).max() <= limit[annotation])
        why = ": it holds corners, but COCO has left, top, width, height" if as_corners else ""
        message = f"bbox is up to {off[annotation]:.4g} px off the shape's{why}"
        yield Hit(int(shapes.rows[annotation]), message, float(off[annotation]), _fix(shapes, annotation))


def _lost(coco: dict[str, Any]) -> None:
    coco["images"][0].update(width=6400, height=4800)
    coco["annotations"][0].update(segmentation=[[10, 10, 20, 10, 20, 20, 10, 20]], area=100, bbox=[10, 10, 10, 10])


@check("G024", "vanishes-at-training-size", Severity.WARNING, broken=_lost)
def vanishes_at_training_size(shapes: Shapes) -> Iterator[Hit]:
    """An annotation covers less than 4 pixels (`training_area`) once the image's longest side is 512 (`training_side`).

    Nothing can be learned from it, and in evaluation it is luck. Smaller images are not scaled up. Score: pixels² that
    it lacks.

    Example::

        {"images": [{"id": 1, "width": 6400, "height": 4800}], "annotations": [{"image_id": 1,
         "segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]]}]}

    Cure: train at a larger size or on crops, or leave it out of the measure; deleting such annotations did not help.
    """
    settings = shapes.table.settings
    scale = np.minimum(settings.training_side / np.maximum(shapes.width, shapes.height), 1.0)
    left = shapes.area * scale**2
    for annotation in np.flatnonzero((left < settings.training_area) & (shapes.area > 0)).tolist():
        message = f"covers {left[annotation]:.2g} px² once the image is {settings.training_side} px long"
        yield Hit(int(shapes.rows[annotation]), message, float(settings.training_area - left[annotation]))
