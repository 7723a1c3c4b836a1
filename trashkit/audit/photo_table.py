"""What one decode of each photo shows: what all checks on photos look at."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from trashkit import near_duplicates, photos
from trashkit.audit.table import Table
from trashkit.errors import TrashkitError
from trashkit.progress import Progress

State = Literal["ok", "nameless", "outside", "missing", "unreadable", "truncated"]
Floats = npt.NDArray[np.float64]

LONGEST = 512
"""Sharpness is measured with the longer side at this many pixels, so that large photos are not called sharper."""


class Seen(NamedTuple):
    """One photo. statistics are NaN, digest and hash empty where it could not be decoded.

    brightness, contrast: mean and standard deviation of grey, 0 .. 255. colour: mean distance of the channels from
    grey, 0 .. 255. sharpness: variance of the Laplacian of grey.
    """

    state: State
    message: str = ""
    info: photos.PhotoInfo | None = None
    digest: bytes = b""
    hash: int = 0
    cells: npt.NDArray[np.uint8] | None = None
    brightness: float = math.nan
    contrast: float = math.nan
    colour: float = math.nan
    sharpness: float = math.nan


@dataclass(frozen=True)
class PhotoTable:
    """Photos of a file by image row, and of the file it is held against where one is given."""

    table: Table
    seen: list[Seen]
    against: list[Seen]

    def decoded(self) -> Iterator[tuple[int, Seen]]:
        """Image rows whose photo could be decoded."""
        return ((row, one) for row, one in enumerate(self.seen) if one.state == "ok")

    def values(self, name: str) -> Floats:
        """One statistic of all photos, [images]; NaN where a photo could not be decoded."""
        return np.array([getattr(one, name) for one in self.seen], dtype=float)


def photo_table(table: Table, folder: Path, progress: Progress) -> PhotoTable:
    """Decode every photo once, several at a time; never more than a few of them are in memory.

    Raises TrashkitError where `folder` is no folder; a photo that cannot be read is a row with its reason.
    """
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="check --images")
    mine = _look_at_all(table, folder, "looking at photos", progress)
    other = _look_at_all(table.against, folder, "looking at the other file's photos", progress) if table.against else []
    return PhotoTable(table, mine, other)


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
            return Seen("missing", error.message)
        return Seen("truncated" if "truncated" in error.message else "unreadable", error.message, info)
    small = photos.shrink(photo, LONGEST)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    tiny = photos.shrink(small, 64).astype(np.int16)
    return Seen(
        "ok",
        "",
        info,
        hashlib.blake2b(np.ascontiguousarray(photo).data, digest_size=16).digest() + str(photo.shape).encode(),
        int(photos.phash([small])[0]),
        near_duplicates.cells(small),
        float(grey.mean()),
        float(grey.std()),
        float(np.abs(tiny - tiny.mean(axis=2, keepdims=True)).mean()),
        float(cv2.Laplacian(grey, cv2.CV_32F).var()),
    )
