"""Checks of positions: outside the image, drawn at another scale, x and y swapped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.checks.rings import worst_rings
from trashkit.audit.readings.evidence import box_agrees
from trashkit.audit.readings.placement import FEW_PIXELS
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.shapes import Bools, Shapes
from trashkit.audit.views.table import Floats, Ints
from trashkit.finding import FixKind, Severity

_MANY = 0.4
"""Share of an image's annotations that must be off before the image as a whole is reported."""


def _ring_excess(shapes: Shapes) -> Floats:
    """[rings] how many pixels each ring extends outside its image; 0 if the size is unknown."""
    owner = shapes.ring_owner
    left, top, right, bottom = shapes.ring_box.T
    outside = np.stack((-left, -top, right - shapes.width[owner], bottom - shapes.height[owner]))
    return np.asarray(np.nan_to_num(np.maximum(outside.max(axis=0), 0.0), nan=0.0, posinf=1e308))


def _wholly_outside(shapes: Shapes) -> np.ndarray[Any, Any]:
    owner = shapes.ring_owner
    left, top, right, bottom = shapes.ring_box.T
    before = (right <= 0) | (bottom <= 0)
    return np.asarray(before | (left >= shapes.width[owner]) | (top >= shapes.height[owner]))


def misplaced(shapes: Shapes) -> Bools:
    """[n] whether an annotation's image does not fit its annotations (G012, G013, G014).

    Fixes do not change areas, boxes and parts outside the image there, since these show what is wrong.
    """
    found = shapes.cache.get("misplaced")
    if not isinstance(found, np.ndarray):
        images = {hit.row for one in (axes_swapped, annotated_at_other_scale, x_and_y_exchanged) for hit in one(shapes)}
        found = shapes.cache["misplaced"] = np.isin(shapes.image, sorted(row for row in images if row is not None))
    return found


def _shift(dx: float, dy: float) -> Any:
    def broken(coco: dict[str, Any]) -> None:
        annotation = coco["annotations"][0]
        ring = annotation["segmentation"][0]
        ring[0::2] = [x + dx for x in ring[0::2]]
        ring[1::2] = [y + dy for y in ring[1::2]]
        annotation["bbox"][0] += dx
        annotation["bbox"][1] += dy

    return broken


@check("G010", "out-of-bounds", Severity.WARNING, broken=_shift(-76, 0))
def out_of_bounds(shapes: Shapes) -> Iterator[Hit]:
    """A polygon extends outside its image. Score: by how many pixels.

    Some rasterisers wrap around or crash, others clip. Half a pixel is a rounding error; many pixels mean that the
    image's size and the annotation do not fit each other. Threshold: `outside`, 0 pixels. Rings fully outside are
    reported as G011.

    Example::

        {"images": [{"id": 1, "width": 512, "height": 512}], "annotations": [{"image_id": 1,
         "segmentation": [[500, 10, 512.6, 10, 512.6, 60]]}]}

    Fix: `trashkit fix` clips up to five pixels, with `--unsafe` any number.
    """
    excess = _ring_excess(shapes)
    rings = np.flatnonzero((excess > shapes.table.settings.outside) & ~_wholly_outside(shapes))
    for ring, _ in worst_rings(shapes, rings, excess[rings]):
        owner = int(shapes.ring_owner[ring])
        pixels = float(excess[ring])
        message = f"polygon extends {pixels:.3g} px outside the image of {_size(shapes, owner)}"
        fix: FixKind | None = "safe" if pixels <= FEW_PIXELS else "unsafe"
        yield Hit(int(shapes.rows[owner]), message, pixels, fix if _may_clip(shapes, owner) else None)


@check("G011", "ring-outside", Severity.ERROR, broken=_shift(-200, 0))
def ring_outside(shapes: Shapes) -> Iterator[Hit]:
    """A ring is fully outside its image and covers no pixel of it. Score: how many pixels it extends outside.

    Example::

        {"images": [{"id": 1, "width": 512, "height": 512}], "annotations": [{"image_id": 1,
         "segmentation": [[600, 10, 650, 10, 650, 60]]}]}

    Fix: check whether the image's size is right; `trashkit fix --unsafe` drops the ring, unless it is the whole
    annotation and its bbox is inside the image.
    """
    excess = _ring_excess(shapes)
    rings = np.flatnonzero(_wholly_outside(shapes))
    for ring, number in worst_rings(shapes, rings, excess[rings]):
        owner = int(shapes.ring_owner[ring])
        which = "ring" if number == 1 else f"{number} rings, one of them"
        left, top, right, bottom = shapes.ring_box[ring]
        message = (
            f"{which} from ({left:.5g}, {top:.5g}) to ({right:.5g}, {bottom:.5g}) is fully outside the image of "
            f"{_size(shapes, owner)}"
        )
        elsewhere = box_is_inside(shapes, owner)
        message += ", but its bbox is inside" if elsewhere else ""
        fix: FixKind | None = "unsafe" if _may_clip(shapes, owner) and not elsewhere else None
        yield Hit(int(shapes.rows[owner]), message, float(excess[ring]), fix)


def box_is_inside(shapes: Shapes, annotation: int) -> bool:
    """Whether a whole annotation is outside its image, although its bbox is inside: its outline can be wrong."""
    stated, true = shapes.table.bbox[shapes.rows[annotation]], shapes.box[annotation]
    size = np.array([shapes.width[annotation], shapes.height[annotation]])
    outside = (true[2:] <= 0).any() or (true[:2] >= size).any()
    inside = (stated[2:] > 0).all() and (stated[:2] >= 0).all() and (stated[:2] + stated[2:] <= size + 1).all()
    return bool(outside and inside)


def _may_clip(shapes: Shapes, annotation: int) -> bool:
    """Not where the annotation may be wrong as a whole."""
    doubtful = misplaced(shapes)[annotation] or annotation in shapes.contradicted
    return bool(shapes.measurable[annotation] and not doubtful)


def _size(shapes: Shapes, annotation: int) -> str:
    return f"{shapes.width[annotation]:.0f}x{shapes.height[annotation]:.0f} px"


def _images(shapes: Shapes, share: float, pixels: float) -> Iterator[tuple[int, Ints, Floats]]:
    """Images whose valid shapes extend over the right or lower side by more than `share` of it plus `pixels`.

    Yields the image's row, its annotations, and left, top, right, bottom of the box around them with the image's width
    and height.
    """
    usable = np.flatnonzero((shapes.image >= 0) & ~np.isnan(shapes.box).any(axis=1) & ~np.isnan(shapes.width))
    usable = usable[~np.isin(usable, [one for one in shapes.masks if _is_of_wrong_size(shapes, one)])]
    if not len(usable):
        return
    image = shapes.image[usable]
    first = np.flatnonzero(np.concatenate(([True], image[1:] != image[:-1])))
    low = np.minimum.reduceat(shapes.box[usable, :2], first)
    high = np.maximum.reduceat(shapes.box[usable, 2:], first)
    sizes = np.stack((shapes.width[usable[first]], shapes.height[usable[first]]), axis=1)
    beyond = (high > sizes * (1 + share) + pixels).any(axis=1)
    last = np.append(first[1:], len(usable))
    for n in np.flatnonzero(beyond).tolist():
        yield int(image[first[n]]), usable[first[n] : last[n]], np.concatenate((low[n], high[n], sizes[n]))


def _swap(coco: dict[str, Any]) -> None:
    coco["images"][0].update(width=480, height=640)


def _is_of_wrong_size(shapes: Shapes, annotation: int) -> bool:
    """Whether a mask has another size than its image and its bbox does not say that the mask is right."""
    stated = shapes.table.bbox[shapes.rows[annotation]]
    boxed = bool(np.isfinite(stated).all()) and box_agrees(stated.tolist(), shapes.masks[annotation].box)
    return bool(shapes.masks[annotation].size_problem) and not boxed


@check("G012", "axes-swapped", Severity.ERROR, broken=_swap)
def axes_swapped(shapes: Shapes) -> Iterator[Hit]:
    """All annotations of an image fit it only with its width and height swapped.

    With the given size, at least one of them extends over the right or lower side by more than 5 pixels
    (`swapped_outside`). Portrait photos that are rotated by an EXIF tag cause this, and tools that write rows before
    columns. If the boxes show that only the polygons are swapped, G014 is reported instead.

    Example::

        {"images": [{"id": 1, "width": 480, "height": 640}], "annotations": [{"image_id": 1,
         "segmentation": [[600, 400, 639, 400, 639, 470]]}]}

    Fix: check the photo; `trashkit fix --unsafe` swaps width and height, unless the annotations that extend
    outside have boxes elsewhere (G023).
    """
    exchanged = _exchanged(shapes)
    for row, members, (_, _, right, bottom, width, height) in _images(shapes, 0, shapes.table.settings.swapped_outside):
        if row not in exchanged and width != height and right <= height + 2 and bottom <= width + 2:
            message = (
                f"{len(members)} annotations extend to ({right:.0f}, {bottom:.0f}) in an image of {width:.0f}x"
                f"{height:.0f} px: they fit with width and height swapped"
            )
            # Not where it is the outlines that are wrong, as their own boxes say.
            outside = members[(shapes.box[members, 2:] - (width, height)).max(axis=1) > FEW_PIXELS]
            fix: FixKind | None = (
                None if len(outside) and set(outside.tolist()) <= set(shapes.contradicted) else "unsafe"
            )
            yield Hit(row, message, float(max(right - width, bottom - height)), fix, block="images")


def _scale(coco: dict[str, Any]) -> None:
    coco["images"][0].update(width=320, height=240)


@check("G013", "annotated-at-other-scale", Severity.ERROR, broken=_scale)
def annotated_at_other_scale(shapes: Shapes) -> Iterator[Hit]:
    """The annotations of an image were drawn on a larger version of it: they extend far beyond its size.

    At least two of them (or the only one), and 40 % of them, extend outside, the farthest by more than a tenth of the
    side. Or all polygons are larger or smaller than their boxes by the same factor. Score: this factor, or the least
    one by which the annotations would have to shrink.

    Example::

        {"images": [{"id": 1, "width": 320, "height": 240}], "annotations": [{"image_id": 1,
         "segmentation": [[500, 300, 630, 300, 630, 470]]}]}

    Fix: find out the size at which they were drawn and scale them, or correct width and height.
    """
    named: set[int] = set()
    for row, members, (_, _, right, bottom, width, height) in _images(shapes, 0.1, 2):
        if width != height and right <= height + 2 and bottom <= width + 2:
            continue
        outside = np.maximum(shapes.box[members, 2:] - (width, height), -shapes.box[members, :2]).max(axis=1)
        if (outside > FEW_PIXELS).sum() < min(2, len(members)) or (outside > FEW_PIXELS).mean() < _MANY:
            continue
        factor = max(right / width, bottom / height)
        if math.isfinite(factor):
            message = (
                f"{len(members)} annotations extend to ({right:.5g}, {bottom:.5g}) in an image of {width:.0f}x"
                f"{height:.0f} px: they were drawn on an image at least {factor:.3g} times as large"
            )
            named.add(row)
            yield Hit(row, message, float(factor), block="images")
    for row, _, true, stated in _images_with_boxes(shapes):
        if row in named:
            continue
        factor = float(np.median(true[:, 2:] / np.maximum(stated[:, 2:], 1e-9)))
        if not 1 / 1.05 < factor < 1.05 and _agree(true, stated * factor) and not _agree(true, stated):
            message = f"{len(true)} polygons are {factor:.3g} times as large as their boxes, in size and position"
            yield Hit(row, message, max(factor, 1 / factor), block="images")


def _images_with_boxes(shapes: Shapes) -> Iterator[tuple[int, Ints, Floats, Floats]]:
    """Images whose boxes mostly differ from their polygons: row, annotations, boxes of the polygons, boxes of the file.

    Boxes are [n, 4] left, top, width, height.
    """
    true = shapes.box.copy()
    true[:, 2:] -= true[:, :2]
    stated = shapes.table.bbox[shapes.rows]
    usable = (shapes.image >= 0) & np.isfinite(true).all(axis=1) & np.isfinite(stated).all(axis=1)
    off = usable & (np.abs(true - stated).max(axis=1) > FEW_PIXELS)
    for image in np.unique(shapes.image[off]).tolist():
        # annotations of a Shapes are ordered by image
        first, last = np.searchsorted(shapes.image, (image, image + 1))
        members = first + np.flatnonzero(usable[first:last])
        if off[members].mean() >= _MANY:
            yield image, members, true[members], stated[members]


def _agree(one: Floats, other: Floats) -> bool:
    """Whether nine in ten boxes are the same except for rounding."""
    close = (np.abs(one - other) <= 2 + 0.02 * np.abs(one)).all(axis=1)
    return bool(close.mean() > 0.9)


def _exchange(coco: dict[str, Any]) -> None:
    for annotation in coco["annotations"][:9]:
        ring = annotation["segmentation"][0]
        ring[0::2], ring[1::2] = ring[1::2], ring[0::2]


@check("G014", "x-and-y-exchanged", Severity.ERROR, broken=_exchange)
def x_and_y_exchanged(shapes: Shapes) -> Iterator[Hit]:
    """The polygons of an image fit their boxes only with x and y exchanged, whatever its width and height are.

    Tools that write rows before columns cause this. Score: how many annotations.

    Example::

        {"segmentation": [[20, 200, 20, 260, 90, 260]], "bbox": [200, 20, 60, 70]}

    Fix: check in the photo whether polygons or boxes are right, and export them again.
    """
    for row, count in _exchanged(shapes).items():
        yield Hit(row, f"{count} polygons fit their boxes only with x and y exchanged", float(count), block="images")


def _exchanged(shapes: Shapes) -> dict[int, int]:
    """Images whose polygons fit their boxes only with x and y exchanged, and how many annotations they have."""
    return {
        row: len(members)
        for row, members, true, stated in _images_with_boxes(shapes)
        if _agree(true[:, [1, 0, 3, 2]], stated) and not _agree(true, stated)
    }
