"""Checkpoint selection: smoothed scores, and a choice that chance does not decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.metrics.scores import Confusion, iou
from trashkit.nn.checkpoints.checkpoint_selection import MIN_IMAGES, select_checkpoint
from trashkit.nn.checkpoints.smoothing import iou_errors, kalman_filter, miou_interval, smoothed_miou

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
    found = select_checkpoint({"last": matrices(0.7, 60, generator), "mean": matrices(0.8, 60, generator)}, NAMES)
    assert found["chosen"] == "mean"
    entry = found["candidates"][1]
    assert entry["difference"] == pytest.approx(entry["miou"] - found["candidates"][0]["miou"])
    assert 0 < entry["difference_interval"][0] < entry["difference"] < entry["difference_interval"][1]
    assert entry["better"] == 1.0
    assert found["margin"] == pytest.approx(entry["difference"])
    assert found["margin_interval"] == pytest.approx(entry["difference_interval"])


def test_the_default_is_kept_on_few_images():
    generator = np.random.default_rng(0)
    few = MIN_IMAGES - 1
    found = select_checkpoint({"last": matrices(0.7, few, generator), "mean": matrices(0.8, few, generator)}, NAMES)
    assert found["chosen"] == "last"
    assert "too few" in found["reason"]


def test_chance_in_one_rare_image_is_not_significant():
    """mIoU rises a lot, but only because of the Battery in one image."""
    generator = np.random.default_rng(1)
    default = matrices(0.7, 60, generator, rare=1)
    lucky = default.copy()
    lucky[0, 2] = [0, 0, 1000]
    found = select_checkpoint({"last": default, "best": lucky}, NAMES)
    assert found["candidates"][1]["difference"] > 0.05
    assert found["chosen"] == "last"
    assert "not significant" in found["reason"]


def test_equal_candidates_are_rarely_preferred():
    """Three equally good rivals: the default is replaced in at most about five of a hundred folds."""
    left = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        tries = {name: matrices(0.7, 40, generator) for name in ("last", "raw", "best", "mean")}
        left += select_checkpoint(tries, NAMES)["chosen"] != "last"
    assert left <= 6


def test_a_candidate_that_finds_almost_nothing_is_never_called_better():
    """The default spoils the background, the rival finds nothing else: a higher mIoU on every set of images."""
    last, best = np.zeros((2, 40, len(NAMES), len(NAMES)), np.int64)
    last[:, 0, 0], last[:, 0, 1], last[:, 1, 0] = 500, 400, 100
    best[:, 0, 0], best[:, 1, 0] = 900, 100
    found = select_checkpoint({"last": last, "best": best}, NAMES)
    assert found["chosen"] == "last" and found["reason"].endswith("finds almost nothing")
    assert found["candidates"][1]["miou_without_background"] == 0


def test_the_setting_overrides_the_comparison():
    tries = {"last": matrices(0.8, 40, np.random.default_rng(0)), "raw": matrices(0.6, 40, np.random.default_rng(1))}
    assert select_checkpoint(tries, NAMES, "raw")["chosen"] == "raw"
    missing = select_checkpoint(tries, NAMES, "best")
    assert missing["chosen"] == "last"
    assert "the best epoch is the last one" in missing["reason"]
    assert missing["margin"] == -select_checkpoint(tries, NAMES, "raw")["margin"] > 0
    alone = select_checkpoint({"last": tries["last"]}, NAMES)
    assert alone["margin"] is None


def test_the_error_of_a_class_depends_on_its_number_of_images():
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
def test_the_filter_stays_within_the_values_so_far(values, error):
    found = kalman_filter(values, [error] * len(values))
    for n, level in enumerate(found):
        assert min(values[: n + 1]) - 1e-9 <= level <= max(values[: n + 1]) + 1e-9


def test_the_filter_equals_the_matrix_recursion():
    """Compared with the recursion written out."""
    generator = np.random.default_rng(0)
    values, errors, drift = generator.random(12), 0.05 + 0.2 * generator.random(12), 0.03
    level, variance, expected = values[0], errors[0] ** 2, [values[0]]
    for value, error in zip(values[1:], errors[1:], strict=True):
        prior = variance + drift**2
        variance = 1 / (1 / prior + 1 / error**2)
        level = variance * (level / prior + value / error**2)
        expected.append(level)
    assert kalman_filter(values.tolist(), errors.tolist(), drift) == pytest.approx(expected)
    assert kalman_filter([math.nan, 0.5, math.nan], [math.nan, 0.1, math.nan])[1:] == [0.5, 0.5]


def test_smoothed_scores_choose_better_epochs_than_raw_scores():
    """Ten classes rise and fall; a rare one varies by 29 points, as observed in practice, and must not decide."""
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
        picks = {"smoothed": int(np.argmax(smoothed_miou(rows))), "miou": int(np.argmax(seen.clip(0, 1).mean(axis=1)))}
        for name, epoch in picks.items():
            regret[name] += truth.max() - truth[epoch]
    assert regret["smoothed"] < 0.8 * regret["miou"]


def test_smoothing_takes_rows_without_scores():
    assert all(math.isnan(value) for value in smoothed_miou([{}, {"iou": None}]))
    rows = [{"iou": {"a": 0.5, "b": None}, "iou_error": {"a": 0.1, "b": None}}]
    assert smoothed_miou(rows) == [0.5]
    assert iou(np.eye(2, dtype=np.int64)).tolist() == [1.0, 1.0]
