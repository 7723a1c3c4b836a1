"""Convert object maps to COCO polygons: trace between pixels, cut holes open, simplify all outlines together.

Outlines run through the middles of the pixel edges, so neighbours share them exactly and never overlap. Simplification
(`shapely.coverage_simplify`) only drops vertices, so every coordinate stays a multiple of 0.5.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from trashkit.raster.measures import signed_area

ObjectMap = NDArray[np.int32]
# Steps to the next pixel when going around a region clockwise with it on the right: along the top edge to the right,
# down the right edge, along the bottom to the left, up the left edge. Middle of that edge relative to the pixel.
_AHEAD = ((0, 1), (1, 0), (0, -1), (-1, 0))
_OUT = ((-1, 0), (0, 1), (1, 0), (0, -1))
_MIDDLE = ((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5))


def _components(objects: ObjectMap) -> ObjectMap:
    """Number the 4-connected regions of equal value 1, 2 ... (background regions as well)."""
    h, w = objects.shape
    out = np.zeros((h, w), np.int32)
    offset = 0
    for value in np.unique(objects):
        count, labels = cv2.connectedComponents((objects == value).astype(np.uint8), connectivity=4)
        out += np.where(labels > 0, labels + offset, 0)
        offset += count - 1
    return out


def remove_specks(objects: ObjectMap, least_piece: int, least_object: int) -> ObjectMap:
    """Merge regions under `least_piece` pixels into what surrounds them, and drop objects under `least_object` pixels.

    Applied until nothing changes (at most six rounds).
    """
    objects = objects.copy()
    for _ in range(6):
        sizes = np.bincount(objects.ravel())
        small = np.flatnonzero((sizes > 0) & (sizes < least_object))
        gone = np.isin(objects, small[small > 0])
        objects[gone] = 0
        regions = _components(objects)
        counts = np.bincount(regions.ravel())
        specks = np.flatnonzero((counts > 0) & (counts < least_piece))
        if not len(specks):
            if not gone.any():
                break
            continue
        for speck in specks:
            spot = (regions == speck).astype(np.uint8)
            ring = cv2.dilate(spot, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > spot
            values = objects[ring]
            objects[spot > 0] = np.bincount(values).argmax() if len(values) else 0
    return objects


def _trace(regions: ObjectMap, skip: NDArray[np.bool_]) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Trace all outlines: region numbers and rings [n, 2] of x, y. Rings with negative area are holes."""
    padded = np.full((regions.shape[0] + 2, regions.shape[1] + 2), -1, np.int32)
    padded[1:-1, 1:-1] = np.where(skip[regions], -1, regions)
    width = padded.shape[1]
    flat = padded.ravel()
    offsets_out = np.array([dy * width + dx for dy, dx in _OUT])
    offsets_on = np.array([dy * width + dx for dy, dx in _AHEAD])
    inside = np.flatnonzero(flat >= 0)
    following: dict[int, int] = {}
    for side in range(4):
        cells = inside[flat[inside] != flat[inside + offsets_out[side]]]
        own = flat[cells]
        beside = cells + offsets_on[side]
        diagonal = beside + offsets_out[side]
        same_beside, same_diagonal = flat[beside] == own, flat[diagonal] == own
        after = np.where(
            ~same_beside,
            cells * 4 + (side + 1) % 4,
            np.where(~same_diagonal, beside * 4 + side, diagonal * 4 + (side + 3) % 4),
        )
        following.update(zip((cells * 4 + side).tolist(), after.tolist(), strict=True))
    owners: list[int] = []
    rings: list[NDArray[np.float64]] = []
    middles = np.array(_MIDDLE)
    while following:
        start, edge = following.popitem()
        chain = [start]
        while edge != start:
            chain.append(edge)
            edge = following.pop(edge)
        edges = np.array(chain)
        cells = edges // 4
        points = np.stack([cells % width - 1, cells // width - 1], axis=1) + middles[edges % 4]
        owners.append(int(flat[cells[0]]))
        rings.append(points)
    return owners, rings


def _cut_holes(regions: ObjectMap, skip: NDArray[np.bool_]) -> tuple[ObjectMap, NDArray[np.intp], list[Any], list[Any]]:
    """Split regions with holes through their holes until no hole is left.

    Returns the regions, for each its parent region, and the traced owners and rings.
    """
    parents = np.arange(int(regions.max()) + 1)
    for turn in range(12):
        owners, rings = _trace(regions, skip)
        holes: dict[int, NDArray[np.float64]] = {}
        for owner, ring in zip(owners, rings, strict=True):
            if signed_area(ring[:, 0], ring[:, 1]) < 0 and (owner not in holes or len(ring) > len(holes[owner])):
                holes[owner] = ring
        if not holes:
            return regions, parents, owners, rings
        for owner, ring in sorted(holes.items()):
            for labels, count in _best_cut(regions == owner, ring, turn):
                fresh = len(parents)
                regions = np.where(labels > 0, labels + fresh - 1, regions).astype(np.int32)
                parents = np.append(parents, np.full(count, parents[owner]))
                skip = np.append(skip, np.full(count, False))
    raise AssertionError("holes remain after twelve cuts")


def _best_cut(spot: NDArray[np.bool_], hole: NDArray[np.float64], turn: int) -> list[tuple[NDArray[np.int32], int]]:
    """Cut a region in two through its hole, vertically or horizontally, with the largest possible smallest piece.

    Returns numbered pieces [H, W] and their count for both sides. `turn` chooses the direction in a tie.
    """
    low, high = hole.min(axis=0), hole.max(axis=0)
    best: tuple[int, list[tuple[NDArray[np.int32], int]]] | None = None
    for axis in (turn % 2, 1 - turn % 2):
        for at in (0.5, 0.3, 0.7):
            place = int(low[axis] + at * (high[axis] - low[axis]))
            index = np.arange(spot.shape[1 - axis])
            side = index >= place if axis == 0 else (index >= place)[:, None]
            halves, least = [], spot.size
            for half in (spot & side, spot & ~side):
                count, labels, stats, _ = cv2.connectedComponentsWithStats(half.astype(np.uint8), connectivity=4)
                halves.append((np.asarray(labels, np.int32), count - 1))
                least = min([least, *stats[1:, cv2.CC_STAT_AREA].tolist()])
            if best is None or least > best[0]:
                best = (least, halves)
    assert best is not None
    return best[1]


def polygons(objects: ObjectMap, tolerance: float) -> dict[int, list[NDArray[np.float64]]]:
    """Polygons of every object of a map [H, W] (0 is background): rings [n, 2] of x, y by object number.

    Rings are simple, free of holes and do not overlap, not even between objects. `tolerance` in pixels: triangles
    under its square are flattened (Visvalingam-Whyatt); 0 only drops collinear vertices.
    """
    regions = _components(objects)
    values = np.zeros(int(regions.max()) + 1, np.int64)
    values[regions.ravel()] = objects.ravel()
    skip = values == 0
    skip[0] = False
    _, parents, owners, rings = _cut_holes(regions, skip)
    order = sorted(range(len(rings)), key=lambda k: (owners[k], rings[k][:, 1].min(), rings[k][:, 0].min()))
    shapes = shapely.coverage_simplify([shapely.Polygon(_from_corner(rings[k])) for k in order], tolerance)
    out: dict[int, list[NDArray[np.float64]]] = {}
    for k, shape in zip(order, shapes, strict=True):
        ring = np.asarray(shape.exterior.coords)[:-1]
        if len(ring) >= 3:
            out.setdefault(int(values[parents[owners[k]]]), []).append(ring)
    return out


def _from_corner(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Start a closed ring at its topmost, then leftmost vertex, so that it does not depend on the tracing order."""
    first = np.lexsort((ring[:, 0], ring[:, 1]))[0]
    ring = np.roll(ring, -first, axis=0)
    return np.vstack([ring, ring[:1]])


def ring_area(ring: NDArray[np.float64]) -> float:
    """Area inside a simple ring, by the shoelace formula."""
    return abs(signed_area(ring[:, 0], ring[:, 1]))
