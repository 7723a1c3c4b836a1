"""Steps on label maps: what they change, keep and report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from trashkit.errors import TrashkitError
from trashkit.predictions.postprocess import fill_holes, min_area, one_class, parse_steps, postprocess
from trashkit.predictions.store import create_store, open_store

NAMES = ("Background", "Paper", "Glass")
MAPS = hnp.arrays(np.uint8, (9, 11), elements=st.integers(0, 2))


@settings(max_examples=40, deadline=None)
@given(MAPS, st.integers(1, 12))
def test_min_area_is_that_of_scipy(labels: NDArray[np.uint8], least: int) -> None:
    expected = labels.copy()
    for c in (1, 2):
        regions, count = ndimage.label(labels == c, np.ones((3, 3)))
        sizes = np.bincount(regions.ravel())
        for number in range(1, count + 1):
            if sizes[number] < least:
                expected[regions == number] = 0
    np.testing.assert_array_equal(min_area(labels, least), expected)


@settings(max_examples=40, deadline=None)
@given(MAPS, st.integers(1, 12))
def test_applying_steps_twice_changes_nothing_and_no_class_is_invented(labels: NDArray[np.uint8], size: int) -> None:
    for step in (lambda x: min_area(x, size), lambda x: fill_holes(x, size), lambda x: one_class(x, size)):
        once = step(labels)
        np.testing.assert_array_equal(step(once), once)
        assert set(np.unique(once)) <= {0, *np.unique(labels).tolist()}


@settings(max_examples=40, deadline=None)
@given(MAPS, st.integers(1, 100))
def test_one_class_is_the_vote_of_touching_objects(labels: NDArray[np.uint8], share: int) -> None:
    expected = labels.copy()
    regions, count = ndimage.label(labels > 0, np.ones((3, 3)))
    for number in range(1, count + 1):
        votes = np.bincount(labels[regions == number], minlength=3)
        if votes.max() * 100 >= share * votes.sum():
            expected[regions == number] = votes.argmax()
    np.testing.assert_array_equal(one_class(labels, share), expected)


def test_one_class_leaves_ignored_pixels_and_needs_its_share() -> None:
    labels = np.array([[1, 1, 2, 255, 2], [0, 0, 0, 0, 0], [2, 2, 0, 0, 0]], np.uint8)
    voted = np.array([[1, 1, 1, 255, 2], [0, 0, 0, 0, 0], [2, 2, 0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(one_class(labels, 60), voted)
    np.testing.assert_array_equal(one_class(labels, 70), labels)


def test_holes_are_filled_only_where_one_class_surrounds_them() -> None:
    labels = np.zeros((12, 24), np.uint8)
    labels[2:9, 2:9], labels[4:6, 4:6] = 1, 0
    labels[2:9, 12:16], labels[2:9, 16:20], labels[4:6, 15:17] = 1, 2, 0
    filled = fill_holes(labels, 4)
    assert (filled[4:6, 4:6] == 1).all() and (filled[4:6, 15:17] == 0).all()
    np.testing.assert_array_equal(fill_holes(labels, 3), labels)


def test_a_class_can_have_its_own_minimum_area() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[0, 0], labels[4, 4] = 1, 2
    assert min_area(labels, {2: 5})[0, 0] == 1 and min_area(labels, {2: 5})[4, 4] == 0


def test_a_store_records_what_was_erased(tmp_path: Path) -> None:
    labels = np.zeros((2, 16, 16), np.uint8)
    labels[0, 2:8, 2:8], labels[0, 12, 12], labels[0, 4, 4] = 1, 2, 0
    labels[1, 3:9, 3:9] = 2
    with create_store(
        tmp_path / "in",
        image_ids=[1, 2],
        file_names=["a", "b"],
        native_sizes=[(16, 16)] * 2,
        classes=NAMES,
        size=(16, 16),
        manifest={},
    ) as writer:
        for row in range(2):
            writer.write(row, np.eye(3, dtype=np.float32)[labels[row]].transpose(2, 0, 1) * 0.7 + 0.1)
    store = open_store(tmp_path / "in")
    reports = postprocess(store, tmp_path / "out", parse_steps(["fill-holes=2", "min-area=4"], NAMES))
    out = open_store(tmp_path / "out")
    expected = labels.copy()
    expected[0, 12, 12], expected[0, 4, 4] = 0, 1
    for row in range(2):
        np.testing.assert_array_equal(out.label_map(row), expected[row])
    assert [(r.images, r.regions) for r in reports] == [(1, 0), (1, 1)]
    assert reports[0].added["Paper"] == 1 and reports[1].erased["Glass"] == 1
    assert np.abs(out.stored(1).astype(int) - store.stored(1)).max() <= 1, "what needs nothing stays, but for rounding"


@pytest.mark.parametrize(
    "text", ["min-area", "min-area=x", "sharpen=3", "despeckle=4", "min-area=Metal:3", "fill-holes=Paper:3"]
)
def test_wrong_steps_are_named(text: str) -> None:
    with pytest.raises(TrashkitError):
        parse_steps([text], NAMES)


@pytest.mark.parametrize("text", ["min-area=0", "min-area=1", "min-area=Paper:1", "fill-holes=0"])
def test_steps_that_change_nothing_are_refused(text: str) -> None:
    with pytest.raises(TrashkitError, match="changes nothing"):
        parse_steps([text], ("Background", "Paper"))
