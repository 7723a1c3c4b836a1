"""Estimate hidden scores from validation scores alone, without out-of-fold predictions: only offset and slope.

A validation score alone cannot be reweighted by image or class, and its noise cannot be measured. So the noise is taken
from what teams of a trash competition reported, and increased if the ledger's own pairs scatter more.
"""

from __future__ import annotations

import numpy as np

from trashkit.leaderboard.calibrate import calibrate, leave_one_out
from trashkit.leaderboard.ledger import Ledger
from trashkit.leaderboard.proxy import MIN_PUBLIC_SCORES, Estimate
from trashkit.metrics.scores import Floats

OWN_SD = 0.0085
"""Standard deviation of a public score about the line through validation scores: sampling noise of one model on the
validated images and on the public half, and of its training. Agrees with 59 reported pairs, see
``tests/benchmarks/reported_pairs.py``."""
COMMON_SD = 0.007
"""Standard deviation of the sampling noise of the validated images that all models share."""
DRAWS = 4000


def use_scores_only(ledger: Ledger) -> bool:
    """Whether to assess a ledger by scores alone: some entries have nothing else, and too few others public scores."""
    with_matrices = [e for e in ledger.entries if e.validation is not None and not e.validation.score_only]
    known = sum(entry.public is not None for entry in with_matrices)
    if known >= MIN_PUBLIC_SCORES or not any(entry.score_only for entry in ledger.entries):
        return False
    return (
        not with_matrices
        or sum(e.public is not None for e in ledger.entries if e.miou is not None) >= MIN_PUBLIC_SCORES
    )


def estimate_from_scores(validation: Floats, public: Floats, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate the hidden scores of M submissions from validation scores [M] and public scores [M], NaN if unknown.

    The line through the pairs is shrunk as in `calibrate`. A public score moves the estimate of its submission halfway
    from the line towards itself: half of the scatter about the line is attributed to the public half.
    Classes are unknown: `Estimate.per_class` is [M, 0].
    """
    own, common = OWN_SD**2, COMMON_SD**2
    line = calibrate(validation, public, own_variance=own, common_variance=common, scale=1.0)
    known = np.isfinite(public)
    expected = line.hidden(validation, float(validation.mean()))
    expected = expected + np.where(known, (public - line.public(validation)) / 2, 0.0)
    # A known public score leaves a quarter of the variance in the model's quality, plus the noise of the hidden half.
    single = (own + line.excess) * np.where(known, 0.75, 1.0)
    rng = np.random.default_rng([seed, 2])
    shared = np.sqrt(common + line.offset_variance) * rng.standard_normal((DRAWS, 1))
    draws = expected + np.sqrt(single) * rng.standard_normal((DRAWS, len(expected))) + shared
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Estimate(
        plain=validation,
        weighted=validation,
        proxy=validation,
        expected=expected,
        low=low,
        high=high,
        mix=None,
        factors=None,
        per_class=np.empty((len(validation), 0)),
        draws=draws,
        calibration=line,
        errors=leave_one_out(validation, validation, public, own, common),
        public_half_sd=float("nan"),
    )
