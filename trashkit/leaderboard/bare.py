"""Estimates from scores alone, where no out-of-fold predictions are at hand: offset and slope, with wide intervals.

A bare validation score cannot be weighed by image or class, and its own noise cannot be measured. So the noise is taken
from what teams of a trash competition reported, and raised where the ledger's own pairs scatter more.
"""

from __future__ import annotations

import numpy as np

from trashkit.leaderboard.calibrate import calibrate, leave_one_out
from trashkit.leaderboard.ledger import Entry, Ledger
from trashkit.leaderboard.proxy import ENOUGH, Estimate
from trashkit.scores import Floats

OWN_SD = 0.0085
"""By which a public score leaves the line through validation scores: luck of one model on the validated images, of its
training and of the public half. Agrees with 59 reported pairs, as ``tests/benchmarks/reported_pairs.py`` shows."""
COMMON_SD = 0.007
"""Of the luck that the validated images have in common for all models."""
DRAWS = 4000


def is_bare(entry: Entry) -> bool:
    """Whether validation of an entry is a score alone, without confusion matrices."""
    return entry.miou is not None and not entry.validation.get("evidence")


def scores_count(ledger: Ledger) -> bool:
    """Whether the ledger is better judged by scores alone: some are bare, and too few others have a public score."""
    weighable = [entry for entry in ledger.entries if entry.validation.get("evidence")]
    known = sum(entry.public is not None for entry in weighable)
    if known >= ENOUGH or not any(map(is_bare, ledger.entries)):
        return False
    return not weighable or sum(e.public is not None for e in ledger.entries if e.miou is not None) >= ENOUGH


def from_scores(validation: Floats, public: Floats, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate the hidden scores of M submissions from validation scores [M] and public ones [M], NaN where unknown.

    The line through the pairs is shrunk as `calibrate` does it. A public score moves its own submission halfway from
    the line towards itself: of the scatter about the line, validation and public half are held to share alike.
    Per class nothing is known: `Estimate.per_class` is [M, 0].
    """
    own, common = OWN_SD**2, COMMON_SD**2
    line = calibrate(validation, public, own_variance=own, common_variance=common, scale=1.0)
    known = np.isfinite(public)
    expected = line.hidden(validation, float(validation.mean()))
    expected = expected + np.where(known, (public - line.public(validation)) / 2, 0.0)
    # Half of it each: a known one keeps a quarter in its skill, and meets the luck of the hidden half anew.
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
        half_sd=float("nan"),
    )
