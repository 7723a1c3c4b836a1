"""Shapes for formats that can express less than COCO, chosen so that the label map stays the same.

Every polygon format reads an image as a list of shapes, which are painted by their pixel area. `image_shapes` keeps the
annotations' outlines if that gives the same label map; otherwise it returns the visible regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image, Segmentation
from trashkit.coco.segmentation import check_segmentation
from trashkit.raster.masks import (
    PaintOrder,
    dataset_label_map,
    label_map,
    mask,
    paint_order,
    pixel_area,
    polygons_from_label_map,
    rle_from_mask,
)

LabelMap = NDArray[np.uint8]
Ring = list[float]

Representation = Callable[[Segmentation, Image], list[Segmentation]]
"""How a format represents a segmentation: the segmentations that reading it back gives, one annotation for each."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape to write: class index from 1, and a segmentation that the format can represent."""

    class_index: int
    segmentation: Segmentation


@dataclass(frozen=True, slots=True)
class ImageShapes:
    """The shapes of one image in writing order. flattened: whether visible regions replaced the outlines."""

    shapes: tuple[Shape, ...]
    flattened: bool


def image_shapes(
    dataset: Dataset, image: Image, represent: Representation, *, order: PaintOrder = "area"
) -> ImageShapes:
    """The shapes of an image for a format.

    Reading them back and painting by pixel area gives the same label map as painting the annotations by `order` now.
    Outlines come largest first, including those that cover no pixel; visible regions come by class.
    """
    annotations = dataset.annotations_of(image.row)
    truth = dataset_label_map(dataset, image.row, order=order)
    size = (image.height, image.width)
    numbers = paint_order(
        [a.segmentation for a in annotations], [a.class_index for a in annotations], *size,
        areas=[a.area for a in annotations], order=order,
    )  # fmt: skip
    shapes = [
        Shape(annotations[number].class_index, represented)
        for number in numbers
        if annotations[number].class_index
        for represented in represent(annotations[number].segmentation, image)
    ]
    if _same(shapes, truth):
        return ImageShapes(tuple(shapes), flattened=False)
    return ImageShapes(tuple(visible_regions(truth, image, represent)), flattened=True)


def visible_regions(truth: LabelMap, image: Image, represent: Representation) -> list[Shape]:
    """The regions of a label map as a format represents them, split where it cannot represent one exactly."""
    present = np.flatnonzero(np.bincount(truth.ravel(), minlength=256)[:255])
    shapes: list[Shape] = []
    for index in present[present > 0].tolist():
        for region in polygons_from_label_map(truth, index):
            represented = represent(region, image)
            wanted = mask(region, image.height, image.width)
            found = label_map(represented, [1] * len(represented), image.height, image.width, order="file").view(
                np.bool_
            )
            if not np.array_equal(found, wanted):
                represented = [part for piece in split_into_rings(wanted) for part in represent(piece, image)]
            shapes += [Shape(index, segmentation) for segmentation in represented]
    return shapes


def _same(shapes: Sequence[Shape], truth: LabelMap) -> bool:
    """Whether shapes painted by their pixel area give this label map."""
    height, width = truth.shape
    segmentations = [shape.segmentation for shape in shapes]
    if any(check_segmentation(segmentation, height, width) for segmentation in segmentations):
        return False
    areas = [float(pixel_area(segmentation, height, width)) for segmentation in segmentations]
    found = label_map(segmentations, [shape.class_index for shape in shapes], height, width, areas=areas)
    return np.array_equal(found, truth)


def split_into_rings(covered: NDArray[np.bool_]) -> list[Segmentation]:
    """A mask as rings without holes: a region with holes is cut in half until none is left."""
    found: list[Segmentation] = []
    todo = [covered]
    while todo:
        part = todo.pop()
        for segmentation in polygons_from_label_map(part.astype(np.uint8), 1):
            if isinstance(segmentation, list):
                found.append(segmentation)
                continue
            whole = mask(segmentation, *covered.shape)
            rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
            first, second = whole.copy(), whole.copy()
            if len(rows) >= len(columns):
                middle = (int(rows[0]) + int(rows[-1]) + 1) // 2
                first[middle:], second[:middle] = False, False
            else:
                middle = (int(columns[0]) + int(columns[-1]) + 1) // 2
                first[:, middle:], second[:, :middle] = False, False
            todo += [second, first]
    return found


def rings_of(segmentation: Segmentation, height: int, width: int) -> list[Ring]:
    """The rings of a segmentation. Rings of an RLE follow the pixel edges; holes come after their outer ring."""
    if isinstance(segmentation, list):
        return [list(ring) for ring in segmentation]
    covered = mask(segmentation, height, width).astype(np.uint8)
    # At twice the size, contours through pixel centres visit both edges of a pixel. Those of a hole visit the pixels
    # around it, so that halving gives edges there as well.
    doubled = np.repeat(np.repeat(covered, 2, axis=0), 2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not len(contours):
        return []
    links = hierarchy[0]
    order = [
        number
        for outer in range(len(contours))
        if links[outer][3] < 0
        for number in (outer, *(n for n in range(len(contours)) if links[n][3] == outer))
    ]
    return [
        ((np.asarray(contours[number], np.int64).reshape(-1, 2) + 1) // 2).ravel().astype(float).tolist()
        for number in order
    ]


def one_ring(rings: Sequence[Ring]) -> Ring:
    """Several rings joined into one by bridges of zero width between their nearest vertices.

    By the even-odd rule, a ring inside another is painted as a hole, and one outside it as a separate part.
    """
    joined = list(zip(rings[0][0::2], rings[0][1::2], strict=True))
    for ring in rings[1:]:
        points = list(zip(ring[0::2], ring[1::2], strict=True))
        distances = ((np.array(joined)[:, None] - np.array(points)[None]) ** 2).sum(axis=2)
        here, there = (int(place) for place in np.unravel_index(int(distances.argmin()), distances.shape))
        joined = [*joined[: here + 1], *points[there:], *points[: there + 1], *joined[here:]]
    return [value for point in joined for value in point]


def covers_same_pixels(first: Sequence[Segmentation], second: Segmentation, height: int, width: int) -> bool:
    """Whether segmentations together cover exactly the pixels of another one."""
    if not first or any(check_segmentation(segmentation, height, width) for segmentation in first):
        return False
    found = label_map(first, [1] * len(first), height, width, order="file").view(np.bool_)
    return np.array_equal(found, mask(second, height, width))


def to_rle(segmentation: Segmentation, height: int, width: int) -> Segmentation:
    """A segmentation as the compressed RLE of its pixels."""
    return rle_from_mask(mask(segmentation, height, width))


def tight_crop(covered: NDArray[np.bool_]) -> tuple[int, int, NDArray[np.bool_]] | None:
    """Left, top and the tight crop of a mask; None if it is empty."""
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    return left, top, covered[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
