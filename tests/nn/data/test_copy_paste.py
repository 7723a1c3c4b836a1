"""Copy-paste: which objects, how often, how large, and every pixel of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import open_cache, train_layout
from trashkit.nn.data.copy_paste import (
    IGNORE,
    SCALE_RANGE,
    CopyPaste,
    class_probabilities,
    extract_objects,
    match_brightness,
    paste_object,
    transform_object,
)
from trashkit.settings.data import CopyPasteSettings


def cache_of(annotations, place, rows=None):
    dataset = read_dataset(annotations)
    images = [image for image in dataset.images if rows is None or image.row in rows]
    cache = open_cache(dataset, images, annotations.parent, train_layout(32, "area"), place, content="x", budget=10**9)
    return dataset, cache


@pytest.fixture
def objects(drawn, tmp_path):
    dataset, cache = cache_of(drawn, tmp_path)
    return dataset, cache, extract_objects(dataset, cache)


def copy_paste(objects, **how):
    dataset, cache, bank = objects
    return CopyPaste(bank, cache, CopyPasteSettings(**{"p": 1.0, **how}), dataset.classes.names)


def test_objects_are_the_annotations_of_the_cached_images(objects):
    dataset, cache, bank = objects
    assert len(bank) > 3
    for n in range(len(bank)):
        position, class_index = int(bank.positions[n]), int(bank.classes[n])
        top, left, bottom, right = bank.boxes[n]
        seen = cache.labels(position)[top:bottom, left:right]
        assert set(np.unique(seen[bank.mask(n) > 0])) == {class_index}
        assert bank.sizes[n] == pytest.approx(np.sqrt(bank.mask(n).sum() / cache.labels(position).size))
    counted = np.bincount([a.class_index for a in dataset.annotations], minlength=len(dataset.classes))
    assert np.array_equal(bank.counts, counted)


def test_a_class_outside_the_training_images_is_never_pasted(drawn, tmp_path):
    dataset = read_dataset(drawn)
    rows = {i.row for i in dataset.images if all(a.class_index != 5 for a in dataset.annotations_of(i.row))}
    assert 0 < len(rows) < len(dataset.images)
    _, cache = cache_of(drawn, tmp_path, rows)
    objects = dataset, cache, extract_objects(dataset, cache)
    own = copy_paste(objects, balance="uniform", max_objects=4)
    generator = np.random.default_rng(0)
    blank = np.zeros((64, 64), np.uint8)
    for _ in range(60):
        labels = own.paste(np.zeros((64, 64, 3), np.uint8), blank, generator)[1]
        assert 5 not in labels
        assert labels.any()


def test_whole_objects_are_preferred_to_cut_ones(draw_photos, tmp_path):
    """Of a class with an object inside the photo, those at the border are left out; of one without, they are taken."""
    import json

    annotations = draw_photos(tmp_path, 3)
    content = json.loads(annotations.read_text())
    boxes = [(1, 4, (10, 10, 30, 30)), (1, 4, (60, 60, 36, 36)), (2, 5, (0, 20, 40, 40))]
    content["annotations"] = [
        {"id": n, "image_id": content["images"][row]["id"], "category_id": category, "area": w * h,
         "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]], "bbox": [x, y, w, h], "iscrowd": 0}
        for n, (row, category, (x, y, w, h)) in enumerate(boxes)
    ]  # fmt: skip
    annotations.write_text(json.dumps(content))
    bank = extract_objects(*cache_of(annotations, tmp_path / "cache"))
    assert sorted(zip(bank.classes.tolist(), bank.boxes[:, 0].tolist(), strict=True)) == [(4, 7), (5, 14)]
    assert bank.counts[4] == 2


def test_outlines_are_preferred_to_boxes(draw_photos, tmp_path):
    import json

    annotations = draw_photos(tmp_path, 4)
    content = json.loads(annotations.read_text())
    corners = [[20, 20, 60, 20, 60, 60, 20, 60], [20, 20, 60, 30, 50, 60, 25, 55], [30, 30, 70, 30, 70, 70, 30, 70]]
    content["annotations"] = [
        {"id": n, "image_id": content["images"][n]["id"], "category_id": category, "area": 900, "segmentation": [ring],
         "iscrowd": 0}
        for n, (category, ring) in enumerate(zip((4, 4, 5), corners, strict=True))
    ]  # fmt: skip
    annotations.write_text(json.dumps(content))
    bank = extract_objects(*cache_of(annotations, tmp_path / "cache"))
    assert list(zip(bank.classes.tolist(), bank.positions.tolist(), strict=True)) == [(4, 1), (5, 2)]


@settings(max_examples=60, deadline=None)
@given(
    high=st.integers(3, 40), wide=st.integers(3, 40), y=st.integers(-20, 50), x=st.integers(-20, 50),
    edge=st.integers(0, 4), seed=st.integers(0, 999),
)  # fmt: skip
def test_only_pixels_of_the_object_are_pasted(high, wide, y, x, edge, seed):
    generator = np.random.default_rng(seed)
    photo = generator.integers(0, 256, (48, 56, 3), dtype=np.uint8)
    labels = generator.choice(np.array([0, 2, IGNORE], np.uint8), (48, 56))
    pixels = generator.integers(0, 256, (high, wide, 3), dtype=np.uint8)
    covered = (generator.random((high, wide)) < 0.9).astype(np.uint8)
    made, map_ = photo.copy(), labels.copy()
    paste_object((made, map_), (pixels, covered), (y, x), 7, CopyPasteSettings(match=0.0, edge=edge))
    under = np.zeros((48, 56), np.uint8)
    own = np.zeros((48, 56, 3), np.uint8)
    inner = np.zeros((48, 56), np.uint8)
    kernel = np.ones((2 * edge + 1, 2 * edge + 1), np.uint8)
    eroded = cv2.erode(covered, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    for row in range(high):
        for column in range(wide):
            if 0 <= y + row < 48 and 0 <= x + column < 56:
                under[y + row, x + column] = covered[row, column]
                inner[y + row, x + column] = eroded[row, column]
                own[y + row, x + column] = pixels[row, column]
    assert np.array_equal(map_, np.where(under > 0, 7, labels))
    assert np.array_equal(made[under == 0], photo[under == 0])
    assert np.array_equal(made[inner > 0], own[inner > 0])
    between = under > 0
    low, top = np.minimum(photo, own).astype(int) - 1, np.maximum(photo, own).astype(int) + 1
    assert ((made >= low) & (made <= top))[between].all()


@pytest.mark.parametrize("balance", ["inverse", "sqrt", "uniform"])
def test_classes_come_as_often_as_computed(objects, balance):
    own = copy_paste(objects, balance=balance, max_objects=1, classes={"Glass": 0.5})
    counts = own.bank.counts
    expected = {4: 1.0, 5: 0.5, 6: 1.0}
    power = {"inverse": 1, "sqrt": 0.5, "uniform": 0}[balance]
    expected = {index: factor / counts[index] ** power for index, factor in expected.items()}
    generator = np.random.default_rng(3)
    seen = np.zeros(len(own.weights))
    for _ in range(600):
        labels = own.paste(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), generator)[1]
        seen[np.unique(labels[labels > 0])] += 1
    assert seen.sum() == 600
    for index, weight in expected.items():
        share = weight / sum(expected.values())
        assert own.weights[index] == pytest.approx(share)
        assert abs(seen[index] / 600 - share) < 4 * np.sqrt(share * (1 - share) / 600)


def test_sizes_are_those_of_the_class(objects):
    own = copy_paste(objects, max_objects=1, rotate=0.0)
    generator = np.random.default_rng(1)
    for _ in range(150):
        labels = own.paste(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), generator)[1]
        index = int(labels.max())
        rows, columns = np.flatnonzero((labels > 0).any(axis=1)), np.flatnonzero((labels > 0).any(axis=0))
        if min(rows[0], columns[0]) == 0 or max(rows[-1], columns[-1]) == 63:
            continue  # cut by the border
        members = own.bank.sizes[own.bank.classes == index]
        margin = np.exp(3.5 * own.bandwidths[index]) * 1.1
        size = np.sqrt((labels > 0).mean())
        assert members.min() / margin < size < members.max() * margin
        assert SCALE_RANGE[0] * members.min() * 0.9 < size < SCALE_RANGE[1] * members.max() * 1.1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_pasting_repeats_itself_changes_no_input_and_invents_no_value(drawn, tmp_path_factory, seed):
    dataset, cache = cache_of(drawn, tmp_path_factory.getbasetemp() / "paste-cache")
    own = copy_paste((dataset, cache, extract_objects(dataset, cache)), max_objects=5, p=0.8)
    photo = np.random.default_rng(seed).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    labels = np.zeros((70, 90), np.uint8)
    labels[:20] = IGNORE
    labels[30:40, 10:50] = 2
    before = photo.copy(), labels.copy()
    made, map_ = own.paste(photo, labels, np.random.default_rng(seed))
    assert np.array_equal(photo, before[0])
    assert np.array_equal(labels, before[1])
    assert set(np.unique(map_)) <= {0, 2, 4, 5, 6, IGNORE}
    pasted = np.isin(map_, [4, 5, 6])
    assert np.array_equal(map_[~pasted], labels[~pasted])
    assert np.array_equal(made[~pasted], photo[~pasted])
    assert (map_ == 2).sum() >= 0.2 * (labels == 2).sum() or pasted.any()
    again = own.paste(photo, labels, np.random.default_rng(seed))
    assert np.array_equal(made, again[0])
    assert np.array_equal(map_, again[1])


@settings(max_examples=40, deadline=None)
@given(factor=st.floats(0.3, 2.0), angle=st.floats(-180, 180), mirrored=st.booleans(), seed=st.integers(0, 99))
def test_an_object_keeps_its_form(factor, angle, mirrored, seed):
    """Area goes with the square of the scale, and bright pixels stay under the mask."""
    generator = np.random.default_rng(seed)
    covered = np.zeros((50, 44), np.uint8)
    cv2.ellipse(covered, (22, 25), (int(generator.integers(12, 21)), 23), 0, 0, 360, 1, -1)
    pixels = np.repeat((20 + 200 * covered)[..., None], 3, axis=2)
    made, map_ = transform_object(pixels, covered, factor, angle, mirrored=mirrored)
    assert made.shape == (*map_.shape, 3)
    assert set(np.unique(map_)) <= {0, 1}
    assert map_.any(axis=0).all()
    assert map_.any(axis=1).all()
    assert map_.sum() == pytest.approx(covered.sum() * factor**2, rel=0.12)
    assert (made.mean(axis=2) > 100)[map_ > 0].mean() > 0.9


def test_brightness_moves_toward_its_place_within_limits():
    pixels = np.full((8, 8, 3), 100, np.uint8)
    covered = np.ones((8, 8), np.uint8)
    assert np.array_equal(
        match_brightness(pixels, covered, np.full((4, 4, 3), 121, np.uint8), 1.0)[0, 0], [121, 121, 121]
    )
    assert match_brightness(pixels, covered, np.full((4, 4, 3), 121, np.uint8), 0.5)[0, 0, 0] == 110
    assert match_brightness(pixels, covered, np.full((4, 4, 3), 255, np.uint8), 1.0)[0, 0, 0] == 150
    assert match_brightness(pixels, covered, np.full((4, 4, 3), 5, np.uint8), 1.0)[0, 0, 0] == 67
    assert match_brightness(pixels, covered, np.full((4, 4, 3), 5, np.uint8), 0.0) is pixels


def test_class_weights_without_anything_to_paste_are_zeros():
    weights = class_probabilities(np.array([0, 3, 4]), np.zeros(3, bool), "sqrt", np.ones(3))
    assert not weights.any()


def test_an_unknown_class_is_named(objects):
    with pytest.raises(TrashkitError, match='unknown class "Glas"'):
        copy_paste(objects, classes={"Glas": 1.0})
