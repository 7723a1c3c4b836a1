"""Which photos an epoch shows: repeat factors, batches of all processes, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import read_dataset
from trashkit.nn.data.sampler import (
    EpochBatchSampler,
    classes_present,
    epoch_batches,
    multi_scale_sizes,
    repeat_factors,
)


def test_repeat_factors_are_those_of_the_paper():
    present = np.zeros((100, 4), bool)
    present[:, 1] = True
    present[:4, 2] = True
    present[0, 3] = True
    factors = repeat_factors(present, 0.16, 100.0)
    assert factors[50] == 1.0
    assert factors[1] == pytest.approx(2.0)  # sqrt(0.16 / 0.04)
    assert factors[0] == pytest.approx(4.0)  # sqrt(0.16 / 0.01), the larger of two
    assert repeat_factors(present, 0.16, 3.0)[0] == 3.0
    assert (repeat_factors(present, 0.001, 100.0) == 1.0).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 99), count=st.integers(2, 40), batch=st.integers(1, 9), processes=st.integers(1, 3))
def test_every_photo_comes_as_often_as_its_factor_rounded(seed, count, batch, processes):
    repeats = np.random.default_rng(seed).uniform(0.3, 4.0, count)
    length = round(repeats.sum())
    scaled = repeats * length / repeats.sum()
    for epoch in range(3):
        order = epoch_batches(count, batch, seed=seed, epoch=epoch, processes=processes, repeats=repeats)
        shown = np.bincount([position for part in order for position in part], minlength=count)
        assert len(order) % processes == 0
        if shown.sum() == length:
            assert (shown >= np.floor(scaled - 1e-9)).all()
            assert (shown <= np.ceil(scaled + 1e-9)).all()
            assert max(map(len, order)) <= batch or batch == 1
        else:  # so few that batch norm needs more
            assert length < 2 * len(order)


def test_the_average_over_epochs_is_the_factor():
    repeats = np.array([0.5, 1.0, 1.5, 2.75, 0.25])
    shown = np.zeros(5)
    for epoch in range(4000):
        shown += np.bincount(np.concatenate(epoch_batches(5, 3, seed=1, epoch=epoch, repeats=repeats)), minlength=5)
    assert np.abs(shown / 4000 - repeats).max() < 0.03


@settings(max_examples=40, deadline=None)
@given(processes=st.integers(1, 4), count=st.integers(8, 40), seed=st.integers(0, 50), epoch=st.integers(0, 5))
def test_processes_share_an_epoch_without_overlap_and_with_equal_sizes(processes, count, seed, epoch):
    repeats = np.random.default_rng(seed).uniform(0.5, 3.0, count)
    every = [
        EpochBatchSampler(count, 3, seed=seed, rank=rank, processes=processes, repeats=repeats, sizes=(64, 96, 128))
        for rank in range(processes)
    ]
    for batches in every:
        batches.epoch = epoch
    drawn = [list(batches) for batches in every]
    assert len({len(batches) for batches in drawn}) == 1
    assert len(drawn[0]) == len(every[0])
    flat = [draw for batches in drawn for batch in batches for draw in batch]
    assert len(flat) == every[0].photos_per_epoch
    # No (photo, repeat) comes twice: each repeat has its own augmentation.
    assert len({(draw.position, draw.repeat) for draw in flat}) == len(flat)
    for step in zip(*drawn, strict=True):
        assert len({draw.size for batch in step for draw in batch}) == 1
    alone = EpochBatchSampler(count, 3, seed=seed, processes=processes, repeats=repeats, sizes=(64, 96, 128))
    alone.epoch = epoch
    assert list(alone) == drawn[0]


def test_sizes_are_multiples_that_fit():
    assert multi_scale_sizes(192, 0.0) == [192]
    assert multi_scale_sizes(192, 0.25) == [160, 192, 224]
    assert multi_scale_sizes(200, 0.25) == [160, 192, 200, 224]
    assert multi_scale_sizes(64, 0.75) == [32, 64, 96]
    assert multi_scale_sizes(32, 0.5) == [32]
    drawn = set()
    batches = EpochBatchSampler(200, 2, seed=0, sizes=multi_scale_sizes(192, 0.25))
    for batch in batches:
        drawn |= {draw.size for draw in batch}
    assert drawn == {160, 192, 224}


def test_classes_present_are_those_of_the_annotations(drawn):
    dataset = read_dataset(drawn)
    present = classes_present(dataset, dataset.images[3:])
    assert present.shape == (len(dataset.images) - 3, len(dataset.classes))
    for row, image in zip(present, dataset.images[3:], strict=True):
        assert set(np.flatnonzero(row)) == {a.class_index for a in dataset.annotations_of(image.row)}
