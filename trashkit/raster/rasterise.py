"""Rasterise rings: where their outlines cross pixel columns, exactly as pycocotools' ``rleFrPoly`` does.

The C code rounds a ring to a grid of fifths of a pixel, walks every grid point of its outline, and notes where the walk
crosses the middle of a pixel column (between grid columns ``5n + 2`` and ``5n + 3``), and at which pixel row. Between
two such crossings of a column its pixels are covered. Only the crossings matter, and each edge has one in each column
that it spans, on a straight line; so they are computed for all edges of all rings of an image at once, without the
walk. Where the line meets a pixel's border up to rounding, the C code's own expressions decide (`_row_at_a_tie`).

This holds where products are rounded before they are added, as on x86-64. On other machines compilers fuse the two,
and the masks module calls pycocotools itself (see `SAME_ARITHMETIC`).
"""

from __future__ import annotations

import platform
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import floor

import cv2
import numpy as np
import numpy.typing as npt

Window = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of an image, in pixels; right and bottom are exclusive."""

SAME_ARITHMETIC = platform.machine().lower() in ("x86_64", "amd64")
"""Whether C code on this machine rounds products before it adds, as numpy does."""

MOST_LAYERS = 53
"""Most layers that `paint` takes at once: the bits of a float64 mantissa."""

# Far above the rounding errors of coordinates up to 1e6, far below the distance of two rows.
_TIE = 1e-6
_MIDDLE = np.array([[-0.5], [0.5]])


def closed(rings: Sequence[Sequence[float]]) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Return the points [2, N] (x, then y) of all rings, each closed by its first point, and where each ring ends.

    OverflowError where an integer is too large for a float.
    """
    numbers = array("d")
    for ring in rings:
        numbers.fromlist(ring if isinstance(ring, list) else list(ring))
        numbers.append(ring[0])
        numbers.append(ring[1])
    return np.frombuffer(numbers).reshape(-1, 2).T.copy(), list(accumulate([len(ring) // 2 + 1 for ring in rings]))


def window_of(low: Sequence[float], high: Sequence[float], height: int, width: int) -> Window:
    """Return the part of an image that outlines between two corners (x, y) may cover; right <= left if it is empty."""
    left, top, right, bottom = (floor((int(5 * value + 0.5) + 2) // 5) for value in (*low, *high))
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def crossings(
    points: npt.NDArray[np.float64], ends: Sequence[int], window: Window
) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Return where outlines cross the columns of `window`: positions [M], and how many belong to each ring.

    points, ends: see `closed`; all of them finite. A position is ``column * height + row`` within the window, rows 0 ..
    height, unsorted. A ring covers the pixels between an odd and the next even of its sorted positions.
    """
    left, top, right, bottom = window
    height = bottom - top
    grid = np.trunc(points * 5.0 + 0.5)
    column = grid[0] + 2.0
    column *= 0.2  # 0.2 is rounded up, so integers stay integers
    np.floor(column, out=column)
    np.clip(column, left, right, out=column)
    first = np.minimum(column[:-1], column[1:])
    spans = np.abs(column[1:] - column[:-1])
    for end in ends[:-1]:
        spans[end - 1] = 0  # from one ring's last point to the next ring's first

    # For each edge: its slope, the row at its first column, the number of crossings before, the position less the row.
    edges = np.empty((4, spans.size))
    slope, row, before, base = edges
    np.cumsum(spans, out=before)
    total = int(before[-1])
    before -= spans
    delta = grid[:, 1:] - grid[:, :-1]
    pixels = grid * 0.2
    pixels += _MIDDLE
    with np.errstate(divide="ignore", invalid="ignore"):  # edges that cross nothing
        np.divide(delta[1], delta[0], out=slope)
        x, y = pixels[:, :-1]
        np.subtract(first, x, out=row)
        row *= slope
    row += y
    # Of two grid rows the upper one counts, and rows are rounded: half a fifth, minus half of the line's rise.
    row -= np.minimum(np.abs(slope), 1.0) * 0.1
    np.subtract(first, before, out=base)
    base *= height
    base -= left * height + top

    slopes, starts, befores, bases = edges.repeat(spans.astype(np.int64), axis=1)
    number = np.arange(total, dtype=np.float64)
    rows = number - befores
    rows *= slopes
    rows += starts
    np.maximum(rows, top + 0.5, out=rows)
    np.minimum(rows, bottom + 0.5, out=rows)
    whole = np.floor(rows)
    rows -= whole
    if total and (rows.min() < _TIE or rows.max() > 1 - _TIE):
        starting = before.tolist()
        for place in np.flatnonzero(np.abs(rows - 0.5) > 0.5 - _TIE).tolist():
            edge = bisect_right(starting, place) - 1
            exact = _row_at_a_tie(grid[:, edge : edge + 2].T.tolist(), int(first[edge]) + place - int(starting[edge]))
            whole[place] = min(max(exact, top), bottom)
    number *= height
    number += bases
    number += whole
    if len(ends) == 1:
        return number.astype(np.int64), [total]
    cuts = [int(before[end]) for end in ends[:-1]]
    return number.astype(np.int64), np.diff(cuts, prepend=0, append=total).tolist()


def _row_at_a_tie(edge: list[list[float]], column: int) -> int:
    """Return the row at which an edge (on the grid of fifths) crosses a pixel column, by the C code's expressions."""
    (x0, y0), (x1, y1) = edge
    wide, high = abs(x1 - x0), abs(y1 - y0)
    if (x0 > x1) if wide >= high else (y0 > y1):
        x0, y0, x1, y1 = x1, y1, x0, y0
    last = 5 * column + 2  # the grid column before the pixel's middle
    if wide >= high:
        slope = (y1 - y0) / wide
        steps = last - x0
        found = min(int(y0 + slope * steps + 0.5), int(y0 + slope * (steps + 1) + 0.5))
    else:
        slope = (x1 - x0) / high
        step = round((last + 0.5 - x0) / slope)
        before = (int(x0 + slope * step + 0.5) <= last) == (slope > 0)
        found = int(y0) + step - (not before)
    return (found + 2) // 5


def paint(
    out: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.int64],
    counts: Sequence[int],
    values: Sequence[int],
    *,
    blank: bool = True,
) -> None:
    """Paint layers over each other on `out` [H, W], a window of an image, the last layer on top.

    positions: see `crossings`, layer by layer; they may be overwritten. counts: positions of each layer, MOST_LAYERS
    layers at most. values: painted by each layer, 0 .. 255. blank: whether `out` holds only zeros.
    """
    height, width = out.shape
    covered = None
    painted = np.zeros(positions.size + 1, np.uint8)
    if len(counts) == 1:
        positions.sort()
        painted[1::2] = values[0]
        if not blank:
            covered = np.zeros(positions.size + 1, np.uint8)
            covered[1::2] = 1
    else:
        shift = len(counts).bit_length()
        positions <<= shift
        positions |= np.repeat(np.arange(len(counts)), counts)
        positions.sort()
        layers = positions & ((1 << shift) - 1)
        positions >>= shift
        np.left_shift(1, layers, out=layers)
        np.bitwise_xor.accumulate(layers, out=layers)  # the layers on each run, one bit each
        top = layers.astype(np.float64).view(np.int64)
        top >>= 52  # a floating-point number's exponent is its highest bit
        top -= 1022
        np.maximum(top, 0, out=top)
        np.array([0, *values], np.uint8).take(top, out=painted[1:], mode="clip")
        if not blank:
            covered = np.zeros(positions.size + 1, np.uint8)
            covered[1:] = top > 0
    lengths = np.empty(painted.size, np.int64)
    lengths[:-1] = positions
    lengths[-1] = height * width
    lengths[1:] -= positions
    drawn = painted.repeat(lengths).reshape(width, height)
    if covered is None:
        cv2.transpose(drawn, out)
    else:
        cv2.copyTo(cv2.transpose(drawn), cv2.transpose(covered.repeat(lengths).reshape(width, height)), out)
