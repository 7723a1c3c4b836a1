"""Statistics of photos: brightness, contrast and saturation, and which photos are near-duplicates."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from trashkit.errors import TrashkitError
from trashkit.images import near_duplicates, photos
from trashkit.progress import Progress, silent
from trashkit.report.data_statistics import COLOR_SIDE, PhotoColors, photo_colors


class PhotoStatistics(NamedTuple):
    """One photo. features: used to find near-duplicates, None unless requested."""

    colors: PhotoColors
    features: near_duplicates.PhotoFeatures | None


def photo_statistics(
    paths: Sequence[Path], *, features: bool = False, progress: Progress = silent
) -> list[PhotoStatistics | None]:
    """Statistics of photos, several decoded at a time; None for those that cannot be read.

    features: extract what `near_duplicate_groups` needs, too.
    """

    def one(path: Path) -> PhotoStatistics | None:
        try:
            photo = photos.thumbnail(path, near_duplicates.LONGEST_SIDE if features else COLOR_SIDE)
        except TrashkitError:
            return None
        colors = photo_colors(photos.shrink(photo, COLOR_SIDE))
        return PhotoStatistics(colors, near_duplicates.photo_features(photo) if features else None)

    found: list[PhotoStatistics | None] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for statistics in pool.map(one, paths):
            if len(found) % 50 == 0:
                progress("measuring photos", len(found), len(paths))
            found.append(statistics)
    return found


def near_duplicate_groups(
    statistics: Sequence[PhotoStatistics | None], *, progress: Progress = silent
) -> list[int | None]:
    """The group of near-duplicates of each photo, numbered from 1; None for photos without a near-duplicate."""
    known = [(n, one.features) for n, one in enumerate(statistics) if one is not None and one.features is not None]
    groups = near_duplicates.near_duplicate_groups([features for _, features in known], progress=progress).tolist()
    sizes = Counter(groups)
    numbers = {group: k for k, group in enumerate((g for g in dict.fromkeys(groups) if sizes[g] > 1), start=1)}
    found: list[int | None] = [None] * len(statistics)
    for (n, _), group in zip(known, groups, strict=True):
        found[n] = numbers.get(group)
    return found
