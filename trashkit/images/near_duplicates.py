"""Find near-duplicate photos: recompressed, rescaled, burst shots, slightly moved, zoomed or relit.

Three steps. Small global descriptors, invariant to brightness, propose the most similar photos of each photo by an
inverted file instead of comparing all pairs (`candidate_pairs`). Each proposal is then registered: enough local
features must agree on one rotation, zoom and shift (`register`). Global descriptors alone would match any two objects
on a white background. At last one photo is laid over the other, and even the least agreeing tenth of the picture must
agree (`trashkit.images.agreement`). Registration alone would match any two photos with the same caption bar.

Mirrored photos and photos rotated by more than a few degrees are not found.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, hypot, sqrt
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.images.agreement import agreement, thumbnail
from trashkit.images.photos import Photo, shrink
from trashkit.progress import Progress, silent

Ints = NDArray[np.intp]
Grid = NDArray[np.uint8]
Floats = NDArray[np.float32]

LONGEST_SIDE = 256
"""Local features are detected with a photo's longer side at this many pixels."""
GRID_SIZE = 16
MAX_KEYPOINTS = 300
BATCH = 512

NEIGHBOURS = 4
"""Most similar photos to verify for each photo and crop."""
PROBES = 16
"""Lists of the inverted file to search for each photo; with up to 256 photos that is all of them."""
MIN_COSINE = 0.4
"""Least cosine similarity of a pair worth verifying. In the synthetic scenes 99 % of true pairs reach it, and 1 % of
the others."""
MAX_HAMMING = 64
"""ORB descriptors match if they differ in fewer than this many of their 256 bits."""
MIN_INLIERS = 25
"""Features that must agree on one transform. True pairs of the synthetic scenes have 54 or more of 300, false pairs up
to 14; in household photos, different products of one brand reach 20."""
MIN_KEYPOINTS = 40
"""Photos with fewer features have too little texture to register. They are compared as they lie, without a shift ..."""
PLAIN_COSINE, PLAIN_LEVELS, PLAIN_AGREEMENT = 0.97, 8.0, 0.9
"""... if their colour descriptors have this cosine similarity and their colour grids differ by at most this many of 255
levels on average, and this share of the least agreeing tenth must agree."""

Matching = Literal["off", "strict", "normal"]
MIN_AGREEMENT = {"normal": 0.6, "strict": 0.8}
"""Share of the least agreeing tenth of the picture that must agree, see `trashkit.images.agreement`. A pair below the
strict value is weak: `trashkit.images.doubtful_groups` reports groups that only such a pair holds together."""
STILL_PIXELS = 4.0
"""Captions and backgrounds lie at the same place in all photos. So photos whose corners are mapped onto each other
within so many pixels must reach the strict value; copies and frames of a video, of which this is true, too, do."""


@dataclass(frozen=True, slots=True)
class PhotoFeatures:
    """Features of one photo for near-duplicate search, about 16 kB.

    grid: mean colours of a 16x16 grid, RGB uint8 [16, 16, 3]. thumbnail: `trashkit.images.agreement.thumbnail`, grey
    uint8 [H, W]. scale: its size over that of the photo at LONGEST_SIDE. keypoints: in pixels at LONGEST_SIDE,
    float32 [K, 2] as x, y. descriptors: their ORB descriptors, uint8 [K, 32].
    """

    grid: Grid
    thumbnail: Grid
    scale: float
    keypoints: Floats
    descriptors: NDArray[np.uint8]


class NearDuplicate(NamedTuple):
    """Two photos by position, lower first, and how well they agree, 0 .. 1 (`trashkit.images.agreement.agreement`)."""

    one: int
    other: int
    agreement: float


def photo_features(photo: Photo) -> PhotoFeatures:
    """Extract features from an RGB uint8 [H, W, 3] photo of any size.

    A photo with a side below 32 pixels at LONGEST_SIDE has no keypoints.
    Source: ORB, Rublee et al. 2011; with smaller patches than the default, since photos are small here.
    """
    small = shrink(photo, LONGEST_SIDE)
    grid = np.asarray(cv2.resize(small, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    tiny = thumbnail(grey)
    scale = max(tiny.shape) / max(grey.shape)
    none = PhotoFeatures(grid, tiny, scale, np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    if min(small.shape[:2]) < 32:
        return none
    # A detector is cheap to make and not safe to share between threads.
    detector = cv2.ORB.create(MAX_KEYPOINTS, 1.2, 5, edgeThreshold=12, patchSize=25, fastThreshold=8)
    found: Any
    descriptors: Any  # None where nothing is found, which OpenCV's type annotations leave out
    found, descriptors = detector.detectAndCompute(grey, None)
    if descriptors is None:
        return none
    keypoints = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    return PhotoFeatures(grid, tiny, scale, keypoints, descriptors)


def colour_descriptors(grids: Grid, crop: int = 0) -> Floats:
    """Unit vectors [N, 192] of colour grids uint8 [N, 16, 16, 3], invariant to mean brightness and contrast.

    8x8 cells in CIELAB, colour weighted more than lightness. crop: cells cut off on each side, to match photos that
    are zoomed in. Uniform photos give zero vectors.
    """
    shown = np.ascontiguousarray(grids[:, crop : GRID_SIZE - crop, crop : GRID_SIZE - crop])
    small = np.stack([cv2.resize(grid, (8, 8), interpolation=cv2.INTER_AREA) for grid in shown])
    lab = cv2.cvtColor(small.reshape(-1, 8, 3), cv2.COLOR_RGB2LAB).reshape(len(grids), 64, 3).astype(np.float32)
    flat = ((lab - lab.mean(axis=1, keepdims=True)) * np.array([1.0, 1.5, 1.5], np.float32)).reshape(len(grids), 192)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(length > 8, flat / np.maximum(length, 1e-6), 0), np.float32)


def candidate_pairs(grids: Grid) -> list[tuple[int, int, float]]:
    """Pairs worth verifying, as (lower, higher position, cosine), most similar first; a few per photo.

    grids: uint8 [N, 16, 16, 3]. Takes about N ** 1.5 comparisons: the square root of N photos serve as anchors, each
    photo is in the list of its nearest anchor and is compared with the lists of its PROBES nearest anchors (an inverted
    file as in Jegou et al. 2011, with sampled instead of learned anchors). Photos with equal grids are chained without
    comparison.
    """
    count = len(grids)
    if count < 2:
        return []
    _, first, place = np.unique(grids.reshape(count, -1), axis=0, return_index=True, return_inverse=True)
    best = {(int(first[p]), n): 1.0 for n, p in enumerate(place.ravel()) if first[p] != n}
    kept = np.sort(first)
    vectors = colour_descriptors(grids[kept])
    anchors = vectors[np.random.default_rng(0).permutation(len(kept))[: ceil(sqrt(len(kept)))]]
    home = np.argmax(vectors @ anchors.T, axis=1)
    for view in (vectors, colour_descriptors(grids[kept], crop=1)):
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


def register(one: PhotoFeatures, other: PhotoFeatures) -> NDArray[np.float64] | None:
    """The rotation, zoom (0.6 to 1.7) and shift on which enough features of two photos agree, found by RANSAC.

    Affine map float64 [2, 3] from pixels of `one` to pixels of `other`, both at LONGEST_SIDE; None if there is none.
    """
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(one.descriptors, other.descriptors)
    close = [match for match in matches if match.distance < MAX_HAMMING]
    if len(close) < MIN_INLIERS:
        return None
    here = one.keypoints[[match.queryIdx for match in close]]
    there = other.keypoints[[match.trainIdx for match in close]]
    camera, agreeing = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=3, maxIters=500
    )
    if camera is None or not 0.6 < hypot(camera[0, 0], camera[0, 1]) < 1.7 or int(agreeing.sum()) < MIN_INLIERS:
        return None
    return np.asarray(camera, np.float64)


def compare(one: PhotoFeatures, other: PhotoFeatures, cosine: float) -> float:
    """How well two photos agree, 0 .. 1; 0 for photos that cannot be registered (`NearDuplicate.agreement`).

    cosine: similarity of their `colour_descriptors`; it decides, with the grids, where a photo has too little texture.
    """
    grids = one.grid, other.grid
    if min(len(one.keypoints), len(other.keypoints)) < MIN_KEYPOINTS:
        levels = float(np.abs(one.grid.astype(np.int16) - other.grid).mean())
        if cosine < PLAIN_COSINE or levels > PLAIN_LEVELS:
            return 0.0
        (h, w), (height, width) = one.thumbnail.shape, other.thumbnail.shape
        found = agreement(one.thumbnail, other.thumbnail, grids, _centred(np.diag([width / w, height / h])))
        return found if found >= PLAIN_AGREEMENT else 0.0
    camera = register(one, other)
    if camera is None:
        return 0.0
    # Keypoints are at LONGEST_SIDE, thumbnails are smaller; (0, 0) is the centre of the first pixel in both.
    here, there = _centred(np.eye(2) / one.scale), _centred(np.eye(2) * other.scale)
    found = agreement(one.thumbnail, other.thumbnail, grids, there @ _square(camera) @ _square(here))
    return found if found >= MIN_AGREEMENT["strict"] or _moved(camera) >= STILL_PIXELS else 0.0


def _moved(camera: NDArray[np.float64]) -> float:
    """How far a map moves the corners of a photo, the largest distance along x or y in pixels at LONGEST_SIDE."""
    corners = np.array([[x, y, 1.0] for x in (0, LONGEST_SIDE) for y in (0, LONGEST_SIDE)])
    return float(np.abs(corners @ camera.T - corners[:, :2]).max())


def _centred(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine map [2, 3] of a scaling [2, 2] of a picture, between centres of pixels."""
    return np.column_stack([scale, (scale.sum(axis=1) - 1) / 2])


def _square(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([camera, [[0.0, 0.0, 1.0]]])


def near_duplicate_pairs(
    features: Sequence[PhotoFeatures], *, matching: Matching = "normal", progress: Progress = silent
) -> list[NearDuplicate]:
    """Pairs of near-duplicates; enough pairs to connect every group, and no pair that closes a circle.

    matching: ``strict`` requires more agreement, ``off`` finds nothing. Pairs whose groups are already connected are
    not verified again; weak pairs (MIN_AGREEMENT) come last, so that they appear only where no other pair joins two
    parts of a group. The same photos give the same pairs.
    """
    if len(features) < 2 or matching == "off":
        return []
    proposed = candidate_pairs(np.stack([one.grid for one in features]))
    groups = _UnionFind(len(features))
    pairs: list[NearDuplicate] = []
    weak: list[NearDuplicate] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(proposed), BATCH):
            progress("comparing photos", start, len(proposed))
            batch = [(a, b, c) for a, b, c in proposed[start : start + BATCH] if groups.root(a) != groups.root(b)]
            agreements = pool.map(lambda job: compare(features[job[0]], features[job[1]], job[2]), batch)
            for (a, b, _), agreeing in zip(batch, agreements, strict=True):
                if agreeing >= MIN_AGREEMENT["strict"]:
                    pairs += groups.joined(NearDuplicate(a, b, agreeing))
                elif agreeing >= MIN_AGREEMENT[matching]:
                    weak.append(NearDuplicate(a, b, agreeing))
    for pair in sorted(weak, key=lambda pair: (-pair.agreement, pair)):
        pairs += groups.joined(pair)
    return pairs


def near_duplicate_groups(
    features: Sequence[PhotoFeatures], *, matching: Matching = "normal", progress: Progress = silent
) -> Ints:
    """[N] group number of each photo, 0 .. G-1 in order of first member.

    Groups are transitive: if A is near B and B near C, all three share a group.
    """
    pairs = near_duplicate_pairs(features, matching=matching, progress=progress)
    return connected_groups(len(features), [(one, other) for one, other, _ in pairs])


def connected_groups(count: int, pairs: Iterable[tuple[int, int]]) -> Ints:
    """[count] group numbers 0 .. G-1 in order of first member, each pair in one group (connected components)."""
    groups = _UnionFind(count)
    for one, other in pairs:
        groups.join(one, other)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(groups.root(n), len(numbers)) for n in range(count)], dtype=np.intp)


class _UnionFind:
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

    def joined(self, pair: NearDuplicate) -> list[NearDuplicate]:
        """The pair if it joins two groups, which it then does; else nothing."""
        if self.root(pair.one) == self.root(pair.other):
            return []
        self.join(pair.one, pair.other)
        return [pair]
