"""Repair the geometry of one segmentation, and measure how many pixels that changes.

No part is lost silently: invalid rings go through shapely's ``make_valid`` (linework), never through ``buffer(0)``,
which drops parts; holes, which COCO polygons cannot hold, are kept by cutting the polygon into pieces without holes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import shapely
from pycocotools import mask as pycoco
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from trashkit.coco.segmentation import Segmentation, check_segmentation
from trashkit.finding import FixKind
from trashkit.raster.masks import rle
from trashkit.raster.measures import is_tangled, union, valid_polygon

Ring = list[float]

SAFE_PIXELS = 4
SAFE_SHARE = 0.05
"""A repair is safe when it changes at most SAFE_PIXELS pixels, or at most SAFE_SHARE of the outline's pixels ..."""
OUTLINE_WIDTH = 2
"""... and each of them is within this many pixels of the old outline, of the mask or of the rings it was made from."""
SAFE_OUTSIDE = 5.0
"""Clipping is never safe where vertices are further outside than this many pixels: the scale may be wrong."""
SLIVER = 1e-6
"""Parts and holes below this area in square pixels are rounding errors of the geometry itself."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A repaired segmentation.

    kind: "safe", "unsafe", or None if nothing needed repair. changed_pixels: pixels of the mask that differ before and
    after, rasterised by pycocotools at native size; -1 if the segmentation could not be rasterised before, or is empty
    now. reasons: descriptions of what was done.
    """

    segmentation: Segmentation
    kind: FixKind | None
    changed_pixels: int = 0
    reasons: tuple[str, ...] = ()


def repair_segmentation(segmentation: Any, height: int, width: int) -> Repair:
    """Drop repeated vertices, make invalid rings valid, clip to the image [height, width], and measure the change.

    Rings that need no repair, explicitly closed ones included, are returned unchanged, and so are RLEs.
    Parts that cannot be repaired (too few or odd numbers, not finite, fully outside) are dropped, which is unsafe.
    """
    steps: list[tuple[str, Callable[[Any], Any]]] = [
        ("dropped malformed rings", drop_broken_rings),
        ("dropped repeated vertices", drop_repeated_vertices),
        ("made rings valid", make_rings_valid),
        ("clipped to the image", lambda rings: clip_rings(rings, height, width)),
    ]
    repaired, reasons = segmentation, []
    for reason, step in steps:
        after = step(repaired)
        if after != repaired:
            reasons.append(reason)
            repaired = after
    if not reasons:
        return Repair(segmentation, None)
    kind, changed = safety_of_change(segmentation, repaired, height, width)
    if distance_outside(segmentation, height, width) > SAFE_OUTSIDE:
        kind = "unsafe"
    return Repair(repaired, kind, changed, tuple(reasons))


def safety_of_change(before: Any, after: Any, height: int, width: int) -> tuple[FixKind, int]:
    """Whether a change of segmentation is safe, and how many pixels of the mask it changes (-1: cannot be compared).

    Safe: at most SAFE_PIXELS pixels or SAFE_SHARE of the outline's pixels differ in the union of all parts, rasterised
    by pycocotools at native size, and all of these are within OUTLINE_WIDTH pixels of the old outline.
    """
    if check_segmentation(before, height, width) or check_segmentation(after, height, width):
        return "unsafe", -1
    one, other = rle(before, height, width), rle(after, height, width)
    changed = int(pycoco.area(pycoco.merge([one, other]))) - int(
        pycoco.area(pycoco.merge([one, other], intersect=True))
    )
    if changed == 0:
        return "safe", 0
    x, y, wide, high = (int(v) for v in pycoco.toBbox(pycoco.merge([one, other])))
    left, top = max(x - OUTLINE_WIDTH, 0), max(y - OUTLINE_WIDTH, 0)
    crop = slice(top, y + high + OUTLINE_WIDTH), slice(left, x + wide + OUTLINE_WIDTH)
    old, new = pycoco.decode(one)[crop], pycoco.decode(other)[crop]
    outline = _edge(old)
    for ring in before if isinstance(before, list) else ():
        corners = np.floor(np.array(_points(ring)) - (left, top)).astype(np.int32)
        cv2.polylines(outline, [corners], True, 1)
    square = np.ones((3, 3), np.uint8)
    near = cv2.dilate(outline, square, iterations=OUTLINE_WIDTH)
    few = changed <= max(SAFE_PIXELS, SAFE_SHARE * int(outline.sum()))
    return ("safe" if few and not ((old != new) & (near == 0)).any() else "unsafe"), changed


def _edge(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The pixels of a mask that have a neighbour outside it."""
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(mask - inner, np.uint8)


def drop_broken_rings(segmentation: Any) -> Any:
    """Remove points with values that are not coordinates, and rings with fewer than three points."""
    if not isinstance(segmentation, list):
        return segmentation
    rings = [_numbers_only(ring) for ring in segmentation]
    return [ring for ring in rings if ring is not None]


def _numbers_only(ring: Any) -> Ring | None:
    if not isinstance(ring, list):
        return None
    if len(ring) % 2 == 0 and all(map(_is_coordinate, ring)):
        return ring if len(ring) >= 6 else None
    points = [point for point in zip(ring[0::2], ring[1::2], strict=False) if all(map(_is_coordinate, point))]
    return [value for point in points for value in point] if len(points) >= 3 else None


def _is_coordinate(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e6  # NaN compares false


def drop_repeated_vertices(segmentation: Any) -> Any:
    """Remove vertices that repeat the one before; a ring closed by repeating its first vertex stays closed."""
    if not isinstance(segmentation, list):
        return segmentation
    return [_without_repeats(ring) for ring in segmentation]


def _without_repeats(ring: Ring) -> Ring:
    points = _points(ring)
    kept = points[:1] + [point for last, point in pairwise(points) if point != last]
    return ring if len(kept) == len(points) or len(set(kept)) < 3 else [value for point in kept for value in point]


def _points(ring: Ring) -> list[tuple[float, float]]:
    return list(zip(ring[0::2], ring[1::2], strict=True))


def make_rings_valid(segmentation: Any) -> Any:
    """Cut rings that cross or touch themselves into valid ones by ``make_valid``; the others are not changed.

    Rings without any area are dropped, unless all rings are such: then nothing is changed. Tangled rings are kept.
    """
    if not isinstance(segmentation, list):
        return segmentation
    return [new for ring in segmentation for new in _valid_rings(ring)] or segmentation


def _valid_rings(ring: Ring) -> list[Ring]:
    polygon = Polygon(_points(ring))
    return [ring] if polygon.is_valid or is_tangled(polygon) else _as_rings(shapely.make_valid(polygon), ring)


def clip_rings(segmentation: Any, height: int, width: int) -> Any:
    """Clip rings at the border of the image, and drop those fully outside; the others are not changed."""
    if not isinstance(segmentation, list):
        return segmentation
    image = shapely.box(0, 0, width, height)
    clipped: list[Ring] = []
    for ring in segmentation:
        if _outside(ring, height, width) <= 0:
            clipped.append(ring)
        else:
            inside = shapely.intersection(valid_polygon(ring), image)
            clipped += _as_rings(inside, ring)
    return clipped


def distance_outside(segmentation: Any, height: int, width: int) -> float:
    """How many pixels the outermost vertex is outside the image; 0 if none is, and for RLEs."""
    if not isinstance(segmentation, list):
        return 0.0
    return max((_outside(ring, height, width) for ring in map(_numbers_only, segmentation) if ring), default=0.0)


def _outside(ring: Ring, height: int, width: int) -> float:
    xs, ys = ring[0::2], ring[1::2]
    return max(0.0, -min(xs), -min(ys), max(xs) - width, max(ys) - height)


def unite_rings(segmentation: Any) -> Any:
    """Merge rings that overlap; rings that overlap no other are not changed."""
    if not isinstance(segmentation, list) or len(segmentation) < 2:
        return segmentation
    polygons = [valid_polygon(ring) for ring in segmentation]
    tree = shapely.STRtree(polygons)
    pairs = tree.query(polygons, predicate="intersects").T
    groups = list(range(len(polygons)))
    for one, other in pairs:
        if one < other and shapely.intersection(polygons[one], polygons[other]).area > SLIVER:
            low, high = sorted((groups[one], groups[other]))
            groups = [low if group == high else group for group in groups]
    united: list[Ring] = []
    for number, group in enumerate(groups):
        members = [n for n, other in enumerate(groups) if other == group]
        if len(members) == 1:
            united.append(segmentation[number])
        elif members[0] == number:
            precise = [value for n in members for value in segmentation[n]]
            united += _as_rings(union([polygons[n] for n in members]), precise)
    return united


def _as_rings(geometry: BaseGeometry, like: Ring) -> list[Ring]:
    """Rings of all polygons of a geometry, with holes cut open and numbers as precise as those of the ring `like`.

    Numbers are rounded to two decimals (or as many as `like` has), and to more until the ring is valid.
    """
    pieces = [piece for polygon in _polygons(geometry) for piece in _cut_holes(polygon)]
    rings: list[Ring] = []
    whole = all(type(value) is int for value in like)
    for piece in pieces:
        corners = piece.exterior.coords[:-1]
        for decimals in (max(2, _decimals(like)), 4, 6, 9, 17):
            points = [(round(x, decimals) + 0.0, round(y, decimals) + 0.0) for x, y in corners]
            kept = points[:1] + [point for last, point in pairwise(points) if point != last]
            if len(set(kept)) >= 3 and Polygon(kept).is_valid:
                rings.append([int(v) if whole and v == int(v) else v for point in kept for v in point])
                break
    return rings


def _decimals(ring: Ring) -> int:
    """The most decimals that any of a ring's numbers has, at most 6."""
    return min(6, max((len(repr(v).partition(".")[2]) for v in ring if type(v) is float and v != int(v)), default=0))


def _polygons(geometry: BaseGeometry) -> Iterator[Polygon]:
    if isinstance(geometry, Polygon):
        if geometry.area > SLIVER:
            yield geometry
    else:
        for part in getattr(geometry, "geoms", ()):
            yield from _polygons(part)


def _cut_holes(polygon: Polygon) -> Iterable[Polygon]:
    """Cut a polygon along vertical lines, one through each hole, into pieces without holes.

    Where a hole is wide enough the line is on a pixel edge, so that no pixel centre is on a cut.
    """
    holes = sorted((hole.bounds for hole in polygon.interiors if Polygon(hole).area > SLIVER), key=lambda b: b[2])
    if not holes:
        return [Polygon(polygon.exterior)]
    cuts: list[float] = []
    for left, _, right, _ in holes:
        if not cuts or not left < cuts[-1] < right:
            edge = float(np.ceil(right) - 1)
            cuts.append(edge if left < edge < right else (left + right) / 2)
    low, bottom, high, top = polygon.bounds
    lines = [low - 1, *cuts, high + 1]
    strips = [shapely.box(a, bottom - 1, b, top + 1) for a, b in pairwise(lines)]
    return [piece for strip in strips for part in _polygons(polygon.intersection(strip)) for piece in _cut_holes(part)]
