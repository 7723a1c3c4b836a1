"""Conversion of outlines between COCO rows, in pixels, and the App, relative to the image's size.

Untouched rings and vertices keep their numbers exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from trashkit.coco.dataset import is_number
from trashkit.coco.segmentation import check_segmentation
from trashkit.raster import masks
from trashkit.raster.measures import bounding_box, is_tangled, union_area

OutlineKind = Literal["polygon", "rle", "damaged", "box", "none"]
Rings = list[list[list[float]]]
Size = tuple[int, int]
"""(height, width) of an image in pixels."""

SAME = 1e-3
"""A vertex closer than this to a loaded one, in pixels, is the same vertex."""
DIGITS = 2
"""Decimals, in pixels, of a vertex that was moved by hand."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of one annotation as the App shows it.

    rings: closed rings of [x, y], relative to the image's width and height. form: what the rings are: the polygons of
    the row ("polygon"), the contours of its RLE, including holes ("rle"), the drawable rings of a damaged segmentation
    ("damaged"), the bounding box if there are none ("box"), or nothing ("none").
    """

    rings: Rings
    form: OutlineKind


def outline(record: Any, size: Size | None) -> Outline:
    """The outline of an annotation row, damaged or not. size: (height, width) of its image. Never raises."""
    if not isinstance(record, Mapping) or size is None:
        return Outline([], "none")
    height, width = size
    segmentation = record.get("segmentation")
    if isinstance(segmentation, dict) and not check_segmentation(segmentation, height, width):
        return Outline(_shares(_contours(masks.mask(segmentation, height, width)), size), "rle")
    if isinstance(segmentation, list) and segmentation:
        if all(is_ring(ring) for ring in segmentation):
            return Outline(_shares([_points(ring) for ring in segmentation], size), "polygon")
        drawable = [_points(ring) for ring in segmentation if is_ring(ring)]
        if drawable:
            return Outline(_shares(drawable, size), "damaged")
    box = record.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(map(is_number, box)):
        x, y, wide, high = box
        corners = np.array([[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]], float)
        return Outline(_shares([corners], size), "box")
    return Outline([], "none")


def is_ring(ring: Any) -> bool:
    """Whether a JSON value can be drawn as a ring: an even number of finite numbers, at least two."""
    return isinstance(ring, list) and len(ring) >= 2 and len(ring) % 2 == 0 and all(map(is_number, ring))


def _points(ring: Sequence[float]) -> NDArray[np.float64]:
    return np.array(ring, float).reshape(-1, 2)


def _contours(covered: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Outer and inner contours, through the centres of the border pixels."""
    found, _ = cv2.findContours(covered.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0].astype(float) for contour in found]


def _shares(rings: Sequence[NDArray[np.float64]], size: Size) -> Rings:
    return [(points / size[::-1]).tolist() for points in rings]


def reshaped(record: Mapping[str, Any], shown: Outline, rings: Rings, size: Size) -> Any | None:
    """The segmentation of outlines edited in the App; None if nothing was changed.

    shown: the outline that was loaded. rings: the outline now. Rings and vertices that were not moved keep their
    numbers from the row; moved and new ones are rounded to DIGITS. A changed RLE stays an RLE, filled by the even-odd
    rule, so that holes stay holes.
    """
    pixels = [np.array(ring, float).reshape(-1, 2) * size[::-1] for ring in rings if len(ring)]
    loaded = [np.array(ring, float).reshape(-1, 2) * size[::-1] for ring in shown.rings]
    same = _twins(pixels, loaded)
    if len(pixels) == len(loaded) and None not in same:
        return None
    if shown.form == "rle":
        return _painted(pixels, size)
    source = record.get("segmentation") if shown.form == "polygon" else None
    known = np.concatenate(loaded) if loaded and source else np.zeros((0, 2))
    numbers = [value for ring in source for value in ring] if source else []
    made: list[Any] = []
    for ring, twin in zip(pixels, same, strict=True):
        made.append(source[twin] if source and twin is not None else _flat(ring, known, numbers))
    return made


def _twins(rings: Sequence[NDArray[np.float64]], loaded: Sequence[NDArray[np.float64]]) -> list[int | None]:
    """For each ring the index of the equal loaded ring, each used once, same index first; None for changed rings."""
    twins: list[int | None] = []
    for n, ring in enumerate(rings):
        free = [k for k in (n, *range(len(loaded))) if k < len(loaded) and k not in twins]
        twins.append(next((k for k in free if _same_ring(ring, loaded[k])), None))
    return twins


def _same_ring(ring: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return ring.shape == other.shape and (not len(ring) or float(np.abs(ring - other).max()) < SAME)


def _flat(ring: NDArray[np.float64], known: NDArray[np.float64], numbers: Sequence[float]) -> list[float]:
    flat: list[float] = []
    for point in ring:
        distances = np.abs(known - point).max(axis=1) if len(known) else np.array([math.inf])
        nearest = int(distances.argmin())
        if distances[nearest] < SAME:
            flat += [numbers[2 * nearest], numbers[2 * nearest + 1]]
        else:
            flat += [round(float(value), DIGITS) for value in point]
    return flat


def _painted(rings: Sequence[NDArray[np.float64]], size: Size) -> dict[str, Any]:
    """Contours in pixels as an RLE, filled by the even-odd rule, with the border pixels included."""
    height, width = size
    covered = np.zeros((height, width), np.uint8)
    if rings:
        cv2.drawContours(covered, [ring.round().astype(np.int32)[:, None] for ring in rings], -1, 1, cv2.FILLED)
    from pycocotools import mask as coco_mask

    made = coco_mask.encode(np.asfortranarray(covered))
    return {"size": [height, width], "counts": made["counts"].decode()}


def measures(segmentation: Any, size: Size) -> tuple[float, list[float]]:
    """(area, [x, y, width, height]) of a segmentation, see `trashkit.raster.measures`; zeros if it is empty or invalid.

    Rings of less than three points do not count.
    """
    if isinstance(segmentation, list):
        segmentation = [ring for ring in segmentation if len(ring) >= 6]
    area = union_area(segmentation, *size)
    if area is None:
        return 0.0, [0.0, 0.0, 0.0, 0.0]
    return round(area, 4), [round(float(value), 4) for value in bounding_box(segmentation)]


def united(segmentations: Sequence[Any], size: Size) -> Any:
    """One segmentation for several: polygons where the union has no holes, else an RLE."""
    height, width = size
    if all(isinstance(one, list) and all(is_ring(ring) for ring in one) for one in segmentations):
        rings = [_points(ring) for one in segmentations for ring in one if len(ring) >= 6]
        polygons = [shapely.Polygon(ring) for ring in rings]
        tangled = any(map(is_tangled, polygons))
        whole = shapely.union_all([] if tangled else [shapely.make_valid(one) for one in polygons])
        parts = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
        if parts and not any(part.interiors for part in parts):
            return [[round(float(v), DIGITS) for v in np.asarray(part.exterior.coords)[:-1].ravel()] for part in parts]
    covered = np.zeros((height, width), bool)
    for one in segmentations:
        if not check_segmentation(one, height, width):
            covered |= masks.mask(one, height, width).astype(bool)
    from pycocotools import mask as coco_mask

    made = coco_mask.encode(np.asfortranarray(covered.astype(np.uint8)))
    return {"size": [height, width], "counts": made["counts"].decode()}
