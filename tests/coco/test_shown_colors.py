"""The colours in which classes are shown: far apart for everyone, and visible on white and grey."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from trashkit.coco import class_map
from trashkit.coco.classes import OFFICIAL_NAMES, shown_colors

SCRIPT = Path(__file__).parents[2] / "scripts" / "class_colors.py"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("class_colors", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        pytest.param((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425, id="1"),
        pytest.param((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000, id="4"),
        pytest.param((50, 0, 0), (50, -1, 2), 2.3669, id="7"),
        pytest.param((50, 2.5, 0), (73, 25, -18), 27.1492, id="17"),
        pytest.param((50, 2.5, 0), (56, -27, -3), 31.9030, id="19"),
        pytest.param((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644, id="25"),
        pytest.param((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373, id="30"),
        pytest.param((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082, id="34"),
    ],
)
def test_ciede2000_gives_the_published_values(measure: Any, one: Any, other: Any, difference: float) -> None:
    """Pairs of the table that accompanies the formula: G. Sharma, W. Wu, E. Dalal, 2005, table 1, by their number."""
    for a, b in ((one, other), (other, one)):
        assert measure.ciede2000(np.array(a, float), np.array(b, float)) == pytest.approx(difference, abs=5e-5)


def test_lab_and_contrast_of_known_colours(measure: Any) -> None:
    assert measure.lab(measure.linear(np.array([255.0, 0, 0]))) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert measure.contrast(np.zeros(3), np.full(3, 255.0)) == pytest.approx(21)
    assert measure.contrast(np.full(3, 119.0), np.full(3, 255.0)) == pytest.approx(4.48, abs=0.01)


def test_simulations_keep_greys_and_confuse_red_with_green(measure: Any) -> None:
    grey = measure.linear(np.full(3, 100.0))
    red_and_green = np.array([[200.0, 60, 60], [100.0, 120, 40]])
    for seen in (measure.PROTANOPIA, measure.DEUTERANOPIA):
        assert grey @ seen.T == pytest.approx(grey, abs=1e-5)
        assert measure.smallest_difference(red_and_green, seen) < measure.smallest_difference(red_and_green) / 1.5


def test_any_two_classes_are_told_apart_by_everyone(measure: Any) -> None:
    colors = np.array(shown_colors(len(OFFICIAL_NAMES))[1:], float)
    assert len(colors) == 10
    assert measure.smallest_difference(colors) >= 15
    assert measure.smallest_difference(colors, measure.PROTANOPIA) >= 8
    assert measure.smallest_difference(colors, measure.DEUTERANOPIA) >= 8


def test_every_class_stands_out_on_white_and_grey(measure: Any) -> None:
    colors = np.array(shown_colors(len(OFFICIAL_NAMES))[1:], float)
    assert measure.from_backgrounds(colors) >= 15
    assert measure.contrast(colors, np.full(3, 255.0)).min() >= measure.ON_WHITE


def test_classes_look_the_same_in_audit_page_overlays_and_reviews() -> None:
    """All of them take the colours of the class map, also where the file names only some of the classes."""
    some = class_map([{"id": 7, "name": "Glass"}, {"id": 9, "name": "paper"}])
    all_of_them = class_map([{"id": n, "name": name} for n, name in enumerate(OFFICIAL_NAMES) if n])
    assert some.shown_colors[some.index_of[7]] == all_of_them.shown_colors[5] == shown_colors(11)[5]
    own = class_map([{"id": n, "name": f"class {n}"} for n in range(40)])
    assert own.shown_colors[1:11] == shown_colors(11)[1:] and len(set(own.shown_colors)) == 41
