"""The proxy: what a submission will score on photos nobody has shown us, from validation, class mix and the ledger.

Five steps, each of which can be looked at in the result:

1. Out-of-fold confusion of all images, weighted by how test-like each photo is (weights are given).
2. Its rows scaled to the class mix that the submissions themselves show on the test photos (`class_mix`).
3. Submissions told apart on many small sets of images; class by class, skill told from luck (`shrink`), where a
   public score is one more, noisy, measurement.
4. Offset and slope between estimate and public score, taken over only as far as the public half's own luck allows.
5. What remains unknown, as draws: intervals, how sure the order is, which two to choose.

All noise is measured by the bootstrap over images; a half of the test set with n images has N / n times the variance
of N validated images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.calibrate import Calibration, calibrate, leave_one_out
from trashkit.leaderboard.class_mix import class_mix, row_factors
from trashkit.leaderboard.shrink import Skill, noise_covariance, shrink
from trashkit.scores import Floats, iou

Matrices = Floats | NDArray[np.float32]
"""float32 keeps seven digits of pixel counts and takes half the memory."""
ENOUGH = 5
"""Below this many submissions with a public score the ledger knows too little."""
RESAMPLES = 200
SMALLER = 4
"""Sets on which submissions are told apart are this much smaller than the hidden half."""
_BLOCK = 20


@dataclass(frozen=True)
class Estimate:
    """What is known of M submissions.

    plain: [M] out-of-fold mIoU as it is. weighted: [M] after likeness weights and class mix. proxy: [M] after
    shrinkage, before any public score. expected: [M] best guess of the hidden score, public scores used.
    low, high: [M] its interval.
    mix, factors: [C] class mix of the test photos and the row factors that follow, None without submissions' pixels.
    per_class: [M, C] IoUs behind `expected`. draws: [R, M] hidden scores that are possible. calibration: of the ledger.
    errors: mean absolute errors of predicted public scores, each submission left out in turn; empty if there are few.
    half_sd: standard deviation by which the luck of the public half alone moves one score against another.
    """

    plain: Floats
    weighted: Floats
    proxy: Floats
    expected: Floats
    low: Floats
    high: Floats
    mix: Floats | None
    factors: Floats | None
    per_class: Floats
    draws: Floats
    calibration: Calibration
    errors: dict[str, float]
    half_sd: float

    def better(self, first: int, second: int) -> float:
        """Probability that the first scores higher than the second on the hidden half."""
        ahead = self.draws[:, first] - self.draws[:, second]
        return float((ahead > 0).mean() + (ahead == 0).mean() / 2)


def estimate(
    matrices: Matrices,
    *,
    public: Sequence[float] | Floats,
    shown: Floats | None = None,
    weights: Floats | None = None,
    public_images: int,
    private_images: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Estimate the hidden scores of M submissions.

    matrices: [M, N, C, C] out-of-fold confusion of the same N images, rows truth, pixels. public: [M] scores of the
    public half, NaN where unknown. shown: [M, C] pixels each submission gives each class on the test photos, all of
    them. weights: [N] how test-like each image is, mean 1. public_images, private_images: size of the two halves.
    Works from one submission on, where nothing is shrunk or calibrated; `ENOUGH` of them are worth listening to.
    """
    scores = np.asarray(public, np.float64)
    images = matrices.shape[1]
    weight = np.ones(images) if weights is None else weights * (images / weights.sum())
    pooled = _pooled(matrices, weight[None])[0]
    plain = _mean_iou(matrices.sum(axis=1, dtype=np.float64))
    mix = factors = None
    if shown is not None:
        mix = class_mix(pooled, shown)
        factors = row_factors(pooled, mix)
        pooled = pooled * factors[:, None]
    half = min(images, private_images)
    large, counted = _counted(_iou(pooled), _scaled(matrices, weight, factors, [half, resamples, seed]))
    small, _ = _counted(_iou(pooled), _scaled(matrices, weight, factors, [max(1, half // SMALLER), resamples, seed]))
    values, noise = _ordered(_iou(pooled)[:, counted], large, small, half / images)
    # Variances of one submission's mIoU on all validated images: its own, and what is common to all.
    own = _mean_variance(noise_covariance(large)) * half / images
    common = float(np.var(large.mean(axis=(1, 2)))) * half / images
    skill = _skill(values, noise, None, np.inf)
    proxy = (skill.mean + skill.skill).mean(axis=1)
    on_public, on_private = images / public_images, images / private_images
    line = calibrate(proxy, scores, own_variance=own * on_public, common_variance=common, scale=on_public)
    told = _skill(values, noise, line.surprise(proxy, scores), own * on_public + line.excess)
    expected = (told.mean + told.skill).mean(axis=1)
    expected = line.hidden(expected, float(expected.mean()))
    single = _mean_variance(told.covariance) + own * on_private + line.excess
    draws = _draws(expected, large, single, common * on_private + line.offset_variance, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    per_class = np.full((len(values), matrices.shape[2]), np.nan)
    per_class[:, counted] = told.mean + told.skill
    return Estimate(
        plain=plain,
        weighted=_mean_iou(pooled),
        proxy=proxy,
        expected=expected,
        low=low,
        high=high,
        mix=mix,
        factors=factors,
        per_class=per_class,
        draws=draws,
        calibration=line,
        errors=leave_one_out(proxy, plain, scores, own * on_public, common),
        half_sd=float(np.sqrt(2 * own * on_public)),
    )


def final_two(found: Estimate) -> tuple[int, int, float]:
    """The two submissions with the highest expected better score of both, and by how much the second raises it.

    The first is the one expected to score highest; the second is often no runner-up but one that errs elsewhere.
    With one submission it is named twice.
    """
    first = int(found.expected.argmax())
    if len(found.expected) == 1:
        return 0, 0, 0.0
    best = np.maximum(found.draws, found.draws[:, [first]]).mean(axis=0)
    best[first] = -np.inf
    second = int(best.argmax())
    return first, second, float(best[second] - found.draws[:, first].mean())


def sureness(found: Estimate) -> float:
    """How sure the order is: mean over neighbours in the order of the probability that they stand the right way."""
    order = np.argsort(-found.expected)
    pairs = list(pairwise(order))
    return float(np.mean([found.better(int(a), int(b)) for a, b in pairs])) if pairs else 1.0


def _pooled(matrices: Matrices, times: Floats) -> Floats:
    """Weighted sums over images: [R, M, C, C] for times [R, N]."""
    models, images, classes, _ = matrices.shape
    found = np.empty((len(times), models, classes, classes))
    kind = np.float32 if matrices.dtype == np.float32 else np.float64
    rows = times.astype(kind)
    for model in range(models):
        flat = matrices[model].reshape(images, -1).astype(kind, copy=False)
        found[:, model] = (rows @ flat).reshape(len(times), classes, classes)
    return found


def _scaled(matrices: Matrices, weight: Floats, factors: Floats | None, draw: Sequence[int]) -> Floats:
    """IoU [R, M, C] of sets of images drawn with replacement, the same for all submissions.

    draw: images in a set, number of sets, seed.
    """
    size, resamples, seed = draw
    images = matrices.shape[1]
    times = np.random.default_rng(seed).multinomial(size, np.full(images, 1 / images), resamples) * weight
    parts = [_pooled(matrices, times[start : start + _BLOCK]) for start in range(0, resamples, _BLOCK)]
    return np.concatenate([_iou(part if factors is None else part * factors[:, None]) for part in parts])


def _ordered(whole: Floats, large: Floats, small: Floats, part: float) -> tuple[Floats, Floats]:
    """IoUs [M, C] with the level of all images and the differences of small sets, and the noise in them [C, C].

    whole: [M, C] of all images. large, small: [R, M, C] of sets of the hidden half's size, `part` of all images, and of
    a quarter of that. A pooled IoU hangs on the largest objects of its set, and how a model fared on those tells little
    of how it will fare on others. Over small sets every image counts more evenly, so submissions are told apart better,
    but all score lower; so the level is taken from the whole, and the differences are brought to the size they have in
    large sets.
    """
    level = np.nanmean(whole, axis=0)
    coarse, fine = large.mean(axis=0), small.mean(axis=0)
    spread, fine_spread = (float(v.mean(axis=1).std()) for v in (coarse, fine))
    scale = spread / fine_spread if fine_spread > 0 else 1.0
    noise = noise_covariance(small) * scale**2 * part / SMALLER
    return level + scale * (fine - fine.mean(axis=0)), noise


def _counted(values: Floats, resampled: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Classes that some submission has an IoU of, without NaN: where a resample lacks one, the whole's IoU stands in,
    and where a submission lacks it altogether, the mean of the others."""
    counted = np.flatnonzero(np.isfinite(values).any(axis=0))
    values, resampled = values[:, counted], resampled[..., counted]
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    return np.where(np.isnan(resampled), values[None], resampled), counted


def _skill(values: Floats, noise: Floats, observed: Floats | None, variance: float) -> Skill:
    """`shrink`, or the values as they are where there are too few models to learn from."""
    if len(values) >= ENOUGH:
        return shrink(values, noise, observed=observed, observed_variance=variance)
    mean = values.mean(axis=0)
    return Skill(mean, values - mean, noise, noise, noise)


def _draws(expected: Floats, resampled: Floats, own: float, common: float, seed: int) -> Floats:
    """Possible hidden scores [R, M]: a shift of all, and each model's own part, correlated as resampled images say."""
    rng = np.random.default_rng([seed, 1])
    moved = resampled.mean(axis=2)
    moved = moved - moved.mean(axis=1, keepdims=True)
    moved = moved - moved.mean(axis=0)
    size = float(np.square(moved).mean())
    # The bootstrap gives the shape of the noise, the model its size; mixing the rows makes 20 draws of each.
    mixing = rng.standard_normal((20 * len(moved), len(moved))) / np.sqrt(len(moved))
    single = mixing @ moved * (np.sqrt(own / size) if size > 0 else 0.0)
    shared = np.sqrt(common) * rng.standard_normal((len(single), 1))
    return np.asarray(expected + single + shared)


def _mean_variance(covariance: Floats) -> float:
    """Variance of the mean over classes whose covariance is [C, C]."""
    return float(covariance.mean())


def _iou(matrices: Floats) -> Floats:
    """`iou` of weighted matrices, whose cells are no whole numbers."""
    return iou(matrices)  # type: ignore[arg-type]


def _mean_iou(matrices: Floats) -> Floats:
    values = _iou(matrices)
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))
