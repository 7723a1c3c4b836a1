"""RLE segmentations as the audit sees them: area, box and what is wrong with them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trashkit.audit.rows import shown
from trashkit.coco.segmentation import MAX_PIXELS, run_lengths

Box = tuple[float, float, float, float]
NO_BOX: Box = (math.nan, math.nan, math.nan, math.nan)


class RunLengths(NamedTuple):
    """One RLE. size_problem, counts_problem: what is wrong, empty where nothing is.

    lengths: int64, zeros and ones in turn, column by column; None where the counts are wrong. size: (height, width) as
    it says itself. area: pixels². box: left, top, right, bottom; NaN where nothing is covered.
    """

    size_problem: str
    counts_problem: str
    lengths: npt.NDArray[np.int64] | None
    size: tuple[int, int]
    area: float
    box: Box


def run_length_mask(segmentation: dict[str, Any], height: float, width: float) -> RunLengths:
    """Read an RLE object on an image of this size in pixels (NaN where it is unknown). Never raises."""
    size = segmentation.get("size")
    if not _is_size(size):
        return RunLengths(f"RLE size {shown(size)} is not [height, width]", "", None, (0, 0), math.nan, NO_BOX)
    assert isinstance(size, list)
    rows, columns = int(size[0]), int(size[1])
    wrong_size = ""
    if not math.isnan(height) and not math.isnan(width) and (rows, columns) != (height, width):
        wrong_size = f"RLE size [{rows}, {columns}] is not the image's [{height:.0f}, {width:.0f}] (height, width)"
    lengths, wrong = _lengths(segmentation.get("counts"))
    if lengths is not None and int(lengths.sum()) != rows * columns:
        wrong = f"RLE counts sum to {int(lengths.sum())}, but its size has {rows * columns} pixels"
        lengths = None
    if lengths is None:
        return RunLengths(wrong_size, wrong, None, (rows, columns), math.nan, NO_BOX)
    return RunLengths(wrong_size, "", lengths, (rows, columns), float(lengths[1::2].sum()), _box(lengths, rows))


def _is_size(size: object) -> bool:
    if not isinstance(size, list) or len(size) != 2:
        return False
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size):
        return False
    return bool(size[0] * size[1] <= MAX_PIXELS)


def _lengths(counts: object) -> tuple[npt.NDArray[np.int64] | None, str]:
    if isinstance(counts, str):
        lengths = run_lengths(counts)
        if lengths is None:
            return None, "RLE counts are not compressed run lengths"
    elif isinstance(counts, list):
        if not all(isinstance(n, int) and not isinstance(n, bool) and abs(n) <= MAX_PIXELS for n in counts):
            return None, "RLE counts hold something that is not a whole number of pixels"
        lengths = np.array(counts, np.int64)
    else:
        return None, f"RLE counts {shown(counts)} are neither a text nor a list"
    if lengths.size and (lengths.min() < 0 or lengths.max() > MAX_PIXELS):
        return None, "RLE counts hold a negative or far too large number"
    return lengths, ""


def _box(lengths: npt.NDArray[np.int64], rows: int) -> Box:
    ends = np.cumsum(lengths)
    starts, ends = (ends - lengths)[1::2], ends[1::2]
    covered = ends > starts
    starts, last = starts[covered], ends[covered] - 1
    if not len(starts):
        return NO_BOX
    left, right = starts[0] // rows, last[-1] // rows
    several = starts // rows != last // rows  # a run that goes on in the next column touches bottom and top
    top = 0 if several.any() else int((starts % rows).min())
    bottom = rows - 1 if several.any() else int((last % rows).max())
    return float(left), float(top), float(right + 1), float(bottom + 1)
