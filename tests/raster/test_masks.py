"""Label maps against pycocotools, laws of paint order, and the way back to polygons."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as pycoco

from trashkit.coco.segmentation import check_segmentation, run_lengths
from trashkit.errors import TrashkitError
from trashkit.raster import masks, rasterise

# pycocotools has not heard of numpy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
COORDINATES = st.one_of(
    st.integers(-20, 60),
    st.floats(-20, 60, allow_nan=False),
    st.integers(-200, 600).map(lambda tenth: tenth / 10),  # ties of the rasteriser's fifth-of-a-pixel grid
)
RINGS = st.integers(3, 9).flatmap(lambda points: st.lists(COORDINATES, min_size=2 * points, max_size=2 * points))
POLYGONS = st.lists(RINGS, min_size=1, max_size=3)
SETTINGS = settings(max_examples=150, deadline=None)


def ann_to_mask(segmentation, height, width):
    """What ``COCO.annToMask`` does."""
    if isinstance(segmentation, list):
        found = pycoco.merge(pycoco.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        found = pycoco.frPyObjects(segmentation, height, width)
    else:
        found = segmentation
    return pycoco.decode(found)


def painted(segmentations, classes, height, width, positions):
    labels = np.zeros((height, width), np.uint8)
    for number in positions:
        labels[ann_to_mask(segmentations[number], height, width) == 1] = classes[number]
    return labels


def uncompressed(covered):
    flat = np.concatenate([[0], covered.ravel(order="F"), [2]])
    ends = np.flatnonzero(np.diff(flat)).tolist()
    return {"size": list(covered.shape), "counts": np.diff([0, *ends]).tolist()}


@SETTINGS
@given(POLYGONS, SIZES)
def test_polygons_cover_the_pixels_that_pycocotools_gives(segmentation, size):
    height, width = size
    want = ann_to_mask(segmentation, height, width)
    assert np.array_equal(masks.mask(segmentation, height, width), want)
    assert masks.pixel_area(segmentation, height, width) == want.sum()
    assert np.array_equal(pycoco.decode(masks.rle(segmentation, height, width)), want)


@pytest.mark.parametrize("seed", range(4))
def test_large_polygons_are_painted_by_runs_and_stay_exact(seed):
    generator = np.random.default_rng(seed)
    for _ in range(5):
        height, width = (int(side) for side in generator.integers(400, 1200, 2))
        ring = (generator.random(2 * int(generator.integers(3, 30))) * 1500 - 200).round(1).tolist()
        assert np.array_equal(masks.mask([ring], height, width), ann_to_mask([ring], height, width))


@pytest.mark.parametrize("grain", [1, 0.1, 0.2, 8, None], ids=str)
def test_many_rings_are_exact_on_grids_where_outlines_meet_pixel_borders(grain):
    generator = np.random.default_rng(7)
    for scene in range(40):
        height, width = (int(side) for side in generator.integers(1, 250, 2))
        count = 130 if scene == 0 else int(generator.integers(1, 5))  # more layers than fit in one number
        segmentations = []
        for _ in range(count):
            rings = generator.random((2, 2 * int(generator.integers(3, 12)))) * 400 - 70
            rings = rings if grain is None else np.round(rings / grain) * grain
            segmentations.append(rings[: 1 + scene % 2].tolist())
        classes = generator.integers(0, 256, count).tolist()
        want = painted(segmentations, classes, height, width, range(count))
        assert np.array_equal(masks.label_map(segmentations, classes, height, width, order="file"), want)


def test_pycocotools_draws_the_outlines_where_the_machine_rounds_otherwise(monkeypatch):
    ring = [3.3, 2.7, 30.1, 9.9, 12.5, 28.4]
    want = painted([[ring], [ring[::-1]]], [4, 9], 30, 33, [0, 1])
    monkeypatch.setattr(rasterise, "SAME_ARITHMETIC", False)
    monkeypatch.setattr(rasterise, "crossings", None)
    assert np.array_equal(masks.label_map([[ring], [ring[::-1]]], [4, 9], 30, 33, order="file"), want)


@SETTINGS
@given(hnp.arrays(np.uint8, SIZES, elements=st.integers(0, 1)))
def test_every_kind_of_rle_gives_its_pixels_back(covered):
    height, width = covered.shape
    plain, text = uncompressed(covered), masks.rle_from_mask(covered)
    assert run_lengths(text["counts"]).tolist() == plain["counts"]
    for segmentation in (plain, text, {**text, "counts": text["counts"].encode()}):
        assert check_segmentation(segmentation, height, width) is None
        assert np.array_equal(masks.mask(segmentation, height, width), covered)
        assert masks.rle(segmentation, height, width) == text
        assert masks.pixel_area(segmentation, height, width) == covered.sum()


def test_run_lengths_of_a_large_image_use_long_numbers():
    covered = np.zeros((3000, 4000), np.uint8)
    covered[5:2990, 3000:3001] = 1
    covered[100:200, 3990:] = 1
    found = pycoco.encode(np.asfortranarray(covered))
    assert np.array_equal(masks.mask({"size": [3000, 4000], "counts": found["counts"]}, 3000, 4000), covered)


@SETTINGS
@given(
    st.lists(st.tuples(POLYGONS, st.integers(1, 10), st.floats(0, 99) | st.just(math.nan)), min_size=1, max_size=5),
    SIZES,
)
def test_paint_orders_are_those_of_the_organisers(annotations, size):
    segmentations, classes, areas = (list(column) for column in zip(*annotations, strict=True))
    height, width = size
    positions = list(range(len(annotations)))
    pixels = [int(ann_to_mask(segmentation, height, width).sum()) for segmentation in segmentations]
    known = [pixel if math.isnan(area) else area for area, pixel in zip(areas, pixels, strict=True)]
    wanted = {
        "file": positions,
        "class": sorted(positions, key=lambda number: classes[number]),
        "length": sorted(positions, key=lambda number: len(segmentations[number][0])),
        "area": sorted(positions, key=lambda number: known[number], reverse=True),
    }
    for order, by in wanted.items():
        found = masks.label_map(segmentations, classes, height, width, areas=areas, order=order)
        if order != "area":  # sorted(reverse=True) keeps ties in file order too
            assert masks.paint_order(segmentations, classes, height, width, order=order) == by
        assert np.array_equal(found, painted(segmentations, classes, height, width, by)), order


@SETTINGS
@given(st.lists(POLYGONS, min_size=2, max_size=5), SIZES, st.randoms(use_true_random=False))
def test_highest_class_wins_whatever_the_file_order(segmentations, size, random):
    classes = list(range(1, len(segmentations) + 1))
    shuffled = list(zip(segmentations, classes, strict=True))
    random.shuffle(shuffled)
    again = masks.label_map([a for a, _ in shuffled], [b for _, b in shuffled], *size, order="class")
    assert np.array_equal(masks.label_map(segmentations, classes, *size, order="class"), again)


def test_crowd_rle_and_polygons_share_a_label_map():
    square = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]]
    everything = {"size": [8, 8], "counts": [0, 64]}
    found = masks.label_map([square, everything], [3, 255], 8, 8)
    assert (found == 3).sum() == 16
    assert (found == 255).sum() == 48
    assert (masks.label_map([square, everything], [3, 255], 8, 8, order="length") == 3).sum() == 16
    assert (masks.label_map([square, everything], [3, 255], 8, 8, order="file") == 255).all()


def test_label_map_writes_into_the_array_it_is_given():
    out = np.full((2, 6, 7), 9, np.uint8)
    found = masks.label_map([[[0, 0, 3, 0, 3, 3, 0, 3]]], [4], 6, 7, out=out[1])
    assert np.shares_memory(found, out)
    assert np.unique(out[1]).tolist() == [0, 4]
    assert (out[0] == 9).all()
    with pytest.raises(ValueError, match="out must be"):
        masks.label_map([], [], 6, 8, out=out[1])


def test_nothing_to_paint_gives_background():
    assert masks.label_map([], [], 3, 4).tolist() == [[0] * 4] * 3


NAN, INF = math.nan, math.inf
BAD = [
    (None, "missing"),
    ("abc", "neither"),
    ([], "empty"),
    ([1, 2, 3, 4, 5, 6], "not a list of numbers"),
    ([[]], "0 numbers"),
    ([[1, 1, 5, 5]], "4 numbers"),
    ([[0, 0, 1, 0, 1, 1], [1, 2, 3]], "ring 1 has 3 numbers"),
    ([[1, 1, 5, 5, 5, 1, 3]], "odd"),
    ([[1, 1, 5, "5", 5, 1]], "not a number"),
    ([[1, 1, None, 5, 5, 1]], "not a number"),
    ([[NAN, 1, 5, 5, 5, 1]], "NaN"),
    ([[1, 1, 5, NAN, 5, 1]], "NaN"),
    ([[1, 1, 5, 5, INF, 1]], "NaN or infinite"),
    ([[1, 1, 5, 5, -INF, INF]], "NaN or infinite"),
    ([[1, 1, 5, 5, 1e300, 1]], "further than"),
    ([[1, 1, 5, 5, 10**400, 1]], "further than"),
    ([[0, 0, 9e5, 9e5] * 9], "outline longer"),
    ({}, "without size"),
    ({"size": [8, 8]}, "without size"),
    ({"size": [8, 9], "counts": [64]}, "RLE size"),
    ({"size": 64, "counts": [64]}, "RLE size"),
    ({"size": [8, 8], "counts": []}, "sum to 0"),
    ({"size": [8, 8], "counts": ""}, "sum to 0"),
    ({"size": [8, 8], "counts": [63]}, "sum to 63"),
    ({"size": [8, 8], "counts": [65]}, "sum to 65"),
    ({"size": [8, 8], "counts": [65, -1]}, "negative"),
    ({"size": [8, 8], "counts": [32.0, 32]}, "whole number"),
    ({"size": [8, 8], "counts": ["64"]}, "whole number"),
    ({"size": [8, 8], "counts": 64}, "neither a list nor a string"),
    ({"size": [8, 8], "counts": "한글"}, "not compressed"),
    ({"size": [8, 8], "counts": " "}, "not compressed"),
    ({"size": [8, 8], "counts": "P"}, "not compressed"),
    ({"size": [8, 8], "counts": "o" * 40 + "0"}, "not compressed"),
    ({"size": [8, 8], "counts": "P2000@"}, "negative"),
]


@pytest.mark.parametrize(("segmentation", "words"), BAD, ids=[str(bad)[:40] for bad, _ in BAD])
def test_segmentations_that_cannot_be_rasterised_are_refused_with_a_reason(segmentation, words):
    assert words in check_segmentation(segmentation, 8, 8)
    with pytest.raises(TrashkitError, match="segmentation 1: ") as caught:
        masks.label_map([[[0, 0, 1, 0, 1, 1]], segmentation], [1, 1], 8, 8)
    assert words in caught.value.message
    assert "audit" in caught.value.hint


@SETTINGS
@given(st.binary(max_size=12) | st.text(max_size=12), SIZES)
def test_any_counts_text_is_either_exact_or_refused(counts, size):
    segmentation = {"size": list(size), "counts": counts}
    if check_segmentation(segmentation, *size) is None:
        assert masks.mask(segmentation, *size).sum() == run_lengths(counts)[1::2].sum()


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (2**16, 2**16), (17_000, 17_000)])
def test_impossible_image_sizes_are_refused(size):
    with pytest.raises(TrashkitError, match="cannot be rasterised"):
        masks.label_map([[[0, 0, 1, 0, 1, 1]]], [1], *size)


def test_an_unknown_paint_order_names_the_known_ones():
    with pytest.raises(TrashkitError, match="unknown paint order") as caught:
        masks.label_map([], [], 4, 4, order="depth")
    assert "area, class, length, file" in caught.value.hint


def test_half_size_takes_the_even_pixels():
    labels = np.random.default_rng(0).integers(0, 11, (512, 512), dtype=np.uint8)
    assert np.array_equal(masks.resize_nearest(labels, (256, 256)), labels[::2, ::2])
    assert masks.resize_nearest(labels, (512, 512)) is labels
    assert masks.resize_nearest(labels, (100, 30)).shape == (100, 30)


def test_dataset_label_map_rasterises_at_native_size_first():
    ring = [3.0, 3.0, 9.0, 3.0, 9.0, 12.0, 3.0, 12.0]
    annotation = SimpleNamespace(segmentation=[ring], class_index=2, area=math.nan)
    image = SimpleNamespace(row=7, width=16, height=20, file_name="a.jpg")
    dataset = SimpleNamespace(images=(image,), annotations_of=lambda row: (annotation,) if row == 7 else ())
    native = masks.dataset_label_map(dataset, 7)
    assert native.shape == (20, 16)
    small = masks.dataset_label_map(dataset, 7, size=(10, 8))
    assert np.array_equal(small, cv2.resize(native, (8, 10), interpolation=cv2.INTER_NEAREST))
    with pytest.raises(KeyError):
        masks.dataset_label_map(dataset, 6)
    annotation.segmentation = []
    with pytest.raises(TrashkitError, match=r"a\.jpg: segmentation 0: segmentation is empty"):
        masks.dataset_label_map(dataset, 7)


@SETTINGS
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2)))
def test_polygons_from_a_label_map_are_its_components_exactly(labels):
    height, width = labels.shape
    for class_index in (1, 2):
        found = masks.polygons_from_label_map(labels, class_index)
        count, components = cv2.connectedComponents((labels == class_index).astype(np.uint8), connectivity=8)
        assert len(found) == count - 1
        union = np.zeros_like(labels)
        for segmentation in found:
            covered = ann_to_mask(segmentation, height, width)
            numbers = np.unique(components[covered == 1])
            assert len(numbers) == 1
            assert np.array_equal(covered == 1, components == numbers[0])
            union += covered
            json.dumps(segmentation)
        assert np.array_equal(union, labels == class_index)


def test_a_ring_is_a_polygon_without_its_hole_and_an_rle_with_it():
    labels = np.zeros((10, 10), np.uint8)
    labels[2:7, 3:8] = 5
    assert masks.polygons_from_label_map(labels, 5) == [[[3, 2, 3, 7, 8, 7, 8, 2]]]
    labels[4, 5] = 0
    (found,) = masks.polygons_from_label_map(labels, 5)
    assert np.array_equal(masks.mask(found, 10, 10), labels == 5)
    assert found["size"] == [10, 10]
    assert masks.polygons_from_label_map(labels, 4) == []


def test_despeckle_fills_pin_holes_with_the_class_around_them():
    labels = np.zeros((12, 12), np.uint8)
    labels[1:11, 1:6], labels[1:11, 6:11] = 2, 7
    holed = labels.copy()
    holed[3, 3] = holed[8, 8] = 0
    assert np.array_equal(masks.despeckle(holed, 3), labels)
    wide = labels.copy()
    wide[4:7, 2:5] = 0
    assert np.array_equal(masks.despeckle(wide, 3), wide)
    assert np.array_equal(masks.despeckle(wide, 5), labels)
    notch = labels.copy()
    notch[1, 3] = notch[0, 0] = 0  # open to the background around the objects
    assert np.array_equal(masks.despeckle(notch, 5), notch)
    ignored = np.full((5, 5), 255, np.uint8)
    ignored[2, 2] = 0
    assert np.array_equal(masks.despeckle(ignored, 3), ignored)


@SETTINGS
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 1, 4, 255])
    ),
    st.sampled_from([3, 5]),
)
def test_despeckle_changes_background_only_and_invents_no_class(labels, size):
    found = masks.despeckle(labels, size)
    changed = found != labels
    assert (labels[changed] == 0).all()
    half = size // 2
    for row, column in np.argwhere(changed):
        window = labels[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
        votes = {int(value): int((window == value).sum()) for value in window.flat if value not in (0, 255)}
        assert found[row, column] == min(votes, key=lambda value: (-votes[value], value))


@pytest.mark.real
@pytest.mark.parametrize("name", ["household/train.json", "street/annotations.json", "litter/annotations.json"])
def test_real_annotations_are_pixel_exact(real_data: Path, name):
    content = json.loads((real_data / name).read_text())
    for image in content["images"][:60]:
        annotations = [row for row in content["annotations"] if row["image_id"] == image["id"]]
        segmentations = [row["segmentation"] for row in annotations]
        classes = [row["category_id"] for row in annotations]
        areas = [row["area"] for row in annotations]
        found = masks.label_map(segmentations, classes, image["height"], image["width"], areas=areas)
        by = sorted(range(len(areas)), key=lambda number: areas[number], reverse=True)
        assert np.array_equal(found, painted(segmentations, classes, image["height"], image["width"], by)), image


@pytest.mark.slow
@pytest.mark.real
def test_taco_annotations_are_pixel_exact_with_all_their_defects(real_data: Path):
    content = json.loads((real_data / "taco/annotations.json").read_text())
    images = {image["id"]: image for image in content["images"]}
    invalid = [9, 30, 31, 61, 69, 70, 73, 75, 371, 387, 707, 859, 1621, 1777, 1409, 4463]
    for row in [*invalid, *range(0, 4784, 120)]:
        annotation = content["annotations"][row]
        image = images[annotation["image_id"]]
        want = ann_to_mask(annotation["segmentation"], image["height"], image["width"])
        assert np.array_equal(masks.mask(annotation["segmentation"], image["height"], image["width"]), want), row
