"""What is wrong with wrong pixels: against a slow definition, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashkit.metrics.error_kinds import (
    BOUNDARY,
    FOUND,
    INVENTED,
    KINDS,
    MISSED,
    NEAR,
    WRONG_CLASS,
    ErrorCounts,
    error_kinds,
    summaries,
)
from trashkit.metrics.scores import Confusion, confusion

Labels = NDArray[np.uint8]


def region(labels: Labels, counted: NDArray[np.bool_], start: tuple[int, int]) -> set[tuple[int, int]]:
    """The connected pixels of one class around a pixel, diagonals included."""
    found, waiting = {start}, [start]
    while waiting:
        y, x = waiting.pop()
        for place in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
            inside = 0 <= place[0] < labels.shape[0] and 0 <= place[1] < labels.shape[1]
            if inside and place not in found and counted[place] and labels[place] == labels[start]:
                found.add(place)
                waiting.append(place)
    return found


def slow(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """The definition, pixel by pixel."""
    counts = np.zeros((len(KINDS), classes, classes), np.int64)
    counted, reach = truth != 255, NEAR * np.hypot(*truth.shape)
    for y, x in np.argwhere(counted & (truth != predicted)).tolist():
        t, p = int(truth[y, x]), int(predicted[y, x])
        right = np.argwhere(counted & (truth != 0) if t == 0 else truth == p)
        near = bool(len(right)) and np.hypot(*(right - (y, x)).T).min() <= reach + 1e-6
        for labels, others in ((truth, predicted), (predicted, truth)):
            if labels[y, x] != 0:
                places = region(labels, counted, (y, x))
                agrees = [others[at] == labels[y, x] if t and p else others[at] not in (0, 255) for at in places]
                near &= sum(agrees) >= FOUND * len(places)
        kind = BOUNDARY if near else MISSED if p == 0 else INVENTED if t == 0 else WRONG_CLASS
        counts[kind, t, p] += 1
    return counts


@given(
    seed=st.integers(0, 10_000), size=st.tuples(st.integers(1, 14), st.sampled_from([1, 7, 60])), blocks=st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_equal_to_the_slow_definition_and_sums_to_all_wrong_pixels(
    seed: int, size: tuple[int, int], blocks: bool
) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, (2, *size), np.uint8)
    if blocks:  # large regions, most of them right
        truth = np.repeat(truth, 5, axis=1)[:, : size[1]]
        predicted = np.where(rng.random(size) < 0.8, np.roll(truth, 1, axis=1), predicted).astype(np.uint8)
    truth[rng.random(size) < 0.1] = 255
    found = error_kinds(truth, predicted, 4)
    np.testing.assert_array_equal(found, slow(truth, predicted, 4))
    wrong = confusion(truth, predicted, 4)
    np.fill_diagonal(wrong, 0)
    np.testing.assert_array_equal(found.sum(axis=0), wrong)


def scene() -> Labels:
    """Class 1 at the left, class 2 at the right, 200 x 200: edges up to 5 pixels away are near."""
    truth = np.zeros((200, 200), np.uint8)
    truth[40:100, 20:80], truth[40:100, 120:180] = 1, 2
    return truth


def shares(truth: Labels, predicted: Labels) -> dict[str, int]:
    return dict(zip(KINDS, error_kinds(truth, predicted, 4).sum(axis=(1, 2)).tolist(), strict=True))


def test_each_kind_by_hand() -> None:
    truth = scene()
    assert not any(shares(truth, truth).values())
    moved = np.roll(truth, 3, axis=1)
    assert shares(truth, moved) == {**dict.fromkeys(KINDS, 0), "boundary": 2 * 2 * 3 * 60}
    missing = np.where(truth == 2, 0, truth)
    assert shares(truth, missing) == {**dict.fromkeys(KINDS, 0), "missed object": 3600}
    more = truth.copy()
    more[150:170, 20:40] = 3
    assert shares(truth, more) == {**dict.fromkeys(KINDS, 0), "invented object": 400}
    swapped = np.where(truth == 2, 3, truth)
    assert shares(truth, swapped) == {**dict.fromkeys(KINDS, 0), "wrong class": 3600}
    moved_too = np.where(moved == 2, 3, np.where(truth == 1, 1, 0))  # the edge is an error of its own
    assert shares(truth, moved_too) == {**dict.fromkeys(KINDS, 0), "wrong class": 57 * 60, "boundary": 2 * 3 * 60}


def test_a_part_of_an_object_is_missed_apart_from_its_edge() -> None:
    truth = scene()
    half = truth.copy()
    half[:, 50:80] = 0  # the right half of the first object
    found = shares(truth, half)
    assert found["missed object"] + found["boundary"] == 1800
    assert found["boundary"] == 1800 - 25 * 50  # within 5 pixels of the background on three sides


def test_fixing_a_kind_gives_the_score_of_a_prediction_without_it() -> None:
    truth = scene()
    predicted = np.roll(np.where(truth == 2, 3, truth), 2, axis=0)
    predicted[170:190, 150:190] = 1
    pooled = error_kinds(truth, predicted, 4)
    errors = ErrorCounts(pooled, pooled.sum(axis=(1, 2))[None])
    names = ("Background", "a", "b", "c")
    now = Confusion(confusion(truth, predicted, 4), names)
    for kind, one in enumerate(summaries(errors, now)):
        fixed = errors.fixed(now, kind)
        assert fixed.matrix.sum() == now.matrix.sum()
        assert (fixed.matrix >= 0).all()
        assert one.miou == pytest.approx(fixed.miou())
        assert one.gain == pytest.approx(fixed.miou() - now.miou())
        assert sum(one.per_class.values()) == one.pixels
        assert one.per_class["Background"] == 0
    assert sum(one.share for one in summaries(errors, now)) == pytest.approx(1)
    without_invention = predicted.copy()
    without_invention[170:190, 150:190] = 0
    expected = Confusion(confusion(truth, without_invention, 4), names).miou()
    assert summaries(errors, now)[INVENTED].miou == pytest.approx(expected)
    assert errors.worst(INVENTED, 5) == [0]
    assert errors.worst(MISSED, 5) == []
