"""What the ledger says about the proxy: offset and slope, and how much of them is the luck of the public half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trashkit.scores import Floats

OFFSET_SD = 0.01
"""Expected size of a true difference between validation and test score, beyond the luck of drawing images."""
SLOPE_SD = 0.2
"""Expected deviation of the slope from 1."""


@dataclass(frozen=True)
class Calibration:
    """Public score about ``centre + offset + slope * (proxy - centre)``.

    count: submissions with a public score. centre: their mean proxy. offset: mean public score less mean proxy.
    trusted: the part of the offset that the hidden half is expected to share. offset_variance: what is then unknown
    of it. slope: shrunk towards 1. residual_sd: of public scores about the line. excess: variance in them that
    neither sampling of images explains, such as luck of trainings.
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
        """Public scores to expect."""
        return np.asarray(self.centre + self.offset + self.slope * (np.asarray(proxy) - self.centre))

    def hidden(self, proxy: Floats, centre: float) -> Floats:
        """Hidden scores to expect, from proxies; `centre` is the proxy that the slope leaves where it is."""
        return np.asarray(centre + self.trusted + self.slope * (proxy - centre))

    def surprise(self, proxy: Floats, public: Floats) -> Floats:
        """How far each public score says that a model is from the mean of all, offset and slope undone; NaN unknown."""
        return np.asarray(self.centre + (public - self.centre - self.offset) / self.slope - proxy.mean())


def calibrate(
    proxy: Floats, public: Floats, *, own_variance: float, common_variance: float, scale: float
) -> Calibration:
    """Fit it on the submissions whose public score is known (not NaN).

    own_variance: of one public score by the luck of the public half, common luck left out. common_variance: of the
    luck that the validated images have in common for all models; the public half's is `scale` times as large.

    The offset is the sum of a true difference and of what validation and the public half were lucky by; only the first
    is sure to carry over to the hidden half. `trusted` is the posterior mean of it, or, where the offset
    is more than twice its own standard deviation, all but four variances of it (limited translation, B. Efron and
    C. Morris, "Limiting the risk of Bayes and empirical Bayes estimators", 1972).
    """
    known = np.isfinite(public)
    count = int(known.sum())
    kept = OFFSET_SD**2
    if count == 0:
        return Calibration(0, float(proxy.mean()), 0.0, 0.0, kept + common_variance, 1.0, float("nan"), 0.0)
    x, y = proxy[known], public[known]
    centre, offset = float(x.mean()), float((y - x).mean())
    luck = (1 + scale) * common_variance + own_variance / count
    share = kept / (kept + luck)
    if offset:
        share = max(share, 1 - 4 * (kept + luck) / offset**2)
    moved = y - x - offset
    across = x - centre
    slope = 1.0
    residual = float("nan")
    excess = 0.0
    if count >= 3:
        slope += float(across @ moved) / (float(across @ across) + own_variance / SLOPE_SD**2)
        left = moved - (slope - 1) * across
        residual = float(np.sqrt(np.square(left).sum() / (count - 2)))
        # A handful of residuals says little of a variance: half of what is above the expected, the fewer the less.
        excess = max(0.0, residual**2 - own_variance) * count / (count + 10)
    slope = float(np.clip(slope, 0.3, 2.0))
    return Calibration(
        count,
        centre,
        offset,
        share * offset,
        share * (1 - share) * (kept + luck) + common_variance,
        slope,
        residual,
        excess,
    )


def leave_one_out(
    proxy: Floats, plain: Floats, public: Floats, own_variance: float, common_variance: float
) -> dict[str, float]:
    """Mean absolute error of each public score predicted from all others; empty below three of them.

    ``proxy``: by the calibrated proxy. ``plain_offset``: by the plain out-of-fold score and the mean offset.
    ``plain``: by the plain out-of-fold score as it is. ``mean``: by the mean of the other public scores.
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
