"""Photo statistics and features for near-duplicate groups, for stratification and for adversarial validation."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.images import near_duplicates as near
from trashkit.images.doubtful_groups import DoubtfulGroup, doubtful_groups
from trashkit.images.photos import photo_path, shrink, thumbnail
from trashkit.progress import Progress, silent

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LONGEST = 128
"""Statistics are computed with the longer side at this many pixels."""

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
class PhotoStatistics:
    """Statistics of photos, in the order of the data set's images.

    features: [N] features for near-duplicate search. statistics: float64 [N, S] in the order of `STATISTICS`.
    """

    features: tuple[near.PhotoFeatures, ...]
    statistics: Floats

    def colour_histograms(self) -> Floats:
        """[N, 24] shares of grid cells per colour channel and eighth of its range."""
        cells = np.stack([one.grid for one in self.features])
        counts = np.zeros((len(cells), 3, 8))
        for channel in range(3):
            for level in range(8):
                counts[:, channel, level] = ((cells[..., channel] >> 5) == level).mean(axis=(1, 2))
        return counts.reshape(len(cells), 24)


def photo_statistics(dataset: Dataset, folder: Path, *, progress: Progress = silent) -> PhotoStatistics:
    """Compute statistics and features of all photos of a data set, in `folder`.

    TrashkitError for the first photo that cannot be read.
    """

    def one(image: Image) -> tuple[near.PhotoFeatures, list[float]]:
        photo = thumbnail(photo_path(folder, image.file_name), near.LONGEST_SIDE, (image.width, image.height))
        return near.photo_features(photo), _statistics(shrink(photo, LONGEST), image)

    features, statistics = [], []
    with ThreadPoolExecutor() as pool:
        for n, (seen, numbers) in enumerate(pool.map(one, dataset.images), 1):
            features.append(seen)
            statistics.append(numbers)
            progress("reading photos", n, len(dataset.images))
    return PhotoStatistics(tuple(features), np.array(statistics))


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


def find_near_duplicates(
    photos: PhotoStatistics, *, matching: near.Matching = "normal", progress: Progress = silent
) -> tuple[Ints | None, tuple[DoubtfulGroup, ...]]:
    """[N] group number of each photo, near-duplicates sharing one, and the groups that a person should look at.

    matching: see `trashkit.images.near_duplicates.near_duplicate_pairs`; None instead of groups for ``off``.
    """
    if matching == "off":
        return None, ()
    count = len(photos.features)
    pairs = near.near_duplicate_pairs(photos.features, matching=matching, progress=progress)
    group = near.connected_groups(count, [(one, other) for one, other, _ in pairs])
    return group, tuple(doubtful_groups(count, pairs))


def recorded_matching(settings: Mapping[str, Any]) -> near.Matching:
    """How strictly near-duplicates were matched by a split with these settings; normal if they do not say."""
    return "strict" if settings.get("near_duplicate_matching") == "strict" else "normal"
