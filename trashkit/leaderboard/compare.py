"""Compare two predictions of the same images: the difference in mIoU with its interval, and by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trashkit.metrics.evaluate import Evaluation
from trashkit.metrics.scores import Floats, Matrix, bootstrap_iou, interval, iou
from trashkit.metrics.summary import finds_almost_nothing

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One class of a comparison.

    first, second: its IoU, NaN if neither truth nor that prediction has it. difference: second - first.
    low, high: interval of the difference. contribution: its part of the difference in mIoU; the parts add up to it.
    """

    name: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    contribution: float

    @property
    def evidence(self) -> bool:
        """Whether the interval excludes 0; of many unchanged classes, one in twenty does so by chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of `compare`; differences are second - first.

    first, second, difference: pooled mIoU. first_iou, second_iou: [C] by class, the background first. low, high:
    percentile interval at `level`. probability: share of resampled
    image sets in which the second is better, ties counting half. classes: by size of their contribution.
    """

    first: float
    second: float
    first_iou: tuple[float, ...]
    second_iou: tuple[float, ...]
    difference: float
    low: float
    high: float
    probability: float
    classes: tuple[ClassChange, ...]
    images: int
    resamples: int
    level: float

    @property
    def evidence(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def conclusion(self) -> str:
        """The result as a sentence; of models that find almost nothing none is called better."""
        nothing = [finds_almost_nothing(self.first_iou), finds_almost_nothing(self.second_iou)]
        if all(nothing):
            return "A and B both find almost nothing, so the difference says nothing about which is better"
        if self.low == self.high == 0:
            return "no evidence of a difference: both score the same on every set of images"
        if not self.evidence:
            return (
                f"no evidence that either is better: these images are compatible with a difference between "
                f"{self.low:+.4f} and {self.high:+.4f}"
            )
        better = "B" if self.difference > 0 else "A"
        sizes = sorted((abs(self.low), abs(self.high)))
        if nothing[self.difference > 0]:
            return f"{better} has the higher mIoU, but finds almost nothing, so that does not make it better"
        return f"{better} is better by {sizes[0]:.4f} to {sizes[1]:.4f} mIoU on images like these"


def compare(
    first: Matrix,
    second: Matrix,
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two predictions by a paired bootstrap over images of the pooled mIoU.

    first, second: int64 [N, C, C], confusion matrices of the same N images in the same order. Both are scored on the
    same draws, so the common difficulty of images cancels. The interval holds for images like these and for these two
    predictions; it does not include the variation between seeds of a training.
    ValueError for different shapes or no image. Sources: see `trashkit.metrics.scores.bootstrap_iou`.
    """
    if first.shape != second.shape or len(names) != first.shape[-1]:
        raise ValueError(f"matrices {first.shape} and {second.shape} with {len(names)} names do not fit together")
    draws = [bootstrap_iou(part, resamples, seed) for part in (first, second)]
    values = [iou(part.sum(axis=0)) for part in (first, second)]
    means = [_mean(part) for part in values]
    moved = _mean(draws[1]) - _mean(draws[0])
    low, high = interval(moved, level)
    shares = [np.nan_to_num(part) / max(1, int((~np.isnan(part)).sum())) for part in values]
    changes: list[ClassChange] = []
    for c, name in enumerate(names):
        class_low, class_high = interval(draws[1][:, c] - draws[0][:, c], level)
        one, other = float(values[0][c]), float(values[1][c])
        changes.append(
            ClassChange(name, one, other, other - one, class_low, class_high, float(shares[1][c] - shares[0][c]))
        )
    changes.sort(key=lambda change: -abs(change.contribution))
    return Comparison(
        float(means[0]),
        float(means[1]),
        tuple(values[0].tolist()),
        tuple(values[1].tolist()),
        float(means[1] - means[0]),
        low,
        high,
        float((moved > 0).mean() + (moved == 0).mean() / 2),
        tuple(changes),
        len(first),
        resamples,
        level,
    )


def paired(first: Evaluation, second: Evaluation) -> tuple[Matrix, Matrix]:
    """Matrices of the images that both evaluations scored, in the order of the truth: int64 [N, C, C] each."""
    common, left, right = np.intersect1d(first.images, second.images, assume_unique=True, return_indices=True)
    del common
    return first.per_image[left], second.per_image[right]


def _mean(values: Floats) -> npt.NDArray[np.float64]:
    """Mean over the last axis without NaN; NaN if all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
