"""Area and bounding box of segmentations: the one home of both.

How many pixels a segmentation covers is `trashkit.raster.masks.pixel_area`. `ring_area` and `union_area` measure the
polygons themselves, in square pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pycocotools import mask as pycoco
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from trashkit.coco.segmentation import Segmentation, check_segmentation
from trashkit.raster.masks import pixel_area

GRID = 1e-6
"""Unions are computed with vertices rounded to this many pixels, which is robust where exact coordinates are not."""

_FEW_POINTS = 600
_SAMPLED_EDGES = 200
_MOST_CROSSINGS = 200_000


def signed_area(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Area of a ring with vertices x [N], y [N] by the shoelace formula: positive where y turns away from x."""
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def ring_area(ring: Sequence[float]) -> float:
    """Area of a ring ``[x0, y0, x1, y1, ...]`` by the shoelace formula, not negative.

    In a ring that crosses itself, parts may cancel each other out; `union_area` counts them.
    """
    return abs(signed_area(np.asarray(ring[0::2], dtype=float), np.asarray(ring[1::2], dtype=float)))


def union_area(segmentation: Any, height: int, width: int) -> float | None:
    """Area of the union of a segmentation's polygons, each made valid; of an RLE the number of covered pixels.

    None where the segmentation cannot be rasterised (see `check_segmentation`).
    """
    if check_segmentation(segmentation, height, width):
        return None
    if isinstance(segmentation, dict):
        return float(pixel_area(segmentation, height, width))
    return float(union([valid_polygon(ring) for ring in segmentation]).area)


def bounding_box(segmentation: Segmentation) -> list[float]:
    """Box [x, y, width, height] of all vertices, or of an RLE's covered pixels.

    The segmentation must be one that `check_segmentation` accepts.
    """
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            segmentation = dict(pycoco.frPyObjects(segmentation, *segmentation["size"]))
        return [float(value) for value in pycoco.toBbox(segmentation)]
    xs = [x for ring in segmentation for x in ring[0::2]]
    ys = [y for ring in segmentation for y in ring[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def valid_polygon(ring: Sequence[float]) -> BaseGeometry:
    """A ring as a valid geometry: the polygon, or what `repaired` makes of one that crosses itself."""
    polygon = Polygon(list(zip(ring[0::2], ring[1::2], strict=True)))
    return polygon if polygon.is_valid else repaired(polygon)


def repaired(polygon: BaseGeometry) -> BaseGeometry:
    """What ``make_valid`` (linework) makes of an invalid polygon; its convex hull where it `is_tangled`."""
    return shapely.convex_hull(polygon) if is_tangled(polygon) else shapely.make_valid(polygon)


def is_tangled(polygon: BaseGeometry) -> bool:
    """Whether an outline crosses itself more than about 200,000 times; cutting it there would take gigabytes.

    Estimated from 200 of its edges. No drawn or traced outline is near that: a scribble of 20,000 points is.
    """
    points = shapely.get_coordinates(polygon)
    if len(points) < _FEW_POINTS:
        return False
    start, end = points[:-1], points[1:]
    chosen = np.random.default_rng(0).choice(len(start), _SAMPLED_EDGES, replace=False)

    def sides(of: npt.NDArray[np.float64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Any:
        along, to = b - a, of - a
        return np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])

    with np.errstate(all="ignore"):
        a, b = start[chosen, None], end[chosen, None]
        apart = (sides(start, a, b) * sides(end, a, b) < 0) & (sides(a, start, end) * sides(b, start, end) < 0)
    return bool(apart.sum() / _SAMPLED_EDGES * len(start) / 2 > _MOST_CROSSINGS)


def union(polygons: Sequence[BaseGeometry]) -> BaseGeometry:
    """The union on a grid of GRID pixels: GEOS's floating overlay can lose whole parts where edges nearly coincide."""
    return polygons[0] if len(polygons) == 1 else shapely.union_all(list(polygons), grid_size=GRID)
