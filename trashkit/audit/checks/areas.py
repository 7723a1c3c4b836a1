"""Checks of areas and boxes: whether the file's values are right, and whether objects survive training size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.checks.bounds import box_is_inside, misplaced
from trashkit.audit.checks.labels import copied
from trashkit.audit.checks.masks_rle import proven_mask
from trashkit.audit.checks.parts import holes
from trashkit.audit.readings.placement import Placement
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.shapes import Shapes
from trashkit.finding import FixKind, Severity

_SPECK = 2.0
"""An object whose box is wider and higher than this many pixels is not a stray click."""


def _flat(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(segmentation=[[10, 10, 60, 10, 110, 10]], area=0, bbox=[10, 10, 100, 0])


@check("G020", "zero-area", Severity.ERROR, broken=_flat)
def zero_area(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation has points or counts, but covers no area.

    Example::

        {"segmentation": [[10, 10, 60, 10, 110, 10]]}

    Fix: outline the object again, or let `trashkit fix --unsafe` delete the annotation.
    """
    for annotation in np.flatnonzero(shapes.area == 0).tolist():
        fix: FixKind | None = None if annotation in shapes.apart else "unsafe"
        yield Hit(int(shapes.rows[annotation]), "segmentation covers no area", 0.0, fix)


def _dot(coco: dict[str, Any]) -> None:
    coco["annotations"][0].update(
        segmentation=[[10, 10, 10.8, 10, 10.8, 10.8, 10, 10.8]], area=0.64, bbox=[10, 10, 0.8, 0.8]
    )


@check("G021", "tiny-area", Severity.WARNING, broken=_dot)
def tiny_area(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation covers less than one pixel (`tiny_area`), usually a stray click.

    Score: how many pixels² it is below the limit.

    Example::

        {"segmentation": [[10, 10, 10.8, 10, 10.8, 10.8]]}

    Fix: check it; `trashkit fix --unsafe` deletes it, unless `bbox` or `area` say that the object is larger.
    """
    area = shapes.area
    for annotation in np.flatnonzero((area > 0) & (area < shapes.table.settings.tiny_area)).tolist():
        row = int(shapes.rows[annotation])
        message = f"segmentation covers {area[annotation]:.3g} px²"
        larger = _is_larger(shapes, annotation)
        message += ", but bbox or area say that the object is larger" if larger else ""
        score = float(shapes.table.settings.tiny_area - area[annotation])
        # Without the image's size nobody knows whether the coordinates are in pixels.
        yield Hit(row, message, score, "unsafe" if shapes.sized[annotation] and not larger else None)


def _wrong_area(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["area"] *= 2


@check("G022", "area-mismatch", Severity.WARNING, broken=_wrong_area)
def area_mismatch(shapes: Shapes) -> Iterator[Hit]:
    """`area` differs by more than 1 % (`area_share`) from the area of the union of the annotation's polygons.

    Evaluation divides objects into small, medium and large by this value, and the paint order of label maps follows it.
    Invalid rings are measured after make_valid. Score: the relative difference.

    Example::

        {"segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]], "area": 100}

    Fix: `trashkit fix` recomputes it, except for images that do not fit their annotations (G012, G013, G014), where a
    ring inside another may be a hole that only `area` tells of (G031), and where `bbox` says that the segmentation is
    somewhere else (G023).
    """
    stated, true = shapes.table.area[shapes.rows], shapes.area
    off = np.abs(stated - true) / np.where(true > 0, true, np.nan)
    masks = np.zeros(len(shapes), bool)
    masks[list(shapes.masks)] = True
    # A mask has whole pixels, but many files keep the area of the polygon that it was made from.
    perimeter = 2 * (shapes.box[:, 2] - shapes.box[:, 0] + shapes.box[:, 3] - shapes.box[:, 1])
    slack = np.where(masks, perimeter / np.where(true > 0, true, np.nan), 0.0)
    limit = np.maximum(shapes.table.settings.area_share, slack)
    for annotation in np.flatnonzero(off > limit).tolist():
        message = f"area is {stated[annotation]:.6g}, but the shape has {true[annotation]:.6g} px²"
        fix = None if holes(shapes, annotation)[0] in ("hole", "unclear") else _fix(shapes, annotation)
        yield Hit(int(shapes.rows[annotation]), message, float(off[annotation]), fix)


def _is_larger(shapes: Shapes, annotation: int) -> bool:
    """Whether an outline is tiny, but its row says that the object is not."""
    row = shapes.rows[annotation]
    stated = (shapes.table.bbox[row, 2:] > _SPECK).all() or shapes.table.area[row] > _SPECK**2
    return bool(shapes.area[annotation] < shapes.table.settings.tiny_area and stated)


def _fix(shapes: Shapes, annotation: int) -> FixKind | None:
    """Area and box are recomputed where the segmentation fits its image, and is neither a stray click nor outside."""
    doubtful = misplaced(shapes)[annotation] or _is_larger(shapes, annotation) or box_is_inside(shapes, annotation)
    doubtful = doubtful or annotation in shapes.contradicted
    return "safe" if shapes.measurable[annotation] and not doubtful else None


def _wrong_box(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["bbox"][2] += 5


@check("G023", "bbox-mismatch", Severity.WARNING, broken=_wrong_box)
def bbox_mismatch(shapes: Shapes) -> Iterator[Hit]:
    """An edge of `bbox` is more than one pixel (`bbox_edge`) away from that of the segmentation.

    Half a pixel is a rounding convention and not reported. Boxes of masks may be one pixel larger or smaller. Score:
    the distance of the worst edge in pixels.

    Example::

        {"segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]], "bbox": [10, 10, 90, 50]}

    Fix: `trashkit fix` recomputes it, unless the outline is tiny or a copy of another one (L001). The message says if
    the box has two corners instead of width and height. Where the box is far from the segmentation and nothing shows
    that the box is the wrong one, neither is changed. The message then says how the segmentation would fit its box
    (with x and y exchanged, mirrored, in percent, multiplied or moved), and `trashkit fix --unsafe` corrects the
    segmentation if `area` or the image's size prove it.
    """
    stated, true = shapes.table.bbox[shapes.rows], shapes.box
    corners = stated.copy()
    corners[:, 2:] += stated[:, :2]
    off = np.abs(corners - true).max(axis=1)
    limit = np.full(len(shapes), max(shapes.table.settings.bbox_edge, 1e-9) + 1e-6)
    limit[list(shapes.masks)] += 1.0
    copies: set[int] | None = None
    for annotation in np.flatnonzero(off > limit).tolist():
        as_corners = bool(np.abs(stated[annotation] - true[annotation]).max() <= limit[annotation])
        why = ": it is [left, top, right, bottom], but COCO has [left, top, width, height]" if as_corners else ""
        message = f"bbox is up to {off[annotation]:.4g} px off the shape's{why}"
        copies = copied(shapes) if copies is None else copies
        rows = annotation in shapes.masks and proven_mask(shapes, annotation) is not None
        fix = None if rows or annotation in copies else _fix(shapes, annotation)
        hit = Hit(int(shapes.rows[annotation]), message, float(off[annotation]), fix)
        placement = shapes.contradicted.get(annotation)
        yield hit if placement is None or rows else _moved_back(shapes, annotation, placement, hit)


def _moved_back(shapes: Shapes, annotation: int, placement: Placement, hit: Hit) -> Hit:
    """The hit with how the shape would fit its bbox; with a fix that moves it there, if that is proven."""
    hit = hit._replace(message=f"{hit.message}: {placement.said}", fix=None)
    if not placement.proven or annotation in shapes.masks:
        return hit
    record = shapes.table.coco.record("annotations", int(shapes.rows[annotation]))
    return hit._replace(fix="unsafe", proposal={"set": {"segmentation": placement.rings(record["segmentation"])}})


def _lost(coco: dict[str, Any]) -> None:
    coco["images"][0].update(width=6400, height=4800)
    coco["annotations"][0].update(segmentation=[[10, 10, 20, 10, 20, 20, 10, 20]], area=100, bbox=[10, 10, 10, 10])


@check("G024", "vanishes-at-training-size", Severity.WARNING, broken=_lost)
def vanishes_at_training_size(shapes: Shapes) -> Iterator[Hit]:
    """An annotation covers less than 4 pixels (`training_area`) once the image's longest side is 512 (`training_side`).

    A model cannot learn from it, and its evaluation is random. Smaller images are not scaled up. Score: how many
    pixels² it is below the limit.

    Example::

        {"images": [{"id": 1, "width": 6400, "height": 4800}], "annotations": [{"image_id": 1,
         "segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]]}]}

    Fix: train at a larger size or on crops. Deleting such annotations did not improve scores.
    """
    settings = shapes.table.settings
    scale = np.minimum(settings.training_side / np.maximum(shapes.width, shapes.height), 1.0)
    left = shapes.area * scale**2
    for annotation in np.flatnonzero((left < settings.training_area) & (shapes.area > 0)).tolist():
        message = f"covers {left[annotation]:.2g} px² once the image is {settings.training_side} px long"
        yield Hit(int(shapes.rows[annotation]), message, float(settings.training_area - left[annotation]))
