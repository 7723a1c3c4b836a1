"""Quantise probabilities for a store and back; argmax; resampling.

**Quantisation.** The default dtype, uint8, holds ``q = round(255 p)``; `Probabilities.read` gives back ``q / sum(q)``.
Where rounding makes a tie with the most probable class, that class gets one step more, so the label map (argmax) of a
store is exactly that of the probabilities written to it. Probabilities read back are off by at most 0.5 / 255 before
they are normalised (1.5 / 255 at resolved ties). float16 is more precise.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.predictions.header import StoreType


def to_stored(probabilities: NDArray[np.floating[Any]], dtype: StoreType = "uint8") -> NDArray[Any]:
    """Return probabilities [C, H, W] as a store holds them, with the same argmax (ties: the lowest class).

    Values are uint8 ``round(255 p)`` or float16 ``p``. Raises ValueError unless they are finite, at least 0 and sum
    to 1 over the classes (within 0.02, which half-precision softmax keeps).
    """
    array = np.asarray(probabilities, dtype=np.float32)
    total = array.sum(axis=0)
    # NaN fails both comparisons, infinity the second.
    if not (array.min(initial=0.0) >= 0.0 and np.abs(total - 1.0).max(initial=0.0) <= 0.02):
        raise ValueError("not probabilities: every pixel's classes must be at least 0 and sum to 1 (apply softmax)")
    stored: NDArray[Any]
    if dtype == "uint8":
        # In place: this runs once per image in the prediction loop.
        scaled = array * np.float32(255.0)
        np.minimum(np.rint(scaled, out=scaled), 255.0, out=scaled)
        stored = scaled.astype(np.uint8)
    else:
        stored = array.astype(np.float16)
    wanted, found = argmax(array), argmax(stored)
    rows, columns = np.nonzero(wanted != found)
    if len(rows):
        winner = wanted[rows, columns]
        top = stored[winner, rows, columns]
        more = top + 1 if dtype == "uint8" else np.nextafter(top, np.float16(2.0))
        stored[winner, rows, columns] = more
    return stored


def from_stored(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return stored values [C, H, W] as float32 probabilities that sum to 1; a pixel of zeros is uniform."""
    array = stored.astype(np.float32)
    total = array.sum(axis=0)
    if not total.all():
        array[:, total == 0] = 1.0
        total = array.sum(axis=0)
    array /= total
    return array


def argmax(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the argmax over the first axis, ties to the lowest; several times as fast as numpy's argmax."""
    best = array[0].copy()
    label_map = np.zeros(array.shape[1:], dtype=np.uint8)
    for index in range(1, len(array)):
        np.copyto(label_map, np.uint8(index), where=array[index] > best)
        np.maximum(best, array[index], out=best)
    return label_map


def resample(probabilities: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return probabilities [C, H, W] at another size (height, width).

    Smaller: the pixels that ``cv2.INTER_NEAREST`` takes, as truth is sampled. Larger: bilinear. Sums over classes stay
    1.
    """
    if probabilities.shape[1:] == tuple(size):
        return probabilities
    height, width = size
    smaller = height <= probabilities.shape[1] and width <= probabilities.shape[2]
    how = cv2.INTER_NEAREST if smaller else cv2.INTER_LINEAR
    out = np.empty((len(probabilities), height, width), dtype=np.float32)
    for index, plane in enumerate(probabilities):
        out[index] = cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how)
    return out
