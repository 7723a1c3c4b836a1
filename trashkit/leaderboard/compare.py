"""Two predictions of the same images: is one better, how surely, and which classes made it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trashkit.evaluate import Evaluation
from trashkit.scores import Floats, Matrix, bootstrap_iou, interval, iou

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One class of a comparison.

    first, second: its IoU, NaN where neither truth nor that prediction has it. difference: second - first.
    low, high: interval of the difference. contribution: its part of the difference of mIoU; the parts add up to it.
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
        """Whether the interval leaves out 0; of many classes without any change, one in twenty does so by chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of `compare`; differences are second - first.

    first, second, difference: pooled mIoU. low, high: percentile interval at `level`. probability: share of resampled
    image sets in which the second is better, ties counting half. classes: by size of their contribution.
    """

    first: float
    second: float
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
        """Whether the interval of the difference leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.low == self.high == 0:
            return "no evidence of a difference: both score the same on every set of images"
        if not self.evidence:
            return (
                f"no evidence that either is better: a difference between {self.low:+.4f} and {self.high:+.4f} fits "
                "these images"
            )
        better = "B" if self.difference > 0 else "A"
        sizes = sorted((abs(self.low), abs(self.high)))
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
    same draws, so what makes an image hard for both cancels. The interval speaks of images like these and of these two
    predictions; it knows nothing of what another seed of the same training would give.
    ValueError for different shapes or no image. Sources: see `trashkit.scores.bootstrap_iou`.
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
    """Mean over the last axis, NaN left out; NaN where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
