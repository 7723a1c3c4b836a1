"""Statistics of annotations, on a file small enough to count by hand and on the synthetic one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trashkit.coco.dataset import Coco
from trashkit.review import decisions
from trashkit.review.session import ReviewSession
from trashkit.review.statistics import annotation_statistics, charts


def test_counts_by_hand(tmp_path: Path) -> None:
    def one(number: int, image: int, category: int, x: float, side: float) -> dict[str, object]:
        box = [x, 0, side, side]
        return {"id": number, "image_id": image, "category_id": category, "area": side * side, "bbox": box}

    coco = Coco.of(
        {
            "images": [{"id": n, "width": 100, "height": 100, "file_name": f"{n}"} for n in range(3)],
            "categories": [{"id": 1, "name": "Glass"}, {"id": 2, "name": "Metal"}, {"id": 3, "name": "Paper"}],
            "annotations": [one(1, 0, 1, 0, 10), one(2, 0, 2, 90, 10), one(3, 0, 1, 0, 50), one(4, 1, 1, 0, 100)],
        }
    )
    session = ReviewSession(coco, [], {}, tmp_path / "log.jsonl", reviewer="ann")
    statistics = annotation_statistics(session)
    assert statistics.classes == ("Glass", "Metal")
    assert statistics.annotations.tolist() == [3, 1]
    assert statistics.images.tolist() == [2, 1]
    assert statistics.pixels.tolist() == pytest.approx([(100 + 2500 + 10000) / 30000, 100 / 30000])
    assert statistics.objects_per_image[[0, 1, 2, 3]].tolist() == [1, 1, 0, 1]
    assert statistics.object_sides.tolist() == [0, 0, 0, 0, 2, 0, 1, 1]
    assert statistics.centers[0, 0] == 1
    assert statistics.centers[0, 15] == 1
    assert statistics.co_occurrence.tolist() == [[2, 1], [1, 1]]
    decisions.make(session, decisions.remove([3]))
    assert annotation_statistics(session).annotations.tolist() == [2, 1]


def test_counts_of_the_synthetic_file_add_up(session: ReviewSession) -> None:
    statistics = annotation_statistics(session)
    assert statistics.annotations.sum() == sum(map(len, session.annotations_of.values()))
    assert statistics.objects_per_image.sum() == len(session.image_records)
    assert (np.diag(statistics.co_occurrence) == statistics.images).all()
    assert (statistics.co_occurrence == statistics.co_occurrence.T).all()
    assert len(charts(statistics, {})) == 7
