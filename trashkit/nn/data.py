"""From cached photos to batches of uint8, the same ones whatever the number of workers or processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trashkit.nn.augment import Augment
from trashkit.nn.cache import JoinedCaches, PhotoCache

Draw = tuple[int, int]
"""(epoch, position of the image)."""


class TrainPhotos(Dataset[tuple[Tensor, Tensor]]):
    """Augmented photos [H, W, 3] and label maps [H, W], uint8; asked by (epoch, position)."""

    def __init__(self, cache: PhotoCache | JoinedCaches, augment: Augment, seed: int) -> None:
        self.cache = cache
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        epoch, position = draw
        seed = (self.seed, epoch, *self.cache.draws(position))
        photo, labels = self.augment(self.cache.photo(position), self.cache.labels(position), seed)
        return _tensor(photo), _tensor(labels)


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


def epoch_order(count: int, batch: int, *, seed: int, epoch: int, processes: int = 1) -> list[list[int]]:
    """Positions of every batch of an epoch, for all processes in turn: batch n belongs to process ``n % processes``.

    Every image comes once, in an order that seed and epoch decide; batches have nearly the same size, at most `batch`.
    Only where there are fewer images than two per process does an image come more than once.
    """
    order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(count)
    steps = max(1, -(-count // (batch * processes)))
    if count < 2 * steps * processes:  # batch norm needs two images
        order = np.resize(order, 2 * steps * processes)
    return [part.tolist() for part in np.array_split(order, steps * processes)]


class EpochBatches:
    """The batch sampler of one process; set `epoch` before each pass."""

    def __init__(self, count: int, batch: int, *, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.rank, self.processes = rank, processes
        self.epoch = 0

    def __len__(self) -> int:
        return len(epoch_order(self.count, self.batch, seed=0, epoch=0, processes=self.processes)) // self.processes

    def __iter__(self) -> Iterator[list[Draw]]:
        order = epoch_order(self.count, self.batch, seed=self.seed, epoch=self.epoch, processes=self.processes)
        for positions in order[self.rank :: self.processes]:
            yield [(self.epoch, position) for position in positions]


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def train_loader(photos: TrainPhotos, batches: EpochBatches, *, workers: int, pin: bool) -> DataLoader[Any]:
    """Batches (photos [B, H, W, 3], label maps [B, H, W]) of uint8; workers stay alive between epochs."""
    return DataLoader(
        photos,
        batch_sampler=batches,  # yields (epoch, position), not plain positions
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
    )
