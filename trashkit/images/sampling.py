"""Resize photos for a network and sample its probabilities where labels are sampled, alike for torch and ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def resize_photo(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize a photo uint8 [H, W, 3] to (height, width), ignoring its aspect ratio; area averaging when it shrinks on
    both sides, else bilinear."""
    height, width = size
    if photo.shape[:2] == (height, width):
        return photo
    smaller = height <= photo.shape[0] and width <= photo.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, (width, height), interpolation=how), np.uint8)


def sampling_weights(native: int, target: int, source: int) -> NDArray[np.float32]:
    """Interpolation weights [target, source] along one axis, from predicted values to sampled native pixels.

    Target position i stands for native pixel floor(i * native / target), which is the one that ``cv2.INTER_NEAREST``
    picks when labels are downsampled. Its centre is read from the predictions by linear interpolation, clamped at the
    edges. Rows sum to 1.
    """
    pixel = np.floor(np.arange(target) * (native / target))
    position = np.clip((pixel + 0.5) * (source / native) - 0.5, 0, source - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, source - 1)
    weights = np.zeros((target, source), np.float32)
    np.add.at(weights, (np.arange(target), low), 1 - (position - low))
    np.add.at(weights, (np.arange(target), high), position - low)
    return weights


def upsample_to_photo(
    predictions: Sequence[NDArray[np.float32]], size: tuple[int, int]
) -> tuple[Pixels, NDArray[np.float32]]:
    """Upsample predictions to a photo's (height, width): label map uint8 [H, W] and its probability float32 [H, W].

    predictions: probabilities of each model, float32 [C, h, w]; they are averaged. Classes are compared one plane at a
    time, so a photo of 12 megapixels takes a few hundred megabytes instead of gigabytes.
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
