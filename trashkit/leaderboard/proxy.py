"""The proxy: estimate the score on the hidden half of the test photos from validation, class mix and public scores.

Five steps, each visible in the result:

1. Weight the out-of-fold confusion of the images by their similarity to the test photos (the weights are given).
2. Scale its rows to the class mix that the submissions show on the test photos (`class_mix`).
3. Compare submissions on many small sets of images, and shrink the deviations by class (`shrink`); public scores are
   used as another noisy measurement.
4. Calibrate offset and slope against the public scores, as far as sampling noise of the public half allows.
5. Draw possible scores from what remains unknown: intervals, confidence of the order, the two best to choose.

All noise is measured by the bootstrap over images; a half of the test set with n images has N / n times the variance
of N validated images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.calibrate import ScoreCalibration, calibrate, leave_one_out
from trashkit.leaderboard.class_mix import class_mix, row_factors
from trashkit.leaderboard.shrinkage import ClassPosterior, noise_covariance, shrink
from trashkit.metrics.scores import Floats, iou

Matrices = Floats | NDArray[np.float32]
"""float32 keeps seven digits of pixel counts and takes half the memory."""
MIN_PUBLIC_SCORES = 5
"""Fewest submissions with a public score for estimates."""
RESAMPLES = 200
SMALLER = 4
"""Sets of images on which submissions are compared are this much smaller than the hidden half."""
_BLOCK = 20


@dataclass(frozen=True)
class Estimate:
    """Estimates for M submissions.

    plain: [M] out-of-fold mIoU. weighted: [M] after image weights and class mix. proxy: [M] after shrinkage, without
    public scores. expected: [M] expected hidden score, with public scores. low, high: [M] its interval.
    mix, factors: [C] class mix of the test photos and the row factors for it, None without predicted pixels.
    per_class: [M, C] IoUs behind `expected`. draws: [R, M] possible hidden scores. calibration: against public scores.
    errors: mean absolute errors of predicted public scores, each submission left out in turn; empty if there are few.
    public_half_sd: standard deviation of the difference of two scores by the sampling of the public half alone.
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
    calibration: ScoreCalibration
    errors: dict[str, float]
    public_half_sd: float

    def probability_better(self, first: int, second: int) -> float:
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

    matrices: [M, N, C, C] out-of-fold confusion of the same N images, rows truth, pixels. public: [M] scores on the
    public half, NaN if unknown. shown: [M, C] predicted pixels of each class on all test photos. weights: [N] of the
    images, by similarity to the test photos, mean 1. public_images, private_images: sizes of the two halves.
    Works for any number of submissions, but below `MIN_PUBLIC_SCORES` nothing is shrunk and estimates mean little.
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
    large, counted = _known_classes(_iou(pooled), _bootstrap_iou(matrices, weight, factors, [half, resamples, seed]))
    small, _ = _known_classes(
        _iou(pooled), _bootstrap_iou(matrices, weight, factors, [max(1, half // SMALLER), resamples, seed])
    )
    values, noise = _compare_on_small_sets(_iou(pooled)[:, counted], large, small, half / images)
    # Variances of a submission's mIoU on all validated images: its own, and the part common to all.
    own = _mean_variance(noise_covariance(large)) * half / images
    common = float(np.var(large.mean(axis=(1, 2)))) * half / images
    before = _posterior(values, noise, None, np.inf)
    proxy = (before.mean + before.deviation).mean(axis=1)
    on_public, on_private = images / public_images, images / private_images
    line = calibrate(proxy, scores, own_variance=own * on_public, common_variance=common, scale=on_public)
    after = _posterior(values, noise, line.implied_deviation(proxy, scores), own * on_public + line.excess)
    expected = (after.mean + after.deviation).mean(axis=1)
    expected = line.hidden(expected, float(expected.mean()))
    single = _mean_variance(after.covariance) + own * on_private + line.excess
    draws = _possible_scores(expected, large, single, common * on_private + line.offset_variance, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    per_class = np.full((len(values), matrices.shape[2]), np.nan)
    per_class[:, counted] = after.mean + after.deviation
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
        public_half_sd=float(np.sqrt(2 * own * on_public)),
    )


def final_two(found: Estimate) -> tuple[int, int, float]:
    """The two submissions with the highest expected maximum of their scores, and how much the second raises it.

    The first is the one expected to score highest; the second is often not the runner-up but one with other errors.
    A single submission is returned twice.
    """
    first = int(found.expected.argmax())
    if len(found.expected) == 1:
        return 0, 0, 0.0
    best = np.maximum(found.draws, found.draws[:, [first]]).mean(axis=0)
    best[first] = -np.inf
    second = int(best.argmax())
    return first, second, float(best[second] - found.draws[:, first].mean())


def order_confidence(found: Estimate) -> float:
    """Mean probability that adjacent submissions in the order are ranked correctly."""
    order = np.argsort(-found.expected)
    pairs = list(pairwise(order))
    return float(np.mean([found.probability_better(int(a), int(b)) for a, b in pairs])) if pairs else 1.0


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


def _bootstrap_iou(matrices: Matrices, weight: Floats, factors: Floats | None, draw: Sequence[int]) -> Floats:
    """IoU [R, M, C] of sets of images drawn with replacement, the same for all submissions.

    draw: images in a set, number of sets, seed.
    """
    size, resamples, seed = draw
    images = matrices.shape[1]
    times = np.random.default_rng(seed).multinomial(size, np.full(images, 1 / images), resamples) * weight
    parts = [_pooled(matrices, times[start : start + _BLOCK]) for start in range(0, resamples, _BLOCK)]
    return np.concatenate([_iou(part if factors is None else part * factors[:, None]) for part in parts])


def _compare_on_small_sets(whole: Floats, large: Floats, small: Floats, part: float) -> tuple[Floats, Floats]:
    """IoUs [M, C] with the level of all images and the differences of small sets, and the noise in them [C, C].

    whole: [M, C] of all images. large, small: [R, M, C] of sets of the hidden half's size, `part` of all images, and of
    a quarter of that. A pooled IoU depends on the largest objects of its set, and how a model did on those says little
    about others. In small sets, images count more evenly, so submissions are compared more reliably, but all score
    lower. So the level is taken from all images, and the differences are scaled to their size in large sets.
    """
    level = np.nanmean(whole, axis=0)
    coarse, fine = large.mean(axis=0), small.mean(axis=0)
    spread, fine_spread = (float(v.mean(axis=1).std()) for v in (coarse, fine))
    scale = spread / fine_spread if fine_spread > 0 else 1.0
    noise = noise_covariance(small) * scale**2 * part / SMALLER
    return level + scale * (fine - fine.mean(axis=0)), noise


def _known_classes(values: Floats, resampled: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Select classes with an IoU in some submission, and fill NaN: in a resample with the IoU of all images, and for a
    submission without the class with the mean of the others."""
    counted = np.flatnonzero(np.isfinite(values).any(axis=0))
    values, resampled = values[:, counted], resampled[..., counted]
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    return np.where(np.isnan(resampled), values[None], resampled), counted


def _posterior(values: Floats, noise: Floats, observed: Floats | None, variance: float) -> ClassPosterior:
    """`shrink`, or the values unchanged if there are too few models."""
    if len(values) >= MIN_PUBLIC_SCORES:
        return shrink(values, noise, observed=observed, observed_variance=variance)
    mean = values.mean(axis=0)
    return ClassPosterior(mean, values - mean, noise, noise, noise)


def _possible_scores(expected: Floats, resampled: Floats, own: float, common: float, seed: int) -> Floats:
    """Possible hidden scores [R, M]: a shift of all, and a part of each model, correlated as over resampled images."""
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
    """`iou` of weighted matrices, whose cells are not integers."""
    return iou(matrices)  # type: ignore[arg-type]


def _mean_iou(matrices: Floats) -> Floats:
    values = _iou(matrices)
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))
