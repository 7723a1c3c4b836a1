"""Strict reading: only what split, train and score need is required."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from trashkit.coco import Coco, read_dataset
from trashkit.coco.segmentation import check_segmentation, run_lengths
from trashkit.errors import TrashkitError

SOUND = {
    "images": [
        {"id": 5, "file_name": "a.jpg", "width": 20, "height": 10},
        {"id": "5", "file_name": "b.jpg", "width": 20.0, "height": 10},
    ],
    "annotations": [
        {"id": 1, "image_id": "5", "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 32, "iscrowd": 1},
        {
            "id": 1,
            "image_id": 5,
            "category_id": 1,
            "segmentation": {"size": [10, 20], "counts": [0, 200]},
            "bbox": "no",
        },
    ],
    "categories": [{"id": 1, "name": "Paper"}, {"id": 3, "name": "Glass"}],
}


def test_a_sound_file_becomes_a_data_set_by_row():
    dataset = read_dataset(Coco.of(SOUND))
    assert [image.id for image in dataset.images] == [5, "5"] and dataset.images[1].width == 20
    assert [a.image_row for a in dataset.annotations] == [1, 0]
    assert dataset.annotations_of(1)[0].area == 32 and dataset.annotations_of(1)[0].iscrowd
    assert math.isnan(dataset.annotations_of(0)[0].area) and dataset.annotations_of(0)[0].bbox is None
    assert dataset.classes.names[dataset.annotations[0].class_index] == "Glass"
    assert dataset.image_by_id["5"].row == 1 and len(dataset) == 2


def test_subset_keeps_row_numbers():
    small = read_dataset(Coco.of(SOUND)).subset([1])
    assert [image.row for image in small.images] == [1] and [a.row for a in small.annotations] == [0]
    assert small.coco.count("images") == 2
    assert small.annotations_of(0) == ()


def broken(change):
    value = copy.deepcopy(SOUND)
    change(value)
    return Coco.of(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["images"][1].update(id=5), "image id 5 is used twice"),
        (lambda v: v["images"][0].pop("id"), "no usable id"),
        (lambda v: v["images"][0].update(width=0), "not a size"),
        (lambda v: v["images"][0].update(width=math.nan), "not a size"),
        (lambda v: v["images"][0].update(height="10"), "not a size"),
        (lambda v: v["images"][0].update(file_name=3), "no file_name"),
        (lambda v: v["images"].append(None), r"images\[2\] is not an object"),
        (lambda v: v.update(images=[]), '"images" is empty'),
        (lambda v: v.pop("categories"), 'no list "categories"'),
        (lambda v: v["annotations"][0].update(image_id=[5]), "image_id .* does not exist"),
        (lambda v: v["annotations"][0].update(image_id=True), "image_id .* does not exist"),
        (lambda v: v["annotations"][0].update(category_id=2), "category_id 2 does not exist"),
        (lambda v: v["annotations"][0].update(segmentation=[]), "segmentation is empty"),
        (lambda v: v["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "three points need 6"),
        (lambda v: v["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, math.inf]]), "NaN or infinite"),
        (lambda v: v["annotations"][1]["segmentation"].update(size=[20, 10]), r"not the image's \[10, 20\]"),
        (lambda v: v["categories"][1].update(id=1), "category id 1 is used twice"),
    ],
)
def test_invalid_data_is_reported(change, message):
    with pytest.raises(TrashkitError, match=message) as caught:
        read_dataset(broken(change))
    assert "audit" in caught.value.hint


def test_all_problems_are_counted():
    def change(value):
        for annotation in value["annotations"]:
            annotation["category_id"] = 9

    with pytest.raises(TrashkitError, match=r"and 1 more"):
        read_dataset(broken(change))


def test_annotations_are_not_validated_without_labels():
    value = {"images": SOUND["images"]}
    dataset = read_dataset(Coco.of(value), labels=False)
    assert len(dataset) == 2 and dataset.annotations == ()
    with pytest.raises(TrashkitError, match='no list "categories"'):
        read_dataset(Coco.of(value))


def test_check_segmentation_reasons():
    assert check_segmentation([[0, 0, 5, 0, 5, 5]], 10, 10) is None
    assert check_segmentation({"size": [2, 2], "counts": [1, 3]}, 2, 2) is None
    for segmentation, reason in [
        (None, "missing"), ("x", "neither"), ([3], "not a list"), ([[0, 0, 5, 0, 5]], "5 numbers"),
        ([[0, 0, 5, 0, 5, 5, 1]], "odd"), ([[0, 0, True, 0, 5, 5]], "not a number"),
        ([[0, 0, 2e6, 0, 5, 5]], "further"),
        ({"size": [2, 2]}, "without"), ({"size": [2, 2], "counts": [1, -1, 4]}, "negative"),
        ({"size": [2, 2], "counts": [1, 2]}, "sum to 3"), ({"size": [2, 2], "counts": 4}, "neither"),
        ({"size": [2, 2], "counts": "!!"}, "not compressed"), ([[math.nan] * 6], "NaN"),
    ]:  # fmt: skip
        assert reason in (check_segmentation(segmentation, 2, 2) or "")
    assert "cannot be rasterised" in (check_segmentation([[0, 0, 5, 0, 5, 5]], 0, 10) or "")


def test_run_lengths_are_those_of_pycocotools():
    from pycocotools import mask

    for seed in range(20):
        pixels = np.random.default_rng(seed).random((seed % 7 * 30 + 1, 90)) < 0.3 + seed / 40
        counts = mask.encode(np.asfortranarray(pixels, np.uint8))["counts"]
        edges = np.flatnonzero(np.diff(pixels.T.ravel().astype(int), prepend=0))
        lengths = run_lengths(counts)
        assert lengths.sum() == pixels.size
        assert np.array_equal(np.cumsum(lengths)[:-1], edges)
    assert run_lengths("") is not None and run_lengths("é") is None and run_lengths("P") is None
