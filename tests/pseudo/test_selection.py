"""Laws of certainty and thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trashkit.errors import TrashkitError
from trashkit.pseudo.selection import IGNORE, STEPS, Selection, certainty, histogram, select, thresholds, votes

counts_of = hnp.arrays(np.int64, (4, STEPS + 1), elements=st.integers(0, 3))
shares = st.floats(0, 1)


def softmax(seed: int, classes: int = 5, side: int = 12) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 3, (classes, side, side))
    values = np.exp(logits)
    return (values / values.sum(0)).astype(np.float32)


def test_measures_match_their_definition():
    values = softmax(0)
    ordered = np.sort(values, axis=0)
    entropy = -(values * np.log(values)).sum(0) / np.log(5)
    for measure, wanted in (
        ("confidence", ordered[-1]),
        ("margin", ordered[-1] - ordered[-2]),
        ("entropy", 1 - entropy),
    ):
        assert np.abs(certainty(values, measure) / STEPS - wanted).max() < 1.2 / STEPS


@pytest.mark.parametrize("measure", ["confidence", "margin", "entropy"])
def test_certain_is_1_and_undecided_is_least(measure):
    sure = np.zeros((4, 1, 1), np.float32)
    sure[2] = 1
    assert certainty(sure, measure)[0, 0] == STEPS
    even = np.full((4, 1, 1), 0.25, np.float32)
    assert certainty(even, measure)[0, 0] == (250 if measure == "confidence" else 0)


@pytest.mark.parametrize("value", [0.3, 0.7, 0.9, 0.95])
def test_a_pixel_exactly_at_the_threshold_is_kept(value):
    values = np.array([value, 1 - value], np.float32).reshape(2, 1, 1)
    high = np.float32(max(value, 1 - value))
    chosen = thresholds(np.zeros((2, STEPS + 1), np.int64), Selection(threshold=float(f"{high:.3g}")))
    labels = values.argmax(0).astype(np.uint8)
    assert select(labels, certainty(values, "confidence"), chosen)[0, 0] != IGNORE


@given(counts_of, shares, shares)
def test_every_class_keeps_at_least_its_share_and_all_above_the_threshold(counts, threshold, at_least):
    selection = Selection(threshold=threshold, at_least=at_least)
    chosen = thresholds(counts, selection)
    plain = thresholds(counts, Selection(threshold=threshold))
    assert (chosen <= plain).all()
    assert len(set(plain.tolist())) == 1
    for row, step in zip(counts, chosen, strict=True):
        assert row[step:].sum() >= at_least * row.sum() - 1e-6
        if row.sum() and step < plain[0]:  # no lower than needed
            assert row[step + 1 :].sum() < at_least * row.sum()


@given(counts_of, shares, st.lists(st.integers(1, 100), min_size=4, max_size=4))
def test_no_class_keeps_more_than_its_share_of_the_training_pixels(counts, threshold, parts):
    mix = np.array(parts) / sum(parts)
    plain = thresholds(counts, Selection(threshold=threshold))
    chosen = thresholds(counts, Selection(threshold=threshold, balance=True), mix)
    assert (chosen >= plain).all()
    before = sum(int(row[step:].sum()) for row, step in zip(counts, plain, strict=True))
    for row, step, share in zip(counts, chosen, mix, strict=True):
        assert row[step:].sum() <= share * before


@given(st.integers(0, 50), shares, shares)
def test_histogram_agrees_with_select(seed, threshold, at_least):
    values = softmax(seed)
    labels, steps = values.argmax(0).astype(np.uint8), certainty(values, "confidence")
    counts = histogram(labels, steps, 5)
    assert counts.sum() == labels.size
    chosen = thresholds(counts, Selection(threshold=threshold, at_least=at_least))
    made = select(labels, steps, chosen)
    for index in range(5):
        assert (made == index).sum() == counts[index, chosen[index] :].sum()
    kept = made != IGNORE
    assert (made[kept] == labels[kept]).all()


def test_agreement_counts_members_that_predict_the_label():
    first, second, third = softmax(1), softmax(2), softmax(3)
    labels = first.argmax(0).astype(np.uint8)
    agree = votes([first, second, third], labels)
    wanted = 1 + (second.argmax(0) == labels) + (third.argmax(0) == labels)
    assert np.allclose(agree * 3, wanted)
    steps, chosen = np.full(labels.shape, STEPS, np.int32), np.zeros(5, np.int32)
    assert ((select(labels, steps, chosen, agree, 1.0) != IGNORE) == (wanted == 3)).all()
    assert ((select(labels, steps, chosen, agree, 2 / 3) != IGNORE) == (wanted >= 2)).all()


@pytest.mark.parametrize("wrong", [{"measure": "luck"}, {"threshold": 1.5}, {"at_least": -0.1}, {"agreement": 2.0}])
def test_invalid_values_are_refused(wrong):
    with pytest.raises(TrashkitError):
        Selection(**wrong)
