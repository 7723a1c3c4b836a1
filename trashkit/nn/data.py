"""From cached photos to batches of uint8, the same ones whatever the number of workers or processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trashkit.coco import Dataset as Annotated
from trashkit.config import TrainConfig
from trashkit.data_settings import DataSettings
from trashkit.errors import TrashkitError
from trashkit.nn.augment import Augment, make_augment
from trashkit.nn.cache import JoinedCaches, PhotoCache
from trashkit.nn.encoders import is_bound
from trashkit.nn.mix import Pair, cutmix, cutmix_box, mosaic, mosaic_tiles
from trashkit.nn.paste import Paster, check_classes, class_counts, class_weights, cut_out, join
from trashkit.nn.sampler import Draw, EpochBatches, batch_sizes, classes_present, repeat_factors

_AUGMENT, _PASTE, _MIX = 0, 1, 2
"""What a random number is for: each purpose has a stream of its own, so that switching one on leaves the others."""


class TrainPhotos(Dataset[tuple[Tensor, Tensor]]):
    """Augmented photos [H, W, 3] and label maps [H, W], uint8; asked by `Draw`, or just (epoch, position).

    paster: pastes objects before a photo is augmented. mosaic, cutmix: shares of pictures made of four photos, and of
    those with a rectangle of another; the other photos come from the same source as the first, so that a picture has
    one weight.
    """

    def __init__(
        self,
        cache: PhotoCache | JoinedCaches,
        augment: Augment,
        seed: int,
        *,
        paster: Paster | None = None,
        mosaic: float = 0.0,
        cutmix: float = 0.0,
    ) -> None:
        self.cache = cache
        self.augment = augment
        self.seed = seed
        self.paster = paster
        self.mosaic, self.cutmix = mosaic, cutmix

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, draw: Draw | tuple[int, int]) -> tuple[Tensor, Tensor]:
        photo, labels = self.picture(Draw(*draw))
        return _tensor(photo), _tensor(labels)

    def picture(self, draw: Draw) -> Pair:
        """What the network sees for a draw: photo uint8 [S, S, 3] and label map uint8 [S, S]."""
        size = draw.size or self.augment.size
        # The last number tells the photos of one picture apart.
        key = (self.seed, draw.epoch, *self.cache.draws(draw.position), draw.repeat)
        if not (self.mosaic or self.cutmix):
            return self._view(draw.position, key, (size, size))
        generator = np.random.default_rng(np.random.SeedSequence([*key, _MIX]))
        first, last = self.cache.span(draw.position)
        if generator.random() < self.mosaic:
            boxes = mosaic_tiles(size, generator)
            positions = [draw.position, *generator.integers(first, last, 3).tolist()]
            tiles = [
                self._view(position, (*key, n), (bottom - top, right - left))
                for n, (position, (top, left, bottom, right)) in enumerate(zip(positions, boxes, strict=True))
            ]
            return mosaic(tiles, boxes, size)
        base = self._view(draw.position, key, (size, size))
        if generator.random() >= self.cutmix:
            return base
        other = int(generator.integers(first, last))
        return cutmix(base, self._view(other, (*key, 1), (size, size)), cutmix_box(size, generator))

    def _view(self, position: int, key: Sequence[int], size: tuple[int, int]) -> Pair:
        photo, labels = self.cache.photo(position), self.cache.labels(position)
        if self.paster is not None:
            generator = np.random.default_rng(np.random.SeedSequence([*key, _PASTE]))
            photo, labels = self.paster.paste(photo, labels, generator)
        return self.augment(photo, labels, (*key, _AUGMENT), size)


class ValidationPhotos(Dataset[tuple[Tensor, int]]):
    """Photos [H, W, 3] as prediction sees them, with their positions."""

    def __init__(self, cache: PhotoCache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return _tensor(self.cache.photo(position)), position


def _tensor(pixels: Any) -> Tensor:
    # The cache is mapped read-only, which torch warns about: whatever still lies in it is copied.
    return torch.from_numpy(np.array(pixels) if not pixels.flags.writeable else np.ascontiguousarray(pixels))


def check_data(config: TrainConfig, names: Sequence[str]) -> None:
    """Refuse data settings that cannot work, before anything is decoded.

    names: of the classes, background first. Raises TrashkitError for unknown classes, augmentation files that cannot be
    used, and batches of changing size for an encoder that takes one size alone.
    """
    settings = config.data
    check_classes(settings.copy_paste, names)
    make_augment(settings.augment, settings.size)
    sizes = batch_sizes(settings.size, settings.multi_scale)
    if settings.multi_scale and len(sizes) == 1:
        raise TrashkitError(
            f"data.multi_scale={settings.multi_scale:g} leaves {settings.size} px as the only size",
            hint="sizes are multiples of 32: give a larger share",
        )
    if len(sizes) > 1 and is_bound(config.model.encoder, settings.size):
        raise TrashkitError(
            f"the encoder {config.model.encoder} takes photos of one size alone", hint="--set data.multi_scale=0"
        )


def train_photos(
    settings: DataSettings,
    dataset: Annotated,
    cache: JoinedCaches,
    seed: int,
    more: Sequence[Annotated | None] = (),
) -> TrainPhotos:
    """The photos that a run learns from, augmented as the settings say.

    dataset: annotations; the first part of the cache holds its training images. more: annotations of the cache's other
    parts, None for those that have label maps alone. Objects are pasted from these images and no others. Raises
    TrashkitError for settings that do not fit the classes and augmentation files that cannot be used.
    """
    own, names = cache.parts[0], dataset.classes.names
    paster = None
    if settings.copy_paste.p > 0:
        sources = zip(cache.starts.tolist(), [dataset, *more], cache.parts, strict=False)
        banks = [(first, cut_out(one, part, seed=seed)) for first, one, part in sources if one is not None]
        paster = Paster(join(banks), cache, settings.copy_paste, names)
    rarity = None
    if settings.focus.p > 0:
        counts = class_counts(dataset, own.images)
        rarity = class_weights(counts, counts > 0, settings.focus.balance, np.ones(len(names)))
    augment = make_augment(settings.augment, settings.size, focus=settings.focus.p, rarity=rarity)
    return TrainPhotos(cache, augment, seed, paster=paster, mosaic=settings.mosaic, cutmix=settings.cutmix)


def train_batches(
    settings: DataSettings, dataset: Annotated, cache: JoinedCaches, *, seed: int, rank: int = 0, processes: int = 1
) -> EpochBatches:
    """The batches of one process, as the settings say: oversampled, of changing size."""
    repeats = None
    if settings.oversample.threshold > 0:
        repeats = _repeats(settings, dataset, cache)
    return EpochBatches(
        len(cache),
        int(settings.batch_size),
        seed=seed,
        rank=rank,
        processes=processes,
        repeats=repeats,
        sizes=batch_sizes(settings.size, settings.multi_scale),
    )


def _repeats(settings: DataSettings, dataset: Annotated, cache: JoinedCaches) -> NDArray[np.float64]:
    """How often each photo comes in an epoch; photos without annotations (label maps) count as common."""
    chosen, own = settings.oversample, cache.parts[0]
    repeats = np.ones(len(cache))
    repeats[: len(own)] = repeat_factors(classes_present(dataset, own.images), chosen.threshold, chosen.most)
    if chosen.same_length:
        repeats[: len(own)] *= len(own) / repeats[: len(own)].sum()
    return repeats


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def train_loader(photos: TrainPhotos, batches: EpochBatches, *, workers: int, pin: bool) -> DataLoader[Any]:
    """Batches (photos [B, H, W, 3], label maps [B, H, W]) of uint8; workers stay alive between epochs."""
    return DataLoader(
        photos,
        batch_sampler=batches,  # yields draws, not plain positions
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
    )
