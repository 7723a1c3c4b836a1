"""Overlays and legends: what is drawn and what stays unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from trashkit.coco import OFFICIAL_COLORS, OFFICIAL_NAMES, ClassMap
from trashkit.report.overlay import class_shares, overlay, sheet, side_by_side, with_legend

CLASSES = ClassMap(OFFICIAL_NAMES, OFFICIAL_COLORS, {})


def test_overlay_leaves_background_and_ignored_pixels_alone() -> None:
    photo = np.full((60, 80, 3), 100, np.uint8)
    labels = np.zeros((60, 80), np.uint8)
    labels[10:30, 10:40] = 5
    labels[50:, :] = 255
    drawn = overlay(photo, labels, CLASSES)
    assert (drawn[52:] == 100).all()
    assert (drawn[:5] == 100).all()
    mixed = 0.55 * 100 + 0.45 * np.array(CLASSES.shown_colors[5])
    assert np.abs(drawn[20, 25] - mixed).max() <= 1
    assert (photo == 100).all(), "the photo given in was drawn on"


def test_overlay_refuses_another_size() -> None:
    with pytest.raises(ValueError, match="label map"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4), np.uint8), CLASSES)


def test_class_shares_are_sorted_and_leave_out_background_and_ignore() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[0] = 3
    labels[1:4] = 7
    labels[9] = 255
    assert class_shares(labels, CLASSES) == [(7, 0.3), (3, 0.1)]


@pytest.mark.parametrize("width", [20, 64, 512])
def test_legend_keeps_the_width_and_the_picture(width: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (30, width, 3), np.uint8)
    shares = [(index, 0.1) for index in range(1, 11)]
    made = with_legend(picture, CLASSES, shares, title="a title")
    assert made.shape[1] == width and made.shape[0] > 30
    assert (made[:30] == picture).all()
    assert with_legend(picture, CLASSES, []).std() > 0


def test_endless_names_are_shortened_and_stay_on_one_line() -> None:
    picture = np.full((100, 900, 3), 100, np.uint8)
    shares = [(1, 0.5)]
    usual = with_legend(picture, ClassMap(("Background", "x" * 60), OFFICIAL_COLORS[:2], {}), shares)
    for name in ("x" * 100_000, "x\n" * 30):
        made = with_legend(picture, ClassMap(("Background", name), OFFICIAL_COLORS[:2], {}), shares)
        assert made.shape == usual.shape


def test_sheet_holds_every_picture() -> None:
    pictures = [np.full((10 + n, 20, 3), 50 + n, np.uint8) for n in range(5)]
    made = sheet(pictures, columns=2, gap=0)
    for n in range(5):
        assert (made == 50 + n).all(axis=2).sum() == (10 + n) * 20
    assert side_by_side(pictures, gap=2).shape == (14, 108, 3)
