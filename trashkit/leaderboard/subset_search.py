"""Search a validation subset: folds or images on which submissions are ranked as on the leaderboard.

With a few submissions there nearly always is one, by chance alone: thousands of subsets, a handful of scores. So the
search is cross-validated by leaving out each submission in turn, and the subset is used only if it predicts left-out
submissions better than all images do.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.proxy import Matrices
from trashkit.metrics.scores import Floats

MIN_PUBLIC_SCORES = 5
"""Fewest submissions with a public score for a search."""
MAX_CHUNKS = 24
MIN_SHARE = 0.2
"""Smallest share of the images that a subset may hold; smaller ones fit by chance."""
SUBSETS = 2000
MIN_STANDARD_ERRORS = 2.0
"""Least gain of a subset in predicting left-out submissions, in standard errors: errors of a handful of submissions
differ by chance. It must also rank them at least as well as all images do."""


@dataclass(frozen=True, eq=False)
class ValidationSubset:
    """Result of `search_subset`.

    images: [N] bool, the subset that follows the public scores best. what: description of it.
    fit, plain_fit: error (mean absolute, after the mean offset) of the submissions in the search, for the subset and
    for all images. error, plain_error: the same of left-out submissions. agreement, plain_agreement: share of pairs
    with a left-out submission that are ranked as on the leaderboard. standard_errors: gain in error of left-out
    submissions, in standard errors. tried: number of subsets.
    """

    images: NDArray[np.bool_]
    what: str
    fit: float
    plain_fit: float
    error: float
    plain_error: float
    agreement: float
    plain_agreement: float
    standard_errors: float
    tried: int

    @property
    def used(self) -> bool:
        """Whether it predicts left-out submissions better than all images do."""
        return self.standard_errors >= MIN_STANDARD_ERRORS and self.agreement >= self.plain_agreement


def search_subset(
    matrices: Matrices,
    public: Floats,
    *,
    fold: NDArray[np.intp] | None = None,
    seed: int = 0,
    tried: int = SUBSETS,
    enough: int = MIN_PUBLIC_SCORES,
) -> ValidationSubset | None:
    """Search the subset of images whose mIoU follows the public scores best; None for fewer than `enough` of them.

    matrices: [M, N, C, C] out of fold. public: [M], NaN if unknown. fold: [N] fold of each image; if given, all unions
    of folds (up to ten) are tried first. `tried` unions of random chunks of images follow. Unions of less than
    `MIN_SHARE` of the images are left out. The criterion is the squared deviation of score and public score after the
    mean offset.
    """
    known = np.flatnonzero(np.isfinite(public))
    if len(known) < enough:
        return None
    images = matrices.shape[1]
    rng = np.random.default_rng(seed)
    chunks = rng.permutation(images) % min(MAX_CHUNKS, images)
    kinds = [(chunks, _large(_random_unions(rng, int(chunks.max()) + 1, tried), chunks), "")]
    if fold is not None and 1 < fold.max() + 1 <= 10:
        kinds.insert(0, (fold, _large(_all_unions(int(fold.max()) + 1), fold), "folds"))
    scores = [_scores(matrices[known], group, chosen) for group, chosen, _ in kinds]
    table = np.concatenate([_scores(matrices[known], np.zeros(images, np.intp), np.ones((1, 1))), *scores])
    truth = public[known]
    best, fit = _best(table, truth)
    plain_fit = float(np.abs(_centred(truth - table[0])).mean())
    errors, agreements = _left_out(table, truth)
    gain = errors[1] - errors[0]
    inside, what = np.ones(images, bool), "all images"
    place = best - 1
    for group, chosen, name in kinds:
        if 0 <= place < len(chosen):
            groups = np.flatnonzero(chosen[place])
            inside = np.isin(group, groups)
            what = f"{int(inside.sum())} of {images} images"
            what += f" ({name} {', '.join(map(str, groups))})" if name else ""
        place -= len(chosen)
    return ValidationSubset(
        images=inside,
        what=what,
        fit=fit,
        plain_fit=plain_fit,
        error=float(errors[0].mean()),
        plain_error=float(errors[1].mean()),
        agreement=float(agreements[0].mean()),
        plain_agreement=float(agreements[1].mean()),
        standard_errors=in_standard_errors(gain),
        tried=len(table) - 1,
    )


def in_standard_errors(gain: Floats) -> float:
    """Mean of gains in units of its standard error, 0 if they do not differ."""
    spread = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    return float(gain.mean()) / spread if spread > 0 else 0.0


def _all_unions(folds: int) -> Floats:
    """All unions of folds except the empty and the full one: [2**K - 2, K] of 0 and 1."""
    return np.array([[n >> k & 1 for k in range(folds)] for n in range(1, 2**folds - 1)], dtype=float)


def _random_unions(rng: np.random.Generator, chunks: int, tried: int) -> Floats:
    """Unions of random chunks, from a fifth of them to all but one: [tried, chunks] of 0 and 1."""
    size = rng.integers(max(1, ceil(MIN_SHARE * chunks)), max(2, chunks), tried)
    order = rng.random((tried, chunks)).argsort(axis=1).argsort(axis=1)
    return np.asarray(order < size[:, None], dtype=float)


def _large(chosen: Floats, group: NDArray[np.intp]) -> Floats:
    """The unions [T, G] that hold at least `MIN_SHARE` of the images."""
    return chosen[chosen @ np.bincount(group, minlength=chosen.shape[1]) >= MIN_SHARE * len(group) - 1e-9]


def _scores(matrices: Matrices, group: NDArray[np.intp], chosen: Floats) -> Floats:
    """Pooled mIoU of every submission on every union of groups: [T, M]."""
    models, _, classes, _ = matrices.shape
    hits = np.diagonal(matrices, axis1=2, axis2=3).astype(np.float64)
    union = matrices.sum(axis=2, dtype=np.float64) + matrices.sum(axis=3, dtype=np.float64) - hits
    member = np.eye(int(group.max()) + 1)[group]
    found = np.empty((len(chosen), models))
    for model in range(models):
        above, below = chosen @ (member.T @ hits[model]), chosen @ (member.T @ union[model])
        value = np.divide(above, below, out=np.full((len(chosen), classes), np.nan), where=below > 0)
        found[:, model] = np.nanmean(value, axis=1)
    return found


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def _best(table: Floats, truth: Floats) -> tuple[int, float]:
    """Row of the subset (except row 0, all images) that follows the public scores best, and its mean absolute error."""
    off = _centred(truth - table)
    row = 1 + int(np.square(off[1:]).sum(axis=1).argmin())
    return row, float(np.abs(off[row]).mean())


def _left_out(table: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Errors [2, S] and agreements [2, S] of the search and of row 0, each of S submissions left out in turn."""
    count = len(truth)
    errors, agreements = np.zeros((2, count)), np.zeros((2, count))
    for left in range(count):
        rest = np.arange(count) != left
        row, _ = _best(table[:, rest], truth[rest])
        for n, scores in enumerate((table[row], table[0])):
            errors[n, left] = abs(scores[left] + (truth - scores)[rest].mean() - truth[left])
            same = np.sign(scores[left] - scores[rest]) == np.sign(truth[left] - truth[rest])
            agreements[n, left] = same.mean()
    return errors, agreements
