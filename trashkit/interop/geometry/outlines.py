"""Outlines and masks of the shapes that other tools store as parameters: boxes, ellipses, circles and placed masks.

Angles are in degrees, clockwise as seen, since y points down. Points are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trashkit.interop.geometry.shapes import Ring

DECIMALS = 5
"""Decimals of points that are computed."""
_ELLIPSE_STEPS = 64
_ROWS = 512
"""Rows of a turned mask that are computed at a time."""


class SkippedShapeError(ValueError):
    """A shape that is not read. Its text says what it is, in the plural, as `CocoBuilder.skip` takes it."""


def box(left: float, top: float, right: float, bottom: float, *, degrees: float = 0.0) -> Ring:
    """The corners of a box, turned about its centre. Raises SkippedShapeError for a box without area."""
    if left == right or top == bottom:
        raise SkippedShapeError("boxes without area")
    ring = [left, top, right, top, right, bottom, left, bottom]
    return turned(ring, degrees, ((left + right) / 2, (top + bottom) / 2))


def ellipse(cx: float, cy: float, rx: float, ry: float, *, degrees: float = 0.0) -> Ring:
    """An ellipse as 64 points, turned about its centre. Raises SkippedShapeError for a radius that is not above 0."""
    if rx <= 0 or ry <= 0:
        raise SkippedShapeError("circles and ellipses of radius 0")
    angles = [2 * math.pi * step / _ELLIPSE_STEPS for step in range(_ELLIPSE_STEPS)]
    ring = [value for angle in angles for value in (cx + rx * math.cos(angle), cy + ry * math.sin(angle))]
    return turned(ring, degrees, (cx, cy))


def turned(ring: Ring, degrees: float, about: tuple[float, float]) -> Ring:
    """A ring turned about a point; multiples of 90 degrees are exact. The same ring for 0 degrees."""
    if not degrees % 360:
        return ring
    cosine, sine = _direction(degrees)
    x0, y0 = about
    return [
        round(value, DECIMALS)
        for x, y in zip(ring[0::2], ring[1::2], strict=True)
        for value in (x0 + (x - x0) * cosine - (y - y0) * sine, y0 + (x - x0) * sine + (y - y0) * cosine)
    ]


def _direction(degrees: float) -> tuple[float, float]:
    """Cosine and sine of an angle, exact for multiples of 90 degrees."""
    quarters, rest = divmod(degrees, 90)
    if not rest:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def corners(points: Sequence[tuple[float, float]], kind: str) -> Ring:
    """The ring of a rectangle that is stored as two opposite corners, or as its four corners in order.

    kind: what it is called if it is skipped. Raises SkippedShapeError for another number of points, or no area.
    """
    if len(points) == 2:
        (x0, y0), (x1, y1) = points
        return box(x0, y0, x1, y1)
    if len(points) != 4:
        raise SkippedShapeError(f"{kind} that do not have two or four points")
    if not _area(points):
        raise SkippedShapeError("boxes without area")
    return [value for point in points for value in point]


def _area(points: Sequence[tuple[float, float]]) -> float:
    """Twice the area of a ring of points, by the shoelace formula."""
    nexts = [*points[1:], points[0]]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, nexts, strict=True)))


def placed(
    crop: NDArray[np.bool_], left: int, top: int, size: tuple[int, int], *, degrees: float = 0.0
) -> NDArray[np.bool_]:
    """A mask whose top left pixel is at (left, top), as a mask of the whole image, bool [H, W].

    What lies beyond the border is cut off. degrees: it is turned about the centre of its box, which need not be tight;
    a pixel is covered if its centre comes from a covered pixel. Raises SkippedShapeError where no pixel is left.
    """
    if not crop.any():
        raise SkippedShapeError("masks without pixels")
    covered = np.zeros(size, np.bool_)
    height, width = crop.shape
    if degrees % 360:
        _place_turned(crop, left, top, covered, degrees)
    else:
        top0, left0 = max(0, top), max(0, left)
        bottom, right = min(size[0], top + height), min(size[1], left + width)
        if top0 < bottom and left0 < right:
            covered[top0:bottom, left0:right] = crop[top0 - top : bottom - top, left0 - left : right - left]
    if not covered.any():
        raise SkippedShapeError("masks without a pixel inside the image")
    return covered


def _place_turned(crop: NDArray[np.bool_], left: int, top: int, covered: NDArray[np.bool_], degrees: float) -> None:
    """Turn a mask about the centre of its box, and write it into the mask of the image."""
    height, width = crop.shape
    cosine, sine = _direction(degrees)
    cx, cy = left + width / 2, top + height / 2
    reach_x = (abs(width * cosine) + abs(height * sine)) / 2
    reach_y = (abs(width * sine) + abs(height * cosine)) / 2
    first, last = max(0, math.floor(cx - reach_x)), min(covered.shape[1], math.ceil(cx + reach_x))
    lowest, highest = max(0, math.floor(cy - reach_y)), min(covered.shape[0], math.ceil(cy + reach_y))
    if first >= last or lowest >= highest:
        return
    x = np.arange(first, last) + 0.5 - cx
    for start in range(lowest, highest, _ROWS):
        stop = min(start + _ROWS, highest)
        y = (np.arange(start, stop) + 0.5 - cy)[:, None]
        # Back to where the pixel came from. The rounding keeps centres that fall on an edge between pixels together.
        columns = np.floor(np.round(x * cosine + y * sine + width / 2, DECIMALS)).astype(np.int64)
        rows = np.floor(np.round(y * cosine - x * sine + height / 2, DECIMALS)).astype(np.int64)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        covered[start:stop, first:last] = inside & crop[rows.clip(0, height - 1), columns.clip(0, width - 1)]
