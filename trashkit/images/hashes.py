"""Perceptual hashes of photos."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from trashkit.images.photos import Photo


def dhash(photos: Sequence[Photo]) -> npt.NDArray[np.uint64]:
    """Difference hash of each photo, uint64 [N]: whether each of 8x8 cells is darker than its right neighbour.

    Equal for rescaled copies, a few bits apart for recompressed ones. Photos may be RGB [H, W, 3] or grey [H, W], of
    any size. Source: N. Krawetz, "Kind of Like That", 2013.
    """
    cells = _cells(photos, 9, 8)
    return _packed(cells[:, :, 1:] > cells[:, :, :-1])


def phash(photos: Sequence[Photo]) -> npt.NDArray[np.uint64]:
    """DCT hash of each photo, uint64 [N]: which of the 8x8 lowest frequencies are above their median.

    From 32x32 grey cells; slower than `dhash`, but more robust to changes of brightness and compression. The median
    leaves out the constant term. Source: C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010, as implemented in the imagehash package.
    """
    cells = _cells(photos, 32, 32)
    rows = np.arange(8)[:, None] * (2 * np.arange(32)[None, :] + 1)
    basis = np.cos(math.pi * rows / 64)
    low = basis @ cells @ basis.T
    flat = low.reshape(len(low), 64)
    median = np.median(flat[:, 1:], axis=1) if len(flat) else np.zeros(0)
    return _packed(low > median[:, None, None])


def hash_distances(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Hamming distances between each hash of `first` [N] and each of `second` [M]: uint8 [N, M]."""
    return np.asarray(np.bitwise_count(first[:, None] ^ second[None, :]), np.uint8)


def _cells(photos: Sequence[Photo], wide: int, high: int) -> npt.NDArray[np.float64]:
    """Mean brightness in a grid of cells, float64 [N, high, wide]."""
    cells = np.zeros((len(photos), high, wide))
    for number, photo in enumerate(photos):
        grey = photo if photo.ndim == 2 else cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        cells[number] = cv2.resize(grey, (wide, high), interpolation=cv2.INTER_AREA)
    return cells


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """[N, 8, 8] to uint64 [N], the first bit highest."""
    return np.packbits(bits.reshape(len(bits), 64), axis=1).view(">u8")[:, 0].astype(np.uint64)
