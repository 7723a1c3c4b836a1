"""Photos at a network's size, and its probabilities at the pixels where truth is sampled: the same for every engine."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def resize_photo(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """A photo uint8 [H, W, 3] at (height, width), its sides scaled independently: averaged down, else bilinear."""
    height, width = size
    if photo.shape[:2] == (height, width):
        return photo
    smaller = height <= photo.shape[0] and width <= photo.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, (width, height), interpolation=how), np.uint8)


def sampling(native: int, target: int, source: int) -> NDArray[np.float32]:
    """Weights [target, source] that read `source` predicted values at the pixels of a native axis.

    Target position i stands for native pixel floor(i * native / target), the one that ``cv2.INTER_NEAREST`` takes when
    truth is sampled; its centre is read off the predictions by linear interpolation, edges held. Rows sum to 1.
    """
    pixel = np.floor(np.arange(target) * (native / target))
    position = np.clip((pixel + 0.5) * (source / native) - 0.5, 0, source - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, source - 1)
    weights = np.zeros((target, source), np.float32)
    np.add.at(weights, (np.arange(target), low), 1 - (position - low))
    np.add.at(weights, (np.arange(target), high), position - low)
    return weights


def at_photo_size(
    predictions: Sequence[NDArray[np.float32]], size: tuple[int, int]
) -> tuple[Pixels, NDArray[np.float32]]:
    """Label map uint8 [H, W] and the winning class's mean probability float32 [H, W] at a photo's (height, width).

    predictions: probabilities of each model, float32 [C, h, w]. Classes are compared plane by plane, so a photo of 12
    megapixels takes a few hundred megabytes and not gigabytes.
    """
    height, width = size
    best = np.zeros((height, width), np.float32)
    label_map = np.zeros((height, width), np.uint8)
    for index in range(len(predictions[0])):
        plane = np.zeros((height, width), np.float32)
        for values in predictions:
            plane += cv2.resize(values[index], (width, height), interpolation=cv2.INTER_LINEAR)
        plane /= len(predictions)
        better = plane > best
        label_map[better] = index
        np.maximum(best, plane, out=best)
    return label_map, best
