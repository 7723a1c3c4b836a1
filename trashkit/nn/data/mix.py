"""Mosaic and CutMix: combine several photos into one, and their label maps the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Pair = tuple[Pixels, Pixels]
"""A photo [H, W, 3] and its label map [H, W]."""
Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels; bottom and right are exclusive."""


def mosaic_tiles(size: int, generator: np.random.Generator) -> list[Box]:
    """Split a square of `size` pixels into four boxes at a random point in its middle half."""
    y, x = (round(size * value) for value in generator.uniform(0.25, 0.75, 2).tolist())
    return [(0, 0, y, x), (0, x, y, size), (y, 0, size, x), (y, x, size, size)]


def mosaic(tiles: Sequence[Pair], boxes: Sequence[Box], size: int) -> Pair:
    """Assemble photos and label maps into one sample; each pair has the size of its box."""
    photo, labels = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    for (pixels, map_), (top, left, bottom, right) in zip(tiles, boxes, strict=True):
        photo[top:bottom, left:right] = pixels
        labels[top:bottom, left:right] = map_
    return photo, labels


def cutmix_box(size: int, generator: np.random.Generator) -> Box:
    """Draw the CutMix rectangle in a square of `size` pixels: its area is uniform (alpha = 1), clipped at the border.

    Source: Yun et al., CutMix, ICCV 2019, eq. 2.
    """
    half = size * np.sqrt(generator.random()) / 2
    y, x = generator.uniform(0, size, 2)
    edges = np.round(np.clip([y - half, x - half, y + half, x + half], 0, size)).astype(int)
    return int(edges[0]), int(edges[1]), int(edges[2]), int(edges[3])


def cutmix(base: Pair, other: Pair, box: Box) -> Pair:
    """Return copies of `base` with the rectangle `box` taken from `other`."""
    photo, labels = base[0].copy(), base[1].copy()
    top, left, bottom, right = box
    photo[top:bottom, left:right] = other[0][top:bottom, left:right]
    labels[top:bottom, left:right] = other[1][top:bottom, left:right]
    return photo, labels
