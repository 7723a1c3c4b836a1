"""Geometry repairs: pixels and holes are kept, and nothing is dropped silently."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycoco
from shapely.geometry import Polygon

from trashkit.audit.fixes.repair import (
    clip_rings,
    drop_broken_rings,
    drop_repeated_vertices,
    make_rings_valid,
    repair_segmentation,
    safety_of_change,
    unite_rings,
)
from trashkit.coco import read
from trashkit.raster.measures import union_area

SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]


def pixels(segmentation, height=100, width=100):
    """The union of all parts as pycocotools rasterises it."""
    return pycoco.decode(pycoco.merge(pycoco.frPyObjects(segmentation, height, width)))


def valid(ring):
    return Polygon(list(zip(ring[::2], ring[1::2], strict=True))).is_valid


def test_valid_segmentations_are_returned_unchanged():
    closed = [*SQUARE, 10.0, 10.0]
    rle = {"size": [100, 100], "counts": [0, 10000]}
    for segmentation in ([SQUARE], [closed], [SQUARE, [50, 50, 60, 50, 60, 60]], rle):
        repair = repair_segmentation(segmentation, 100, 100)
        assert repair.segmentation is segmentation
        assert (repair.kind, repair.changed_pixels, repair.reasons) == (None, 0, ())


def test_repeated_vertices_are_dropped_except_the_closing_one():
    repair = repair_segmentation([[10, 10, 10, 10, 30, 10, 30, 30, 30, 30, 10, 30, 10, 10]], 100, 100)
    assert repair.segmentation == [[10, 10, 30, 10, 30, 30, 10, 30, 10, 10]]
    assert repair.kind == "safe" and repair.changed_pixels == 0
    assert drop_repeated_vertices([[1, 1, 1, 1, 2, 2, 2, 2]]) == [[1, 1, 1, 1, 2, 2, 2, 2]], "no ring would be left"


def test_bow_tie_becomes_two_triangles():
    repair = repair_segmentation([[10, 10, 50, 50, 50, 10, 10, 50]], 100, 100)
    assert repair.kind == "safe"
    assert len(repair.segmentation) == 2 and all(map(valid, repair.segmentation))
    assert all(isinstance(v, int) for ring in repair.segmentation for v in ring)
    assert union_area(repair.segmentation, 100, 100) == pytest.approx(800)


def test_a_hole_is_kept_by_cutting_and_never_dropped():
    # one ring that walks round the outside, then round a hole: a keyhole whose slit has no width
    ring = [10, 10, 90, 10, 90, 90, 10, 90, 10, 10, 30, 30, 30, 70, 70, 70, 70, 30, 30, 30]
    repair = repair_segmentation([ring], 100, 100)
    before, after = pixels([ring]), pixels(repair.segmentation)
    assert not after[40:60, 40:60].any() and after[15, 15] and after[50, 80]
    assert int((before != after).sum()) == repair.changed_pixels <= 20
    assert repair.kind == "safe"
    assert all(map(valid, repair.segmentation)) and len(repair.segmentation) >= 2
    assert union_area(repair.segmentation, 100, 100) == pytest.approx(80 * 80 - 40 * 40)


def test_clip_is_safe_up_to_a_few_pixels():
    near = repair_segmentation([[50, 50, 103.5, 50, 103.5, 80, 50, 80]], 100, 100)
    assert near.kind == "safe" and near.changed_pixels == 0
    assert max(near.segmentation[0][::2]) == 100
    far = repair_segmentation([[50, 50, 150, 50, 150, 80, 50, 80]], 100, 100)
    assert far.kind == "unsafe" and max(far.segmentation[0][::2]) == 100
    assert clip_rings([SQUARE, [200, 200, 250, 200, 250, 250]], 100, 100) == [SQUARE]


def test_dropping_malformed_rings_is_unsafe():
    nan = math.nan
    repair = repair_segmentation([SQUARE, [1, 2, 3, 4], [nan, 1, 20, 1, 20, 20, 5, 9]], 100, 100)
    assert repair.segmentation == [SQUARE, [20, 1, 20, 20, 5, 9]]
    assert repair.kind == "unsafe" and repair.changed_pixels == -1
    assert drop_broken_rings([[1, 2, 3, 4, 5, 6, 7]]) == [[1, 2, 3, 4, 5, 6]]
    assert drop_broken_rings(["a", None, [True, 1, 2, 3, 4, 5]]) == []
    assert drop_broken_rings({"size": [1, 1]}) == {"size": [1, 1]}


def test_safety_of_change_counts_pixels_as_pycocotools_does():
    assert safety_of_change([SQUARE], [SQUARE], 100, 100) == ("safe", 0)
    wider = [[10, 10, 31, 10, 31, 30, 10, 30]]
    kind, changed = safety_of_change([SQUARE], wider, 100, 100)
    assert changed == int((pixels([SQUARE]) != pixels(wider)).sum()) == 20
    assert kind == "unsafe", "a whole column is more than a few pixels of the outline"
    assert safety_of_change([SQUARE], [SQUARE, [60, 60, 63, 60, 63, 61, 60, 61]], 100, 100) == ("unsafe", 3), (
        "far from the outline"
    )
    assert safety_of_change([], [SQUARE], 100, 100) == ("unsafe", -1)


def test_only_overlapping_rings_are_merged():
    apart = [60, 60, 70, 60, 70, 70]
    touching = [30, 10, 40, 10, 40, 30, 30, 30]
    over = [20, 20, 40, 20, 40, 40, 20, 40]
    assert unite_rings([SQUARE, apart]) == [SQUARE, apart]
    assert unite_rings([SQUARE, touching]) == [SQUARE, touching], "a shared edge is not an overlap"
    united = unite_rings([SQUARE, apart, over])
    assert len(united) == 2 and apart in united
    assert np.array_equal(pixels(united), pixels([SQUARE, apart, over]))
    assert unite_rings([SQUARE, [15, 15, 20, 15, 20, 20]])[0] != [] and len(unite_rings([SQUARE, over, over])) == 1


def test_no_part_is_lost_where_edges_nearly_coincide():
    """GEOS's union on floating coordinates drops 287 of these 1632 px²."""
    first = [26.90625, 55, 0.759765625, 0.759765625, 36, 0.0, 49.78125, 0.0]
    second = [26.90625, 55, 60, 0.759765625, 36, 0.0, 49.78125, 0.0]
    both = union_area([first, second], 64, 64)
    assert both == pytest.approx(1632.07, abs=0.01)
    assert union_area([second, first], 64, 64) == pytest.approx(both)
    assert union_area(unite_rings([first, second]), 64, 64) == pytest.approx(both, abs=0.5)


coordinates = st.floats(-3, 63, width=16) | st.integers(-3, 63)
rings = st.lists(coordinates, min_size=6, max_size=16).filter(lambda ring: len(ring) % 2 == 0)


@given(st.lists(rings, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_rings_become_valid_with_the_same_area_in_one_repair(segmentation):
    made = make_rings_valid(drop_repeated_vertices(segmentation))
    if any(Polygon(list(zip(r[::2], r[1::2], strict=True))).area for r in made):
        # Vertices are rounded to two decimals or more: each pixel of an outline moves the area by less than 0.01 px².
        outline = sum(Polygon(list(zip(r[::2], r[1::2], strict=True))).length for r in segmentation)
        assert union_area(made, 64, 64) == pytest.approx(union_area(segmentation, 64, 64), abs=0.01 * outline + 1e-3)
    repair = repair_segmentation(segmentation, 60, 60)
    if repair.segmentation and all(map(valid, repair.segmentation)):
        assert repair_segmentation(repair.segmentation, 60, 60).kind is None
        flat = [v for ring in repair.segmentation for v in ring]
        assert min(flat) >= 0 and max(flat) <= 60


def test_taco(real_data):
    """All 84 invalid rings are repaired safely; keeping only outer rings would change 403,929 pixels."""
    coco = read(real_data / "taco/annotations.json")
    sizes = {image["id"]: (image["height"], image["width"]) for image in coco.records("images")}
    repaired = changed = 0
    for record in coco.records("annotations"):
        size = sizes[record["image_id"]]
        rings = record["segmentation"]
        if not all(map(valid, rings)):
            made = make_rings_valid(rings)
            kind, pixels_changed = safety_of_change(rings, made, *size)
            assert kind == "safe", record["id"]
            assert all(map(valid, made))
            repaired += 1
            changed += pixels_changed
    assert repaired == 84
    assert changed < 500
