"""Validation subsets: found if there is one, and not used otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.leaderboard.proxy import Estimate, estimate
from trashkit.leaderboard.subset_search import MIN_PUBLIC_SCORES, ValidationSubset, search_subset
from trashkit.leaderboard.subset_validation import EstimateFor, validate_subset
from trashkit.metrics.scores import iou

Made = Callable[..., NDArray[np.int64]]


def scores(matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.nanmean(iou(matrices.sum(axis=1)), axis=-1))


def test_a_fold_that_is_the_leaderboard_is_found_and_used(models: Made) -> None:
    """Two folds that rank the models by another quality than the other three: the leaderboard follows those two."""
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0.5, 0.9, (2, 10))
    held = np.concatenate([models(10, 80, quality=one), models(10, 120, quality=other, seed=1)], axis=1)
    fold = np.repeat(np.arange(5), 40)
    found = search_subset(held, scores(models(10, 400, quality=one, seed=2)), fold=fold)
    assert found is not None
    assert found.used
    assert found.error < found.plain_error
    # Single folds of the right kind follow it too; what is taken must lie in them.
    assert set(fold[found.images]) <= {0, 1}


def test_a_subset_found_by_chance_is_not_used(models: Made) -> None:
    """Among 2,000 subsets the best fits better than all images by chance, and is seldom used."""
    used = 0
    for seed in range(12):
        held = models(7, 60, seed=seed)
        public = scores(held) + np.random.default_rng(seed).normal(0, 0.02, 7)
        found = search_subset(held, public, seed=seed)
        assert found is not None
        assert found.fit < found.plain_fit
        used += found.used
    assert used <= 3


def test_errors_are_those_of_the_plain_score_left_out_by_hand(models: Made) -> None:
    held = models(6, 40)
    public = np.array([0.4, 0.45, 0.6, 0.5, 0.7, np.nan])
    found = search_subset(held, public)
    assert found is not None
    plain = scores(held)[:5]
    errors, agree = [], []
    for left in range(5):
        rest = [n for n in range(5) if n != left]
        errors.append(abs(plain[left] + np.mean(public[rest] - plain[rest]) - public[left]))
        agree += [(plain[left] > plain[n]) == (public[left] > public[n]) for n in rest]
    assert found.plain_error == pytest.approx(np.mean(errors))
    assert found.plain_agreement == pytest.approx(np.mean(agree))


def test_too_few_public_scores_search_nothing(models: Made) -> None:
    public = np.full(9, np.nan)
    public[: MIN_PUBLIC_SCORES - 1] = 0.5
    assert search_subset(models(9), public) is None


def test_the_same_seed_finds_the_same_subset(models: Made) -> None:
    held = models(6, 50)
    public = np.linspace(0.5, 0.7, 6)
    one, again = search_subset(held, public, seed=3), search_subset(held, public, seed=3)
    assert one is not None
    assert again is not None
    assert np.array_equal(one.images, again.images)


def judged(held: NDArray[np.int64]) -> EstimateFor:
    """An estimate that is the score of the chosen images."""

    def judge(images: NDArray[np.bool_], public: NDArray[np.float64]) -> Estimate:
        return estimate(held[:, images].astype(float), public=public, public_images=40, private_images=40, resamples=20)

    return judge


def test_a_subset_is_at_least_a_fifth_of_the_images(models: Made) -> None:
    for images in (30, 47, 200):
        held = models(6, images)
        for seed in range(4):
            fold = np.arange(images) % 10
            found = search_subset(held, np.linspace(0.5, 0.6, 6), seed=seed, fold=fold)
            assert found is not None
            assert found.images.sum() >= images / 5
            assert found.what.startswith(f"{found.images.sum()} of {images} images")


def test_a_true_subset_passes_nested_validation_and_a_chance_one_does_not(models: Made) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0.5, 0.9, (2, 10))
    held = np.concatenate([models(10, 80, quality=one), models(10, 120, quality=other, seed=1)], axis=1)
    truth = scores(models(10, 400, quality=one, seed=2))
    found = validate_subset(held, truth, judged(held), fold=np.repeat(np.arange(5), 40))
    assert found is not None
    assert found.used
    assert found.error is not None
    assert found.error_of_all is not None
    assert found.error < found.error_of_all
    beaten = validate_subset(held, truth, judged(held), fold=np.repeat(np.arange(5), 40), simple=found.error)
    assert beaten is not None
    assert not beaten.used
    assert "simpler guesses" in beaten.why
    used = 0
    for seed in range(6):
        held = models(7, 60, seed=seed)
        luck = validate_subset(held, scores(held) + np.random.default_rng(seed).normal(0, 0.02, 7), judged(held))
        assert luck is not None
        used += luck.used
        assert luck.used or luck.why
    assert used == 0


def test_the_nested_error_of_a_submission_has_not_seen_its_score(models: Made) -> None:
    """Another score of one submission changes the search, but not its prediction by the others."""
    held = models(7, 60)
    seen: list[tuple[bytes, bytes]] = []
    inner = judged(held)

    def judge(images: NDArray[np.bool_], public: NDArray[np.float64]) -> Estimate:
        seen.append((images.tobytes(), public.tobytes()))
        return inner(images, public)

    def choices(public: NDArray[np.float64]) -> list[tuple[bytes, bytes]]:
        seen.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ValidationSubset, "used", property(lambda _: True))
            assert validate_subset(held, public, judge) is not None
        return list(seen)

    public = scores(held) + np.random.default_rng(1).normal(0, 0.02, 7)
    moved = public.copy()
    moved[3] += 0.1
    before, after = choices(public), choices(moved)
    assert before[6:8] == after[6:8]
    assert before[:6] != after[:6]
