"""Photos that show the same picture: recompressed, scaled, taken a moment later, a little moved, zoomed or relit.

Two steps. Small descriptors without brightness propose each photo's most similar ones, by an inverted file rather than
all with all (`candidates`). Each proposal is then verified by registration: enough local features must agree on one
turn, zoom and shift (`same_picture`). Descriptors alone take every object on white for every other.

Mirrored photos and such turned by more than some degrees are not found.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, hypot, sqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.photos import Photo, shrink
from trashkit.progress import Progress, silent

Ints = NDArray[np.intp]
Cells = NDArray[np.uint8]
Floats = NDArray[np.float32]

LONGEST = 256
"""Local features are sought with a photo's longer side at this many pixels."""
CELLS = 16
FEATURES = 300
BATCH = 512

NEIGHBOURS = 4
"""Most similar photos that are verified for each photo and view."""
PROBES = 16
"""Lists of the inverted file that are searched for each photo; with up to 256 photos that is all of them."""
MIN_COSINE = 0.4
"""Descriptors of photos that are verified have at least this cosine. Embedded scenes: 99 % of true pairs, 1 % of
others."""
CLOSE_BITS = 64
"""Matching ORB features differ in fewer of their 256 bits."""
INLIERS = 25
"""Features that must agree. True pairs of the embedded scenes have 54 and more of 300, false ones up to 14; of
household photos, other products of one brand come to 20."""
SMOOTH = 40
"""Photos with fewer features have too little texture for that; they are compared by their cells alone ..."""
SMOOTH_COSINE, SMOOTH_LEVELS = 0.97, 8.0
"""... whose descriptors must have this cosine, and which differ by this many levels of 255 on average."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of a photo, about 12 kB.

    cells: mean colours of a 16x16 grid, RGB uint8 [16, 16, 3]. points: features in pixels at LONGEST, float32 [K, 2]
    as x, y. bits: their ORB descriptors, uint8 [K, 32].
    """

    cells: Cells
    points: Floats
    bits: NDArray[np.uint8]


def look(photo: Photo) -> Look:
    """Features of an RGB uint8 [H, W, 3] photo of any size; none where a side is below 32 pixels at LONGEST.

    Source: ORB, Rublee et al. 2011; smaller patches than its default, since photos are small here.
    """
    small = shrink(photo, LONGEST)
    grid = np.asarray(cv2.resize(small, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.uint8)
    none = Look(grid, np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    if min(small.shape[:2]) < 32:
        return none
    # A detector is cheap to make and not safe to share between threads.
    detector = cv2.ORB.create(FEATURES, 1.2, 5, edgeThreshold=12, patchSize=25, fastThreshold=8)
    found: Any
    bits: Any  # None where nothing is found, which OpenCV's annotations do not say
    found, bits = detector.detectAndCompute(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), None)
    if bits is None:
        return none
    return Look(grid, np.array([point.pt for point in found], np.float32).reshape(-1, 2), bits)


def descriptors(grids: Cells, crop: int = 0) -> Floats:
    """Unit vectors [N, 192] of grids uint8 [N, 16, 16, 3], without what light changes: mean brightness and contrast.

    8x8 cells in CIELAB, colour weighted more than lightness. crop: cells left out on each side, which is what a photo
    zoomed in shows. Even photos are zero vectors.
    """
    shown = np.ascontiguousarray(grids[:, crop : CELLS - crop, crop : CELLS - crop])
    small = np.stack([cv2.resize(grid, (8, 8), interpolation=cv2.INTER_AREA) for grid in shown])
    lab = cv2.cvtColor(small.reshape(-1, 8, 3), cv2.COLOR_RGB2LAB).reshape(len(grids), 64, 3).astype(np.float32)
    flat = ((lab - lab.mean(axis=1, keepdims=True)) * np.array([1.0, 1.5, 1.5], np.float32)).reshape(len(grids), 192)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(length > 8, flat / np.maximum(length, 1e-6), 0), np.float32)


def candidates(grids: Cells) -> list[tuple[int, int, float]]:
    """Pairs worth verifying, as (lower, higher position, cosine), most similar first; at most some per photo.

    grids: uint8 [N, 16, 16, 3]. About N ** 1.5 comparisons: the square root of N photos are anchors, each photo stands
    in the list of its nearest anchor, and is compared with the lists of its PROBES nearest (an inverted file as in
    Jegou et al. 2011, with drawn instead of learned anchors). Photos with equal grids are chained, not compared.
    """
    count = len(grids)
    if count < 2:
        return []
    _, first, place = np.unique(grids.reshape(count, -1), axis=0, return_index=True, return_inverse=True)
    best = {(int(first[p]), n): 1.0 for n, p in enumerate(place.ravel()) if first[p] != n}
    kept = np.sort(first)
    vectors = descriptors(grids[kept])
    anchors = vectors[np.random.default_rng(0).permutation(len(kept))[: ceil(sqrt(len(kept)))]]
    home = np.argmax(vectors @ anchors.T, axis=1)
    for view in (vectors, descriptors(grids[kept], crop=1)):
        for one, other, cosine in _nearest(view, vectors, anchors, home):
            pair = (min(int(kept[one]), int(kept[other])), max(int(kept[one]), int(kept[other])))
            best[pair] = max(best.get(pair, 0.0), cosine)
    return sorted(((a, b, cosine) for (a, b), cosine in best.items()), key=lambda item: (-item[2], item[:2]))


def _nearest(queries: Floats, vectors: Floats, anchors: Floats, home: Ints) -> Iterable[tuple[int, int, float]]:
    """(query, vector, cosine) of each query's NEIGHBOURS nearest vectors other than itself."""
    probes = min(PROBES, len(anchors))
    probed = np.concatenate(
        [
            np.argpartition(-(queries[start : start + 4096] @ anchors.T), probes - 1, axis=1)[:, :probes]
            for start in range(0, len(queries), 4096)
        ]
    )
    found: list[NDArray[np.float64]] = []
    for anchor in range(len(anchors)):
        members, asking = np.flatnonzero(home == anchor), np.flatnonzero((probed == anchor).any(axis=1))
        for start in range(0, len(asking) if len(members) else 0, 1024):
            rows = asking[start : start + 1024]
            cosines = queries[rows] @ vectors[members].T
            cosines[rows[:, None] == members] = -1
            few = min(NEIGHBOURS, len(members))
            top = np.argpartition(-cosines, few - 1, axis=1)[:, :few]
            best = np.take_along_axis(cosines, top, axis=1)
            hit = best >= MIN_COSINE
            found.append(np.column_stack([np.repeat(rows, few)[hit.ravel()], members[top[hit]], best[hit]]))
    pairs = np.concatenate([np.zeros((0, 3)), *found])
    pairs = pairs[np.lexsort((pairs[:, 1], -pairs[:, 2], pairs[:, 0]))]
    rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    for one, other, cosine in pairs[rank < NEIGHBOURS].tolist():
        yield int(one), int(other), float(cosine)


def same_picture(one: Look, other: Look, cosine: float) -> bool:
    """Whether enough features of two photos agree on one turn, zoom (0.6 to 1.7) and shift, found by RANSAC.

    cosine: of their descriptors; decides, with the cells, where a photo has too little texture.
    """
    if min(len(one.points), len(other.points)) < SMOOTH:
        levels = np.abs(one.cells.astype(np.int16) - other.cells).mean()
        return bool(cosine >= SMOOTH_COSINE and levels <= SMOOTH_LEVELS)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(one.bits, other.bits)
    close = [match for match in matches if match.distance < CLOSE_BITS]
    if len(close) < INLIERS:
        return False
    here = one.points[[match.queryIdx for match in close]]
    there = other.points[[match.trainIdx for match in close]]
    camera, agreeing = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=3, maxIters=500
    )
    if camera is None or not 0.6 < hypot(camera[0, 0], camera[0, 1]) < 1.7:
        return False
    return int(agreeing.sum()) >= INLIERS


def near_pairs(looks: Sequence[Look], *, progress: Progress = silent) -> list[tuple[int, int]]:
    """Pairs of positions that show the same picture, at least enough to join every group; lower position first.

    Pairs that others have joined already are not looked at again. The same photos give the same pairs.
    """
    if len(looks) < 2:
        return []
    proposed = candidates(np.stack([one.cells for one in looks]))
    groups = _Groups(len(looks))
    pairs: list[tuple[int, int]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(proposed), BATCH):
            progress("comparing photos", start, len(proposed))
            batch = [(a, b, c) for a, b, c in proposed[start : start + BATCH] if groups.root(a) != groups.root(b)]
            for (a, b, _), same in zip(
                batch, pool.map(lambda job: same_picture(looks[job[0]], looks[job[1]], job[2]), batch), strict=True
            ):
                if same:
                    groups.join(a, b)
                    pairs.append((a, b))
    return pairs


def near_groups(looks: Sequence[Look], *, progress: Progress = silent) -> Ints:
    """[N] group number of each photo, 0 .. G-1 in order of first member.

    Chains join: where A is near B and B near C, all three are one group.
    """
    return union(len(looks), near_pairs(looks, progress=progress))


def union(count: int, pairs: Iterable[tuple[int, int]]) -> Ints:
    """[count] group numbers 0 .. G-1 in order of first member, where each pair is in one group (union-find)."""
    groups = _Groups(count)
    for one, other in pairs:
        groups.join(one, other)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(groups.root(n), len(numbers)) for n in range(count)], dtype=np.intp)


class _Groups:
    """Union-find with the lowest position as root."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def root(self, n: int) -> int:
        while self.parent[n] != n:
            self.parent[n] = self.parent[self.parent[n]]
            n = self.parent[n]
        return n

    def join(self, one: int, other: int) -> None:
        a, b = self.root(one), self.root(other)
        self.parent[max(a, b)] = min(a, b)
