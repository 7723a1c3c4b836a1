"""How well two photos agree once one is laid over the other.

Registration alone joins photos that share a caption bar, a watermark or a background: many features agree, all of them
in the shared part. So small grey thumbnails are compared window by window, and the measure is the agreement of the
least agreeing tenth of the picture.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

THUMBNAIL_SIDE = 64
"""Longer side of the thumbnails that are compared."""
BLUR = 0.6
"""Standard deviation in pixels of the blur of a thumbnail, against noise."""
WINDOW = 7
"""Side in pixels of the windows in which brightness, contrast and correlation are measured."""
REGION = 16
"""Side in pixels of the regions of which the share of agreeing windows is measured."""
QUANTILE = 0.1
"""The measure is this quantile of the regions, not the least: a hand or a car may have moved."""
MIN_CORRELATION = 0.55
"""Least correlation of two textured windows that agree."""
TEXTURE = 5.0
"""A window is textured if the standard deviation of its grey levels is above this, of 255."""
MAX_LEVELS, MAX_CHROMA = 18.0, 10.0
"""Flat windows agree if their grey levels and both chroma channels differ by less than this; the chroma of textured
windows may differ by twice as much."""
WHITE, NOT_WHITE, BLACK = 247.0, 200.0, 6.0
"""Windows that are white in one photo, or black in both, say nothing: brighter copies are overexposed there. But white
and a grey level below NOT_WHITE do not agree."""
LOST_LEVEL, LOST_TEXTURE, MAX_LOST = 243.0, 2.0, 0.6
"""Texture that is white in the other photo is lost. At most this share of the area of the texture that agrees may be
lost: a blank photo with a caption is not a copy of every photo with that caption."""
MIN_OVERLAP = 0.3
"""Least share of the larger photo that the other one covers, white and black margins of both left out."""
MIN_EVIDENCE = 0.02
"""Photos are not compared if the windows that say something cover less than this share."""
MIN_REGION = 0.3
"""Regions with a smaller share of such windows are left out."""


def thumbnail(grey: Pixels) -> Pixels:
    """A small, slightly blurred copy of a grey photo uint8 [H, W], its longer side at most THUMBNAIL_SIDE."""
    scale = min(1.0, THUMBNAIL_SIDE / max(grey.shape))
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return np.asarray(cv2.GaussianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), (0, 0), BLUR), np.uint8)


def agreement(one: Pixels, other: Pixels, grids: tuple[Pixels, Pixels], camera: NDArray[np.float64]) -> float:
    """Share of agreeing windows in the least agreeing tenth of the overlap of two photos, 0 .. 1.

    one, other: `thumbnail` of both, grey uint8 [H, W] and [H', W']. grids: mean colours of both, RGB uint8 [G, G, 3].
    camera: affine map float64 [2, 3] from pixels of `one` to pixels of `other`. A change of brightness and contrast of
    the whole photo is taken out. Where (almost) all of the overlap says nothing, 1 for equal thumbnails and else 0.
    """
    size = other.shape[1], other.shape[0]
    here = cv2.warpAffine(one, camera, size).astype(np.float32)
    there = other.astype(np.float32)
    inside, inside_there = cv2.warpAffine(_without_margins(one), camera, size), _without_margins(other)
    both = np.minimum(inside, inside_there)
    if cv2.countNonZero(both) < MIN_OVERLAP * max(cv2.countNonZero(inside), cv2.countNonZero(inside_there)):
        return 0.0
    overlap: Mask = cv2.erode(both, np.ones((WINDOW, WINDOW), np.uint8), borderValue=255) > 252
    mean, mean_there = _box(here), _box(there)
    variance, variance_there = _box(here * here) - mean * mean, _box(there * there) - mean_there * mean_there
    lighter, darker = np.maximum(mean, mean_there), np.minimum(mean, mean_there)
    white = lighter > WHITE
    conflict = white & (darker < NOT_WHITE)
    seen = overlap & (~white | conflict) & (lighter >= BLACK)
    if np.count_nonzero(seen) < MIN_EVIDENCE * seen.size:
        return float(np.array_equal(one, other))
    correlation = (_box(here * there) - mean * mean_there + 1) / np.sqrt(
        (np.maximum(variance, 0) + 1) * (np.maximum(variance_there, 0) + 1)
    )
    textured = np.maximum(variance, variance_there) > TEXTURE**2
    levels = _level_difference(here, there, mean, mean_there, seen)
    chroma = _chroma_difference(grids, one.shape, camera, size)
    alike = np.where(
        textured,
        (correlation > MIN_CORRELATION) & (chroma < 2 * MAX_CHROMA),
        (levels < MAX_LEVELS) & (chroma < MAX_CHROMA),
    )
    agree = alike & seen & ~conflict
    fainter = np.where(mean > mean_there, variance_there, variance)
    lost = overlap & white & (darker <= LOST_LEVEL) & (fainter > LOST_TEXTURE**2)
    if np.count_nonzero(lost) > MAX_LOST * np.count_nonzero(agree & textured):
        return 0.0
    return _worst_regions(agree, seen)


def _without_margins(grey: Pixels) -> Pixels:
    """255 inside the smallest box that holds all that is neither white nor black, 0 in the margins, uint8 [H, W]."""
    content = ((grey > BLACK) & (grey < WHITE)).view(np.uint8)
    left, top, width, height = cv2.boundingRect(content)
    inside = np.zeros(grey.shape, np.uint8)
    inside[top : top + height, left : left + width] = 255
    return inside


def _box(values: Floats) -> Floats:
    return np.asarray(cv2.boxFilter(values, -1, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT), np.float32)


def _level_difference(here: Floats, there: Floats, mean: Floats, mean_there: Floats, seen: Mask) -> Floats:
    """Difference of the windows' grey levels once `here` has the brightness and contrast of `there`."""
    mask = seen.view(np.uint8)
    (before, contrast), (after, contrast_there) = (
        (float(level[0, 0]), float(spread[0, 0]))
        for level, spread in (cv2.meanStdDev(here, mask=mask), cv2.meanStdDev(there, mask=mask))
    )
    gain = min(max(contrast_there / max(contrast, 1.0), 0.6), 1.7)
    offset = after - gain * before
    return np.asarray(np.abs(gain * mean + offset - mean_there), np.float32)


def _chroma_difference(
    grids: tuple[Pixels, Pixels], shape: tuple[int, ...], camera: NDArray[np.float64], size: tuple[int, int]
) -> Floats:
    """Larger difference of the two chroma channels in CIELAB, [H', W']."""
    first, second = (_chroma(grid) for grid in grids)
    moved = cv2.warpAffine(cv2.resize(first, (shape[1], shape[0])), camera, size).astype(np.int16)
    return np.asarray(np.abs(moved - cv2.resize(second, size)).max(axis=2), np.float32)


def _chroma(grid: Pixels) -> Any:
    return np.ascontiguousarray(cv2.cvtColor(grid, cv2.COLOR_RGB2LAB)[..., 1:])


def _worst_regions(agree: Mask, seen: Mask) -> float:
    """Share of agreeing among seen windows in each region, at QUANTILE from below."""
    right, known = (
        cv2.boxFilter(mask.astype(np.float32), -1, (REGION, REGION), borderType=cv2.BORDER_CONSTANT)[::2, ::2]
        for mask in (agree, seen)
    )
    enough = known > MIN_REGION
    if np.count_nonzero(enough) < MIN_EVIDENCE * enough.size:
        return np.count_nonzero(agree) / np.count_nonzero(seen)
    shares = right[enough] / known[enough]
    worst = int(QUANTILE * (len(shares) - 1))
    return min(1.0, float(np.partition(shares, worst)[worst]))
