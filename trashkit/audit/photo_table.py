"""What one decode of each photo shows: what all checks on photos look at."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from trashkit import near_duplicates, photos
from trashkit.audit.table import Table
from trashkit.errors import TrashkitError
from trashkit.progress import Progress, silent

State = Literal["ok", "nameless", "outside", "missing", "unreadable", "truncated"]
Floats = npt.NDArray[np.float64]

LONGEST = 512
"""Sharpness is measured with the longer side at this many pixels, so that large photos are not called sharper."""


class Seen(NamedTuple):
    """One photo. Statistics are NaN, digest is empty and look is None where it could not be decoded.

    brightness, contrast: mean and standard deviation of grey, 0 .. 255. shadows, highlights: grey levels below and
    above which a twentieth of the pixels lie. colour: how far channels are from grey, 0 .. 255, in all but a hundredth
    of the picture. sharpness: variance of the Laplacian of grey. look: what near-duplicates are told by.
    """

    state: State
    message: str = ""
    info: photos.PhotoInfo | None = None
    digest: bytes = b""
    look: near_duplicates.Look | None = None
    brightness: float = math.nan
    contrast: float = math.nan
    shadows: float = math.nan
    highlights: float = math.nan
    colour: float = math.nan
    sharpness: float = math.nan


@dataclass(frozen=True)
class PhotoTable:
    """Photos of a file by image row, and of the file it is held against where one is given."""

    table: Table
    seen: list[Seen]
    against: list[Seen]
    progress: Progress = silent

    def decoded(self) -> Iterator[tuple[int, Seen]]:
        """Image rows whose photo could be decoded."""
        return ((row, one) for row, one in enumerate(self.seen) if one.state == "ok")

    @cached_property
    def near_groups(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Group numbers of near-duplicates over both files: [images] and [images of the other]; -1 without a photo."""
        looks = [one.look for one in (*self.seen, *self.against)]
        rows = [row for row, one in enumerate(looks) if one is not None]
        groups = np.full(len(looks), -1, np.intp)
        groups[rows] = near_duplicates.near_groups([one for one in looks if one is not None], progress=self.progress)
        return groups[: len(self.seen)], groups[len(self.seen) :]

    def values(self, name: str) -> Floats:
        """One statistic of all photos, [images]; NaN where a photo could not be decoded."""
        return np.array([getattr(one, name) for one in self.seen], dtype=float)


def photo_table(table: Table, folder: Path, progress: Progress) -> PhotoTable:
    """Decode every photo once, several at a time; never more than a few of them are in memory.

    Raises TrashkitError where `folder` is no folder; a photo that cannot be read is a row with its reason.
    """
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="check --images")
    _names_in.cache_clear()
    mine = _look_at_all(table, folder, "looking at photos", progress)
    other = _look_at_all(table.against, folder, "looking at the other file's photos", progress) if table.against else []
    return PhotoTable(table, mine, other, progress)


def _look_at_all(table: Table, folder: Path, what: str, progress: Progress) -> list[Seen]:
    sizes = [
        (int(width), int(height)) if not (math.isnan(width) or math.isnan(height)) else None
        for width, height in zip(table.width.tolist(), table.height.tolist(), strict=True)
    ]
    seen: list[Seen] = []
    with ThreadPoolExecutor() as pool:
        jobs = pool.map(lambda job: _look_at(folder, *job), zip(table.file_names, sizes, strict=True))
        for n, one in enumerate(jobs, 1):
            seen.append(one)
            progress(what, n, len(sizes))
    return seen


def _look_at(folder: Path, name: str | None, size: tuple[int, int] | None) -> Seen:
    if not name:
        return Seen("nameless")
    try:
        path = photos.photo_path(folder, name)
    except TrashkitError as error:
        return Seen("outside", error.message)
    info: photos.PhotoInfo | None = None
    try:
        info = photos.photo_info(path)
        photo = photos.read_photo(path, size)
    except TrashkitError as error:
        if not path.exists():
            close = _meant(folder, name)
            return Seen("missing", error.message + (f"; did you mean {close}?" if close else ""))
        return Seen("truncated" if "truncated" in error.message else "unreadable", error.message, info)
    small = photos.shrink(photo, LONGEST)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    middle, spread = cv2.meanStdDev(grey)
    darker = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256])[:, 0]) / grey.size
    tiny = photos.shrink(small, 64).astype(np.int16)
    return Seen(
        "ok",
        "",
        info,
        hashlib.blake2b(np.ascontiguousarray(photo).data, digest_size=16).digest() + str(photo.shape).encode(),
        near_duplicates.look(small),
        float(middle[0, 0]),
        float(spread[0, 0]),
        float(np.searchsorted(darker, 0.05)),
        float(np.searchsorted(darker, 0.95)),
        float(np.percentile(np.abs(tiny - tiny.mean(axis=2, keepdims=True)).max(axis=2), 99)),
        float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0]) ** 2,
    )


def _meant(folder: Path, name: str) -> str | None:
    """The name of a file that is there and differs in case alone, or in its ending; None where there is none.

    Followed folder by folder, so that the folder is never read as a whole.
    """
    there = folder
    parts = Path(name).parts
    for depth, part in enumerate(parts):
        if (there / part).exists():
            there = there / part
            continue
        names = _names_in(str(there))
        wanted = [part.casefold()]
        if depth == len(parts) - 1:
            wanted += [Path(part).stem.casefold() + ending for ending in (".jpg", ".jpeg", ".png")]
        found = next((names[word] for word in wanted if word in names), None)
        if found is None:
            return None
        there = there / found
    return there.relative_to(folder).as_posix()


@lru_cache(maxsize=64)
def _names_in(folder: str) -> dict[str, str]:
    """Names in a folder by their lower-case form."""
    try:
        names = sorted((found.name for found in Path(folder).iterdir()), reverse=True)
        return {name.casefold(): name for name in names}
    except OSError:
        return {}
