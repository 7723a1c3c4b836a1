"""Statistics from one decode of each photo, for all checks on photos."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from trashkit.audit.views.found_photos import forget_names, meant_photo, similar_name
from trashkit.audit.views.table import Table
from trashkit.errors import TrashkitError
from trashkit.images import near_duplicates, photos
from trashkit.progress import Progress, silent

State = Literal["ok", "nameless", "outside", "missing", "unusable", "unreadable", "truncated"]
Floats = npt.NDArray[np.float64]

LONGEST = 512
"""Longer side in pixels at which sharpness is measured, so that photos of any size can be compared."""


class PhotoFacts(NamedTuple):
    """One photo. Statistics are NaN, digest is empty and features is None if it could not be decoded.

    brightness, contrast: mean and standard deviation of grey, 0 .. 255. shadows, highlights: 5th and 95th percentile
    of grey levels. colour: 99th percentile of the largest distance of a channel from grey, 0 .. 255.
    sharpness: variance of the Laplacian of grey. features: for finding near-duplicates. found: the name of the photo
    that the file name means, if it is not there as it is written.
    """

    state: State
    message: str = ""
    info: photos.PhotoInfo | None = None
    digest: bytes = b""
    features: near_duplicates.PhotoFeatures | None = None
    brightness: float = math.nan
    contrast: float = math.nan
    shadows: float = math.nan
    highlights: float = math.nan
    colour: float = math.nan
    sharpness: float = math.nan
    found: str | None = None


@dataclass(frozen=True)
class PhotoTable:
    """Photos of a file by image row, and of the file that it is compared with if one is given."""

    table: Table
    photos: list[PhotoFacts]
    against: list[PhotoFacts]
    matching: near_duplicates.Matching = "normal"
    progress: Progress = silent

    def decoded(self) -> Iterator[tuple[int, PhotoFacts]]:
        """Image rows and photos that could be decoded."""
        return ((row, one) for row, one in enumerate(self.photos) if one.state == "ok")

    @cached_property
    def near_pairs(self) -> list[near_duplicates.NearDuplicate]:
        """Pairs of near-duplicates over both files, which connect every group.

        Positions are rows of this file's images, and for the other file its rows plus the number of these images.
        """
        features = [one.features for one in (*self.photos, *self.against)]
        rows = [row for row, one in enumerate(features) if one is not None]
        pairs = near_duplicates.near_duplicate_pairs(
            [one for one in features if one is not None], matching=self.matching, progress=self.progress
        )
        return [near_duplicates.NearDuplicate(rows[one], rows[other], found) for one, other, found in pairs]

    @cached_property
    def near_groups(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Group numbers of near-duplicates over both files: [images] and [images of the other]; -1 without a photo."""
        both = (*self.photos, *self.against)
        groups = near_duplicates.connected_groups(len(both), [(one, other) for one, other, _ in self.near_pairs])
        groups[[row for row, one in enumerate(both) if one.features is None]] = -1
        return groups[: len(self.photos)], groups[len(self.photos) :]

    def values(self, name: str) -> Floats:
        """One statistic of all photos, [images]; NaN where a photo could not be decoded."""
        return np.array([getattr(one, name) for one in self.photos], dtype=float)


def photo_table(
    table: Table, folder: Path, progress: Progress, *, matching: near_duplicates.Matching = "normal"
) -> PhotoTable:
    """Decode every photo once, several at a time; only a few of them are in memory at once.

    matching: how near-duplicates are matched (`trashkit.images.near_duplicates.near_duplicate_pairs`).
    Raises TrashkitError if `folder` is not a folder; a photo that cannot be read is a row with the reason.
    """
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="check --images")
    forget_names()
    mine = _read_photos(table, folder, "reading photos", progress)
    other = _read_photos(table.against, folder, "reading the other file's photos", progress) if table.against else []
    return PhotoTable(table, mine, other, matching, progress)


def _read_photos(table: Table, folder: Path, what: str, progress: Progress) -> list[PhotoFacts]:
    sizes = [
        (int(width), int(height)) if not (math.isnan(width) or math.isnan(height)) else None
        for width, height in zip(table.width.tolist(), table.height.tolist(), strict=True)
    ]
    facts: list[PhotoFacts] = []
    with ThreadPoolExecutor() as pool:
        jobs = pool.map(lambda job: _read_photo(folder, *job), zip(table.file_names, sizes, strict=True))
        for n, one in enumerate(jobs, 1):
            facts.append(one)
            progress(what, n, len(sizes))
    return facts


def _read_photo(folder: Path, name: str | None, size: tuple[int, int] | None) -> PhotoFacts:
    if not name:
        return PhotoFacts("nameless")
    try:
        path = photos.photo_path(folder, name)
    except TrashkitError as error:
        return PhotoFacts("outside", error.message, found=meant_photo(folder, name, size))
    info: photos.PhotoInfo | None = None
    try:
        info = photos.photo_info(path)
        with photos.limited_memory(info):
            return _measured(info, photos.read_photo(path, size))
    except photos.UnusablePhotoError as error:
        return PhotoFacts("unusable", f"{error.message}: {error.hint}", info)
    except TrashkitError as error:
        if not os.path.lexists(path):
            close = similar_name(folder, name)
            message = error.message + (f"; did you mean {close}?" if close else "")
            return PhotoFacts("missing", message, found=meant_photo(folder, name, size))
        return PhotoFacts("truncated" if "truncated" in error.message else "unreadable", error.message, info)


def _measured(info: photos.PhotoInfo, photo: photos.Photo) -> PhotoFacts:
    small = photos.shrink(photo, LONGEST)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    middle, spread = cv2.meanStdDev(grey)
    darker = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256])[:, 0]) / grey.size
    tiny = photos.shrink(small, 64).astype(np.int16)
    return PhotoFacts(
        "ok",
        "",
        info,
        hashlib.blake2b(np.ascontiguousarray(photo).data, digest_size=16).digest() + str(photo.shape).encode(),
        near_duplicates.photo_features(small),
        float(middle[0, 0]),
        float(spread[0, 0]),
        float(np.searchsorted(darker, 0.05)),
        float(np.searchsorted(darker, 0.95)),
        float(np.percentile(np.abs(tiny - tiny.mean(axis=2, keepdims=True)).max(axis=2), 99)),
        float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0]) ** 2,
    )
