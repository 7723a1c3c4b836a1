"""A choice among predictions is judged on images that it was not made by."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.leaderboard.choice import judge
from trashkit.metrics.scores import bootstrap_iou


def matrices(accuracy: NDArray[np.float64]) -> NDArray[np.int64]:
    """One matrix of two classes per image: this share of 100 pixels of each class is right."""
    right = np.round(100 * accuracy).astype(np.int64)
    made = np.zeros((len(right), 2, 2), np.int64)
    made[:, 0, 0] = made[:, 1, 1] = right
    made[:, 0, 1] = made[:, 1, 0] = 100 - right
    return made


FOLDS = np.arange(40) % 4


def test_a_real_gain_is_taken_with_the_best_value() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.5, 0.7, 40)
    found = judge(
        matrices(base), {"a": matrices(base + 0.05), "b": matrices(base + 0.1), "worse": matrices(base - 0.2)}, FOLDS
    )
    assert found.taken
    assert found.names[found.best] == "b"
    assert found.chosen == (1, 1, 1, 1)
    assert found.gain == pytest.approx(found.mious[1] - found.base)
    assert found.low <= found.gain <= found.high
    expected = matrices(base + 0.1).sum(axis=0)
    assert found.others[1] == pytest.approx(expected[1, 1] / (expected[1].sum() + expected[0, 1]))


def test_the_best_of_many_that_differ_by_chance_is_not_taken() -> None:
    rng = np.random.default_rng(1)
    taken = 0
    for _ in range(20):
        base = rng.uniform(0.4, 0.8, 40)
        noisy = {str(n): matrices(np.clip(base + rng.normal(0, 0.1, 40), 0, 1)) for n in range(12)}
        found = judge(matrices(base), noisy, FOLDS, resamples=400)
        assert max(found.mious) > found.base  # in sample, the best of twelve always looks better
        taken += found.taken
    assert taken <= 3


def test_each_fold_is_judged_with_what_the_others_choose() -> None:
    """A candidate that is good on one fold only is chosen for all others, and counts only there."""
    base = np.full(40, 0.5)
    trap = np.where(FOLDS == 0, 1.0, 0.5)
    found = judge(matrices(base), {"same": matrices(base), "trap": matrices(trap)}, FOLDS)
    assert found.names[found.best] == "trap"
    assert found.chosen == (0, 1, 1, 1)  # without fold 0, both are equal and the first is chosen
    assert found.gain == 0
    assert not found.taken


def test_a_class_that_is_only_predicted_does_not_count() -> None:
    base = matrices(np.full(8, 0.9))
    wide = np.zeros((8, 3, 3), np.int64)
    wide[:, :2, :2] = base
    stray = wide.copy()
    stray[0, 0, 2] = 1
    drawn = bootstrap_iou(stray, 200, in_truth=True)
    assert np.isnan(drawn[:, 2]).all()
    assert not np.isnan(bootstrap_iou(stray, 200)[:, 2]).all()
    assert not judge(stray, {"without": wide}, np.arange(8) % 2).taken


def test_nothing_to_choose_from_is_a_mistake_of_the_caller() -> None:
    base = matrices(np.full(4, 0.5))
    with pytest.raises(ValueError, match="candidates"):
        judge(base, {}, np.zeros(4, np.intp))
    with pytest.raises(ValueError, match="two folds"):
        judge(base, {"a": base, "b": base}, np.zeros(4, np.intp))
