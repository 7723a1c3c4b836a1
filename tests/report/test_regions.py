"""Label maps as COCO annotations, and back to the very same pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.raster import masks
from trashkit.report.regions import drop_small, regions


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24))
def test_regions_give_back_every_pixel(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (height, width), np.uint8)
    confidence = rng.random((height, width), np.float32)
    found = regions(labels, confidence, {1: 10, 2: 20})
    painted = np.zeros_like(labels)
    for annotation in found:
        inside = masks.mask(annotation["segmentation"], height, width)
        assert annotation["area"] == inside.sum()
        assert abs(annotation["score"] - confidence[inside].mean()) < 1e-3
        rows, columns = np.nonzero(inside)
        x, y, w, h = annotation["bbox"]
        assert (x, y, x + w, y + h) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (painted[inside] == 0).all()
        painted[inside] = annotation["category_id"] // 10
    assert (painted == labels).all()
    assert [a["area"] for a in found] == sorted((a["area"] for a in found), reverse=True)


def test_drop_small_erases_specks_and_keeps_the_rest() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:8, 2:8] = 1
    labels[15, 15] = 1
    labels[10, 10:13] = 2
    labels[19] = 255
    cleaned = drop_small(labels, 4)
    assert (cleaned[2:8, 2:8] == 1).all() and (cleaned[19] == 255).all()
    assert (cleaned == 1).sum() == 36 and (cleaned == 2).sum() == 0
    assert (drop_small(labels, 1) == labels).all()
