"""Geometry of one segmentation made sound, and how many pixels that changes.

Nothing is lost in silence: invalid rings go through shapely's ``make_valid`` (linework), never through ``buffer(0)``,
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
from trashkit.masks import rle

Ring = list[float]

SAFE_PIXELS = 4
SAFE_SHARE = 0.05
"""A repair is safe when it changes at most SAFE_PIXELS pixels, or at most SAFE_SHARE of the outline's pixels ..."""
OUTLINE_WIDTH = 2
"""... and each of them lies within this many pixels of the outline before, of the mask or of the rings that made it."""
SAFE_OUTSIDE = 5.0
"""Clipping what reaches further out of the image than this many pixels is never safe: the scale may be wrong."""
SLIVER = 1e-6
"""Parts and holes of less area than this many square pixels are rounding errors of the geometry itself."""

GRID = 1e-6
"""Unions are computed with vertices rounded to this many pixels, which is robust where exact coordinates are not."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A segmentation as it should be.

    kind: "safe", "unsafe", or None where nothing needed repair. changed_pixels: of the mask at native size, as
    pycocotools rasterises it before and after; -1 where the segmentation did not rasterise before, or is empty now.
    reasons: what was done, in words.
    """

    segmentation: Segmentation
    kind: FixKind | None
    changed_pixels: int = 0
    reasons: tuple[str, ...] = ()


def repair_segmentation(segmentation: Any, height: int, width: int) -> Repair:
    """Drop repeated vertices, mend invalid rings, clip to the image [height, width], and measure.

    Explicitly closed rings stay as they are, and so does every ring that needs nothing. RLEs come back untouched.
    Parts that cannot be mended (too few or odd numbers, not finite, wholly outside) are dropped, which is unsafe.
    """
    steps: list[tuple[str, Callable[[Any], Any]]] = [
        ("dropped parts that are no rings", drop_broken_rings),
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
    kind, changed = judge(segmentation, repaired, height, width)
    if furthest_outside(segmentation, height, width) > SAFE_OUTSIDE:
        kind = "unsafe"
    return Repair(repaired, kind, changed, tuple(reasons))


def judge(before: Any, after: Any, height: int, width: int) -> tuple[FixKind, int]:
    """Whether a change of segmentation is safe, and how many pixels of the mask it changes (-1: not comparable).

    Safe: at most SAFE_PIXELS pixels or SAFE_SHARE of the outline's pixels differ in the union of all parts as
    pycocotools rasterises it at native size, all of them within OUTLINE_WIDTH pixels of the outline as it was.
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
    """Rings with what is no coordinate taken out; rings with fewer than three points dropped."""
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
    """Rings without vertices that repeat the one before; a ring closed by repeating its first vertex once stays so."""
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
    """Rings that cross or touch themselves cut into valid ones by ``make_valid``; the others as they are.

    Rings without any area are dropped; where all are, the segmentation stays as it is.
    """
    if not isinstance(segmentation, list):
        return segmentation
    return [new for ring in segmentation for new in _valid_rings(ring)] or segmentation


def _valid_rings(ring: Ring) -> list[Ring]:
    polygon = Polygon(_points(ring))
    return [ring] if polygon.is_valid else _as_rings(shapely.make_valid(polygon), ring)


def clip_rings(segmentation: Any, height: int, width: int) -> Any:
    """Rings cut off at the border of the image; rings wholly outside dropped; the others as they are."""
    if not isinstance(segmentation, list):
        return segmentation
    image = shapely.box(0, 0, width, height)
    clipped: list[Ring] = []
    for ring in segmentation:
        if _outside(ring, height, width) <= 0:
            clipped.append(ring)
        else:
            polygon = Polygon(_points(ring))
            inside = shapely.intersection(polygon if polygon.is_valid else shapely.make_valid(polygon), image)
            clipped += _as_rings(inside, ring)
    return clipped


def furthest_outside(segmentation: Any, height: int, width: int) -> float:
    """By how many pixels the outermost vertex lies outside the image; 0 where none does, and for RLEs."""
    if not isinstance(segmentation, list):
        return 0.0
    return max((_outside(ring, height, width) for ring in map(_numbers_only, segmentation) if ring), default=0.0)


def _outside(ring: Ring, height: int, width: int) -> float:
    xs, ys = ring[0::2], ring[1::2]
    return max(0.0, -min(xs), -min(ys), max(xs) - width, max(ys) - height)


def unite_rings(segmentation: Any) -> Any:
    """Rings that overlap made one; rings that overlap no other as they are."""
    if not isinstance(segmentation, list) or len(segmentation) < 2:
        return segmentation
    polygons = [_valid(Polygon(_points(ring))) for ring in segmentation]
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
            united += _as_rings(_union([polygons[n] for n in members]), precise)
    return united


def area_of(segmentation: Any, height: int, width: int) -> float | None:
    """Area in square pixels: of the union of the polygons (each made valid), of the pixels for an RLE.

    None where the segmentation cannot be rasterised.
    """
    if check_segmentation(segmentation, height, width):
        return None
    if isinstance(segmentation, dict):
        return float(pycoco.area(rle(segmentation, height, width)))
    return float(_union([_valid(Polygon(_points(ring))) for ring in segmentation]).area)


def box_of(segmentation: Any, height: int, width: int) -> list[float] | None:
    """Box [x, y, width, height] of all vertices, or of an RLE's pixels; None where it cannot be rasterised."""
    if check_segmentation(segmentation, height, width):
        return None
    if isinstance(segmentation, dict):
        return [float(value) for value in pycoco.toBbox(rle(segmentation, height, width))]
    xs = [x for ring in segmentation for x in ring[0::2]]
    ys = [y for ring in segmentation for y in ring[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _union(polygons: list[BaseGeometry]) -> BaseGeometry:
    """The union on a grid of GRID pixels: GEOS's floating overlay can lose whole parts where edges nearly coincide."""
    return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons, grid_size=GRID)


def _valid(polygon: Polygon) -> BaseGeometry:
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def _as_rings(geometry: BaseGeometry, like: Ring) -> list[Ring]:
    """Rings of all polygons of a geometry, holes cut open, numbers as precise as those they come from.

    Rounding is tried from two decimals (or as many as `like` has) on, until all rings are valid.
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
    """Most digits after the point among a ring's numbers, at most 6."""
    return min(6, max((len(repr(v).partition(".")[2]) for v in ring if type(v) is float and v != int(v)), default=0))


def _polygons(geometry: BaseGeometry) -> Iterator[Polygon]:
    if isinstance(geometry, Polygon):
        if geometry.area > SLIVER:
            yield geometry
    else:
        for part in getattr(geometry, "geoms", ()):
            yield from _polygons(part)


def _cut_holes(polygon: Polygon) -> Iterable[Polygon]:
    """Pieces of a polygon, none with a hole: it is cut along vertical lines so that each hole is hit by one.

    The lines lie on whole pixel edges where the hole is wide enough, so that no pixel's centre is on a cut.
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
