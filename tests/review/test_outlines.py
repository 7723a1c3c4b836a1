"""Round trips of outlines: what was not moved keeps its numbers, however the App rounds floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from trashkit.raster import masks
from trashkit.review.outlines import measures, outline, reshaped, united

SIZE = (427, 640)
points = st.tuples(st.floats(0, 640, width=32), st.floats(0, 427, width=32))
rings = st.lists(points, min_size=3, max_size=12).map(lambda ring: [value for point in ring for value in point])


@given(st.lists(rings, min_size=1, max_size=3))
def test_untouched_polygons_make_no_edits(segmentation: list[list[float]]) -> None:
    record = {"segmentation": segmentation}
    shown = outline(record, SIZE)
    assert shown.form == "polygon"
    assert reshaped(record, shown, shown.rings, SIZE) is None
    # The App writes numbers as JSON and may convert them to other 64-bit floats.
    jittered = [[[x + 1e-9, y - 1e-9] for x, y in ring] for ring in shown.rings]
    assert reshaped(record, shown, jittered, SIZE) is None


@given(rings, rings, st.data())
def test_moving_one_vertex_moves_no_other(first: list[float], second: list[float], data: Any) -> None:
    record = {"segmentation": [first, second]}
    shown = outline(record, SIZE)
    which = data.draw(st.integers(0, len(first) // 2 - 1))
    edited = [[list(point) for point in ring] for ring in shown.rings]
    edited[0][which] = [2.0, 2.0]  # outside, so that it meets no other vertex
    made = reshaped(record, shown, edited, SIZE)
    assert made is not None
    assert made[1] == second
    assert made[0][2 * which : 2 * which + 2] == [1280.0, 854.0]
    others = [n for n in range(len(first)) if n // 2 != which]
    # A vertex within a thousandth of a pixel of another takes that one's numbers.
    assert [made[0][n] for n in others] == pytest.approx([first[n] for n in others], abs=2e-3)


def test_a_deleted_ring_and_a_new_one() -> None:
    record = {"segmentation": [[0, 0, 10, 0, 10, 10], [20.25, 20, 30, 20, 30, 30]]}
    shown = outline(record, SIZE)
    assert reshaped(record, shown, shown.rings[1:], SIZE) == [[20.25, 20, 30, 20, 30, 30]]
    drawn = [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]
    made = reshaped(record, shown, [*shown.rings, drawn], SIZE)
    assert made[:2] == record["segmentation"]
    assert made[2] == [64.0, 42.7, 128.0, 42.7, 128.0, 85.4]


def test_an_rle_is_shown_with_its_hole_and_stays_an_rle_when_edited() -> None:
    covered = np.zeros((60, 80), np.uint8)
    covered[10:50, 10:60] = 1
    covered[20:30, 20:30] = 0
    made = coco_mask.encode(np.asfortranarray(covered))
    record = {"segmentation": {"size": [60, 80], "counts": made["counts"].decode()}}
    shown = outline(record, (60, 80))
    assert (shown.form, len(shown.rings)) == ("rle", 2)
    assert reshaped(record, shown, shown.rings, (60, 80)) is None
    edited = [[list(point) for point in ring] for ring in shown.rings]
    outer = max(range(2), key=lambda n: max(x for x, _ in edited[n]) - min(x for x, _ in edited[n]))
    edited[outer] = [[x + (10 / 80 if x > 0.5 else 0), y] for x, y in edited[outer]]
    after = masks.mask(reshaped(record, shown, edited, (60, 80)), 60, 80).astype(bool)
    assert after[25, 65]
    assert not after[25, 25]
    assert after[12, 12]


@pytest.mark.parametrize(
    ("record", "form", "number"),
    [
        ({"segmentation": [[0, 0, 5, 0, 5, float("nan")], [1, 1, 3, 1, 3, 3]]}, "damaged", 1),
        ({"segmentation": [], "bbox": [1, 2, 3, 4]}, "box", 1),
        ({"segmentation": "x", "bbox": [1, 2, 3]}, "none", 0),
        ({"segmentation": {"size": [1, 1], "counts": "?"}}, "none", 0),
        ([1, 2], "none", 0),
    ],
)
def test_damaged_rows_are_shown_as_far_as_possible(record: Any, form: str, number: int) -> None:
    shown = outline(record, SIZE)
    assert (shown.form, len(shown.rings)) == (form, number)


def test_measures_are_of_the_union() -> None:
    area, box = measures([[0, 0, 10, 0, 10, 10, 0, 10], [5, 0, 15, 0, 15, 10, 5, 10]], SIZE)
    assert area == 150
    assert box == [0, 0, 15, 10]


def test_merging_is_the_union() -> None:
    one, other = [[10, 10, 50, 10, 50, 50, 10, 50]], [[30, 30, 70, 30, 70, 70, 30, 70]]
    both = masks.mask(one, 427, 640).astype(bool) | masks.mask(other, 427, 640).astype(bool)
    made = united([one, other], SIZE)
    assert isinstance(made, list)
    assert (masks.mask(made, 427, 640).astype(bool) ^ both).sum() <= 4
    ring = [[10, 10, 60, 10, 60, 20, 10, 20], [10, 50, 60, 50, 60, 60, 10, 60], [10, 10, 20, 10, 20, 60, 10, 60]]
    closing = [[50, 10, 60, 10, 60, 60, 50, 60]]
    with_hole = united([ring, closing], SIZE)
    assert isinstance(with_hole, dict), "polygons cannot hold the hole in the middle"
    assert not masks.mask(with_hole, 427, 640)[35, 35]
