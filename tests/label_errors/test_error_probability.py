"""The statistics behind label errors, against their formulas, scikit-learn and cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from trashkit.label_errors.class_reliability import ClassReliability
from trashkit.label_errors.error_probability import (
    Samples,
    error_probabilities,
    estimate_shares,
    fit_logistic,
    posteriors,
)
from trashkit.label_errors.image_view import ImageView, annotation_features, softmin, visible_boxes


def test_softmin_is_that_of_the_paper() -> None:
    """Against the formula written out: scores weighted by softmax((1 - s) / T), T = 0.1."""
    scores = np.random.default_rng(0).random(500)
    weights = np.exp((1 - scores) / 0.1)
    assert softmin(scores) == pytest.approx((weights / weights.sum() * scores).sum(), rel=1e-9)


def test_means_are_those_of_the_pixels() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((4, 20, 30), dtype=np.float32)
    values /= values.sum(axis=0)
    instance_map = np.full((20, 30), -1, np.int32)
    instance_map[2:9, 3:12], instance_map[5:15, 10:22] = 0, 2
    view = ImageView.build(values, instance_map, np.array([1, 2, 3]), np.zeros(3))
    measured = annotation_features(view)
    for k in (0, 2):
        np.testing.assert_allclose(measured.means[k], values[:, instance_map == k].mean(axis=1), rtol=1e-5)
    assert np.isnan(measured.features[1]).all() and measured.area[1] == 0
    assert visible_boxes(instance_map, 3)[0] == (2, 9, 3, 12) and visible_boxes(instance_map, 3)[1] == (0, 0, 0, 0)
    alone = annotation_features(view, [2])
    np.testing.assert_array_equal(alone.features[2, :-2], measured.features[2, :-2])
    assert np.isnan(alone.features[0]).all()


def test_logistic_weights_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = np.concatenate([np.ones((300, 1)), rng.normal(size=(300, 4))], axis=1)
    y = rng.random(300) < 1 / (1 + np.exp(-(x @ [0.3, 1, -2, 0, 0.5])))
    theirs = sklearn.LogisticRegression(C=1 / 2.0, class_weight="balanced", tol=1e-8, max_iter=1000)
    theirs.fit(x[:, 1:], y)
    np.testing.assert_allclose(fit_logistic(x, y, ridge=2.0)[1:], theirs.coef_[0], atol=1e-3)


def test_posteriors_are_those_of_bayes() -> None:
    """Two normal distributions, 8 % in the second: the ratio is known, and so is the answer."""
    rng = np.random.default_rng(0)
    wrong = rng.random(4000) < 0.08
    x = rng.normal(np.where(wrong, 3.0, 0.0), 1.0)
    probability = posteriors([3 * x - 4.5], np.array([0.08]))
    likely = probability[:, 0] > 0.5
    assert wrong[likely].mean() == pytest.approx(probability[likely, 0].mean(), abs=0.06)
    assert probability.sum() == pytest.approx(wrong.sum(), rel=0.1)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.1, 0.25])
def test_shares_are_found_from_tails(share: float) -> None:
    """Two kinds of error among correct rows: each is found, and none without errors."""
    rng = np.random.default_rng(1)
    kind = rng.choice(3, 3000, p=[1 - 1.5 * share, share, 0.5 * share])
    middles = np.array([[-1.0, -1.0], [3.0, -1.0], [-1.0, 3.0]])
    real = middles[kind] + rng.normal(size=(3000, 2))
    planted = [middles[k] + rng.normal(size=(400, 2)) for k in (1, 2)]
    assert estimate_shares(real, planted) == pytest.approx([share, 0.5 * share], abs=0.012)


def test_few_errors_are_not_overestimated() -> None:
    """Errors in 4 % of the rows, judged from features: about as many are expected, and they rank first."""
    rng = np.random.default_rng(2)
    wrong = rng.random(1500) < 0.04
    real = rng.normal(size=(1500, 5)) + np.where(wrong[:, None], [2.5, 1, 0, 0, -1], 0)
    planted = rng.normal(size=(400, 5)) + np.array([2.5, 1, 0, 0, -1])
    images = np.arange(1500) // 3
    made = Samples(planted, rng.integers(0, 500, 400), np.ones((400, 1)))
    probability, _ = error_probabilities(Samples(real, images, np.ones((1500, 1))), [made])
    assert wrong.sum() / 1.6 <= probability.sum() <= 1.6 * wrong.sum()
    assert wrong[np.argsort(-probability[:, 0])[:30]].mean() > 0.7


def test_informedness_is_recall_minus_false_alarms() -> None:
    given = np.repeat([1, 2, 3, 4], [100, 100, 100, 2])
    leading = np.concatenate([np.repeat([1, 2], [90, 10]), np.repeat([2, 1], [40, 60]), np.full(100, 1), [1, 1]])
    reliability = ClassReliability.from_annotations(given, leading, np.repeat([0.9, 0.6, 0.4], [100, 100, 102]), 5)
    np.testing.assert_allclose(reliability.recall[1:], [0.9, 0.4, 0.0, 0.0])
    plain = [0.9 - 162 / 202, 0.4 - 10 / 202, 0.0]
    mean = (np.sum(plain) * 100 + 0.0) / 302
    np.testing.assert_allclose(reliability.informedness[1:4], (np.array(plain) * 100 + mean * 12) / 112)
    assert reliability.class_weights()[3] == 0 and 0 < reliability.class_weights()[2] < 1
    assert reliability.unreliable_classes() == [1, 3], "two annotations of class 4 are not evidence"
    assert reliability.object_weights()[1] == 1 and reliability.object_weights()[3] == 0
