"""Models lend each other strength: what of a class's IoU is skill, and what is luck of a few images.

The IoU of model m in class c is written as ``mean_c + skill_mc``, skills drawn from a normal distribution with
covariance ``prior`` (a common part, since good models are good at most classes, and a part of each class), seen with
noise whose covariance the bootstrap gives. The posterior mean moves each class towards what the model's other classes
and the other models make likely, the more the noisier it is: Battery, with IoUs of a few images, hardly counts for the
order of models, and still counts fully for the score.

Source: empirical Bayes for normal means, B. Efron and C. Morris, "Data analysis using Stein's estimator and its
generalizations", 1975.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trashkit.scores import Floats


@dataclass(frozen=True)
class Skill:
    """Result of `shrink`.

    mean: [C] class means over models. skill: [M, C] posterior means of what each model is above them. covariance:
    [C, C] of what remains unknown of one model. prior, noise: [C, C].
    """

    mean: Floats
    skill: Floats
    covariance: Floats
    prior: Floats
    noise: Floats


def noise_covariance(draws: Floats) -> Floats:
    """Covariance over bootstrap draws of the classes' IoUs, of what is not common to all models: [C, C].

    draws: [R, M, C], the same resampled images for all models. The mean over models is taken out, since images that
    are hard for all change no order.
    """
    resamples, models, _ = draws.shape
    own = draws - draws.mean(axis=1, keepdims=True)
    own = own - own.mean(axis=0, keepdims=True)
    degrees = (resamples - 1) * max(models - 1, 1)
    return np.asarray(np.einsum("rmc,rmd->cd", own, own) / degrees)


def prior_covariance(values: Floats, noise: Floats) -> Floats:
    """Covariance of skills over models, [C, C], from their IoUs [M, C] and the noise in them.

    Variances by moments (seen minus noise, at least a tenth of seen); one common correlation of all pairs of classes,
    0 to 0.95, since M models do not tell C x C of them.
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
) -> Skill:
    """Posterior of each model's skills.

    values: [M, C] IoUs, finite; M at least 3. noise: [C, C] as `noise_covariance` gives it. observed: [M] another
    measurement of each model's mean over classes, less the mean over all models (such as public scores), NaN where
    there is none, with variance `observed_variance`.
    """
    mean = values.mean(axis=0)
    prior = prior_covariance(values, noise)
    classes = len(mean)
    floor = 1e-12 * np.eye(classes)
    gain = np.linalg.solve(prior + noise + floor, prior).T
    skill = (values - mean) @ gain.T
    covariance = prior - gain @ prior
    if observed is not None and np.isfinite(observed_variance):
        average = np.full(classes, 1 / classes)
        spread = covariance @ average
        step = spread / (average @ spread + observed_variance)
        surprise = np.where(np.isfinite(observed), observed - skill.mean(axis=1), 0.0)
        skill = skill + surprise[:, None] * step
    return Skill(mean, skill, covariance, prior, noise)
