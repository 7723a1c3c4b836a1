"""Statistics of a data set: classes, object sizes, object positions, objects per image, and photo colours.

The audit page and the review charts both count with these functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.images.photos import Photo

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_OBJECTS = 20
"""Images with this many objects or more are counted together."""
SIDE_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, np.inf)
"""Bins of object sides, as fractions of the image's side."""
COLOR_SIDE = 64
"""Photo colours are measured with the longer side scaled down to this many pixels."""


@dataclass(frozen=True)
class Objects:
    """The annotations of a data set whose image is known, as columns.

    image: int64 [N], row of the image. category: int64 [N], index of the class, -1 where unknown.
    area: float64 [N] in pixels². box: float64 [N, 4], left, top, width, height in pixels. image_size: float64 [N, 2],
    width and height of the image in pixels. Unknown numbers are NaN. image_count, category_count: how many images
    and classes there are, including those without annotations.
    """

    image: Ints
    category: Ints
    area: Floats
    box: Floats
    image_size: Floats
    image_count: int
    category_count: int


def objects_per_class(objects: Objects) -> Ints:
    """int64 [C]: annotations of each class."""
    return np.bincount(objects.category[objects.category >= 0], minlength=objects.category_count)


def images_per_class(objects: Objects) -> Ints:
    """int64 [C]: images with at least one annotation of the class."""
    known = objects.category >= 0
    category, image = objects.category[known], objects.image[known]
    pairs = np.unique(category * objects.image_count + image)
    return np.bincount(pairs // max(objects.image_count, 1), minlength=objects.category_count)


def area_per_class(objects: Objects) -> Floats:
    """float64 [C]: total area of each class in pixels²; unknown and negative areas count as 0."""
    known = objects.category >= 0
    area = np.nan_to_num(objects.area[known], nan=0, posinf=0, neginf=0).clip(0)
    return np.asarray(np.bincount(objects.category[known], weights=area, minlength=objects.category_count), np.float64)


def objects_per_image(objects: Objects) -> Ints:
    """int64 [MAX_OBJECTS + 1]: images with 0, 1, 2 ... objects; the last bin holds MAX_OBJECTS or more."""
    counts = np.bincount(objects.image, minlength=objects.image_count)
    return np.bincount(np.minimum(counts, MAX_OBJECTS), minlength=MAX_OBJECTS + 1)


def object_sides(objects: Objects) -> Ints:
    """int64 [8]: objects by the square root of their share of the image's area, in the bins of SIDE_EDGES.

    Objects of unknown, zero or negative size are left out.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sides = np.sqrt(objects.area / (objects.image_size[:, 0] * objects.image_size[:, 1]))
    return np.histogram(sides[np.isfinite(sides) & (sides > 0)], SIDE_EDGES)[0].astype(np.int64)


def co_occurrence(objects: Objects, classes: Sequence[int]) -> Ints:
    """int64 [len(classes), len(classes)]: images that show both classes; on the diagonal, those that show the class.

    Time and memory grow with images times classes, so pass only the most frequent classes if there are many.
    """
    column_of = np.full(objects.category_count + 1, -1)  # the last entry is for unknown classes, index -1
    column_of[list(classes)] = np.arange(len(classes))
    column = column_of[objects.category]
    shows = np.zeros((objects.image_count, len(classes)), np.float32)
    shows[objects.image[column >= 0], column[column >= 0]] = 1
    return (shows.T @ shows).astype(np.int64)


def box_centers(objects: Objects, cells: int) -> Ints:
    """int64 [cells, cells]: box centres in each cell of the image, top row first; those outside count at the edge."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        centers = (objects.box[:, :2] + objects.box[:, 2:] / 2) / objects.image_size * cells
    known = centers[~np.isnan(centers).any(axis=1)]
    x, y = known.clip(0, cells - 1).astype(np.int64).T
    return np.bincount(y * cells + x, minlength=cells * cells).reshape(cells, cells)


class BoxCells(NamedTuple):
    """Cells of a square grid that boxes touch. first, last: int64 [M, 2], x and y, `last` exclusive.

    category: int64 [M].
    """

    first: Ints
    last: Ints
    category: Ints


def box_cells(objects: Objects, cells: int) -> BoxCells:
    """The cells of each box of a known class that overlaps its image."""
    known = objects.category >= 0
    box, sides, category = objects.box[known], objects.image_size[known], objects.category[known]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        low = box[:, :2] / sides
        high = low + box[:, 2:] / sides
    inside = np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1)
    inside &= (low < 1).all(axis=1) & (high > 0).all(axis=1)
    first = np.floor(low[inside].clip(0, 1) * cells).astype(np.int64).clip(0, cells - 1)
    last = np.ceil(high[inside].clip(0, 1) * cells).astype(np.int64).clip(first + 1, cells)
    return BoxCells(first, last, category[inside])


def box_coverage(first: Ints, last: Ints, cells: int) -> Floats:
    """float64 [cells, cells]: how many boxes cover each cell; see `BoxCells`. By a summed difference array."""
    steps = np.zeros((cells + 1, cells + 1))
    np.add.at(steps, (first[:, 1], first[:, 0]), 1)
    np.add.at(steps, (last[:, 1], last[:, 0]), 1)
    np.add.at(steps, (first[:, 1], last[:, 0]), -1)
    np.add.at(steps, (last[:, 1], first[:, 0]), -1)
    return np.asarray(steps.cumsum(axis=0).cumsum(axis=1)[:cells, :cells])


class PhotoColors(NamedTuple):
    """brightness and contrast: mean and standard deviation of grey; saturation: mean of HSV's; all 0 .. 255."""

    brightness: float
    contrast: float
    saturation: float


def photo_colors(thumbnail: Photo) -> PhotoColors:
    """Colours of an RGB photo that was scaled down to COLOR_SIDE."""
    grey = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2HSV)[..., 1]
    return PhotoColors(float(grey.mean()), float(grey.std()), float(saturation.mean()))
