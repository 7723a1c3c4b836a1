"""Photos that show the same picture: recompressed, scaled, slightly moved or lit otherwise.

Two photos are near-duplicates when their 64-bit DCT hashes differ in at most `NEAR_BITS` bits and their 16x16 colour
cells by at most `NEAR_LEVELS` levels on average. The hash alone takes every object on white for every other.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.photos import Photo

Ints = NDArray[np.intp]
Hashes = NDArray[np.uint64]
Cells = NDArray[np.uint8]

CELLS = 16
NEAR_BITS = 6
NEAR_LEVELS = 12.0
BANDS = 4
MAX_DISTANCE = 7
"""Largest Hamming distance that `close_pairs` can search for: 4 bands of 16 bits, of which one then differs in at
most one bit."""


def cells(photo: Photo) -> Cells:
    """Mean colours of a 16x16 grid, uint8 [16, 16, 3], from RGB uint8 [H, W, 3]."""
    return np.asarray(cv2.resize(photo, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.uint8)


def union(count: int, pairs: Iterable[tuple[int, int]]) -> Ints:
    """[count] group numbers 0 .. G-1 in order of first member, where each pair is in one group (union-find)."""
    parent = list(range(count))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for one, other in pairs:
        a, b = root(one), root(other)
        if a != b:
            parent[max(a, b)] = min(a, b)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(n), len(numbers)) for n in range(count)], dtype=np.intp)


def close_pairs(hashes: Hashes, distance: int) -> list[tuple[int, int]]:
    """Pairs of positions whose 64-bit hashes differ in at most `distance` bits, at least enough to join every group.

    hashes: uint64 [N]. distance: 0 .. 7. Equal hashes are chained rather than paired all with all. The others are
    found by multi-index hashing (Norouzi et al. 2012): of four 16-bit bands one differs in at most ``distance // 4``
    bits, so only hashes in neighbouring buckets of a band are compared.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must lie in 0 .. {MAX_DISTANCE}, not {distance}")
    unique, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = [(int(first[p]), n) for n, p in enumerate(place) if first[p] != n]
    flips = [0] if distance < BANDS else [0, *(1 << bit for bit in range(16))]
    found: set[tuple[int, int]] = set()
    for band in range(BANDS if distance else 0):
        key = (unique >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        for flip in flips:
            wanted = key ^ np.uint64(flip)
            low, high = np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, side="right")
            left = np.repeat(np.arange(len(unique)), high - low)
            offset = np.arange(len(left)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
            right = order[np.repeat(low, high - low) + offset]
            once = left < right
            left, right = left[once], right[once]
            near = np.bitwise_count(unique[left] ^ unique[right]) <= distance
            found.update(zip(left[near].tolist(), right[near].tolist(), strict=True))
    return pairs + sorted((int(first[a]), int(first[b])) for a, b in found)


def near_pairs(hashes: Hashes, grids: Cells) -> list[tuple[int, int]]:
    """Pairs of near-duplicates: hashes uint64 [N], grids uint8 [N, 16, 16, 3]; at least enough to join every group."""
    return [
        (a, b)
        for a, b in close_pairs(hashes, NEAR_BITS)
        if np.abs(grids[a].astype(np.int16) - grids[b]).mean() <= NEAR_LEVELS
    ]


def near_groups(hashes: Hashes, grids: Cells) -> Ints:
    """[N] group number of each photo. Chains join: where A is near B and B near C, all three are one group."""
    return union(len(hashes), near_pairs(hashes, grids))
