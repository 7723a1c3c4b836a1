"""Validation scores smoothed over epochs, so that chance in a rare class does not pick the best epoch.

The IoU of a class with few validation images jumps by tens of points between epochs, and the mean over classes jumps
with it. Each class's IoU is therefore filtered on its own, with less weight on epochs where it is uncertain: a common
class is hardly changed, a rare one is averaged over many epochs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from trashkit.metrics.scores import Floats, Matrix, bootstrap_iou, interval, iou
from trashkit.runs.metrics import EpochRow

DRIFT = 0.02
"""Assumed change of a class's true IoU from one epoch to the next (standard deviation)."""
RESAMPLES = 400


def iou_errors(matrices: Matrix, seed: int = 0) -> Floats:
    """Standard error of each class's IoU, float64 [C], from confusion matrices int64 [N, C, C], one per image; NaN for
    classes in neither truth nor prediction.

    The larger of two estimates: the spread over bootstrap resamples, and ``sqrt(p (1 - p) / (n + 1))`` with
    ``p = (n IoU + 1) / (n + 2)`` for the n images that show the class, because resampling one image has no spread.
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


def kalman_filter(values: Sequence[float], errors: Sequence[float], drift: float = DRIFT) -> list[float]:
    """A series filtered by the local-level Kalman filter: after each value, an estimate from the values so far.

    errors: standard error of each value. drift: standard deviation of the true value's steps. NaN values are skipped.
    Source: J. Durbin and S. J. Koopman, "Time Series Analysis by State Space Methods", chapter 2.
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


def smoothed_miou(rows: Sequence[EpochRow], drift: float = DRIFT) -> list[float]:
    """Mean over classes of the filtered IoU, one value per row of metrics.jsonl; NaN before any class has been seen.

    Uses `iou` and `iou_error` of each row, where None or NaN means that a class is in neither truth nor prediction.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.get("iou") or {}))

    def series(key: Literal["iou", "iou_error"], name: str) -> list[float]:
        found = ((row.get(key) or {}).get(name) for row in rows)
        return [math.nan if value is None else float(value) for value in found]

    levels = [kalman_filter(series("iou", name), series("iou_error", name), drift) for name in names]
    means = []
    for column in zip(*levels, strict=True):
        known = [level for level in column if not math.isnan(level)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means if levels else [math.nan] * len(rows)
