"""Nested validation of a subset search: does the chosen subset predict submissions that it was chosen without?

A subset chosen with all public scores predicts those same scores too well. So for each submission, the search, the
estimate on the subset and the calibration are repeated without its score, and the result is compared with the estimate
on all images, also made without that score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.proxy import Estimate, Matrices
from trashkit.leaderboard.subset_search import (
    MIN_PUBLIC_SCORES,
    MIN_STANDARD_ERRORS,
    ValidationSubset,
    in_standard_errors,
    search_subset,
)
from trashkit.metrics.scores import Floats

SEARCHES = 5
"""Number of searches, with fixed seeds: whether a subset is used must not depend on the caller's seed."""

EstimateFor = Callable[[NDArray[np.bool_], Floats], Estimate]
"""Estimate on a subset of images [N] with some of the public scores [M]."""


@dataclass(frozen=True, eq=False)
class SubsetValidation:
    """Result of `validate_subset`.

    subset: the best of all searches. won: number of searches whose subset beat all images on left-out submissions.
    used: whether the subset is used. why: the reason if not. error, error_of_all: mean absolute error of left-out
    public scores by the estimate on subsets chosen without them, and by that on all images; None if none was made.
    """

    subset: ValidationSubset
    won: int
    used: bool
    why: str
    error: float | None = None
    error_of_all: float | None = None


def validate_subset(
    matrices: Matrices,
    public: Floats,
    estimate_for: EstimateFor,
    *,
    fold: NDArray[np.intp] | None = None,
    simple: float = np.inf,
) -> SubsetValidation | None:
    """Search a subset and validate it; arguments as in `search_subset`. None below `MIN_PUBLIC_SCORES` public scores.

    estimate_for: see `EstimateFor`. simple: mean absolute error of left-out public scores by simpler guesses, which the
    subset must beat too.
    """
    searched = _searches(matrices, public, fold, MIN_PUBLIC_SCORES)
    if not searched:
        return None
    best = min(searched, key=lambda one: one.fit)
    won = sum(one.used for one in searched)
    if won < SEARCHES:
        return SubsetValidation(
            best, won, False, f"it clearly beats all images in {won} of {SEARCHES} searches, not in all"
        )
    everything = np.ones(matrices.shape[1], bool)
    mine: list[float] = []
    plain: list[float] = []
    for left in np.flatnonzero(np.isfinite(public)):
        others = np.where(np.arange(len(public)) == left, np.nan, public)
        chosen = min(_searches(matrices, others, fold, MIN_PUBLIC_SCORES - 1), key=lambda one: one.fit).images
        for errors, images in ((mine, chosen), (plain, everything)):
            found = estimate_for(images, others)
            errors.append(abs(float(found.calibration.public(found.proxy[left])) - float(public[left])))
    gain = np.array(plain) - np.array(mine)
    error = float(np.mean(mine))
    why = ""
    if in_standard_errors(gain) < MIN_STANDARD_ERRORS:
        why = "the estimate on all images predicts left-out scores equally well"
    elif error >= simple:
        why = "simpler guesses predict left-out scores equally well"
    return SubsetValidation(best, won, not why, why, error, float(np.mean(plain)))


def _searches(matrices: Matrices, public: Floats, fold: NDArray[np.intp] | None, enough: int) -> list[ValidationSubset]:
    found = [search_subset(matrices, public, fold=fold, seed=seed, enough=enough) for seed in range(SEARCHES)]
    return [one for one in found if one is not None]
