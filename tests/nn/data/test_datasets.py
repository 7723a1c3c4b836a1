"""Data loading: cache, augmentation, batches."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trashkit.coco import read_dataset
from trashkit.images.photos import read_photo
from trashkit.nn.data.augment import IGNORE, PRESETS, make_augment
from trashkit.nn.data.cache import content_hash, open_cache, train_layout, validation_layout
from trashkit.nn.data.datasets import TrainDataset, make_loader
from trashkit.nn.data.resize import resize_photo
from trashkit.nn.data.sampler import EpochBatchSampler, epoch_batches
from trashkit.nn.training.schedule import SCHEDULES, WARMUP_START, lr_factor
from trashkit.nn.training.weight_averaging import MovingAverage
from trashkit.raster.masks import dataset_label_map
from trashkit.settings.training import ScheduleSettings


def cache_of(annotations, place, *, layout=None, budget=10**9):
    dataset = read_dataset(annotations)
    layout = layout or train_layout(32, "area")
    return dataset, open_cache(dataset, dataset.images, annotations.parent, layout, place, content="x", budget=budget)


def test_cached_photos_and_label_maps_equal_freshly_made_ones(drawn, tmp_path):
    dataset, cache = cache_of(drawn, tmp_path)
    for n, image in enumerate(dataset.images):
        photo = read_photo(drawn.parent / image.file_name)
        assert np.array_equal(cache.photo(n), resize_photo(photo, (64, 64)))
        assert np.array_equal(cache.labels(n), dataset_label_map(dataset, image.row, size=(64, 64)))


@pytest.mark.parametrize("budget", [0, 12 * 64 * 64 + 5 * 64 * 64 * 3])
def test_photos_beyond_the_budget_are_the_same_pixels(drawn, tmp_path, budget):
    _, whole = cache_of(drawn, tmp_path / "a")
    _, part = cache_of(drawn, tmp_path / "b", budget=budget)
    assert part.path.stat().st_size == max(budget, 12 * 64 * 64)
    for n in range(len(whole)):
        assert np.array_equal(whole.photo(n), part.photo(n))
        assert np.array_equal(whole.labels(n), part.labels(n))


def test_a_second_opening_reads_the_same_file(drawn, tmp_path):
    _, first = cache_of(drawn, tmp_path)
    before = first.path.stat().st_mtime_ns
    assert cache_of(drawn, tmp_path)[1].path.stat().st_mtime_ns == before
    other = cache_of(drawn, tmp_path, layout=validation_layout(48, (80, 80), "area"))[1]
    assert other.path != first.path
    assert other.photo(0).shape == (48, 48, 3)
    assert other.labels(0).shape == (80, 80)


def test_content_hash_follows_photos_and_classes(draw_photos, tmp_path):
    annotations = draw_photos(tmp_path, 3)
    dataset = read_dataset(annotations)
    first = content_hash(dataset, dataset.images, tmp_path)
    own = read_dataset(annotations, classes="own")
    assert content_hash(own, own.images, tmp_path) != first
    photo = tmp_path / dataset.images[1].file_name
    photo.write_bytes(photo.read_bytes() + b"x")
    assert content_hash(dataset, dataset.images, tmp_path) != first


@pytest.mark.parametrize("preset", PRESETS)
def test_augmentation_invents_no_class_and_repeats_itself(preset):
    augment = make_augment(preset, 48)
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    labels = generator.choice(np.array([0, 3, 9], np.uint8), (70, 90))
    for n in range(30):
        made, map_ = augment(photo, labels, (0, 1, n))
        assert made.shape == (48, 48, 3)
        assert made.dtype == map_.dtype == np.uint8
        assert set(np.unique(map_)) <= {0, 3, 9, IGNORE}
        again, map_again = augment(photo, labels, (0, 1, n))
        assert np.array_equal(made, again)
        assert np.array_equal(map_, map_again)
    if preset != "none":
        assert not np.array_equal(made, augment(photo, labels, (0, 2, n))[0])


@pytest.mark.parametrize("preset", PRESETS)
def test_label_maps_move_with_their_photos(preset):
    """Where the photo has the colour of a class, the label map has that class, except at resampled borders."""
    labels = np.zeros((96, 96), np.uint8)
    cv2.circle(labels, (40, 52), 26, 7, -1)
    photo = np.repeat(np.where(labels == 7, 230, 20).astype(np.uint8)[..., None], 3, axis=2)
    augment = make_augment(preset, 64)
    for n in range(20):
        made, map_ = augment(photo, labels, (n,))
        bright = made.mean(axis=2) > (made.mean(axis=2).max() + made.mean(axis=2).min()) / 2
        known = map_ != IGNORE
        if len(np.unique(map_[known])) == 2:
            assert (bright == (map_ == 7))[known].mean() > 0.93


@given(
    count=st.integers(1, 60), batch=st.integers(1, 16), processes=st.integers(1, 4), seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
)  # fmt: skip
def test_an_epoch_shows_every_image_once(count, batch, processes, seed, epoch):
    order = epoch_batches(count, batch, seed=seed, epoch=epoch, processes=processes)
    assert len(order) % processes == 0
    sizes = [len(part) for part in order]
    assert max(sizes) - min(sizes) <= 1
    shown = sorted(position for part in order for position in part)
    if count >= 2 * len(order):
        assert shown == list(range(count))
        assert max(sizes) <= batch
    else:
        assert set(shown) == set(range(count))
        assert min(sizes) == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_do_not_depend_on_workers_or_earlier_epochs(drawn, tmp_path, processes):
    _, cache = cache_of(drawn, tmp_path)

    def epoch(workers: int, number: int, before: int = 0):
        photos = TrainDataset(cache, make_augment("strong", 32), seed=5)
        batches = EpochBatchSampler(len(cache), 4, seed=5, rank=processes - 1, processes=processes)
        loader = make_loader(photos, batches, workers=workers, pin=False)
        for earlier in range(before):
            batches.epoch = earlier
            list(loader)
        batches.epoch = number
        return list(loader)

    alone = epoch(0, 2)
    for other in (epoch(2, 2), epoch(1, 2, before=1)):
        assert len(alone) == len(other)
        for (photos, labels), (photos_again, labels_again) in zip(alone, other, strict=True):
            assert torch.equal(photos, photos_again)
            assert torch.equal(labels, labels_again)
    assert alone[0][0].dtype == torch.uint8
    assert not torch.equal(alone[0][0], epoch(0, 3)[0][0])


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_then_fall_to_the_floor(name):
    settings = ScheduleSettings(name=name, warmup=0.3, floor=0.1)
    values = [lr_factor(settings, step, 100) for step in range(100)]
    assert values[0] == WARMUP_START
    assert all(a <= b for a, b in pairwise(values[:31]))
    assert values[30] == pytest.approx(1.0)
    assert name == "restarts" or all(a >= b - 1e-12 for a, b in pairwise(values[30:]))
    assert min(values[30:]) >= 0.1
    if name in ("onecycle", "cosine", "poly", "linear"):
        assert values[-1] == pytest.approx(0.1)


def test_moving_average_is_the_textbook_sum():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = MovingAverage(model, 0.9)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    for step in range(12):
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        model.train()(torch.randn(4, 3))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            exact = value.is_floating_point()
            expected[key] = decay * expected[key] + (1 - decay) * value if exact else value.clone()
    for key, value in average.model.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-6)
