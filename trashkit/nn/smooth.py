"""Validation scores of all epochs, smoothed so that the luck of a rare class chooses nothing.

A class with few validation images moves by tens of IoU points from one epoch to the next, and the mean over classes
moves with it. So each class's IoU is followed by a filter of its own, which trusts an epoch the less the more
uncertain the class's IoU is: a common class is taken nearly as it is, a rare one is averaged over many epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trashkit.scores import Floats, Matrix, bootstrap_iou, interval, iou

DRIFT = 0.02
"""How far the true IoU of a class is thought to move from one epoch to the next (standard deviation)."""
RESAMPLES = 400


def iou_errors(matrices: Matrix, seed: int = 0) -> Floats:
    """Standard error of each class's IoU, float64 [C], for int64 [N, C, C], one matrix for each image; NaN where the
    class is in no truth and no prediction.

    The larger of the spread over bootstrap resamples and of what the number n of images that hold the class allows,
    ``sqrt(p (1 - p) / (n + 1))`` with ``p = (n IoU + 1) / (n + 2)``: resampling one image shows no spread at all.
    """
    values = iou(matrices.sum(axis=0))
    images = (matrices.sum(axis=2) > 0).sum(axis=0)
    share = (images * values + 1) / (images + 2)
    support = np.sqrt(share * (1 - share) / (images + 1))
    drawn = bootstrap_iou(matrices, RESAMPLES, seed)
    known = ~np.isnan(drawn)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, drawn, 0).sum(axis=0) / counts
    spread = np.sqrt(np.where(known, (drawn - mean) ** 2, 0).sum(axis=0) / counts)
    return np.where(np.isnan(values), np.nan, np.maximum(spread, support))


def miou_interval(matrices: Matrix, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the pooled mIoU of int64 [N, C, C]."""
    drawn = bootstrap_iou(matrices, RESAMPLES, seed)
    known = ~np.isnan(drawn)
    return interval(np.where(known, drawn, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def filtered(values: Sequence[float], errors: Sequence[float], drift: float = DRIFT) -> list[float]:
    """A series by the local-level Kalman filter: an estimate after each value, of values until then alone.

    errors: standard error of each value. drift: standard deviation of the true value's steps. A NaN value is passed
    over. Source: J. Durbin and S. J. Koopman, "Time Series Analysis by State Space Methods", chapter 2.
    """
    level, variance, found = math.nan, math.nan, []
    for value, error in zip(values, errors, strict=True):
        if not math.isnan(value):
            noise = max(error, 1e-6) ** 2 if not math.isnan(error) else 1.0
            if math.isnan(level):
                level, variance = value, noise
            else:
                variance += drift**2
                gain = variance / (variance + noise)
                level += gain * (value - level)
                variance *= 1 - gain
        found.append(level)
    return found


def smoothed(rows: Sequence[Mapping[str, Any]], drift: float = DRIFT) -> list[float]:
    """Mean over classes of the filtered IoU after each of the rows of metrics.jsonl; NaN before any class was seen.

    rows: each with `iou` and `iou_error` by class name; null or NaN where the class was in no truth and no prediction.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.get("iou") or {}))

    def series(key: str, name: str) -> list[float]:
        found = ((row.get(key) or {}).get(name) for row in rows)
        return [math.nan if value is None else float(value) for value in found]

    levels = [filtered(series("iou", name), series("iou_error", name), drift) for name in names]
    means = []
    for column in zip(*levels, strict=True):
        known = [level for level in column if not math.isnan(level)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means if levels else [math.nan] * len(rows)
