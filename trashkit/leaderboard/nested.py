"""Whether a validation subset by history is worth using: judged by submissions that had no part in choosing it.

A subset that was chosen with all public scores predicts those same scores too well. So for each submission the whole
way is gone anew without its score: the search, the estimate on what it found, the calibration. What comes out is
compared with the estimate on all images, made without that score too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.history import ENOUGH, SURE, Subset, by_history, sure
from trashkit.leaderboard.proxy import Estimate, Matrices
from trashkit.scores import Floats

SEARCHES = 5
"""Searches from as many seeds, which are fixed: whether a subset is used must not hang on the seed of the caller."""

Judge = Callable[[NDArray[np.bool_], Floats], Estimate]
"""The estimate on some images [N] with some public scores [M]."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of the search.

    subset: the best of all searches. won: searches whose subset beat the plain score on left-out submissions. used:
    whether it is worth using. why: in words. error, error_of_all: mean absolute error of left-out public scores by the
    estimate, the subset chosen without them, and by that on all images; None where no estimate was tried.
    """

    subset: Subset
    won: int
    used: bool
    why: str
    error: float | None = None
    error_of_all: float | None = None


def try_history(
    matrices: Matrices,
    public: Floats,
    judge: Judge,
    *,
    fold: NDArray[np.intp] | None = None,
    simple: float = np.inf,
) -> Trial | None:
    """Search a subset and judge it; arguments as in `by_history`. None below `ENOUGH` public scores.

    simple: mean absolute error of left-out public scores by guesses that need no estimate, which must be beaten too.
    """
    searched = _searches(matrices, public, fold, ENOUGH)
    if not searched:
        return None
    best = min(searched, key=lambda one: one.fit)
    won = sum(one.used for one in searched)
    if won < SEARCHES:
        return Trial(best, won, False, f"it beats the plain score surely in {won} of {SEARCHES} searches, not in all")
    everything = np.ones(matrices.shape[1], bool)
    mine: list[float] = []
    plain: list[float] = []
    for left in np.flatnonzero(np.isfinite(public)):
        others = np.where(np.arange(len(public)) == left, np.nan, public)
        chosen = min(_searches(matrices, others, fold, ENOUGH - 1), key=lambda one: one.fit).images
        for errors, images in ((mine, chosen), (plain, everything)):
            found = judge(images, others)
            errors.append(abs(float(found.calibration.public(found.proxy[left])) - float(public[left])))
    gain = np.array(plain) - np.array(mine)
    error = float(np.mean(mine))
    why = ""
    if sure(gain) < SURE:
        why = "the estimate on all images predicts left-out scores as well"
    elif error >= simple:
        why = "simpler guesses predict left-out scores as well"
    return Trial(best, won, not why, why, error, float(np.mean(plain)))


def _searches(matrices: Matrices, public: Floats, fold: NDArray[np.intp] | None, enough: int) -> list[Subset]:
    found = [by_history(matrices, public, fold=fold, seed=seed, enough=enough) for seed in range(SEARCHES)]
    return [one for one in found if one is not None]
