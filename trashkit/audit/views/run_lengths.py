"""Read RLE segmentations, valid or not: area, box, parts, holes, and what is wrong with them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trashkit.audit.views.fields import shown
from trashkit.coco.segmentation import MAX_PIXELS, run_lengths

Box = tuple[float, float, float, float]
NO_BOX: Box = (math.nan, math.nan, math.nan, math.nan)


class RunLengths(NamedTuple):
    """One RLE. size_problem, counts_problem: what is wrong, empty if nothing is.

    lengths: int64, runs of zeros and ones in turn, column by column; None if the counts are wrong. size: (height,
    width) that the RLE gives. area: pixels². box: left, top, right, bottom; NaN if nothing is covered.
    """

    size_problem: str
    counts_problem: str
    lengths: npt.NDArray[np.int64] | None
    size: tuple[int, int]
    area: float
    box: Box


def run_length_mask(segmentation: dict[str, Any], height: float, width: float) -> RunLengths:
    """Read an RLE object on an image of this size in pixels (NaN if unknown). Never raises."""
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
            return None, "RLE counts contain a value that is not an integer"
        lengths = np.array(counts, np.int64)
    else:
        return None, f"RLE counts {shown(counts)} are neither a string nor a list"
    if lengths.size and (lengths.min() < 0 or lengths.max() > MAX_PIXELS):
        return None, "RLE counts contain a negative or far too large number"
    return lengths, ""


def _box(lengths: npt.NDArray[np.int64], rows: int) -> Box:
    ends = np.cumsum(lengths)
    starts, ends = (ends - lengths)[1::2], ends[1::2]
    covered = ends > starts
    starts, last = starts[covered], ends[covered] - 1
    if not len(starts):
        return NO_BOX
    left, right = starts[0] // rows, last[-1] // rows
    several = starts // rows != last // rows  # a run that continues in the next column touches bottom and top
    top = 0 if several.any() else int((starts % rows).min())
    bottom = rows - 1 if several.any() else int((last % rows).max())
    return float(left), float(top), float(right + 1), float(bottom + 1)


Ints = npt.NDArray[np.int64]


def part_sizes(mask: RunLengths) -> Ints:
    """Pixels of each 8-connected part of a mask."""
    start, end, _ = _columns(mask, 1)
    return _sizes(start, end, _components(start, end, mask.size[0], corners=True))


def hole_sizes(mask: RunLengths) -> Ints:
    """Pixels of each hole of a mask: 4-connected regions of zeros that do not touch the border of the image."""
    start, end, outside = _columns(mask, 0)
    rows = mask.size[0]
    label = _components(start, end, rows, corners=False)
    outside = outside | (start % rows == 0) | (end % rows == 0)
    open_labels = np.zeros(len(start), bool)
    open_labels[label[outside]] = True
    closed = ~open_labels[label]
    return _sizes(start[closed], end[closed], label[closed])


def _columns(mask: RunLengths, value: int) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Runs of a value within the mask's box, cut at columns: start, end, and whether in its first or last column.

    Positions count down the columns of the image.
    """
    assert mask.lengths is not None
    rows = mask.size[0]
    if math.isnan(mask.box[0]):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)
    left, right = int(mask.box[0]), int(mask.box[2])
    ends = np.cumsum(mask.lengths)
    starts = ends - mask.lengths
    start = np.clip(starts[value::2], left * rows, right * rows)
    end = np.clip(ends[value::2], left * rows, right * rows)
    if value == 0 and len(mask.lengths) % 2 == 0:  # trailing zeros may be omitted
        start, end = np.append(start, np.minimum(ends[-1], right * rows)), np.append(end, right * rows)
    start, end = start[end > start], end[end > start]
    touched = (end - 1) // rows - start // rows + 1
    first = np.repeat(np.cumsum(touched) - touched, touched)
    column = np.repeat(start // rows, touched) + np.arange(int(touched.sum())) - first
    start = np.maximum(np.repeat(start, touched), column * rows)
    end = np.minimum(np.repeat(end, touched), (column + 1) * rows)
    return start, end, (column == left) | (column == right - 1)


def _components(start: Ints, end: Ints, rows: int, *, corners: bool) -> Ints:
    """[runs] index of the first run of each run's component; runs as `_columns` returns them."""
    reach = int(corners)
    low = np.searchsorted(end, start + rows - reach, "right")
    high = np.searchsorted(start, end + rows + reach, "left")
    count = np.maximum(high - low, 0)
    one = np.repeat(np.arange(len(start)), count)
    other = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    next_column = start[other] // rows == start[one] // rows + 1
    root = list(range(len(start)))
    for a, b in zip(one[next_column].tolist(), other[next_column].tolist(), strict=True):
        top, also = _top(root, a), _top(root, b)
        root[max(top, also)] = min(top, also)
    label = np.array(root, np.int64)
    while len(label) and (label[label] != label).any():
        label = label[label]
    return label


def _top(root: list[int], run: int) -> int:
    while root[run] != run:
        root[run] = root[root[run]]
        run = root[run]
    return run


def _sizes(start: Ints, end: Ints, label: Ints) -> Ints:
    pixels = np.bincount(label, weights=end - start)
    return np.asarray(pixels[pixels > 0], np.int64)
