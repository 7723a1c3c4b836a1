"""Training and validation datasets over cached photos; samples do not depend on the number of workers or processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trashkit.coco import Dataset as Annotations
from trashkit.errors import TrashkitError
from trashkit.nn.data.augment import Augment, make_augment
from trashkit.nn.data.cache import JoinedCaches, PhotoCache
from trashkit.nn.data.copy_paste import (
    CopyPaste,
    annotation_counts,
    check_classes,
    class_probabilities,
    extract_objects,
    join_banks,
)
from trashkit.nn.data.mix import Pair, cutmix, cutmix_box, mosaic, mosaic_tiles
from trashkit.nn.data.sampler import EpochBatchSampler, Sample, classes_present, multi_scale_sizes, repeat_factors
from trashkit.nn.models.encoders import has_fixed_size
from trashkit.settings.data import DataSettings
from trashkit.settings.training import TrainConfig

_AUGMENT, _PASTE, _MIX = 0, 1, 2
"""Random streams, one for each purpose: switching one augmentation on does not change the others."""


class TrainDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented photos [H, W, 3] and label maps [H, W], uint8; indexed by `Sample`, or just (epoch, position).

    copy_paste: pastes objects before a photo is augmented. mosaic, cutmix: shares of samples made of four photos, and
    with a rectangle of another photo; the other photos come from the same source as the first, so that a sample has one
    weight.
    """

    def __init__(
        self,
        cache: PhotoCache | JoinedCaches,
        augment: Augment,
        seed: int,
        *,
        copy_paste: CopyPaste | None = None,
        mosaic: float = 0.0,
        cutmix: float = 0.0,
    ) -> None:
        self.cache = cache
        self.augment = augment
        self.seed = seed
        self.copy_paste = copy_paste
        self.mosaic, self.cutmix = mosaic, cutmix

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, sample: Sample | tuple[int, int]) -> tuple[Tensor, Tensor]:
        photo, labels = self.load(Sample(*sample))
        return _tensor(photo), _tensor(labels)

    def load(self, sample: Sample) -> Pair:
        """Augmented photo uint8 [S, S, 3] and label map uint8 [S, S] of a sample."""
        size = sample.size or self.augment.size
        # _view appends a number that tells the photos of one mosaic or CutMix apart.
        key = (self.seed, sample.epoch, *self.cache.seed_key(sample.position), sample.repeat)
        if not (self.mosaic or self.cutmix):
            return self._view(sample.position, key, (size, size))
        generator = np.random.default_rng(np.random.SeedSequence([*key, _MIX]))
        first, last = self.cache.source_range(sample.position)
        if generator.random() < self.mosaic:
            boxes = mosaic_tiles(size, generator)
            positions = [sample.position, *generator.integers(first, last, 3).tolist()]
            tiles = [
                self._view(position, (*key, n), (bottom - top, right - left))
                for n, (position, (top, left, bottom, right)) in enumerate(zip(positions, boxes, strict=True))
            ]
            return mosaic(tiles, boxes, size)
        base = self._view(sample.position, key, (size, size))
        if generator.random() >= self.cutmix:
            return base
        other = int(generator.integers(first, last))
        return cutmix(base, self._view(other, (*key, 1), (size, size)), cutmix_box(size, generator))

    def _view(self, position: int, key: Sequence[int], size: tuple[int, int]) -> Pair:
        photo, labels = self.cache.photo(position), self.cache.labels(position)
        if self.copy_paste is not None:
            generator = np.random.default_rng(np.random.SeedSequence([*key, _PASTE]))
            photo, labels = self.copy_paste.paste(photo, labels, generator)
        return self.augment(photo, labels, (*key, _AUGMENT), size)


class ValidationDataset(Dataset[tuple[Tensor, int]]):
    """Photos [H, W, 3] at prediction size, with their positions in the cache."""

    def __init__(self, cache: PhotoCache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return _tensor(self.cache.photo(position)), position


def _tensor(pixels: Any) -> Tensor:
    # torch warns about read-only arrays, so views of the memory-mapped cache are copied.
    return torch.from_numpy(np.array(pixels) if not pixels.flags.writeable else np.ascontiguousarray(pixels))


def check_data(config: TrainConfig, names: Sequence[str]) -> None:
    """Validate the data settings before any photo is decoded.

    names: class names, background first. Raises TrashkitError for unknown classes, unusable augmentation files, and
    multi-scale training of an encoder with a fixed input size.
    """
    settings = config.data
    check_classes(settings.copy_paste, names)
    make_augment(settings.augment, settings.size)
    sizes = multi_scale_sizes(settings.size, settings.multi_scale)
    if settings.multi_scale and len(sizes) == 1:
        raise TrashkitError(
            f"data.multi_scale={settings.multi_scale:g} leaves {settings.size} px as the only size",
            hint="sizes are multiples of 32: use a larger value",
        )
    if len(sizes) > 1 and has_fixed_size(config.model.encoder, settings.size):
        raise TrashkitError(
            f"the encoder {config.model.encoder} has a fixed input size", hint="--set data.multi_scale=0"
        )


def make_dataset(
    settings: DataSettings,
    dataset: Annotations,
    cache: JoinedCaches,
    seed: int,
    more: Sequence[Annotations | None] = (),
) -> TrainDataset:
    """Build the augmented training dataset from the settings.

    dataset: annotations; the first part of the cache holds its training images. more: annotations of the cache's other
    parts, None for parts that have only label maps. Copy-paste takes objects only from these images. Raises
    TrashkitError for unknown class names and unusable augmentation files.
    """
    own, names = cache.parts[0], dataset.classes.names
    copy_paste = None
    if settings.copy_paste.p > 0:
        sources = zip(cache.starts.tolist(), [dataset, *more], cache.parts, strict=False)
        banks = [(first, extract_objects(one, part, seed=seed)) for first, one, part in sources if one is not None]
        copy_paste = CopyPaste(join_banks(banks), cache, settings.copy_paste, names)
    rarity = None
    if settings.focus.p > 0:
        counts = annotation_counts(dataset, own.images)
        rarity = class_probabilities(counts, counts > 0, settings.focus.balance, np.ones(len(names)))
    augment = make_augment(settings.augment, settings.size, focus=settings.focus.p, rarity=rarity)
    return TrainDataset(cache, augment, seed, copy_paste=copy_paste, mosaic=settings.mosaic, cutmix=settings.cutmix)


def make_sampler(
    settings: DataSettings, dataset: Annotations, cache: JoinedCaches, *, seed: int, rank: int = 0, processes: int = 1
) -> EpochBatchSampler:
    """Build the batch sampler of one process, with oversampling and multi-scale sizes if they are set."""
    repeats = None
    if settings.oversample.threshold > 0:
        repeats = _repeats(settings, dataset, cache)
    return EpochBatchSampler(
        len(cache),
        int(settings.batch_size),
        seed=seed,
        rank=rank,
        processes=processes,
        repeats=repeats,
        sizes=multi_scale_sizes(settings.size, settings.multi_scale),
    )


def _repeats(settings: DataSettings, dataset: Annotations, cache: JoinedCaches) -> NDArray[np.float64]:
    """Repeats of each photo per epoch, float [N]; photos with only label maps are not oversampled."""
    chosen, own = settings.oversample, cache.parts[0]
    repeats = np.ones(len(cache))
    repeats[: len(own)] = repeat_factors(classes_present(dataset, own.images), chosen.threshold, chosen.most)
    if chosen.same_length:
        repeats[: len(own)] *= len(own) / repeats[: len(own)].sum()
    return repeats


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def make_loader(photos: TrainDataset, batches: EpochBatchSampler, *, workers: int, pin: bool) -> DataLoader[Any]:
    """Dataloader of uint8 batches (photos [B, H, W, 3], label maps [B, H, W]) with persistent workers."""
    return DataLoader(
        photos,
        batch_sampler=batches,  # yields samples, not plain positions
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
    )
