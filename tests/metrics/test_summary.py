"""Scores in words."""

from __future__ import annotations

import math

import pytest

from trashkit.metrics.summary import finds_almost_nothing, miou_text, short_miou_text, without_background

POOR = [0.95, 0.02, 0.01, None, 0.0]


def test_text() -> None:
    assert miou_text(0.245, POOR) == "0.245 with background, 0.010 without: it finds almost nothing"
    assert miou_text(0.7, [0.9, 0.5], digits=2) == "0.70 with background, 0.50 without"
    assert miou_text(0.3, []) == "0.300"
    assert miou_text(math.nan, []) == "–"
    assert short_miou_text(0.245, 0.01) == "0.2450 (0.0100 without background)"
    assert short_miou_text(0.3, math.nan) == short_miou_text(0.3, None) == "0.3000"
    assert short_miou_text(math.nan, None) == "–"


@pytest.mark.parametrize(
    ("iou", "nothing"),
    [
        pytest.param(POOR, True, id="poor"),
        pytest.param([0.9, 0.04, math.nan], True, id="one poor class"),
        pytest.param([0.9, 0.06], False, id="a little"),
        pytest.param([0.9, 0.3, *[0.0] * 9], False, id="one class of many"),
        pytest.param([0.9], False, id="background only"),
        pytest.param([0.9, None], False, id="no class known"),
    ],
)
def test_finds_almost_nothing(iou: list[float | None], nothing: bool) -> None:
    assert finds_almost_nothing(iou) is nothing


def test_mean_without_background() -> None:
    assert without_background([0.9, 0.2, None, 0.4, math.nan]) == pytest.approx(0.3)
    assert math.isnan(without_background([0.9])) and math.isnan(without_background([]))
