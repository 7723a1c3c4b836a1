"""Scores against scikit-learn and torchmetrics, laws of pooling, and the bootstrap against a loop."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix, jaccard_score, precision_score, recall_score

from trashkit.errors import TrashkitError
from trashkit.metrics import scores

NAMES = tuple("abcdefghijk")
SETTINGS = settings(max_examples=150, deadline=None)


@st.composite
def pairs(draw, values=11):
    """Truth and prediction of one shape, few classes present, some pixels ignored."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    present = draw(st.lists(st.integers(0, values - 1), min_size=1, max_size=4))
    guessed = draw(st.lists(st.integers(0, values - 1), min_size=1, max_size=4))
    truth = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*present, 255])))
    prediction = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from(guessed)))
    return truth, prediction


def random_matrices(images: int, classes: int = 11, seed: int = 0) -> np.ndarray:
    """A long-tailed mix in which the last class is rare."""
    generator = np.random.default_rng(seed)
    share = 0.4 ** np.arange(classes)
    matrices = generator.poisson(2000 * share[:, None] * (0.05 + np.eye(classes)), (images, classes, classes))
    return (matrices * (generator.random((images, classes, 1)) < 0.4)).astype(np.int64)


@SETTINGS
@given(pairs())
def test_confusion_is_that_of_scikit_learn(pair):
    truth, prediction = pair
    kept = truth != 255
    found = scores.confusion(truth, prediction, 11)
    assert found.dtype == np.int64
    want = np.zeros((11, 11), int)
    if kept.any():
        want = confusion_matrix(truth[kept], prediction[kept], labels=range(11))
    assert np.array_equal(found, want)


@SETTINGS
@given(pairs())
def test_class_scores_are_those_of_scikit_learn(pair):
    truth, prediction = pair
    kept = truth != 255
    found = scores.Confusion.of(truth, prediction, NAMES)
    if not kept.any():
        assert np.isnan(found.iou()).all()
        assert np.isnan([found.miou(), found.pixel_accuracy()]).all()
        return
    options = {"labels": range(11), "average": None, "zero_division": np.nan}
    truth, prediction = truth[kept], prediction[kept]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = jaccard_score(truth, prediction, labels=range(11), average=None, zero_division=0)
        macro = jaccard_score(truth, prediction, labels=range(11), average="macro", zero_division=0)
        seen = jaccard_score(truth, prediction, labels=np.unique(truth), average="macro", zero_division=0)
        precision = precision_score(truth, prediction, **options)
        recall = recall_score(truth, prediction, **options)
    either = np.isin(range(11), truth) | np.isin(range(11), prediction)
    assert np.array_equal(np.isnan(found.iou()), ~either)
    np.testing.assert_allclose(found.iou()[either], want[either])
    np.testing.assert_allclose(found.precision(), precision)
    np.testing.assert_allclose(found.recall(), recall)
    assert found.pixel_accuracy() == pytest.approx((truth == prediction).mean())
    assert found.support().tolist() == np.bincount(truth, minlength=11).tolist()
    definitions = found.definitions()
    assert definitions["pooled"] == pytest.approx(want[either].mean())
    assert definitions["pooled_all_classes"] == pytest.approx(macro)
    assert definitions["pooled_present_in_truth"] == pytest.approx(seen)
    if either[1:].any():
        assert definitions["pooled_no_background"] == pytest.approx(want[1:][either[1:]].mean())
    else:
        assert np.isnan(definitions["pooled_no_background"])


@settings(max_examples=40, deadline=None)
@given(pairs())
def test_pooled_miou_is_that_of_torchmetrics(pair):
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    truth, prediction = pair
    if (truth == 255).all():
        return
    metric = classification.MulticlassJaccardIndex(11, average="macro", ignore_index=255, validate_args=False)
    tensors = [torch.from_numpy(labels.astype(np.int64)).reshape(1, *labels.shape) for labels in (prediction, truth)]
    want = float(metric(*tensors))
    assert scores.Confusion.of(truth, prediction, NAMES).miou() == pytest.approx(want, abs=1e-6)


def test_absent_classes_are_skipped_and_invented_ones_count_zero():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    right = scores.Confusion.of(truth, truth, NAMES)
    assert right.miou() == 1
    assert np.isnan(right.iou()[2:]).all()
    invented = scores.Confusion.of(truth, np.array([[0, 0, 1, 5]], np.uint8), NAMES)
    found = invented.definitions()
    assert invented.iou()[5] == 0
    assert found["pooled"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["pooled_no_background"] == pytest.approx((0.5 + 0) / 2)
    assert found["pooled_present_in_truth"] == pytest.approx((1 + 0.5) / 2)
    assert found["pooled_all_classes"] == pytest.approx((1 + 0.5) / 11)
    assert np.isnan(invented.precision()[6])
    assert np.isnan(invented.recall()[5])
    assert list(found) == [name for name in scores.DEFINITIONS if name != "mean_over_images"]


def test_the_two_definitions_of_miou_differ_as_expected():
    first = scores.confusion(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 0]]), 11)
    second = scores.confusion(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 0, 1]]), 11)
    pooled = scores.Confusion(first + second, NAMES)
    found = pooled.definitions(np.stack([first, second]))
    assert found["pooled"] == pytest.approx((5 / 7 + 1 / 3) / 2)
    assert found["mean_over_images"] == pytest.approx((1 + (1 / 3 + 1 / 3) / 2) / 2)
    assert list(found) == list(scores.DEFINITIONS)
    nothing = np.stack([first, np.zeros_like(first)])
    assert scores.per_image_miou(nothing).tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert pooled.definitions(nothing)["mean_over_images"] == 1


@SETTINGS
@given(st.lists(pairs(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_confusions_add_up_in_any_order(images, random):
    parts = [scores.Confusion.of(truth, prediction, NAMES) for truth, prediction in images]
    want = sum(parts, scores.Confusion.empty(NAMES))
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert np.array_equal(sum(shuffled, scores.Confusion.empty(NAMES)).matrix, want.matrix)
    flat = [np.concatenate([image[side].ravel() for image in images]) for side in (0, 1)]
    assert np.array_equal(scores.confusion(*flat, 11), want.matrix)
    np.testing.assert_array_equal(scores.Confusion.of(*flat, NAMES).iou(), want.iou())


@SETTINGS
@given(pairs())
def test_swapping_truth_and_prediction_transposes(pair):
    truth, prediction = pair
    truth = np.where(truth == 255, 0, truth)
    ahead, back = scores.Confusion.of(truth, prediction, NAMES), scores.Confusion.of(prediction, truth, NAMES)
    assert np.array_equal(ahead.matrix, back.matrix.T)
    np.testing.assert_array_equal(ahead.precision(), back.recall())


@pytest.mark.parametrize("classes", [1, 2, 11, 60, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int32, np.uint16])
def test_any_class_count_and_integer_type(classes, dtype):
    generator = np.random.default_rng(classes)
    truth, prediction = generator.integers(0, classes, (2, 3, 40, 50)).astype(dtype)
    truth[0, :4] = 255
    kept = truth != 255
    want = confusion_matrix(truth[kept], prediction[kept], labels=range(classes))
    assert np.array_equal(scores.confusion(truth, prediction, classes), want)
    strided = scores.confusion(truth[:, ::2, ::3], prediction[:, ::2, ::3], classes)
    assert strided.sum() == kept[:, ::2, ::3].sum()


def test_counts_stay_exact_beyond_the_range_of_float32():
    truth = np.zeros(2**24 + 2**23 + 3, np.uint8)
    assert scores.confusion(truth, truth, 2)[0, 0] == truth.size


def test_wrong_input_is_named():
    truth = np.zeros((4, 6), np.uint8)
    with pytest.raises(TrashkitError, match="truth is 6x4 but the prediction 4x6"):
        scores.confusion(truth, truth.T, 11)
    high = truth.copy()
    high[0, :2] = 11
    with pytest.raises(TrashkitError, match="prediction holds class 11 at 2 pixels, but there are 11 classes, 0 to 10"):
        scores.confusion(truth, high, 11)
    with pytest.raises(TrashkitError, match="truth holds class 11 at 2 pixels"):
        scores.confusion(high, truth, 11)
    unsure = truth.copy()
    unsure[0, 0] = 255
    with pytest.raises(TrashkitError, match="prediction holds class 255 at 1 pixels"):
        scores.confusion(truth, unsure, 11)
    assert scores.confusion(unsure, unsure, 11).sum() == 23
    assert scores.confusion(high, truth, 11, ignore=11).sum() == 22
    with pytest.raises(TrashkitError, match="outside 0 to 255"):
        scores.confusion(truth.astype(int) - 1, truth, 11)
    with pytest.raises(TypeError, match="whole numbers"):
        scores.confusion(truth.astype(float), truth, 11)
    with pytest.raises(ValueError, match="classes"):
        scores.confusion(truth, truth, 256)
    with pytest.raises(ValueError, match="different classes"):
        scores.Confusion.empty(("a",)) + scores.Confusion.empty(("b",))
    with pytest.raises(ValueError, match="does not fit"):
        scores.Confusion(np.zeros((2, 2), np.int64), ("a",))


def test_no_pixels_give_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = scores.Confusion.of(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8), NAMES)
        assert np.isnan(nothing.miou())
        assert np.isnan(nothing.pixel_accuracy())
        assert np.isnan(nothing.precision()).all()
        assert np.isnan(scores.bootstrap_miou(nothing.matrix[None], 5)).all()
        assert np.isnan(scores.interval(scores.bootstrap_miou(nothing.matrix[None], 5))).all()


def test_bootstrap_equals_drawing_images_one_by_one():
    matrices = random_matrices(37)
    found = scores.bootstrap_iou(matrices, 50, seed=3)
    drawn = np.random.default_rng(3).integers(0, 37, (50, 37))
    for row, images in enumerate(drawn):
        want = scores.Confusion(matrices[images].sum(axis=0), NAMES)
        np.testing.assert_array_equal(found[row], want.iou())
        assert scores.bootstrap_miou(matrices, 50, seed=3)[row] == pytest.approx(want.miou())


def test_bootstrap_depends_only_on_its_seed(monkeypatch):
    matrices = random_matrices(30)
    first = scores.bootstrap_miou(matrices, 40, seed=1)
    assert np.array_equal(first, scores.bootstrap_miou(matrices, 40, seed=1))
    assert not np.array_equal(first, scores.bootstrap_miou(matrices, 40, seed=2))
    monkeypatch.setattr(scores, "_DRAWS", 100)  # a few resamples at a time: the same stream of draws
    assert np.array_equal(first, scores.bootstrap_miou(matrices, 40, seed=1))
    assert scores.bootstrap_miou(matrices, 0).shape == (0,)


def test_paired_differences_cancel_errors_that_models_share():
    first = random_matrices(60)
    assert (scores.bootstrap_miou_difference(first, first) == 0).all()
    better = first.copy()
    moved = better[:, 0, 1] // 2
    better[:, 0, 1] -= moved
    better[:, 0, 0] += moved
    gained = scores.bootstrap_miou_difference(first, better, 200)
    assert (gained > 0).all()
    assert gained.std() < scores.bootstrap_miou(first, 200).std() / 5
    low, high = scores.interval(gained)
    assert low < np.median(gained) < high
    assert scores.interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    with pytest.raises(ValueError, match="same images"):
        scores.bootstrap_miou_difference(first, first[1:])


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    whole = random_matrices(4000, classes=5, seed=1)
    truth = scores.per_image_miou(whole.sum(axis=0)[None])[0]
    generator = np.random.default_rng(2)
    covered = 0
    for seed in range(100):
        sample = whole[generator.integers(0, 4000, 150)]
        low, high = scores.interval(scores.bootstrap_miou(sample, 200, seed), 0.9)
        covered += low <= truth <= high
    assert 80 <= covered <= 98


def test_a_thousand_resamples_of_the_test_set_take_less_than_two_seconds():
    matrices = random_matrices(819)
    start = time.perf_counter()
    scores.bootstrap_miou_difference(matrices, matrices, 1000)
    assert time.perf_counter() - start < 2
