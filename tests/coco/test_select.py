"""Part of a data set: which images are kept, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from trashkit.coco import Coco, read_dataset
from trashkit.coco.select import select
from trashkit.errors import TrashkitError

OUTLINE = [0, 0, 9, 1, 12, 6, 9, 12, 4, 13, 0, 9]
BOX = [0, 0, 9, 0, 9, 9, 0, 9]


def coco(*images: list[list[float]]) -> Coco:
    """One image for each list of rings; every ring is an annotation."""
    annotations = [
        {"id": 100 + 10 * n + m, "image_id": n, "category_id": 1, "segmentation": [ring], "note": "kept"}
        for n, rings in enumerate(images, start=1)
        for m, ring in enumerate(rings)
    ]
    value: dict[str, Any] = {
        "info": {"year": 2026},
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 20, "height": 20} for n, _ in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "bag of trash"}, {"id": 7, "name": "Plastic bag"}],
    }
    return Coco.of(value)


def files(kept: Coco) -> list[str]:
    return [image["file_name"] for image in kept.records("images")]


def test_images_are_selected_by_number_and_form_of_their_annotations() -> None:
    source = coco([OUTLINE], [OUTLINE, OUTLINE], [OUTLINE, OUTLINE, OUTLINE], [OUTLINE, BOX], [])
    assert files(select(source)) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert files(select(source, most=2)) == ["1.jpg", "2.jpg", "4.jpg"]
    assert files(select(source, most=2, outlined=True)) == ["1.jpg", "2.jpg"]
    assert files(select(source, least=0, most=0)) == ["5.jpg"]


def test_what_is_kept_stays_as_it_is() -> None:
    source = coco([OUTLINE], [OUTLINE, OUTLINE, OUTLINE])
    kept = select(source, most=1)
    assert kept.records("annotations") == source.records("annotations")[:1]
    assert kept.top("info") == {"year": 2026}
    assert kept.records("categories") == source.records("categories")


def test_all_annotations_get_a_category_of_the_file() -> None:
    kept = select(coco([OUTLINE], [OUTLINE, OUTLINE]), relabel_to="plastic-bag")
    assert {one["category_id"] for one in kept.records("annotations")} == {7}
    assert {one["note"] for one in kept.records("annotations")} == {"kept"}
    assert len(kept.records("categories")) == 2


def test_a_category_that_the_file_lacks_is_added() -> None:
    kept = select(coco([OUTLINE]), relabel_to="Paper")
    assert kept.records("categories")[-1] == {"id": 8, "name": "Paper", "supercategory": "Paper"}
    dataset = read_dataset(kept, classes="own")
    assert [dataset.classes.names[one.class_index] for one in dataset.annotations] == ["Paper"]


def test_no_image_left_is_a_mistake() -> None:
    with pytest.raises(TrashkitError, match="none of the 1 images"):
        select(coco([BOX]), outlined=True)
