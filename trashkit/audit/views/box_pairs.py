"""Find overlapping boxes within groups without comparing all pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

MOST_PAIRS = 40_000
"""Most pairs of one chunk of images; if there are more, those with the smallest overlap are left out."""

_BATCH = 512

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def overlapping_boxes(
    boxes: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    areas: npt.NDArray[np.float64] | None = None,
    share: float = 0.0,
) -> Pairs:
    """Pairs (first, second) with first < second of boxes [N, 4] of one group that overlap.

    With `areas`, only pairs whose boxes share at least `share` of the smaller area. Boxes must be finite and within a
    few million pixels. The result is ordered and has at most MOST_PAIRS pairs.
    """
    if len(boxes) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # Groups are placed next to each other, so that one tree can hold all of them.
    low = boxes.min()
    apart = boxes.max() - low + 1
    _, place = np.unique(groups, return_inverse=True)
    shift = (place * apart - low)[:, None] * np.array([[1.0, 0.0, 1.0, 0.0]])
    laid = shapely.box(*(boxes + shift).T)
    tree = shapely.STRtree(laid)
    firsts, seconds = [], []
    shares = []
    kept = 0
    for start in range(0, len(boxes), _BATCH):
        found, other = tree.query(laid[start : start + _BATCH])
        found = found + start
        use = found < other
        found, other = found[use], other[use]
        common = _common(boxes, found, other)
        if areas is not None:
            enough = common >= share * np.minimum(areas[found], areas[other])
            found, other, common = found[enough], other[enough], common[enough]
        firsts.append(found)
        seconds.append(other)
        shares.append(common)
        kept += len(found)
        if kept > 4 * MOST_PAIRS:
            firsts, seconds, shares = _largest(firsts, seconds, shares)
            kept = MOST_PAIRS
    firsts, seconds, shares = _largest(firsts, seconds, shares)
    first, second = firsts[0], seconds[0]
    order = np.lexsort((second, first))
    return first[order], second[order]


def _common(
    boxes: npt.NDArray[np.float64], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    a, b = boxes[first], boxes[second]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.asarray(np.prod(np.maximum(sides, 0), axis=1))


Arrays = list[npt.NDArray[np.int64]]


def _largest(
    firsts: Arrays, seconds: Arrays, shares: list[npt.NDArray[np.float64]]
) -> tuple[Arrays, Arrays, list[npt.NDArray[np.float64]]]:
    first, second, share = np.concatenate(firsts), np.concatenate(seconds), np.concatenate(shares)
    if len(first) > MOST_PAIRS:
        keep = np.argsort(-share, kind="stable")[:MOST_PAIRS]
        first, second, share = first[keep], second[keep], share[keep]
    return [first], [second], [share]
