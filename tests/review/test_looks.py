"""Counts to look at before training, on a file small enough to count by hand, and on the embedded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trashkit.coco.dataset import Coco
from trashkit.review import decisions
from trashkit.review.looks import charts, look
from trashkit.review.room import Room


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
    room = Room(coco, [], {}, tmp_path / "log.jsonl", reviewer="ann")
    looks = look(room)
    assert looks.names == ("Glass", "Metal")
    assert looks.instances.tolist() == [3, 1]
    assert looks.images.tolist() == [2, 1]
    assert looks.pixels.tolist() == pytest.approx([(100 + 2500 + 10000) / 30000, 100 / 30000])
    assert looks.per_image[[0, 1, 2, 3]].tolist() == [1, 1, 0, 1]
    assert looks.sides.tolist() == [0, 0, 0, 0, 2, 0, 1, 1]
    assert looks.places[0, 0] == 1
    assert looks.places[0, 15] == 1
    assert looks.together.tolist() == [[2, 1], [1, 1]]
    decisions.make(room, decisions.remove([3]))
    assert look(room).instances.tolist() == [2, 1]


def test_the_embedded_file_adds_up(room: Room) -> None:
    looks = look(room)
    assert looks.instances.sum() == sum(map(len, room.annotations_of.values()))
    assert looks.per_image.sum() == len(room.images_rows)
    assert (np.diag(looks.together) == looks.images).all()
    assert (looks.together == looks.together.T).all()
    assert len(charts(looks, {})) == 7
