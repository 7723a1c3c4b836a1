"""Outlines between a COCO row, in pixels, and the App, in shares of the image's sides; untouched ones stay verbatim."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from trashkit import masks
from trashkit.coco.segmentation import check_segmentation

Form = Literal["polygon", "rle", "damaged", "box", "none"]
Rings = list[list[list[float]]]
Size = tuple[int, int]

SAME = 1e-3
"""Vertices that lie closer than this many pixels to one that was loaded are that one."""
DIGITS = 2
"""Decimals of pixels that are kept of a vertex that a person moved."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What the App shows of one annotation.

    rings: closed rings of [x, y], x in shares of the image's width and y of its height. form: what they stand for:
    the polygons of the row one by one ("polygon"), the contours of its RLE, holes among them ("rle"), what can be drawn
    of a damaged segmentation ("damaged"), its box where nothing of it can ("box"), or nothing ("none").
    """

    rings: Rings
    form: Form


def outline(record: Any, size: Size | None) -> Outline:
    """The outline of an annotation row, sound or damaged; `size` is (width, height) of its image. Never raises."""
    if not isinstance(record, Mapping) or size is None:
        return Outline([], "none")
    width, height = size
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


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a JSON value is a finite number that fits a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def is_ring(ring: Any) -> bool:
    """Whether a JSON value can be drawn as a ring: an even number of finite numbers, at least two."""
    return isinstance(ring, list) and len(ring) >= 2 and len(ring) % 2 == 0 and all(map(is_number, ring))


def _points(ring: Sequence[float]) -> NDArray[np.float64]:
    return np.array(ring, float).reshape(-1, 2)


def _contours(covered: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Outer and inner contours along the edges of pixels' centres."""
    found, _ = cv2.findContours(covered.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0].astype(float) for contour in found]


def _shares(rings: Sequence[NDArray[np.float64]], size: Size) -> Rings:
    return [(points / size).tolist() for points in rings]


def reshaped(record: Mapping[str, Any], shown: Outline, rings: Rings, size: Size) -> Any | None:
    """The segmentation that outlines edited in the App stand for; None where nothing was changed.

    shown: the outline that was loaded. rings: the outline as it is now. Rings and vertices that were not moved keep
    their numbers as they stand in the row; moved and new ones are rounded to DIGITS. A changed RLE stays an RLE, whose
    rings count by even and odd, so that holes stay holes.
    """
    pixels = [np.array(ring, float).reshape(-1, 2) * size for ring in rings if len(ring)]
    loaded = [np.array(ring, float).reshape(-1, 2) * size for ring in shown.rings]
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
    """For each ring the loaded one that it is, each used once, that of the same place first; None for changed rings."""
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
    """Contours of pixels, by even and odd, as an RLE; a contour's own pixels belong to what it encloses."""
    width, height = size
    covered = np.zeros((height, width), np.uint8)
    if rings:
        cv2.drawContours(covered, [ring.round().astype(np.int32)[:, None] for ring in rings], -1, 1, cv2.FILLED)
    from pycocotools import mask as coco_mask

    made = coco_mask.encode(np.asfortranarray(covered))
    return {"size": [height, width], "counts": made["counts"].decode()}


def measures(segmentation: Any, size: Size) -> tuple[float, list[float]]:
    """(area, [x, y, width, height]) of a segmentation: the union of its polygons by shapely, pixels of an RLE."""
    width, height = size
    if isinstance(segmentation, dict):
        covered = masks.mask(segmentation, height, width)
        rows, columns = np.nonzero(covered)
        if not len(rows):
            return 0.0, [0.0, 0.0, 0.0, 0.0]
        x, y = int(columns.min()), int(rows.min())
        return float(len(rows)), [float(v) for v in (x, y, columns.max() - x + 1, rows.max() - y + 1)]
    shapes = [shapely.make_valid(shapely.Polygon(_points(ring))) for ring in segmentation if len(ring) >= 6]
    whole = shapely.union_all(shapes)
    if whole.is_empty:
        return 0.0, [0.0, 0.0, 0.0, 0.0]
    x0, y0, x1, y1 = whole.bounds
    return round(float(whole.area), 4), [round(float(v), 4) for v in (x0, y0, x1 - x0, y1 - y0)]


def united(segmentations: Sequence[Any], size: Size) -> Any:
    """One segmentation for several: polygons where the union has no holes, else an RLE."""
    width, height = size
    if all(isinstance(one, list) and all(is_ring(ring) for ring in one) for one in segmentations):
        rings = [_points(ring) for one in segmentations for ring in one if len(ring) >= 6]
        whole = shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in rings])
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
