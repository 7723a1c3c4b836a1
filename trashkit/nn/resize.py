"""How a photo becomes the input of a network; the same in training, validation and prediction."""

from __future__ import annotations

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
