"""Check whether COCO segmentations can be rasterised, and decompress run lengths.

The C code behind pycocotools trusts its input: run lengths that do not fill the image leave memory uninitialised, huge
coordinates overflow, a ring of four numbers is read as a box. So segmentations are checked here first.
"""

# ruff: noqa: PLR0911 - each check returns the first reason that applies, and there are many.

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Segmentation = list[list[float]] | dict[str, Any]
"""Polygon rings ``[x0, y0, x1, y1, ...]`` in pixels, or an RLE ``{"size": [height, width], "counts": ...}``."""

MAX_COORDINATE = 1e6
"""Largest distance of a coordinate from the origin, in pixels, that can be rasterised (C integers end at 4e8)."""
MAX_OUTLINE = 5e6
"""Longest outline of one ring, in pixels: the rasteriser needs 80 bytes of memory per pixel."""
MAX_PIXELS = 2**31 - 1
"""Most pixels of an image: run lengths and their sums are C integers."""

_NUMBERS = {int, float}
# Seven digits hold any difference of two C integers; an eighth is an error.
_LONG = re.compile(rb"[P-o]{7}")


def check_segmentation(segmentation: object, height: int, width: int) -> str | None:
    """Reason why `segmentation` cannot be rasterised on an image of `height` x `width` pixels; None if it can.

    Polygons need at least one ring, and each ring at least three points: an even count of finite numbers, none further
    than MAX_COORDINATE from the origin. A ring may lie outside the image, cross itself or have no area; it is then
    rasterised as pycocotools does it, perhaps to nothing. RLE needs `size` equal to the image's, and `counts` (a list,
    or compressed as text or bytes) of non-negative integers that sum to height times width. Never raises.
    """
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        return f"an image of {width}x{height} pixels cannot be rasterised"
    if isinstance(segmentation, list | tuple):
        if not segmentation:
            return "segmentation is empty"
        for number, ring in enumerate(segmentation):
            reason = _check_ring(ring)
            if reason:
                return f"segmentation ring {number} {reason}"
        return None
    if isinstance(segmentation, dict):
        return _check_rle(segmentation, height, width)
    if segmentation is None:
        return "segmentation is missing"
    return "segmentation is neither a list of rings nor an RLE object"


def _check_ring(ring: object) -> str | None:
    if not isinstance(ring, list | tuple):
        return "is not a list of numbers"
    if not set(map(type, ring)) <= _NUMBERS:
        return "holds something that is not a number"
    if len(ring) < 6:
        return f"has {len(ring)} numbers, but three points need 6"
    if len(ring) % 2:
        return f"has {len(ring)} numbers, which is odd"
    low, high = min(ring), max(ring)
    # min and max may skip a NaN; the sum does not.
    if not (low >= -MAX_COORDINATE and high <= MAX_COORDINATE) or math.isnan(sum(ring)):
        if any(isinstance(value, float) and not math.isfinite(value) for value in ring):
            return "has a coordinate that is NaN or infinite"
        return f"has a coordinate further than {MAX_COORDINATE:.0f} pixels from the image"
    if (high - low) * len(ring) > MAX_OUTLINE and outline_length(list(ring)) > MAX_OUTLINE:
        return f"has an outline longer than {MAX_OUTLINE:.0f} pixels"
    return None


def outline_length(ring: list[float]) -> float:
    """Length of a closed ring in pixels, counting the longer side of each edge as the rasteriser does."""
    points = list(zip(ring[0::2], ring[1::2], strict=True))
    return sum(max(abs(x1 - x0), abs(y1 - y0)) for (x0, y0), (x1, y1) in pairwise([*points, points[0]]))


def _check_rle(segmentation: dict[Any, Any], height: int, width: int) -> str | None:
    if "size" not in segmentation or "counts" not in segmentation:
        return "segmentation is an object without size and counts"
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return f"RLE size {size!r:.60} is not the image's [{height}, {width}]"
    if isinstance(counts, list | tuple):
        if not set(map(type, counts)) <= {int}:
            return "RLE counts hold something that is not a whole number"
        if counts and min(counts) < 0:
            return "RLE counts hold a negative number"
        total = sum(counts)
    elif isinstance(counts, str | bytes):
        lengths = run_lengths(counts)
        if lengths is None:
            return "RLE counts are not compressed run lengths"
        if lengths.size and lengths.min() < 0:
            return "RLE counts hold a negative number"
        total = int(lengths.sum())
    else:
        return "RLE counts are neither a list nor a string"
    if total != height * width:
        return f"RLE counts sum to {total}, but the image has {height * width} pixels"
    return None


def run_lengths(counts: str | bytes) -> npt.NDArray[np.int64] | None:
    """Decompress COCO run lengths to int64 [N], zeros and ones alternating; None if the text is not valid.

    Format (pycocotools' ``rleToString``): base-32 digits, least significant first, as characters 48..111; bit 5 means
    that more digits follow, bit 4 of the last digit is the sign; from the fourth on, each number is the difference from
    the number two before it. The result may hold negative numbers if the text is damaged.
    """
    if isinstance(counts, str):
        if not counts.isascii():
            return None
        counts = counts.encode()
    if not counts:
        return np.zeros(0, np.int64)
    digits = np.frombuffer(counts, np.uint8)
    if digits.min() < 48 or digits.max() > 111 or digits[-1] >= 80 or _LONG.search(counts):
        return None
    return decompress([counts])[0]


def decompress(counts: Sequence[bytes]) -> list[npt.NDArray[np.int64]]:
    """Decompress many valid COCO run lengths in one pass, see `run_lengths`; none may be empty.

    For texts of a few hundred bytes this is several times as fast as one call for each.
    """
    digits = np.frombuffer(b"".join(counts), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(digits < 32)
    first = np.empty_like(last)
    first[0], first[1:] = 0, last[:-1] + 1
    size = last - first + 1
    place = np.arange(digits.size) - np.repeat(first, size)
    numbers = np.add.reduceat((digits & 31) << (5 * place), first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * size), 0)
    ends = np.searchsorted(last, np.cumsum([len(text) for text in counts])).tolist()
    found = []
    for start, end in pairwise([0, *ends]):
        lengths = numbers[start:end]
        lengths[1::2] = lengths[1::2].cumsum()
        lengths[2::2] = lengths[2::2].cumsum()
        found.append(lengths)
    return found
