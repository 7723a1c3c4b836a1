"""Comparison of two predictions: against a bootstrap written as a loop, and laws."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.leaderboard.compare import compare
from trashkit.metrics.scores import Confusion, bootstrap_miou

Made = Callable[..., NDArray[np.int64]]
NAMES = ("Background", "Paper", "Metal", "Glass")


def test_intervals_are_those_of_a_bootstrap_written_as_a_loop(models: Made) -> None:
    first, second = models(2, 40, quality=np.array([0.7, 0.74]))
    found = compare(first, second, NAMES, resamples=2000)
    rng = np.random.default_rng(99)
    moved, metal = [], []
    for _ in range(2000):
        drawn = rng.integers(0, 40, 40)
        a, b = (Confusion(part[drawn].sum(axis=0), NAMES).iou() for part in (first, second))
        moved.append(np.nanmean(b) - np.nanmean(a))
        metal.append(b[2] - a[2])
    assert np.allclose([found.low, found.high], np.quantile(moved, [0.025, 0.975]), atol=0.004)
    assert found.probability == pytest.approx(np.mean(np.array(moved) > 0), abs=0.03)
    change = next(change for change in found.classes if change.name == "Metal")
    assert np.allclose([change.low, change.high], np.quantile(metal, [0.025, 0.975]), atol=0.006)


def test_pairing_detects_what_separate_intervals_do_not(models: Made) -> None:
    first, second = models(2, 80, quality=np.array([0.70, 0.73]))
    found = compare(first, second, NAMES)
    apart = [np.quantile(bootstrap_miou(part), [0.025, 0.975]) for part in (first, second)]
    assert apart[0][1] > apart[1][0], "the intervals of the scores overlap"
    assert found.evidence
    assert found.conclusion.startswith("B is better by")


def test_swapped_sides_are_mirrored_and_contributions_add_up(models: Made) -> None:
    first, second = models(2, 30, quality=np.array([0.6, 0.8]))
    one, other = compare(first, second, NAMES), compare(second, first, NAMES)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.probability == pytest.approx(1 - other.probability)
    assert sum(change.contribution for change in one.classes) == pytest.approx(one.difference)
    assert [abs(c.contribution) for c in one.classes] == sorted(
        (abs(c.contribution) for c in one.classes), reverse=True
    )


def test_models_that_find_almost_nothing_are_never_better() -> None:
    """B labels every pixel as background in each of 20 images, and A spoils some of it: B's mIoU is higher for sure."""
    first, second = np.zeros((2, 20, 3, 3), np.int64)
    second[:, 0, 0], second[:, 1, 0], second[:, 2, 0] = 900, 60, 40
    first[:, 0, 0], first[:, 0, 1], first[:, 1, 0], first[:, 2, 0] = 500, 400, 60, 40
    found = compare(first, second, NAMES[:3])
    assert found.evidence and found.difference > 0
    assert "both find almost nothing" in found.conclusion and "better by" not in found.conclusion
    some = np.zeros_like(first)
    some[:, 0, 0], some[:, 0, 2], some[:, 1, 0], some[:, 1, 1], some[:, 2, 2] = 200, 700, 35, 25, 40
    found = compare(second, some, NAMES[:3])
    assert found.evidence and found.difference < 0
    assert found.conclusion.startswith("A has the higher mIoU, but finds almost nothing")


def test_equal_predictions_have_no_difference(models: Made) -> None:
    same = models(1, 20)[0]
    found = compare(same, same, NAMES)
    assert (found.low, found.high, found.probability) == (0, 0, 0.5)
    assert found.conclusion.startswith("no evidence")
    # Two models of one quality: an interval of 95 % leaves out 0 in about one of twenty such pairs.
    seen = [compare(*models(2, 30, quality=np.array([0.7, 0.7]), seed=s), NAMES, resamples=300) for s in range(60)]
    assert sum(one.evidence for one in seen) <= 12
    assert "no evidence" in next(one for one in seen if not one.evidence).conclusion


def test_a_class_that_one_side_invents_counts_zero_there() -> None:
    first, second = np.zeros((2, 5, 3, 3), np.int64)
    first[:, 0, 0] = second[:, 0, 0] = 90
    first[:, 1, 1] = second[:, 1, 1] = 10
    second[0, 0, 2] = 5
    found = compare(first, second, NAMES[:3])
    change = next(change for change in found.classes if change.name == "Metal")
    assert np.isnan(change.first)
    assert change.second == 0
    assert sum(change.contribution for change in found.classes) == pytest.approx(found.difference)


def test_a_thousand_resamples_of_a_competition_take_less_than_two_seconds() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5000, (2, 819, 11, 11))
    begun = time.process_time()
    compare(first, second, [str(n) for n in range(11)], resamples=1000)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("shape", [(3, 4, 4), (4, 3, 3)])
def test_shapes_that_do_not_fit_are_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="fit"):
        compare(np.zeros((4, 4, 4), np.int64), np.zeros(shape, np.int64), NAMES)
