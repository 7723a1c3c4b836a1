"""What photos look like, in a few numbers each: for near-duplicate groups, image statistics and test-likeness."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.photos import phash, photo_path, thumbnail
from trashkit.progress import Progress, silent
from trashkit.split.groups import close_pairs, union

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LONGEST = 128
"""Photos are looked at with their longer side at this many pixels."""
CELLS = 16
NEAR_BITS = 6
NEAR_LEVELS = 12.0
"""Near-duplicates differ in at most NEAR_BITS of 64 bits of the DCT hash, and in 16x16 cells by NEAR_LEVELS of 255
levels on average: the hash alone takes every object on white for every other."""

STATISTICS = (
    "brightness",
    "contrast",
    "saturation",
    "red minus green",
    "blue minus green",
    "sharpness",
    "edges",
    "log pixels",
    "aspect",
)


@dataclass(frozen=True)
class Appearance:
    """Photos in numbers, in the order of the data set's images.

    hashes: uint64 [N]. cells: uint8 [N, 16, 16, 3]. statistics: float64 [N, S] in the order of `STATISTICS`.
    """

    hashes: NDArray[np.uint64]
    cells: NDArray[np.uint8]
    statistics: Floats

    def histograms(self) -> Floats:
        """[N, 24] shares of cells per colour channel and eighth of the range."""
        counts = np.zeros((len(self.cells), 3, 8))
        for channel in range(3):
            for level in range(8):
                counts[:, channel, level] = ((self.cells[..., channel] >> 5) == level).mean(axis=(1, 2))
        return counts.reshape(len(self.cells), 24)


def appearance(dataset: Dataset, folder: Path, *, progress: Progress = silent) -> Appearance:
    """Look at every photo of a data set, in `folder`. TrashkitError naming the first that cannot be read."""

    def one(image: Image) -> tuple[NDArray[np.uint64], NDArray[np.uint8], list[float]]:
        photo = thumbnail(photo_path(folder, image.file_name), LONGEST, (image.width, image.height))
        cells = np.asarray(cv2.resize(photo, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.uint8)
        return phash([photo]), cells, _statistics(photo, image)

    hashes, cells, statistics = [], [], []
    with ThreadPoolExecutor() as pool:
        for n, (code, small, numbers) in enumerate(pool.map(one, dataset.images), 1):
            hashes.append(code)
            cells.append(small)
            statistics.append(numbers)
            progress("looking at photos", n, len(dataset.images))
    return Appearance(np.concatenate(hashes), np.stack(cells), np.array(statistics))


def _statistics(photo: NDArray[np.uint8], image: Image) -> list[float]:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV)[..., 1]
    red, green, blue = (float(photo[..., c].mean()) for c in range(3))
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)
    return [
        float(grey.mean()),
        float(grey.std()),
        float(saturation.mean()),
        red - green,
        blue - green,
        float(np.log1p(laplacian.var())),
        float((np.abs(laplacian) > 20).mean()),
        float(np.log(image.width * image.height)),
        image.width / image.height,
    ]


def near_duplicates(seen: Appearance) -> Ints:
    """[N] group number of each photo; exact and near-duplicates (recompressed, scaled, slightly turned) share one.

    Chains join: where A is near B and B near C, all three are one group.
    """
    return union(len(seen.hashes), _alike(seen, close_pairs(seen.hashes, NEAR_BITS)))


def _alike(seen: Appearance, pairs: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    for a, b in pairs:
        if np.abs(seen.cells[a].astype(np.int16) - seen.cells[b]).mean() <= NEAR_LEVELS:
            yield a, b
