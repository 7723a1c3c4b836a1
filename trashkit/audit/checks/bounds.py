"""Where shapes lie: outside the image, at another scale, with x and y swapped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.checks.rings import worst_rings
from trashkit.audit.registry import Hit, check
from trashkit.audit.shapes import Bools, Shapes
from trashkit.audit.table import Floats, Ints
from trashkit.finding import FixKind, Severity

FEW_PIXELS = 5.0
"""Up to here cutting off what lies outside is a safe fix: beyond it, the outline itself is in doubt."""


_MANY = 0.4
"""Share of an image's annotations that must be off before the whole image is."""


def _ring_excess(shapes: Shapes) -> Floats:
    """[rings] how many pixels each ring reaches outside its image; 0 where the size is unknown."""
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
    """[n] whether an annotation's image is one that does not fit its annotations (G012, G013, G014).

    Fixes leave areas, boxes and what lies outside alone there, since these tell what is wrong.
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
    """A polygon reaches outside its image. Score: by how many pixels.

    Some rasterisers wrap around or crash, others clip. Half a pixel is a rounding matter, many pixels mean that size
    and annotation do not belong together. Threshold: `outside`, 0 pixels. Rings that lie outside altogether are
    G011's.

    Example::

        {"images": [{"id": 1, "width": 512, "height": 512}], "annotations": [{"image_id": 1,
         "segmentation": [[500, 10, 512.6, 10, 512.6, 60]]}]}

    Cure: `trashkit fix` clips up to five pixels, `--unsafe` any number.
    """
    excess = _ring_excess(shapes)
    rings = np.flatnonzero((excess > shapes.table.settings.outside) & ~_wholly_outside(shapes))
    for ring, _ in worst_rings(shapes, rings, excess[rings]):
        owner = int(shapes.ring_owner[ring])
        pixels = float(excess[ring])
        message = f"polygon reaches {pixels:.3g} px outside the image of {_size(shapes, owner)}"
        fix: FixKind | None = "safe" if pixels <= FEW_PIXELS else "unsafe"
        yield Hit(int(shapes.rows[owner]), message, pixels, fix if _may_clip(shapes, owner) else None)


@check("G011", "ring-outside", Severity.ERROR, broken=_shift(-200, 0))
def ring_outside(shapes: Shapes) -> Iterator[Hit]:
    """A ring lies wholly outside its image, so that it has no pixels there. Score: pixels by which it reaches out.

    Example::

        {"images": [{"id": 1, "width": 512, "height": 512}], "annotations": [{"image_id": 1,
         "segmentation": [[600, 10, 650, 10, 650, 60]]}]}

    Cure: `trashkit fix --unsafe` drops the ring; look first whether the image's size is right.
    """
    excess = _ring_excess(shapes)
    rings = np.flatnonzero(_wholly_outside(shapes))
    for ring, number in worst_rings(shapes, rings, excess[rings]):
        owner = int(shapes.ring_owner[ring])
        which = "ring" if number == 1 else f"{number} rings, among them one"
        left, top, right, bottom = shapes.ring_box[ring]
        message = (
            f"{which} from ({left:.5g}, {top:.5g}) to ({right:.5g}, {bottom:.5g}) lies wholly outside the image of "
            f"{_size(shapes, owner)}"
        )
        yield Hit(int(shapes.rows[owner]), message, float(excess[ring]), "unsafe" if _may_clip(shapes, owner) else None)


def _may_clip(shapes: Shapes, annotation: int) -> bool:
    return bool(shapes.measurable[annotation] and not misplaced(shapes)[annotation])


def _size(shapes: Shapes, annotation: int) -> str:
    return f"{shapes.width[annotation]:.0f}x{shapes.height[annotation]:.0f} px"


def _images(shapes: Shapes, share: float, pixels: float) -> Iterator[tuple[int, Ints, Floats]]:
    """Images that their usable shapes leave by more than a share of the side and so many pixels.

    Its row, its annotations, and the box around them with the image's size: left, top, right, bottom, width, height.
    """
    usable = np.flatnonzero((shapes.image >= 0) & ~np.isnan(shapes.box).any(axis=1) & ~np.isnan(shapes.width))
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


@check("G012", "axes-swapped", Severity.ERROR, broken=_swap)
def axes_swapped(shapes: Shapes) -> Iterator[Hit]:
    """All annotations of an image fit it only when x and y, or its width and height, change places.

    As it is, at least one of them reaches over the right or lower side by more than 5 pixels (`swapped_outside`).
    Photos taken upright and turned by an EXIF tag do this, and writers that put rows before columns. Where boxes say
    that only the polygons are exchanged, it is G014.

    Example::

        {"images": [{"id": 1, "width": 480, "height": 640}], "annotations": [{"image_id": 1,
         "segmentation": [[600, 400, 639, 400, 639, 470]]}]}

    Cure: correct width and height, as `trashkit fix --unsafe` does, after a look at the photo.
    """
    exchanged = _exchanged(shapes)
    for row, members, (_, _, right, bottom, width, height) in _images(shapes, 0, shapes.table.settings.swapped_outside):
        if row not in exchanged and width != height and right <= height + 2 and bottom <= width + 2:
            message = (
                f"{len(members)} annotations reach to ({right:.0f}, {bottom:.0f}) in an image of {width:.0f}x"
                f"{height:.0f} px: they fit with width and height swapped"
            )
            yield Hit(row, message, float(max(right - width, bottom - height)), "unsafe", block="images")


def _scale(coco: dict[str, Any]) -> None:
    coco["images"][0].update(width=320, height=240)


@check("G013", "annotated-at-other-scale", Severity.ERROR, broken=_scale)
def annotated_at_other_scale(shapes: Shapes) -> Iterator[Hit]:
    """The annotations of an image were drawn on a larger picture: they reach far beyond its size.

    At least two of them (or the only one), and 40 %, reach outside, the farthest by over a tenth of the side. Or all
    polygons are larger or smaller than their boxes by the same factor. Score: that factor, or the one by which the
    annotations would have to shrink at least.

    Example::

        {"images": [{"id": 1, "width": 320, "height": 240}], "annotations": [{"image_id": 1,
         "segmentation": [[500, 300, 630, 300, 630, 470]]}]}

    Cure: find the size at which they were drawn and scale them, or correct width and height.
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
                f"{len(members)} annotations reach to ({right:.5g}, {bottom:.5g}) in an image of {width:.0f}x"
                f"{height:.0f} px: drawn on a picture at least {factor:.3g} times as large"
            )
            named.add(row)
            yield Hit(row, message, float(factor), block="images")
    for row, _, true, stated in _images_with_boxes(shapes):
        if row in named:
            continue
        factor = float(np.median(true[:, 2:] / np.maximum(stated[:, 2:], 1e-9)))
        if not 1 / 1.05 < factor < 1.05 and _agree(true, stated * factor) and not _agree(true, stated):
            message = f"{len(true)} polygons are {factor:.3g} times as large as their boxes, and lie accordingly"
            yield Hit(row, message, max(factor, 1 / factor), block="images")


def _images_with_boxes(shapes: Shapes) -> Iterator[tuple[int, Ints, Floats, Floats]]:
    """Images whose boxes are mostly off their polygons: row, annotations, and both boxes (left, top, width, height)."""
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
    """Whether boxes are the same but for rounding."""
    close = (np.abs(one - other) <= 2 + 0.02 * np.abs(one)).all(axis=1)
    return bool(close.mean() > 0.9)


def _exchange(coco: dict[str, Any]) -> None:
    for annotation in coco["annotations"][:9]:
        ring = annotation["segmentation"][0]
        ring[0::2], ring[1::2] = ring[1::2], ring[0::2]


@check("G014", "x-and-y-exchanged", Severity.ERROR, broken=_exchange)
def x_and_y_exchanged(shapes: Shapes) -> Iterator[Hit]:
    """The polygons of an image fit their boxes only when x and y change places, whatever its width and height say.

    Writers that put rows before columns do this. Score: how many annotations.

    Example::

        {"segmentation": [[20, 200, 20, 260, 90, 260]], "bbox": [200, 20, 60, 70]}

    Cure: see in the photo whether polygons or boxes are right; export it again.
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
