"""The files that the App may show: photos and label maps in the review's folders."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

_HEAD = 16
_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A file that may be shown. kind: its media type, by content. size: bytes. modified: as HTTP writes times."""

    path: Path
    kind: str
    size: int
    modified: str


def place_in(folders: Sequence[Path], name: str) -> Path | None:
    """The absolute path that a request names, if it lies in one of the folders. Folders are resolved."""
    if "\0" in name or not Path(name).is_absolute():
        return None
    path = Path(os.path.normpath(name))
    return path if any(path.is_relative_to(folder) and path != folder for folder in folders) else None


def find_photo(path: Path) -> FoundPhoto | None:
    """The photo at a path; None for anything but a picture.

    A link is followed to a picture elsewhere, as in all of trashkit, but to nothing else.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            return None
        with path.open("rb") as file:
            kind = picture_kind(file.read(_HEAD))
    except (OSError, ValueError):
        return None
    return FoundPhoto(path, kind, about.st_size, formatdate(about.st_mtime, usegmt=True)) if kind else None


def picture_kind(head: bytes) -> str:
    """The media type of a picture by its first bytes; empty for anything else, SVG included: it may hold scripts."""
    for start, kind in (
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF8", "image/gif"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
    ):
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return _BRANDS.get(head[8:12], "") if head[4:8] == b"ftyp" else ""


_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"), "image/heic"),
}


async def read_photo(photo: FoundPhoto) -> AsyncIterator[bytes]:
    """Its bytes, in chunks; exactly as many as `size` says, even if the file changes meanwhile."""
    left = photo.size
    with await asyncio.to_thread(photo.path.open, "rb") as file:
        while left > 0:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk
