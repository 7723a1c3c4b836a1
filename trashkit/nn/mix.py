"""Pictures made of several photos, with label maps cut the same way: mosaic and CutMix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Pair = tuple[Pixels, Pixels]
"""A photo [H, W, 3] and its label map [H, W]."""
Box = tuple[int, int, int, int]
"""top, left, bottom, right in pixels, the last two outside."""


def mosaic_tiles(size: int, generator: np.random.Generator) -> list[Box]:
    """Four boxes that fill a square of `size`, meeting at a point drawn from its middle half."""
    y, x = (round(size * value) for value in generator.uniform(0.25, 0.75, 2).tolist())
    return [(0, 0, y, x), (0, x, y, size), (y, 0, size, x), (y, x, size, size)]


def mosaic(tiles: Sequence[Pair], boxes: Sequence[Box], size: int) -> Pair:
    """Put photos with their label maps side by side, each in its box and of its box's size."""
    photo, labels = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    for (pixels, map_), (top, left, bottom, right) in zip(tiles, boxes, strict=True):
        photo[top:bottom, left:right] = pixels
        labels[top:bottom, left:right] = map_
    return photo, labels


def cutmix_box(size: int, generator: np.random.Generator) -> Box:
    """A rectangle inside a square of `size`, its area drawn from 0 to 1 evenly: CutMix with alpha = 1.

    Source: Yun et al., CutMix, ICCV 2019, eq. 2. It is clipped at the border as there.
    """
    half = size * np.sqrt(generator.random()) / 2
    y, x = generator.uniform(0, size, 2)
    edges = np.round(np.clip([y - half, x - half, y + half, x + half], 0, size)).astype(int)
    return int(edges[0]), int(edges[1]), int(edges[2]), int(edges[3])


def cutmix(base: Pair, other: Pair, box: Box) -> Pair:
    """`base` with the rectangle of `other`, in copies."""
    photo, labels = base[0].copy(), base[1].copy()
    top, left, bottom, right = box
    photo[top:bottom, left:right] = other[0][top:bottom, left:right]
    labels[top:bottom, left:right] = other[1][top:bottom, left:right]
    return photo, labels
