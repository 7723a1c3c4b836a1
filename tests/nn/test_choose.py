"""Which weights a run is used with: smoothed scores, and a choice that luck cannot make."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.nn.choose import FEWEST, compare
from trashkit.nn.smooth import filtered, iou_errors, miou_interval, smoothed
from trashkit.scores import Confusion, iou

NAMES = ("Background", "Metal", "Battery")


def matrices(right: float, images: int, generator: np.random.Generator, rare: int = 0) -> np.ndarray:
    """Images of two classes with that share of right pixels; the first `rare` also hold a third class."""
    found = np.zeros((images, 3, 3), np.int64)
    for n in range(images):
        share = float(np.clip(right + generator.normal(0, 0.05), 0, 1))
        for index in range(3 if n < rare else 2):
            found[n, index, index] = round(1000 * share)
            found[n, index, (index + 1) % 2] += 1000 - round(1000 * share)
    return found


def test_a_clearly_better_candidate_is_taken():
    generator = np.random.default_rng(0)
    found = compare({"last": matrices(0.7, 60, generator), "mean": matrices(0.8, 60, generator)}, NAMES)
    assert found["chosen"] == "mean"
    entry = found["candidates"][1]
    assert entry["difference"] == pytest.approx(entry["miou"] - found["candidates"][0]["miou"])
    assert 0 < entry["difference_interval"][0] < entry["difference"] < entry["difference_interval"][1]
    assert entry["better"] == 1.0
    assert found["margin"] == pytest.approx(entry["difference"])
    assert found["margin_interval"] == pytest.approx(entry["difference_interval"])


def test_the_same_gain_on_few_images_decides_nothing():
    generator = np.random.default_rng(0)
    few = FEWEST - 1
    found = compare({"last": matrices(0.7, few, generator), "mean": matrices(0.8, few, generator)}, NAMES)
    assert found["chosen"] == "last"
    assert "decide nothing" in found["reason"]


def test_luck_with_one_rare_image_is_not_taken():
    """mIoU rises by a lot, and only because one image's Battery was hit."""
    generator = np.random.default_rng(1)
    standing = matrices(0.7, 60, generator, rare=1)
    lucky = standing.copy()
    lucky[0, 2] = [0, 0, 1000]
    found = compare({"last": standing, "best": lucky}, NAMES)
    assert found["candidates"][1]["difference"] > 0.05
    assert found["chosen"] == "last"
    assert "luck" in found["reason"]


def test_equal_candidates_are_seldom_told_apart():
    """Three rivals that are no better: the standing choice is left in about five of a hundred folds at most."""
    left = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        tries = {name: matrices(0.7, 40, generator) for name in ("last", "raw", "best", "mean")}
        left += compare(tries, NAMES)["chosen"] != "last"
    assert left <= 6


def test_what_was_asked_for_is_taken():
    tries = {"last": matrices(0.8, 40, np.random.default_rng(0)), "raw": matrices(0.6, 40, np.random.default_rng(1))}
    assert compare(tries, NAMES, "raw")["chosen"] == "raw"
    missing = compare(tries, NAMES, "best")
    assert missing["chosen"] == "last"
    assert "the best epoch is the last one" in missing["reason"]
    assert missing["margin"] == -compare(tries, NAMES, "raw")["margin"] > 0
    alone = compare({"last": tries["last"]}, NAMES)
    assert alone["margin"] is None


def test_errors_of_a_class_know_its_support():
    generator = np.random.default_rng(0)
    many, one = matrices(0.7, 200, generator, rare=100), matrices(0.7, 200, generator, rare=1)
    assert iou_errors(many)[2] < 0.06
    assert iou_errors(one)[2] > 0.2  # resampling one image alone would say 0
    absent = matrices(0.7, 20, generator)
    assert math.isnan(iou_errors(absent)[2])
    low, high = miou_interval(many)
    assert low < Confusion(many.sum(axis=0), NAMES).miou() < high


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0.001, 0.5),
)
@settings(deadline=None)
def test_a_filter_stays_between_what_it_has_seen(values, error):
    found = filtered(values, [error] * len(values))
    for n, level in enumerate(found):
        assert min(values[: n + 1]) - 1e-9 <= level <= max(values[: n + 1]) + 1e-9


def test_a_filter_is_that_of_the_book():
    """Against the recursion with matrices, written out."""
    generator = np.random.default_rng(0)
    values, errors, drift = generator.random(12), 0.05 + 0.2 * generator.random(12), 0.03
    level, variance, expected = values[0], errors[0] ** 2, [values[0]]
    for value, error in zip(values[1:], errors[1:], strict=True):
        prior = variance + drift**2
        variance = 1 / (1 / prior + 1 / error**2)
        level = variance * (level / prior + value / error**2)
        expected.append(level)
    assert filtered(values.tolist(), errors.tolist(), drift) == pytest.approx(expected)
    assert filtered([math.nan, 0.5, math.nan], [math.nan, 0.1, math.nan])[1:] == [0.5, 0.5]


def test_smoothed_scores_choose_better_epochs_than_raw_ones():
    """Ten classes rise and fall again; a rare one jumps by 29 points, as one was seen to: its luck must not choose."""
    names = [f"class {n}" for n in range(11)]
    regret = {"smoothed": 0.0, "miou": 0.0}
    for seed in range(30):
        generator = np.random.default_rng(seed)
        truth = np.array([0.75 - 0.25 * ((epoch - 20) / 20) ** 2 for epoch in range(40)])
        errors = np.array([0.015] * 10 + [0.29])
        seen = truth[:, None] + generator.normal(0, 1, (40, 11)) * np.array([0.004] * 10 + [0.29])
        rows = [
            {"iou": dict(zip(names, line, strict=True)), "iou_error": dict(zip(names, errors, strict=True))}
            for line in seen.clip(0, 1)
        ]
        picks = {"smoothed": int(np.argmax(smoothed(rows))), "miou": int(np.argmax(seen.clip(0, 1).mean(axis=1)))}
        for name, epoch in picks.items():
            regret[name] += truth.max() - truth[epoch]
    assert regret["smoothed"] < 0.8 * regret["miou"]


def test_smoothing_takes_rows_without_scores():
    assert all(math.isnan(value) for value in smoothed([{}, {"iou": None}]))
    rows = [{"iou": {"a": 0.5, "b": None}, "iou_error": {"a": 0.1, "b": None}}]
    assert smoothed(rows) == [0.5]
    assert iou(np.eye(2, dtype=np.int64)).tolist() == [1.0, 1.0]
