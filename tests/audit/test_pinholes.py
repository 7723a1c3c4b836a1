"""Despeckling: only pin-holes are filled, all pixels are counted, and the log undoes it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trashkit.audit.fixes.pinholes import fill_pinholes
from trashkit.coco import Coco, read_dataset
from trashkit.edits.apply import apply, invert
from trashkit.errors import TrashkitError
from trashkit.raster.masks import dataset_label_map, despeckle, mask, polygons_from_label_map, rle_from_mask


def scene(seed: int) -> Coco:
    """Two classes of objects with many small holes, as polygons with a gap between them and as masks."""
    random = np.random.default_rng(seed)
    labels = np.zeros((60, 80), np.uint8)
    for number in range(4):
        x, y = int(random.integers(3, 50)), int(random.integers(3, 35))
        labels[y : y + 22, x : x + 25] = 1 + number % 2
    labels[random.random(labels.shape) < 0.03] = 0
    annotations = []
    for value in (1, 2):
        for segmentation in polygons_from_label_map(labels, value):
            annotations.append({"id": len(annotations) + 1, "image_id": 1, "category_id": value, "iscrowd": 0,
                                "segmentation": segmentation, "area": 1.0, "bbox": [0, 0, 1, 1]})  # fmt: skip
    images = [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}]
    categories = [{"id": 1, "name": "Paper"}, {"id": 2, "name": "Glass"}]
    return Coco.of({"images": images, "annotations": annotations, "categories": categories})


def painted(coco):
    return dataset_label_map(read_dataset(coco), 0, order="file")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [3, 5])
def test_the_label_map_becomes_the_despeckled_one(seed, size):
    coco = scene(seed)
    before = painted(coco)
    filled = fill_pinholes(coco, despeckle=size)
    after_coco = apply(coco, filled.edits)
    after = painted(after_coco)
    assert np.array_equal(after, despeckle(before, size))
    for name, value in (("Paper", 2), ("Glass", 5)):
        counts = filled.classes[name]
        assert counts["pixels_before"] == int((before == value).sum())
        assert counts["pixels_after"] == int((after == value).sum())
        parts = cv2.connectedComponents((after == value).astype(np.uint8), connectivity=8)[0] - 1
        assert counts["parts_after"] == parts
        assert counts["holes_after"] <= counts["holes_before"]
    assert fill_pinholes(after_coco, despeckle=size).edits == []
    back = apply(after_coco, invert(after_coco, filled.edits))
    assert back.rows("annotations") == coco.rows("annotations")


def test_holes_inside_one_annotation_are_filled_up_to_a_size():
    covered = np.zeros((40, 40), bool)
    covered[5:35, 5:35] = True
    covered[10:12, 10:12] = False  # 4 pixels
    covered[20:25, 20:25] = False  # 25 pixels
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": rle_from_mask(covered), "area": 871}
    coco = Coco.of({
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 40}],
        "annotations": [row], "categories": [{"id": 1, "name": "Paper"}],
    })  # fmt: skip
    for most, left in ((3, 29), (4, 25), (25, 0)):
        filled = fill_pinholes(coco, fill_holes=most)
        made = apply(coco, filled.edits).record("annotations", 0)
        assert int(mask(made["segmentation"], 40, 40).sum()) == 900 - left
        assert filled.classes["Paper"]["holes_before"] == 2
    assert made["area"] == 900 and made["bbox"] == [5, 5, 30, 30]
    assert filled.edits[0].reason == "fill-holes" and "29 pixels filled" in filled.edits[0].note


def test_polygons_keep_their_vertices():
    left = [5.0, 5.0, 20.0, 5.0, 20.0, 20.0, 19.0, 20.0, 19.0, 21.0, 20.0, 21.0, 20.0, 35.0, 5.25, 35.5]
    right = [20.0, 5.0, 35.0, 5.0, 35.0, 35.0, 20.0, 35.0]
    coco = Coco.of({
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 40}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "segmentation": [ring]} for n, ring in enumerate((left, right))
        ],
        "categories": [{"id": 1, "name": "Paper"}],
    })  # fmt: skip
    filled = fill_pinholes(coco, despeckle=3)
    (edit,) = filled.edits
    rings = edit.after["segmentation"]
    assert isinstance(rings, list) and {(5.25, 35.5), (5.0, 5.0)} <= set(
        zip(rings[0][::2], rings[0][1::2], strict=True)
    )
    assert filled.classes["Paper"]["holes_after"] == 0


def test_other_sizes_are_refused():
    with pytest.raises(TrashkitError, match="takes 3 or 5, not 4"):
        fill_pinholes(scene(0), despeckle=4)


def test_an_annotation_that_cannot_be_rasterised_excludes_only_its_image():
    sound = scene(1)
    value = {block: sound.records(block) for block in sound.blocks()}
    wanted = [(edit.id, edit.after) for edit in fill_pinholes(sound, despeckle=3).edits]
    value["images"].insert(0, {"id": 2, "file_name": "bad.jpg", "width": 80, "height": 60})
    mine = {"id": 900, "image_id": 2, "category_id": 1, "area": 1.0, "bbox": [0, 0, 1, 1], "iscrowd": 0}
    value["annotations"].insert(0, {**mine, "segmentation": []})
    value["annotations"].insert(1, {**mine, "id": 901, "segmentation": [[1, 1, 9, 1, 9, 9]]})
    value["annotations"].append({**mine, "id": 902, "image_id": 3, "segmentation": [[1, 1, 9, 1, 9, 9]]})
    coco = Coco.of(value)
    filled = fill_pinholes(coco, despeckle=3)
    assert [(edit.id, edit.after) for edit in filled.edits] == wanted and wanted
    apply(coco, filled.edits)
    first, second = filled.skipped
    assert "bad.jpg" in first and "annotations[0] (id 900)" in first and "empty" in first
    assert "(id 902) has no image" in second
