"""Which photos an epoch shows, in which batches, and at which size: all of it decided by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image

SIZE_STEP = 32
"""Sizes of batches are multiples of this, which all networks take without padding."""
_SIZES = 1


class Draw(NamedTuple):
    """One photo to show. position: of the image in the cache. repeat: how often it came before in this epoch.
    size: side in pixels that its batch has, 0 for the one that was set."""

    epoch: int
    position: int
    repeat: int = 0
    size: int = 0


def repeat_factors(present: NDArray[np.bool_], threshold: float, most: float) -> NDArray[np.float64]:
    """How often each image is to be shown, at least 1: repeat factor sampling.

    present: which image holds which class, bool [N, C]. An image gets the largest ``sqrt(threshold / share)`` of its
    classes, `share` being the part of images that hold the class, between 1 and `most`.
    Source: Gupta, Dollar, Girshick, LVIS, CVPR 2019, section 5.
    """
    share = present.mean(axis=0, dtype=np.float64) if len(present) else np.zeros(present.shape[1])
    factors = np.sqrt(threshold / np.maximum(share, 1e-12)).clip(1.0, most)
    return np.asarray(np.where(present, factors, 1.0).max(axis=1, initial=1.0), np.float64)


def classes_present(dataset: Dataset, images: Sequence[Image]) -> NDArray[np.bool_]:
    """Which of these images has an annotation of which class, bool [N, C]; background is never marked."""
    present = np.zeros((len(images), len(dataset.classes)), np.bool_)
    for n, image in enumerate(images):
        for annotation in dataset.annotations_of(image.row):
            if 0 < annotation.class_index < len(dataset.classes):
                present[n, annotation.class_index] = True
    return present


def epoch_order(
    count: int, batch: int, *, seed: int, epoch: int, processes: int = 1, repeats: NDArray[np.float64] | None = None
) -> list[list[int]]:
    """Positions of every batch of an epoch, for all processes in turn: batch n belongs to process ``n % processes``.

    Every image comes once, in an order that seed and epoch decide; batches have nearly the same size, at most `batch`.
    Only where there are fewer images than two per process does an image come more than once.
    repeats: how often each image shall come instead, float [count]. It comes so often on average over epochs, and in
    each epoch that number rounded down or up (systematic sampling); the sum, rounded, is the length of every epoch.
    """
    generator = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    order = generator.permutation(count)
    if repeats is not None:
        length = max(1, round(float(repeats.sum())))
        ends = np.cumsum(repeats[order]) * (length / float(repeats.sum()))
        picked = np.searchsorted(ends, generator.random() + np.arange(length), side="right")
        order = generator.permutation(order[np.minimum(picked, count - 1)])
    steps = max(1, -(-len(order) // (batch * processes)))
    if len(order) < 2 * steps * processes:  # batch norm needs two images
        order = np.resize(order, 2 * steps * processes)
    return [part.tolist() for part in np.array_split(order, steps * processes)]


def batch_sizes(size: int, spread: float) -> list[int]:
    """Sides that batches may have: multiples of 32 from ``size * (1 - spread)`` to ``size * (1 + spread)``, and `size`.

    Only `size` for spread 0.
    """
    if spread <= 0:
        return [size]
    low, high = size * (1 - spread), size * (1 + spread)
    steps = range(SIZE_STEP, int(high) + 1, SIZE_STEP)
    return sorted({size, *(side for side in steps if side >= low)})


class EpochBatches:
    """The batch sampler of one process; set `epoch` before each pass. `shown` is how many photos an epoch has.

    sizes: sides in pixels that a batch may have, drawn anew for each; the n-th batches of all processes have the same.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        *,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        repeats: NDArray[np.float64] | None = None,
        sizes: Sequence[int] = (0,),
    ) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.rank, self.processes = rank, processes
        self.repeats, self.sizes = repeats, tuple(sizes)
        self.epoch = 0
        self.shown = sum(map(len, self._order(0)))

    def _order(self, epoch: int) -> list[list[int]]:
        return epoch_order(
            self.count, self.batch, seed=self.seed, epoch=epoch, processes=self.processes, repeats=self.repeats
        )

    def __len__(self) -> int:
        return len(self._order(0)) // self.processes

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch, _SIZES]))
        seen: dict[int, int] = {}
        for n, positions in enumerate(self._order(self.epoch)):
            if n % self.processes == 0:
                size = int(generator.choice(self.sizes))
            draws = []
            for position in positions:
                repeat = seen.get(position, 0)
                seen[position] = repeat + 1
                draws.append(Draw(self.epoch, position, repeat, size))
            if n % self.processes == self.rank:
                yield draws
