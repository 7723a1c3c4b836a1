"""Features of images, deviations and floors."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Annotation, Coco, Dataset, Image, read_dataset
from trashkit.raster.masks import mask, rle
from trashkit.split.objective import (
    annotation_area,
    deviation_floors,
    deviations,
    image_features,
    joint_floors,
    sum_by_group,
)

IMAGE = Image(0, 1, "a.jpg", 50, 40)


def annotation(segmentation: object, area: float) -> Annotation:
    return Annotation(0, 1, 0, 1, 1, segmentation, area, None, False)  # type: ignore[arg-type]


def test_area_comes_from_the_file_or_else_from_the_segmentation() -> None:
    ring = [2.0, 2.0, 12.0, 2.0, 12.0, 8.0, 2.0, 8.0]
    assert annotation_area(annotation([ring], 7.5), IMAGE) == 7.5
    for missing in (float("nan"), 0.0, -3.0, float("inf")):
        assert annotation_area(annotation([ring, ring], missing), IMAGE) == 120.0
    packed = rle([ring], 40, 50)
    assert annotation_area(annotation(packed, float("nan")), IMAGE) == mask([ring], 40, 50).sum()
    loose = {"size": [40, 50], "counts": [100, 30, 1870]}
    assert annotation_area(annotation(loose, float("nan")), IMAGE) == 30
    assert annotation_area(annotation([ring], 1e9), IMAGE) == 2000


def test_features_agree_with_a_plain_count(build: Callable[..., Dataset]) -> None:
    dataset = build(40, seed=3, classes=4)
    features = image_features(dataset)
    column = {(c, n): k for k, (c, n) in enumerate(zip(features.criteria, features.names, strict=True))}
    for n, image in enumerate(dataset.images):
        own = dataset.annotations_of(image.row)
        for name in features.classes:
            number = dataset.classes.names.index(name)
            mine = [a for a in own if a.class_index == number]
            assert features.values[n, column["instances", name]] == len(mine)
            assert features.values[n, column["support", name]] == bool(mine)
            assert features.values[n, column["pixel_share", name]] == pytest.approx(sum(a.area for a in mine) / 8000)
        bins = [features.values[n, k] for (c, _), k in column.items() if c == "objects_per_image"]
        assert sum(bins) == 1
        assert bins[0] == (not own)
    sizes = features.columns("object_size")
    assert features.values[:, sizes].sum() == len(dataset.annotations)
    assert set(features.classes) == {"Paper", "Metal", "Glass", "Plastic"}
    support = features.support.sum(axis=0)
    assert (np.diff(support) >= 0).all()


def test_statistics_are_binned_by_quartiles_without_nan(build: Callable[..., Dataset]) -> None:
    statistics = np.arange(20.0)[:, None].copy()
    statistics[3] = np.nan
    features = image_features(build(20), statistics=statistics, statistic_names=["brightness"])
    quarters = features.values[:, features.columns("statistics")]
    assert quarters.shape == (20, 4)
    assert quarters.sum(axis=1).tolist() == [float(n != 3) for n in range(20)]
    assert quarters.sum(axis=0).min() >= 4


def test_categories_without_annotations_have_no_features() -> None:
    coco = Coco.of(
        {
            "images": [{"id": n, "file_name": f"{n}.jpg", "width": 10, "height": 10} for n in range(3)],
            "annotations": [],
            "categories": [{"id": 1, "name": "Paper"}],
        }
    )
    features = image_features(read_dataset(coco))
    assert features.classes == ()
    assert len(features.columns("pixel_share")) == 0


def test_deviation_is_relative_to_the_share() -> None:
    values = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    off = deviations(values, np.array([0, 0, 1]), np.array([0.75, 0.25]))
    assert off[:, 0] == pytest.approx([2 / 3 - 1, 1.0])
    assert np.isnan(off[:, 1]).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=3, max_size=7).filter(any),
    st.sampled_from([(0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.8, 0.2)]),
    st.booleans(),
)
def test_no_split_is_better_than_the_floor(units: list[int], shares: tuple[float, ...], whole: bool) -> None:
    values = np.array(units, dtype=float)[:, None] ** (1 if whole else 0.7)
    share = np.array(shares)
    folds = (np.array(f) for f in itertools.product(range(len(shares)), repeat=len(units)))
    best = min(float(np.abs(deviations(values, fold, share)).max()) for fold in folds)
    assert deviation_floors(values, share)[0] <= best + 1e-9


def test_the_floor_is_reached_in_a_simple_case() -> None:
    equal = np.full(5, 0.2)
    assert deviation_floors(np.ones((11, 1)), equal)[0] == pytest.approx(
        3 / 2.2 - 1
    )  # 11 images: some fold has 3 of 2.2
    assert deviation_floors(np.array([[6.0], [1], [1], [1], [1]]), equal)[0] == pytest.approx(2.0)
    assert deviation_floors(np.array([[3.0]] * 6), equal)[0] == pytest.approx(1 / 1.2 * 2 - 1)


def test_gather_sums_groups() -> None:
    assert sum_by_group(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1])).tolist() == [[2.0], [5.0]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=3, max_size=7).filter(
        lambda units: any(held and images for held, images in units)
    ),
    st.sampled_from([2, 3]),
)
def test_no_split_with_even_images_is_better_than_the_joint_floor(units: list[tuple[int, int]], parts: int) -> None:
    support = np.array([[float(images)] for _, images in units])
    values = np.array([[held if images else 0.0] for held, images in units])
    share = np.full(parts, 1 / parts)
    floor = joint_floors(values, support, share)[0]
    for fold in itertools.product(range(parts), repeat=len(units)):
        held = np.bincount(fold, support[:, 0], parts)
        if held.min() >= np.floor(support.sum() / parts):
            assert floor <= np.abs(deviations(values, np.array(fold), share)).max() + 1e-9


def test_one_photo_with_a_folds_share_is_explained_by_the_joint_floor() -> None:
    values = np.array([[53.0], *[[2.0]] * 90, *[[1.0]] * 4])
    joint = joint_floors(values, np.ones_like(values), np.full(5, 0.2))[0]
    # 95 images: the fold of the large one needs 18 more, four of which can hold 1.
    assert joint == pytest.approx((53 + 4 + 14 * 2) * 5 / 237 - 1)
    assert joint_floors(values, np.ones_like(values), np.array([0.8, 0.2]))[0] == 0
