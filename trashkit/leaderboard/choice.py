"""Choose among several predictions and tell honestly what the choice gains: chosen on K-1 folds, judged on the other.

The best of several predictions looks better than it is on the images that it was chosen by. So for each fold the best
is chosen on the images of all other folds, and what it predicts for the fold itself is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.metrics.scores import Confusion, Matrix, bootstrap_miou, interval, iou
from trashkit.metrics.summary import without_background

DEFINITION = "pooled_present_in_truth"
"""The mIoU that decides: of classes in the truth, see `trashkit.metrics.scores.DEFINITIONS`."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Judgement:
    """Result of `judge`. All mIoU are of the classes in the truth.

    names: of the candidates. mious, others: of each on all images, with and without background; base, base_other: of
    the base. best: position of the best candidate on
    all images. chosen: for each fold the position of the best on the other folds. gain: mIoU of these choices, each on
    its own fold, less that of the base; low, high: its 95 % interval, of a paired bootstrap over images.
    """

    names: tuple[str, ...]
    base: float
    base_other: float
    mious: tuple[float, ...]
    others: tuple[float, ...]
    best: int
    chosen: tuple[int, ...]
    gain: float
    low: float
    high: float

    @property
    def taken(self) -> bool:
        """Whether the gain is beyond noise: the interval lies above 0."""
        return self.low > 0


def judge(
    base: Matrix,
    candidates: Mapping[str, Matrix],
    fold_of: NDArray[np.intp],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Judgement:
    """Choose among candidates by their mIoU, and measure the gain of that choice over `base` on images left out of it.

    base, candidates: confusion matrices int64 [N, C, C] of the same N images in the same order. fold_of: fold of each
    image, [N], from 0. Of equally good candidates the first is chosen. ValueError without candidates, and with one fold
    for several of them.
    """
    names, matrices = tuple(candidates), list(candidates.values())
    folds = range(int(fold_of.max()) + 1)
    if not matrices or (len(matrices) > 1 and len(folds) < 2):
        raise ValueError("a choice needs candidates, and two folds where there are several")
    chosen = tuple(_best(matrices, fold_of != fold) if len(folds) > 1 else 0 for fold in folds)
    honest = np.stack([matrices[chosen[fold]][n] for n, fold in enumerate(fold_of.tolist())])
    drawn = [bootstrap_miou(part, resamples, seed, in_truth=True) for part in (base, honest)]
    low, high = interval(drawn[1] - drawn[0])
    everywhere = np.ones(len(base), bool)
    return Judgement(
        names=names,
        base=_miou(base),
        base_other=_without(base),
        mious=tuple(_miou(part) for part in matrices),
        others=tuple(_without(part) for part in matrices),
        best=_best(matrices, everywhere),
        chosen=chosen,
        gain=_miou(honest) - _miou(base),
        low=low,
        high=high,
    )


def _best(matrices: Sequence[Matrix], images: NDArray[np.bool_]) -> int:
    return int(np.argmax([_miou(part[images]) for part in matrices]))


def _miou(matrices: Matrix) -> float:
    pooled = matrices.sum(axis=0)
    return Confusion(pooled, tuple(map(str, range(len(pooled))))).miou(DEFINITION)


def _without(matrices: Matrix) -> float:
    return without_background(iou(matrices.sum(axis=0)).tolist())
