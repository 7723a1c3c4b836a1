"""Mosaic, CutMix and focused crops: photos and label maps must stay together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import read_dataset
from trashkit.nn.data.augment import IGNORE, Crop, make_augment, random_crop, random_object_pixel
from trashkit.nn.data.cache import JoinedCaches, open_cache, train_layout
from trashkit.nn.data.copy_paste import extract_objects
from trashkit.nn.data.datasets import TrainDataset, make_dataset, make_loader, make_sampler
from trashkit.nn.data.mix import cutmix, cutmix_box, mosaic, mosaic_tiles
from trashkit.settings.data import CopyPasteSettings, DataSettings


def coded(generator, height, width):
    """A photo whose pixels tell its label map's: red is 20 times the label."""
    labels = generator.integers(0, 11, (height, width)).astype(np.uint8)
    return np.stack([labels * 20, labels, labels], axis=2), labels


@settings(max_examples=50, deadline=None)
@given(size=st.integers(4, 90), seed=st.integers(0, 10**6))
def test_mosaic_and_cutmix_keep_photo_and_labels_together(size, seed):
    generator = np.random.default_rng(seed)
    boxes = mosaic_tiles(size, generator)
    assert sum((b - t) * (r - x) for t, x, b, r in boxes) == size * size
    photo, labels = mosaic([coded(generator, b - t, r - x) for t, x, b, r in boxes], boxes, size)
    assert np.array_equal(photo[..., 0], labels * 20)
    other = coded(generator, size, size)
    box = cutmix_box(size, generator)
    mixed, map_ = cutmix((photo, labels), other, box)
    assert np.array_equal(mixed[..., 0], map_ * 20)
    inside = np.zeros((size, size), bool)
    inside[box[0] : box[2], box[1] : box[3]] = True
    assert np.array_equal(map_, np.where(inside, other[1], labels))


def test_cutmix_takes_every_share():
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(2000):
        top, left, bottom, right = cutmix_box(100, generator)
        shares.append((bottom - top) * (right - left) / 10_000)
    assert min(shares) < 0.02
    assert max(shares) > 0.7
    assert 0.25 < np.mean(shares) < 0.4  # half of it without the clipping at the border


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(20, 200), width=st.integers(20, 200), y=st.floats(0, 0.999), x=st.floats(0, 0.999),
    smallest=st.floats(0.05, 1.0), seed=st.integers(0, 999),
)  # fmt: skip
def test_a_window_is_inside_the_photo_and_contains_its_pixel(height, width, y, x, smallest, seed):
    within = int(y * height), int(x * width)
    crop = Crop(smallest, (3 / 4, 4 / 3))
    top, left, bottom, right = random_crop((height, width), (64, 64), crop, np.random.default_rng(seed), within=within)
    assert 0 <= top <= within[0] < bottom <= height
    assert 0 <= left <= within[1] < right <= width
    ratio = (right - left) / (bottom - top)
    assert 0.6 < ratio < 1.7


def test_pixels_are_drawn_by_rarity():
    labels = np.zeros((40, 40), np.uint8)
    labels[:20] = 3
    labels[30, 30] = 7
    labels[35:] = IGNORE
    rarity = np.zeros(11)
    rarity[[3, 7]] = 0.25, 0.75
    generator = np.random.default_rng(0)
    found = [labels[random_object_pixel(labels, rarity, generator)] for _ in range(800)]
    assert set(found) == {3, 7}
    assert abs(np.mean(np.array(found) == 7) - 0.75) < 0.06
    assert random_object_pixel(np.zeros((4, 4), np.uint8), None, generator) is None


def test_focused_crops_hold_an_object():
    labels = np.zeros((128, 128), np.uint8)
    labels[100:104, 90:94] = 5
    photo = np.zeros((128, 128, 3), np.uint8)
    plain, focused = (make_augment("light", 64, focus=focus) for focus in (0.0, 1.0))
    held = {name: np.mean([5 in augment(photo, labels, (n,))[1] for n in range(80)])
            for name, augment in (("plain", plain), ("focused", focused))}  # fmt: skip
    assert held["focused"] > 0.97  # the pixel may be lost when the crop is made smaller
    assert held["plain"] < 0.95


@pytest.fixture
def caches(drawn, draw_photos, tmp_path):
    """Twelve photos, and six others as a second source."""
    parts = []
    for name, file in (("a", drawn), ("b", draw_photos(tmp_path / "other", 6, seed=9))):
        dataset = read_dataset(file)
        layout = train_layout(32, "area")
        parts.append(
            open_cache(dataset, dataset.images, file.parent, layout, tmp_path / name, content=name, budget=10**9)
        )
    return read_dataset(drawn), JoinedCaches(parts)


EVERYTHING = DataSettings(
    size=32, batch_size=4, augment="strong", mosaic=0.4, cutmix=0.4, multi_scale=0.5,
    copy_paste={"p": 0.6}, oversample={"threshold": 0.5, "same_length": False}, focus={"p": 0.5},
)  # fmt: skip


def test_workers_and_repeated_passes_change_nothing_with_everything_on(caches):
    dataset, photos = caches

    def epoch(workers, number, before=0):
        batches = make_sampler(EVERYTHING, dataset, photos, seed=4)
        loader = make_loader(make_dataset(EVERYTHING, dataset, photos, 4), batches, workers=workers, pin=False)
        for earlier in range(before):
            batches.epoch = earlier
            list(loader)
        batches.epoch = number
        return list(loader)

    alone = epoch(0, 2)
    assert {batch[0].shape[1] for batch in alone} <= {32, 64}
    for other in (epoch(2, 2), epoch(1, 2, before=2)):
        assert len(alone) == len(other)
        for (pixels, labels), (pixels_again, labels_again) in zip(alone, other, strict=True):
            assert torch.equal(pixels, pixels_again)
            assert torch.equal(labels, labels_again)
    for pixels, labels in alone:
        assert pixels.dtype == labels.dtype == torch.uint8
        assert set(labels.unique().tolist()) <= {0, 4, 5, 6, IGNORE}
    assert not torch.equal(alone[0][0], epoch(0, 3)[0][0])


def test_repeats_of_a_photo_look_different(caches):
    dataset, photos = caches
    shown = make_dataset(DataSettings(size=32, augment="light"), dataset, photos, 0)
    assert not torch.equal(shown[(0, 3, 0, 0)][0], shown[(0, 3, 1, 0)][0])
    assert torch.equal(shown[(0, 3, 1, 0)][0], shown[(0, 3, 1, 0)][0])


def test_mixed_pictures_use_photos_of_one_source_only(caches):
    """Sources have different weights in the loss, so no picture may mix two."""
    _, photos = caches
    asked = []
    real = photos.photo
    photos.photo = lambda n: asked.append(n) or real(n)
    mixing = TrainDataset(photos, make_augment("none", 32), 0, mosaic=0.5, cutmix=1.0)
    for position in range(len(photos)):
        for epoch in range(4):
            asked.clear()
            mixing[(epoch, position)]
            assert len({photos.part(n) for n in asked}) == 1
            assert len(asked) in (2, 4)


def test_pasted_objects_come_from_training_images_only(caches):
    dataset, photos = caches
    settings_ = DataSettings(size=32, copy_paste=CopyPasteSettings(p=1.0))
    shown = make_dataset(settings_, dataset, photos, 0)
    assert shown.copy_paste is not None
    assert shown.copy_paste.bank.positions.max() < len(photos.parts[0])


def test_objects_of_an_extra_data_set_are_pasted_from_its_own_photos(caches, tmp_path):
    dataset, photos = caches
    other = read_dataset(next((tmp_path / "other").glob("*.json")))
    settings_ = DataSettings(size=32, copy_paste=CopyPasteSettings(p=1.0))
    alone = make_dataset(settings_, dataset, photos, 0).copy_paste
    both = make_dataset(settings_, dataset, photos, 0, [other]).copy_paste
    assert alone is not None and both is not None
    own, bank = alone.bank, both.bank
    beside = extract_objects(other, photos.parts[1])
    assert len(beside) > 0
    assert len(bank) == len(own) + len(beside)
    assert np.array_equal(bank.counts, own.counts + beside.counts)
    for n in range(len(bank)):
        at = n - len(own)
        assert np.array_equal(bank.mask(n), own.mask(n) if at < 0 else beside.mask(at))
        top, left, bottom, right = bank.boxes[n]
        labels = photos.labels(int(bank.positions[n]))[top:bottom, left:right]
        assert set(np.unique(labels[bank.mask(n) > 0])) == {bank.classes[n]}
