"""Area and bounding box, compared with shapely and with pixel counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from trashkit.raster.measures import bounding_box, ring_area, union_area, valid_polygon

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
RLE = {"size": [100, 100], "counts": [105, 10, 90, 10, 9785]}


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=3, max_size=8))
def test_ring_area_agrees_with_shapely(points: list[tuple[float, float]]) -> None:
    ring = [value for point in points for value in point]
    assert ring_area(ring) == pytest.approx(Polygon(points).area, abs=1e-6)


def test_union_area_counts_shared_parts_once() -> None:
    assert union_area([SQUARE, SQUARE], 100, 100) == 400
    assert union_area(RLE, 100, 100) == 20
    assert union_area([], 100, 100) is None


def test_bounding_box_is_of_vertices_or_pixels() -> None:
    assert bounding_box([SQUARE, [60, 60, 70, 60, 70, 75]]) == [10, 10, 60, 65]
    assert bounding_box(RLE) == [1, 5, 2, 10]


def test_a_scribble_is_tangled_and_outlines_are_not() -> None:
    """Cutting 20,000 points at their crossings would take gigabytes."""
    scribble = [(k * 37 % 64) + 0.5 * (k % 2) for k in range(40_000)]
    assert valid_polygon(scribble).equals(Polygon(list(zip(scribble[0::2], scribble[1::2], strict=True))).convex_hull)
    angles = np.linspace(0, 40 * np.pi, 20_000, endpoint=False)
    spiral = np.stack([500 + angles * np.cos(angles), 500 + angles * np.sin(angles)], axis=1)
    assert valid_polygon(spiral.ravel().tolist()).area > 1000
    star = np.stack([500 + 400 * np.cos(angles * 7), 500 + 400 * np.sin(angles * 9)], axis=1)[:900]
    assert not valid_polygon(star.ravel().tolist()).is_empty
