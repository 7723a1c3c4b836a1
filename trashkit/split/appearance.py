"""What photos look like, in a few numbers each: for near-duplicate groups, image statistics and test-likeness."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import near_duplicates as near
from trashkit.coco import Dataset, Image
from trashkit.photos import photo_path, shrink, thumbnail
from trashkit.progress import Progress, silent

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LONGEST = 128
"""Statistics are taken with the longer side at this many pixels."""

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

    looks: [N] what near-duplicates are told by. statistics: float64 [N, S] in the order of `STATISTICS`.
    """

    looks: tuple[near.Look, ...]
    statistics: Floats

    def histograms(self) -> Floats:
        """[N, 24] shares of cells per colour channel and eighth of the range."""
        cells = np.stack([one.cells for one in self.looks])
        counts = np.zeros((len(cells), 3, 8))
        for channel in range(3):
            for level in range(8):
                counts[:, channel, level] = ((cells[..., channel] >> 5) == level).mean(axis=(1, 2))
        return counts.reshape(len(cells), 24)


def appearance(dataset: Dataset, folder: Path, *, progress: Progress = silent) -> Appearance:
    """Look at every photo of a data set, in `folder`. TrashkitError naming the first that cannot be read."""

    def one(image: Image) -> tuple[near.Look, list[float]]:
        photo = thumbnail(photo_path(folder, image.file_name), near.LONGEST, (image.width, image.height))
        return near.look(photo), _statistics(shrink(photo, LONGEST), image)

    looks, statistics = [], []
    with ThreadPoolExecutor() as pool:
        for n, (seen, numbers) in enumerate(pool.map(one, dataset.images), 1):
            looks.append(seen)
            statistics.append(numbers)
            progress("looking at photos", n, len(dataset.images))
    return Appearance(tuple(looks), np.array(statistics))


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
    """[N] group number of each photo; those that show the same picture share one (`trashkit.near_duplicates`)."""
    return near.near_groups(seen.looks)
