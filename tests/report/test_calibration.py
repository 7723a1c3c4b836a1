"""Calibration against torchmetrics and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trashkit.report.calibration import Calibration


def test_error_is_that_of_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (5, 40, 30)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    truth = generator.integers(0, 5, (40, 30)).astype(np.uint8)
    expected = functional.multiclass_calibration_error(
        torch.from_numpy(probabilities.reshape(5, -1).T),
        torch.from_numpy(truth.reshape(-1).astype(np.int64)),
        5,
        n_bins=15,
    )
    assert Calibration.of(probabilities, truth).error() == pytest.approx(float(expected), abs=1e-5)


def test_parts_add_up_and_ignored_pixels_are_left_out():
    generator = np.random.default_rng(1)
    values = generator.dirichlet(np.ones(4), (20, 30)).transpose(2, 0, 1).astype(np.float32)
    truth = generator.integers(0, 4, (20, 30)).astype(np.uint8)
    truth[:5] = 255
    whole = Calibration.of(values, truth)
    parts = Calibration.of(values[:, :9], truth[:9]) + Calibration.of(values[:, 9:], truth[9:])
    assert whole.pixels.sum() == 15 * 30
    assert np.array_equal(whole.pixels, parts.pixels)
    assert whole.error() == pytest.approx(parts.error())
    assert np.isnan(Calibration.empty().error())
