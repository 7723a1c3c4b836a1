"""Calibrate the proxy against public scores: offset and slope, and how much of them is sampling noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trashkit.metrics.scores import Floats

OFFSET_SD = 0.01
"""Expected size of a true difference between validation and test score, beyond the sampling of images."""
SLOPE_SD = 0.2
"""Expected deviation of the slope from 1."""


@dataclass(frozen=True)
class ScoreCalibration:
    """Public score about ``centre + offset + slope * (proxy - centre)``.

    count: submissions with a public score. centre: their mean proxy. offset: mean public score minus mean proxy.
    trusted: the part of the offset that is expected for the hidden half too. offset_variance: its remaining variance.
    slope: shrunk towards 1. residual_sd: of public scores about the line. excess: variance of theirs that the sampling
    of images does not explain, such as that of trainings.
    """

    count: int
    centre: float
    offset: float
    trusted: float
    offset_variance: float
    slope: float
    residual_sd: float
    excess: float

    def public(self, proxy: Floats | float) -> Floats:
        """Expected public scores."""
        return np.asarray(self.centre + self.offset + self.slope * (np.asarray(proxy) - self.centre))

    def hidden(self, proxy: Floats, centre: float) -> Floats:
        """Expected hidden scores from proxies; `centre` is the fixed point of the slope."""
        return np.asarray(centre + self.trusted + self.slope * (proxy - centre))

    def implied_deviation(self, proxy: Floats, public: Floats) -> Floats:
        """Deviation of each model from the mean that its public score implies, offset and slope undone; NaN unknown."""
        return np.asarray(self.centre + (public - self.centre - self.offset) / self.slope - proxy.mean())


def calibrate(
    proxy: Floats, public: Floats, *, own_variance: float, common_variance: float, scale: float
) -> ScoreCalibration:
    """Fit the line on the submissions whose public score is known (not NaN).

    own_variance: sampling variance of one public score, without the part that all models share. common_variance: the
    shared sampling variance of the validated images; that of the public half is `scale` times as large.

    The offset is the sum of a true difference and of the sampling errors of validation and the public half; only the
    first carries over to the hidden half. `trusted` is its posterior mean, or, if the offset is more than twice its
    standard deviation, all but four variances of it (limited translation, B. Efron and C. Morris, "Limiting the risk of
    Bayes and empirical Bayes estimators", 1972).
    """
    known = np.isfinite(public)
    count = int(known.sum())
    kept = OFFSET_SD**2
    if count == 0:
        return ScoreCalibration(0, float(proxy.mean()), 0.0, 0.0, kept + common_variance, 1.0, float("nan"), 0.0)
    x, y = proxy[known], public[known]
    centre, offset = float(x.mean()), float((y - x).mean())
    noise = (1 + scale) * common_variance + own_variance / count
    share = kept / (kept + noise)
    if offset:
        share = max(share, 1 - 4 * (kept + noise) / offset**2)
    moved = y - x - offset
    across = x - centre
    slope = 1.0
    residual = float("nan")
    excess = 0.0
    if count >= 3:
        slope += float(across @ moved) / (float(across @ across) + own_variance / SLOPE_SD**2)
        left = moved - (slope - 1) * across
        residual = float(np.sqrt(np.square(left).sum() / (count - 2)))
        # A handful of residuals says little about a variance, so only part of the excess counts, the fewer the less.
        excess = max(0.0, residual**2 - own_variance) * count / (count + 10)
    slope = float(np.clip(slope, 0.3, 2.0))
    return ScoreCalibration(
        count,
        centre,
        offset,
        share * offset,
        share * (1 - share) * (kept + noise) + common_variance,
        slope,
        residual,
        excess,
    )


def leave_one_out(
    proxy: Floats, plain: Floats, public: Floats, own_variance: float, common_variance: float
) -> dict[str, float]:
    """Mean absolute error of predicting each public score from all others; empty for fewer than three.

    ``proxy``: by the calibrated proxy. ``plain_offset``: by the plain out-of-fold score and the mean offset.
    ``plain``: by the plain out-of-fold score. ``mean``: by the mean of the other public scores.
    """
    known = np.flatnonzero(np.isfinite(public))
    if len(known) < 3:
        return {}
    errors: dict[str, list[float]] = {"proxy": [], "plain_offset": [], "plain": [], "mean": []}
    for left in known:
        others = np.where(np.arange(len(public)) == left, np.nan, public)
        line = calibrate(proxy, others, own_variance=own_variance, common_variance=common_variance, scale=1.0)
        rest = np.isfinite(others)
        guesses = {
            "proxy": float(line.public(proxy[left])),
            "plain_offset": float(plain[left] + (others - plain)[rest].mean()),
            "plain": float(plain[left]),
            "mean": float(others[rest].mean()),
        }
        for name, guess in guesses.items():
            errors[name].append(abs(guess - float(public[left])))
    return {name: float(np.mean(values)) for name, values in errors.items()}
