"""Segmentations to label maps and back: pixel rules and paint order.

A label map is uint8 [H, W]: 0 background, 1 .. C-1 classes, 255 ignore. A segmentation covers exactly the pixels that
pycocotools gives it. This is faster than ``annToMask`` because annotations get no masks of their own: the crossings of
all outlines with the pixel columns are computed at once (see `rasterise`), sorted once, and each run of pixels is
written once, with the topmost value.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as pycoco

from trashkit.coco.segmentation import (
    MAX_COORDINATE,
    MAX_OUTLINE,
    MAX_PIXELS,
    Segmentation,
    check_segmentation,
    run_lengths,
)
from trashkit.errors import TrashkitError
from trashkit.raster import rasterise

if TYPE_CHECKING:
    from trashkit.coco import Dataset

PaintOrder = Literal["area", "class", "length", "file"]
"""Which of two overlapping annotations is on top.

area: the one with the smaller area (the last two years of the competition). class: the one with the higher class.
length: the one whose first ring has more numbers (the first year); RLEs are below polygons. file: the later one.
Ties go to the later one in the file.
"""

LabelMap = npt.NDArray[np.uint8]
IGNORE = 255

MOST_PIXELS = 1 << 28
"""Most pixels of a label map, which takes up to five bytes for each while it is painted."""
_LARGE_COMPONENT = 1 << 24

_NUMBERS = {int, float}


def label_map(
    segmentations: Sequence[Segmentation],
    classes: Sequence[int],
    height: int,
    width: int,
    *,
    areas: Sequence[float | None] | None = None,
    order: PaintOrder = "area",
    out: LabelMap | None = None,
) -> LabelMap:
    """Paint segmentations over each other: uint8 [height, width], 0 where there is none.

    classes: the value painted for each segmentation, 0 .. 255. areas: the file's ``area`` values, used only by
    ``order="area"``; where they are None, NaN or infinite, the number of covered pixels is used.
    out: an array of that shape and type to overwrite and return. Parts of one segmentation are united.

    TrashkitError where a segmentation cannot be rasterised (see `check_segmentation`), naming its position.
    """
    if len(classes) != len(segmentations) or (areas is not None and len(areas) != len(segmentations)):
        raise ValueError("segmentations, classes and areas must be of one length")
    if any(not 0 <= value <= 255 for value in classes):
        raise ValueError("classes must lie in 0 .. 255")
    _refuse_size(height, width, MOST_PIXELS)
    if out is not None and (out.shape != (height, width) or out.dtype != np.uint8):
        raise ValueError(f"out must be uint8 [{height}, {width}], not {out.dtype} {list(out.shape)}")
    plain = rasterise.SAME_ARITHMETIC and _only_rings(segmentations)
    if not plain or (order == "area" and not _all_finite(areas)):  # areas are counted in pixels
        _refuse(segmentations, height, width)
    numbers = paint_order(segmentations, classes, height, width, areas=areas, order=order)
    if out is None:
        out = np.zeros((height, width), np.uint8)
    else:
        out.fill(0)
    if plain:
        _paint_rings(out, segmentations, classes, numbers)
    else:
        _paint_any(out, [segmentations[number] for number in numbers], [classes[number] for number in numbers])
    return out


def paint_order(
    segmentations: Sequence[Segmentation],
    classes: Sequence[int],
    height: int,
    width: int,
    *,
    areas: Sequence[float | None] | None = None,
    order: PaintOrder = "area",
) -> list[int]:
    """Return the positions of the segmentations in paint order, the last one on top."""
    positions = range(len(segmentations))
    if order == "file":
        return list(positions)
    if order == "class":
        return sorted(positions, key=lambda number: classes[number])
    if order == "length":
        return sorted(positions, key=lambda number: _first_ring_length(segmentations[number]))
    if order != "area":
        raise TrashkitError(f"unknown paint order {order!r}", hint="choose one of " + ", ".join(get_args(PaintOrder)))
    if len(positions) < 2:
        return list(positions)
    known = [None] * len(positions) if areas is None else list(areas)
    sizes = [
        area if area is not None and math.isfinite(area) else float(pixel_area(segmentations[number], height, width))
        for number, area in enumerate(known)
    ]
    return sorted(positions, key=lambda number: -sizes[number])


def mask(segmentation: Segmentation, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the covered pixels, bool [height, width]. TrashkitError where the segmentation cannot be rasterised."""
    return label_map([segmentation], [1], height, width, order="file").view(np.bool_)


def rle(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """Return a compressed RLE, the union of all parts: ``{"size": [height, width], "counts": text}``, ready for JSON.

    A compressed RLE is returned unchanged. TrashkitError where the segmentation cannot be rasterised.
    """
    _refuse_size(height, width)
    reason = check_segmentation(segmentation, height, width)
    if reason:
        raise TrashkitError(reason, hint="run trashkit audit on the annotation file")
    found = _rle(segmentation, height, width)
    counts = found["counts"]
    return {"size": [height, width], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def rle_from_mask(covered: npt.NDArray[Any]) -> dict[str, Any]:
    """Return the compressed RLE of a mask [H, W] (non-zero is covered); counts are text, ready for JSON."""
    found = pycoco.encode(np.asfortranarray(covered != 0, dtype=np.uint8))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode()}


def pixel_area(segmentation: Segmentation, height: int, width: int) -> int:
    """Return how many pixels a valid segmentation covers (see `check_segmentation`)."""
    return int(pycoco.area(_rle(segmentation, height, width)))


def resize_nearest(labels: LabelMap, size: tuple[int, int]) -> LabelMap:
    """Sample a label map at size (height, width) with ``cv2.INTER_NEAREST``; no new class appears.

    From 512 to 256 this takes pixels 0, 2, 4 ..., as the competition does.
    """
    if labels.shape == tuple(size):
        return labels
    height, width = size
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def dataset_label_map(
    dataset: Dataset, image_row: int, *, order: PaintOrder = "area", size: tuple[int, int] | None = None
) -> LabelMap:
    """Return the truth of one image, uint8 [H, W]: rasterised at its native size, then sampled at `size`.

    image_row: the image's `row`. size: (height, width), None for native. Values are class indices of `dataset.classes`.
    """
    place = bisect_left(dataset.images, image_row, key=lambda image: image.row)  # images are in file order
    if place == len(dataset.images) or dataset.images[place].row != image_row:
        raise KeyError(f"no image with row {image_row}")
    image = dataset.images[place]
    annotations = dataset.annotations_of(image_row)
    try:
        labels = label_map(
            [annotation.segmentation for annotation in annotations],
            [annotation.class_index for annotation in annotations],
            image.height,
            image.width,
            areas=[annotation.area for annotation in annotations],
            order=order,
        )
    except TrashkitError as error:
        raise TrashkitError(f"{image.file_name}: {error.message}", hint=error.hint) from error
    return labels if size is None else resize_nearest(labels, size)


def polygons_from_label_map(labels: LabelMap, class_index: int) -> list[Segmentation]:
    """Turn one class of a label map into COCO segmentations, one per connected component (8 neighbours).

    A component without holes becomes one ring along pixel edges (whole numbers, corners only), one with holes a
    compressed RLE, since COCO polygons cannot hold a hole. Rasterising a result gives exactly the component's pixels:
    this is checked for each ring, and an RLE is returned where it fails, and for huge components. Components are in
    raster order of their first pixel. An empty list where the class is absent.
    """
    wanted = np.asarray(labels == class_index, np.uint8)
    count, components, stats, _ = cv2.connectedComponentsWithStats(wanted, connectivity=8)
    found: list[Segmentation] = []
    for number in range(1, count):
        left, top, wide, high = (int(value) for value in stats[number][:4])
        part = np.asarray(components[top : top + high, left : left + wide] == number, np.uint8)
        ring = _outline(part) if part.size <= _LARGE_COMPONENT else None  # an outline takes eight bytes per pixel
        if ring is None:
            whole = np.zeros(labels.shape, np.uint8)
            whole[top : top + high, left : left + wide] = part
            found.append(rle_from_mask(whole))
        else:
            found.append([(ring + np.array([left, top])).ravel().tolist()])
    return found


def despeckle(labels: LabelMap, size: Literal[3, 5] = 3) -> LabelMap:
    """Fill pinholes inside objects by a mode filter of `size` x `size` pixels; nothing else changes. Returns a copy.

    A pinhole is a background region (4 neighbours) that fits in a square of ``size - 2`` pixels and does not touch the
    border of the image, so objects surround it. Each of its pixels takes the most frequent class of its window,
    background and ignore (255) not counted, ties to the lowest class: no new class appears, and outlines stay.
    """
    if size not in (3, 5):
        raise ValueError("size must be 3 or 5")
    filled = labels.copy()
    count, regions, stats, _ = cv2.connectedComponentsWithStats(np.asarray(labels == 0, np.uint8), connectivity=4)
    left, top, wide, high = stats[:, 0], stats[:, 1], stats[:, 2], stats[:, 3]
    height, width = labels.shape
    holes = (wide <= size - 2) & (high <= size - 2) & (left > 0) & (top > 0)
    holes &= (left + wide < width) & (top + high < height)
    holes[0] = False  # label 0 is everything but background
    if count < 2 or not holes.any():
        return filled
    rows, columns = np.nonzero(holes[regions])
    padded = np.pad(labels, size // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))[rows, columns].reshape(len(rows), -1)
    classes = np.setdiff1d(np.unique(windows), [0, IGNORE])
    if classes.size == 0:
        return filled
    votes = (windows[:, None, :] == classes[None, :, None]).sum(axis=2)
    seen = votes.max(axis=1) > 0
    filled[rows[seen], columns[seen]] = classes[votes.argmax(axis=1)][seen]
    return filled


def _refuse_size(height: int, width: int, most: int = MAX_PIXELS) -> None:
    if height <= 0 or width <= 0 or height * width > most:
        reason = f": it has more than {most // 1_000_000} megapixels" if height * width > most else ""
        raise TrashkitError(
            f"an image of {width}x{height} pixels cannot be rasterised{reason}",
            hint="correct its width and height in the annotation file",
        )


def _first_ring_length(segmentation: Segmentation) -> int:
    return 0 if isinstance(segmentation, dict) else len(segmentation[0])


def _rle(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], str | bytes):
            return segmentation
        return dict(pycoco.frPyObjects(segmentation, height, width))
    rings = pycoco.frPyObjects(list(segmentation), height, width)
    return dict(rings[0] if len(rings) == 1 else pycoco.merge(rings))


def _only_rings(segmentations: Sequence[Segmentation]) -> bool:
    """Whether all are lists of rings with enough numbers and nothing else: the first part of `check_segmentation`.

    The size of the numbers is checked once they are in one array.
    """
    for segmentation in segmentations:
        if not isinstance(segmentation, list) or not segmentation:
            return False
        for ring in segmentation:
            if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2 or not set(map(type, ring)) <= _NUMBERS:
                return False
    return True


def _all_finite(areas: Sequence[float | None] | None) -> bool:
    return areas is not None and all(area is not None and math.isfinite(area) for area in areas)


def _refuse(segmentations: Sequence[Segmentation], height: int, width: int) -> None:
    for number, segmentation in enumerate(segmentations):
        reason = check_segmentation(segmentation, height, width)
        if reason:
            raise TrashkitError(f"segmentation {number}: {reason}", hint="run trashkit audit on the annotation file")


def _paint_rings(
    out: LabelMap, segmentations: Sequence[Segmentation], classes: Sequence[int], numbers: Sequence[int]
) -> None:
    """Paint lists of rings in this order on blank `out`, within their common bounding box."""
    if not numbers:
        return
    height, width = out.shape
    rings: list[Any] = [ring for number in numbers for ring in segmentations[number]]
    values = [classes[number] for number in numbers for _ in segmentations[number]]
    try:
        points, ends = rasterise.closed(rings)
    except OverflowError:  # an integer of hundreds of digits
        _refuse(segmentations, height, width)
        raise
    low, high = points.min(axis=1).tolist(), points.max(axis=1).tolist()
    reach = max(*high, -low[0], -low[1])
    # Written so that a NaN is caught too; an outline is shorter than its box's sides times its points.
    if not (reach <= MAX_COORDINATE and 4 * reach * points.shape[1] <= MAX_OUTLINE) or math.isnan(sum(low)):
        _refuse(segmentations, height, width)
    window = left, top, right, bottom = rasterise.window_of(low, high, height, width)
    if left >= right or top >= bottom:
        return
    canvas = out[top:bottom, left:right]
    for first in range(0, len(rings), rasterise.MOST_LAYERS):
        last = min(first + rasterise.MOST_LAYERS, len(rings))
        start = ends[first - 1] if first else 0
        part = [end - start for end in ends[first:last]]
        positions, counts = rasterise.crossings(points[:, start : ends[last - 1]], part, window)
        rasterise.paint(canvas, positions, counts, values[first:last], blank=first == 0)


def _paint_any(out: LabelMap, segmentations: Sequence[Segmentation], classes: Sequence[int]) -> None:
    """Paint valid segmentations in this order on blank `out`: RLEs directly, rings as pycocotools' RLEs."""
    height, width = out.shape
    layers: list[tuple[npt.NDArray[np.int64], int]] = []
    for segmentation, value in zip(segmentations, classes, strict=True):
        runs = segmentation if isinstance(segmentation, dict) else _rle(segmentation, height, width)
        counts = runs["counts"]
        lengths = run_lengths(counts) if isinstance(counts, str | bytes) else np.array(counts, np.int64)
        assert lengths is not None, "checked above"
        layers.append((np.cumsum(lengths), value))
    places = [*range(0, len(layers), rasterise.MOST_LAYERS), len(layers)]
    for first, last in pairwise(places):
        positions = np.concatenate([ends for ends, _ in layers[first:last]])
        counted = [ends.size for ends, _ in layers[first:last]]
        rasterise.paint(out, positions, counted, [value for _, value in layers[first:last]], blank=first == 0)


def _outline(part: LabelMap) -> npt.NDArray[np.int64] | None:
    """Return the ring [N, 2] (x, y) along the pixel edges of one component; None where one ring cannot represent it.

    In the doubled image a contour through pixel centres visits 2x and 2x + 1 for the left and right edge of column x,
    so halving upwards gives pixel edges.
    """
    doubled = np.repeat(np.repeat(part, 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) != 1:
        return None
    points = (np.asarray(contours[0], np.int64).reshape(-1, 2) + 1) // 2
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    points = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    ring = points.ravel().tolist()
    high, wide = part.shape
    if check_segmentation([ring], high, wide) or not np.array_equal(mask([ring], high, wide), part.view(np.bool_)):
        return None
    return np.asarray(points, np.int64)
