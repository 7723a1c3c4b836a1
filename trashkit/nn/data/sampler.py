"""Batch sampling: the photos, batches and image sizes of an epoch, all determined by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image

SIZE_STEP = 32
"""Multi-scale sizes are multiples of this, which every network accepts without padding."""
_SIZE_STREAM = 1


class Sample(NamedTuple):
    """One training sample.

    position: index of the image in the cache. repeat: earlier occurrences of the image in this epoch. size: side of the
    batch in pixels, 0 for the configured size.
    """

    epoch: int
    position: int
    repeat: int = 0
    size: int = 0


def repeat_factors(present: NDArray[np.bool_], threshold: float, most: float) -> NDArray[np.float64]:
    """Repeat factor of each image, float [N], at least 1 (repeat factor sampling).

    present: which image contains which class, bool [N, C]. An image gets the largest ``sqrt(threshold / share)`` over
    its classes, clipped to 1..`most`, where `share` is the share of images that contain the class.
    Source: Gupta, Dollar, Girshick, LVIS, CVPR 2019, section 5.
    """
    share = present.mean(axis=0, dtype=np.float64) if len(present) else np.zeros(present.shape[1])
    factors = np.sqrt(threshold / np.maximum(share, 1e-12)).clip(1.0, most)
    return np.asarray(np.where(present, factors, 1.0).max(axis=1, initial=1.0), np.float64)


def classes_present(dataset: Dataset, images: Sequence[Image]) -> NDArray[np.bool_]:
    """Which image has an annotation of which class, bool [N, C]; background is always False."""
    present = np.zeros((len(images), len(dataset.classes)), np.bool_)
    for n, image in enumerate(images):
        for annotation in dataset.annotations_of(image.row):
            if 0 < annotation.class_index < len(dataset.classes):
                present[n, annotation.class_index] = True
    return present


def epoch_batches(
    count: int, batch: int, *, seed: int, epoch: int, processes: int = 1, repeats: NDArray[np.float64] | None = None
) -> list[list[int]]:
    """Image positions of every batch of an epoch; batch n belongs to process ``n % processes``.

    Every image occurs once, shuffled by seed and epoch; batches have nearly equal size, at most `batch`. Images repeat
    only if there are fewer than two per process. repeats: expected occurrences of each image, float [count]; in each
    epoch an image occurs that number of times rounded down or up (systematic sampling), and the length of every epoch
    is the rounded sum.
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


def multi_scale_sizes(size: int, range_: float) -> list[int]:
    """Batch sides in pixels: `size` and the multiples of 32 within ``size * (1 - range_)`` to ``size * (1 + range_)``.

    Only `size` if `range_` is 0.
    """
    if range_ <= 0:
        return [size]
    low, high = size * (1 - range_), size * (1 + range_)
    steps = range(SIZE_STEP, int(high) + 1, SIZE_STEP)
    return sorted({size, *(side for side in steps if side >= low)})


class EpochBatchSampler:
    """Batch sampler of one process; set `epoch` before each pass.

    sizes: sides in pixels to draw each batch's size from; the n-th batches of all processes have the same size.
    photos_per_epoch: number of photos in an epoch, over all processes.
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
        self.photos_per_epoch = sum(map(len, self._order(0)))

    def _order(self, epoch: int) -> list[list[int]]:
        return epoch_batches(
            self.count, self.batch, seed=self.seed, epoch=epoch, processes=self.processes, repeats=self.repeats
        )

    def __len__(self) -> int:
        return len(self._order(0)) // self.processes

    def __iter__(self) -> Iterator[list[Sample]]:
        generator = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch, _SIZE_STREAM]))
        seen: dict[int, int] = {}
        for n, positions in enumerate(self._order(self.epoch)):
            if n % self.processes == 0:
                size = int(generator.choice(self.sizes))
            samples = []
            for position in positions:
                repeat = seen.get(position, 0)
                seen[position] = repeat + 1
                samples.append(Sample(self.epoch, position, repeat, size))
            if n % self.processes == self.rank:
                yield samples
