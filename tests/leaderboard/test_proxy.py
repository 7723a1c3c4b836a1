"""Steps of the proxy against independent computations, and laws of the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashkit.leaderboard.calibrate import calibrate, leave_one_out
from trashkit.leaderboard.class_mix import class_mix, row_factors
from trashkit.leaderboard.proxy import MIN_PUBLIC_SCORES, estimate, final_two, order_confidence
from trashkit.leaderboard.shrinkage import noise_covariance, prior_covariance, shrink
from trashkit.metrics.scores import iou

Made = Callable[..., NDArray[np.int64]]
HALVES = {"public_images": 30, "private_images": 30}


def tables(models: Made, count: int = 4) -> NDArray[np.float64]:
    return models(count).sum(axis=1).astype(float)


@given(seed=st.integers(0, 1000))
def test_a_pure_shift_of_classes_is_found(seed: int, models: Made) -> None:
    """Where P(prediction | truth) stays, the mix that made the predictions comes out, and scales the rows to it."""
    rng = np.random.default_rng(seed)
    given_truth = tables(models)
    given_truth /= given_truth.sum(axis=2, keepdims=True)
    train = rng.dirichlet(np.full(4, 5.0))
    mix = rng.dirichlet(np.full(4, 5.0))
    seen = 1e6 * train[None, :, None] * given_truth
    shown = 1e6 * (mix[None, :, None] * given_truth).sum(axis=1)
    found = class_mix(seen, shown, prior=0.0)
    assert found == pytest.approx(mix, abs=0.01)
    scaled = seen * row_factors(seen, found)[:, None]
    assert scaled.sum(axis=(0, 2)) / scaled.sum() == pytest.approx(found)
    # The IoU after scaling is that of the shifted test set.
    assert iou(scaled) == pytest.approx(iou(1e6 * mix[None, :, None] * given_truth), abs=0.02)  # type: ignore[arg-type]


def test_without_shift_nothing_is_scaled(models: Made) -> None:
    held = tables(models)
    found = class_mix(held, held.sum(axis=1))
    assert row_factors(held, found) == pytest.approx(np.ones(4), abs=1e-3)


def test_a_class_absent_from_training_is_left_alone(models: Made) -> None:
    held = tables(models)
    held[:, 3] = 0
    assert np.isfinite(class_mix(held, held.sum(axis=1))).all()
    assert row_factors(held, class_mix(held, held.sum(axis=1)))[3] == 1


def test_shrinking_is_the_conditional_mean_of_normal_variables() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.6, 0.1, (8, 3))
    root = rng.normal(0, 0.05, (3, 3))
    noise = root @ root.T
    observed = rng.normal(0, 0.02, 8)
    observed[3:] = np.nan
    found = shrink(values, noise, observed=observed, observed_variance=0.003)
    prior = prior_covariance(values, noise)
    for m in range(8):
        # Joint normal of (skills, IoUs seen, public score), conditioned by the textbook formula.
        rows = [np.eye(3)] + ([np.full((1, 3), 1 / 3)] if m < 3 else [])
        look = np.concatenate(rows)
        luck = np.zeros((len(look), len(look)))
        luck[:3, :3] = noise
        data = list(values[m] - values.mean(axis=0))
        if m < 3:
            luck[3, 3] = 0.003
            data.append(observed[m])
        gain = prior @ look.T @ np.linalg.inv(look @ prior @ look.T + luck)
        assert found.deviation[m] == pytest.approx(gain @ np.array(data), abs=1e-6)


def test_no_noise_shrinks_nothing_and_pure_noise_almost_all() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.6, 0.1, (30, 4))
    free = shrink(values, np.zeros((4, 4)))
    assert free.mean + free.deviation == pytest.approx(values, abs=1e-6)
    noise = np.cov(values.T)
    lost = shrink(values, noise)
    assert np.abs(lost.deviation).mean() < 0.3 * np.abs(values - values.mean(axis=0)).mean()


def test_noise_excludes_errors_common_to_all_models() -> None:
    rng = np.random.default_rng(2)
    own, common = rng.normal(0, 0.1, (4000, 5, 3)), rng.normal(0, 9, (4000, 1, 3))
    found = noise_covariance(own + common)
    assert found == pytest.approx(0.01 * np.eye(3), abs=0.0006)


def test_calibration_trusts_an_offset_that_sampling_does_not_explain() -> None:
    proxy = np.linspace(0.6, 0.8, 6)
    certain = calibrate(proxy, proxy - 0.05, own_variance=1e-9, common_variance=1e-9, scale=4)
    assert certain.trusted == pytest.approx(-0.05, rel=0.01)
    assert certain.slope == pytest.approx(1)
    lucky = calibrate(proxy, proxy - 0.01, own_variance=1e-9, common_variance=0.02**2, scale=4)
    assert 0 > lucky.trusted > -0.004
    assert lucky.offset == pytest.approx(-0.01)
    none = calibrate(proxy, np.full(6, np.nan), own_variance=1e-4, common_variance=1e-4, scale=4)
    assert (none.count, none.trusted, none.slope) == (0, 0, 1)


def test_the_slope_follows_when_scores_are_exact_and_not_when_they_are_noise() -> None:
    proxy = np.linspace(0.5, 0.8, 20)
    public = 0.6 + 0.5 * (proxy - 0.65)
    assert calibrate(proxy, public, own_variance=1e-8, common_variance=1e-8, scale=1).slope == pytest.approx(0.5, 0.01)
    assert calibrate(proxy, public, own_variance=1.0, common_variance=1e-8, scale=1).slope == pytest.approx(1, abs=0.02)


def test_left_out_errors_are_those_of_refitting_by_hand() -> None:
    rng = np.random.default_rng(3)
    plain = rng.uniform(0.6, 0.8, 7)
    public = plain + 0.03 + rng.normal(0, 0.01, 7)
    public[6] = np.nan
    found = leave_one_out(plain, plain, public, 1e-4, 1e-4)
    errors = []
    for left in range(6):
        rest = [n for n in range(6) if n != left]
        errors.append(abs(plain[left] + np.mean(public[rest] - plain[rest]) - public[left]))
    assert found["plain_offset"] == pytest.approx(np.mean(errors))
    assert found["plain"] == pytest.approx(np.abs(plain - public)[:6].mean())
    assert leave_one_out(plain, plain, np.full(7, np.nan), 1e-4, 1e-4) == {}


def test_estimates_are_the_same_again_and_follow_the_submissions(models: Made) -> None:
    held = models(7).astype(float)
    public = np.array([0.4, 0.5, np.nan, 0.55, 0.6, np.nan, 0.7])
    shown = held.sum(axis=(1, 2))
    one, again = (estimate(held, public=public, shown=shown, **HALVES) for _ in range(2))
    assert np.array_equal(one.expected, again.expected)
    assert np.array_equal(one.draws, again.draws)
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    moved = estimate(held[order], public=public[order], shown=shown[order], **HALVES)
    assert moved.expected == pytest.approx(one.expected[order], abs=1e-9)
    assert moved.low == pytest.approx(one.low[order], abs=1e-9)
    small = estimate(held.astype(np.float32), public=public, shown=shown, **HALVES)
    assert small.expected == pytest.approx(one.expected, abs=1e-5)


def test_models_far_apart_keep_their_order_and_a_lucky_public_score_moves_little(models: Made) -> None:
    held = models(6, 200).astype(float)
    plain = np.array([np.nanmean(iou(part.sum(axis=0).astype(int))) for part in held])
    public = plain.copy()
    public[0] += 0.1
    found = estimate(held, public=public, public_images=30, private_images=30)
    assert (np.argsort(found.expected) == np.argsort(plain)).all()
    assert found.plain == pytest.approx(plain)
    assert found.probability_better(5, 0) > 0.99
    assert found.probability_better(5, 0) + found.probability_better(0, 5) == pytest.approx(1)
    assert 0.5 < order_confidence(found) <= 1
    assert (found.low < found.expected).all()
    assert (found.expected < found.high).all()


def test_weights_count_images(models: Made) -> None:
    """An image of weight 2 counts like two images in the weighted score."""
    held = models(3, 30).astype(float)
    weights = np.ones(30)
    weights[:10] = 2
    doubled = np.concatenate([held, held[:, :10]], axis=1)
    one = estimate(held, public=[np.nan] * 3, weights=weights, **HALVES)
    other = estimate(doubled, public=[np.nan] * 3, **HALVES)
    assert one.weighted == pytest.approx(other.weighted)


def test_below_enough_submissions_nothing_is_shrunk(models: Made) -> None:
    held = models(MIN_PUBLIC_SCORES - 1, 300).astype(float)
    found = estimate(held, public=[np.nan] * (MIN_PUBLIC_SCORES - 1), **HALVES)
    assert found.proxy == pytest.approx(found.plain, abs=0.03)
    alone = estimate(held[:1], public=[0.5], **HALVES)
    assert final_two(alone) == (0, 0, 0.0)
    assert np.isfinite(alone.expected).all()


def test_the_second_choice_has_different_errors(models: Made) -> None:
    """A copy of the best submission adds nothing: another one is chosen."""
    held = models(6, 80, quality=np.array([0.5, 0.6, 0.65, 0.7, 0.795, 0.8])).astype(float)
    held[3] = held[5]
    held[3, 0] = held[4, 0]
    found = estimate(held, public=[np.nan] * 6, **HALVES)
    first, second, gain = final_two(found)
    assert {first, second} == {4, 5} or {first, second} == {3, 4}
    assert gain > 0


def test_a_class_without_pixels_is_skipped(models: Made) -> None:
    held = models(6).astype(float)
    held = np.pad(held, ((0, 0), (0, 0), (0, 1), (0, 1)))
    found = estimate(held, public=[np.nan] * 6, shown=held.sum(axis=(1, 2)), **HALVES)
    assert np.isnan(found.per_class[:, 4]).all()
    assert np.isfinite(found.expected).all()


def test_intervals_have_their_coverage(models: Made) -> None:
    """Models judged on other images of the same kind: 95 % intervals hold at least nine of ten scores."""
    held = []
    for seed in range(30):
        whole = models(8, 160, seed=seed).astype(float)
        hidden = np.array([np.nanmean(iou(part.astype(int))) for part in whole[:, 120:].sum(axis=1)])
        found = estimate(whole[:, :120], public=[np.nan] * 8, public_images=40, private_images=40, resamples=100)
        held.append(((found.low <= hidden) & (hidden <= found.high)).mean())
    assert np.mean(held) > 0.9
