"""Rings inside rings: the stated area tells whether a hole was meant."""

# ruff: noqa: PLR0911 - the first kind that applies is returned, and there are several.

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import shapely

from trashkit.audit.readings.evidence import evidence_of
from trashkit.coco.segmentation import check_segmentation
from trashkit.raster.masks import MOST_PIXELS, mask, rle_from_mask
from trashkit.raster.measures import union, valid_polygon

Kind = Literal["none", "filled", "hole", "unclear"]
INSIDE = 0.99
"""A ring is inside another if this share of its area is."""
_MOST = 200
_CHOICES = 6


class Holes(NamedTuple):
    """Whether rings inside others are holes by an annotation's area.

    kind: none, if no ring is inside another; hole, if the area is that of the shape without inner rings (of rings
    inside holes, which are filled again); filled, if it is that of all rings together, or their sum; else unclear.
    pixels: pixels² of the holes. rings: positions of all rings that count, those that are filled anyway left out.
    """

    kind: Kind
    pixels: float = 0.0
    rings: tuple[int, ...] = ()


def holes_of(rings: Sequence[Sequence[float]], area: float | None) -> Holes:
    """Whether rings inside others are holes, see `Holes`. If not all of them fit the area, one choice of some may."""
    if not 2 <= len(rings) <= _MOST:
        return Holes("none")
    shapes = [valid_polygon(ring) for ring in rings]
    areas = np.array([shape.area for shape in shapes])
    inner: set[int] = set()
    clean = True
    tree = shapely.STRtree(shapes)
    for one, other in tree.query(shapes, predicate="intersects").T.tolist():
        if one >= other:
            continue
        smaller = min(areas[one], areas[other])
        shared = shapely.intersection(shapes[one], shapes[other]).area if smaller > 0 else 0.0
        if smaller > 0 and shared >= INSIDE * smaller:
            inner.add(one if areas[one] < areas[other] else other)
        elif shared > INSIDE / 100 * smaller:
            clean = False
    if not inner:
        return Holes("none")
    filled = float(union(shapes).area)
    every = tuple(range(len(rings)))
    hole = filled - float(reduce(shapely.symmetric_difference, shapes).area)
    if area is None:
        return Holes("unclear", hole, every)
    if clean and _leaves(area, filled, hole):
        return Holes("hole", hole, every)
    if any(abs(area - right) <= max(0.01 * right, 0.5) for right in (filled, float(areas.sum()))):
        return Holes("filled", hole, every)
    if clean and 2 <= len(inner) <= _CHOICES:
        outer = [ring for ring in every if ring not in inner]
        choices = [some for number in range(1, len(inner)) for some in combinations(sorted(inner), number)]
        fits = [some for some in choices if _leaves(area, filled, float(areas[list(some)].sum()))]
        if len(fits) == 1 and areas[list(inner)].sum() <= hole * 1.001:  # no ring is inside a hole
            return Holes("hole", float(areas[list(fits[0])].sum()), tuple(sorted([*outer, *fits[0]])))
    return Holes("unclear", hole, every)


def area_without_holes(rings: Sequence[Sequence[float]]) -> float:
    """Pixels² of rings of which those inside others are holes."""
    return float(reduce(shapely.symmetric_difference, map(valid_polygon, rings)).area)


def _leaves(area: float, filled: float, hole: float) -> bool:
    """Whether an area is that of a shape without its hole, much nearer to it than to the filled one."""
    left = filled - hole
    return hole > 1 and abs(area - left) <= min(max(0.1 * hole, 0.5), max(0.01 * left, 0.5))


def hole_of(record: Any, size: tuple[int, int] | None) -> tuple[Kind, dict[str, Any] | None, float]:
    """As `holes_of` for a row whose image has this size (height, width), with the holes cut out as RLE.

    An area in whole pixels, counted on the mask, counts as well.
    """
    rings = record.get("segmentation") if isinstance(record, dict) else None
    if size is None or not isinstance(rings, list) or len(rings) < 2 or check_segmentation(rings, *size):
        return "none", None, 0.0
    area = evidence_of(record).area
    kind, hole, counting = holes_of(rings, area)
    if kind in ("none", "filled"):
        return kind, None, hole
    if size[0] * size[1] > MOST_PIXELS:
        return "unclear", None, hole
    cut = reduce(np.logical_xor, (mask([ring], *size) for ring in map(rings.__getitem__, counting)))
    pixels = int(cut.sum())
    if kind == "unclear" and area is not None:
        if abs(area - pixels) <= 0.01 * hole:
            kind = "hole"
        elif abs(area - int(mask(rings, *size).sum())) <= 0.01 * hole:
            return "filled", None, hole
    if kind == "hole" and pixels:
        return kind, rle_from_mask(cut), hole
    return "unclear", None, hole
