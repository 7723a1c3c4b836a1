"""Empirical Bayes shrinkage of the IoUs of models by class, to separate quality from sampling noise.

The IoU of model m in class c is modelled as ``mean_c + deviation_mc``, with deviations from a normal distribution with
covariance ``prior`` (a common part, since good models are good at most classes, and a part of each class), observed
with noise whose covariance the bootstrap gives. The posterior mean shrinks each class towards what the model's other
classes and the other models suggest, more strongly for noisier classes: Battery, with IoUs of a few images, hardly
counts in the order of models, but fully in the score.

Source: empirical Bayes for normal means, B. Efron and C. Morris, "Data analysis using Stein's estimator and its
generalizations", 1975.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trashkit.metrics.scores import Floats


@dataclass(frozen=True)
class ClassPosterior:
    """Result of `shrink`.

    mean: [C] class means over models. deviation: [M, C] posterior mean of each model's deviation from them. covariance:
    [C, C] posterior covariance of one model. prior, noise: [C, C].
    """

    mean: Floats
    deviation: Floats
    covariance: Floats
    prior: Floats
    noise: Floats


def noise_covariance(draws: Floats) -> Floats:
    """Covariance of the classes' IoUs over bootstrap draws, without the part common to all models: [C, C].

    draws: [R, M, C], the same resampled images for all models. The mean over models is subtracted, since images that
    are hard for all models do not change their order.
    """
    resamples, models, _ = draws.shape
    own = draws - draws.mean(axis=1, keepdims=True)
    own = own - own.mean(axis=0, keepdims=True)
    degrees = (resamples - 1) * max(models - 1, 1)
    return np.asarray(np.einsum("rmc,rmd->cd", own, own) / degrees)


def prior_covariance(values: Floats, noise: Floats) -> Floats:
    """Covariance of the deviations over models, [C, C], from their IoUs [M, C] and the noise in them.

    Variances by moments (observed minus noise, at least a tenth of observed); one common correlation for all pairs of
    classes, 0 to 0.95, since M models do not suffice to estimate C x C.
    """
    seen = np.atleast_2d(np.cov(values.T))
    true = np.maximum(np.diag(seen) - np.diag(noise), 0.1 * np.diag(seen)) + 1e-12
    scale = np.sqrt(true)
    off = ~np.eye(len(scale), dtype=bool)
    together = float((seen - noise)[off].sum() / np.outer(scale, scale)[off].sum()) if off.any() else 0.0
    correlation = np.where(off, float(np.clip(together, 0.0, 0.95)), 1.0)
    return np.asarray(correlation * np.outer(scale, scale))


def shrink(
    values: Floats, noise: Floats, *, observed: Floats | None = None, observed_variance: float = np.inf
) -> ClassPosterior:
    """Posterior of each model's deviations.

    values: [M, C] IoUs, finite; M at least 3. noise: [C, C], see `noise_covariance`. observed: [M] another measurement
    of each model's mean over classes, minus the mean over all models (such as public scores), NaN if there is none,
    with variance `observed_variance`.
    """
    mean = values.mean(axis=0)
    prior = prior_covariance(values, noise)
    classes = len(mean)
    floor = 1e-12 * np.eye(classes)
    gain = np.linalg.solve(prior + noise + floor, prior).T
    deviation = (values - mean) @ gain.T
    covariance = prior - gain @ prior
    if observed is not None and np.isfinite(observed_variance):
        average = np.full(classes, 1 / classes)
        spread = covariance @ average
        step = spread / (average @ spread + observed_variance)
        innovation = np.where(np.isfinite(observed), observed - deviation.mean(axis=1), 0.0)
        deviation = deviation + innovation[:, None] * step
    return ClassPosterior(mean, deviation, covariance, prior, noise)
