"""Small data sets for the split tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from trashkit.coco import Coco, Dataset, read_dataset

Build = Callable[..., Dataset]
NAMES = ("Paper", "Metal", "Glass", "Plastic", "Battery")


def _build(
    count: int = 30, *, seed: int = 0, classes: int = 3, ids: Sequence[int | str] | None = None, order: Any = None
) -> Dataset:
    """Images of 100x80 with zero to four boxes each, classes ever rarer. `order` permutes the rows of images."""
    rng = np.random.default_rng(seed)
    rows, annotations = [], []
    names = ids if ids is not None else [3 * n + 2 for n in range(count)]
    for n in range(count):
        rows.append(
            {"id": names[n], "file_name": f"set{n % 4}/{n:03}.jpg", "width": 100, "height": 80, "place": n // 3}
        )
        for _ in range(int(rng.integers(0, 5))):
            x, y, w, h = (float(v) for v in rng.integers(1, 40, 4))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": names[n],
                    "category_id": int(min(rng.geometric(0.5), classes)),
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "area": w * h,
                    "bbox": [x, y, w, h],
                    "iscrowd": 0,
                }
            )
    if order is not None:
        rows = [rows[n] for n in order]
    categories = [{"id": n + 1, "name": name, "supercategory": "trash"} for n, name in enumerate(NAMES[:classes])]
    blocks = {"info": {"year": 2026}, "images": rows, "annotations": annotations, "categories": categories}
    return read_dataset(Coco.of(blocks))


@pytest.fixture(scope="session")
def build() -> Build:
    return _build
