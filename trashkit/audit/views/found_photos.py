"""Photos that a file name means although it is not theirs: in other case, of another type, or in another folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trashkit.errors import TrashkitError
from trashkit.files import exists
from trashkit.images import photos


def meant_photo(folder: Path, name: str, size: tuple[int, int] | None) -> str | None:
    """The photo that a file name means that is not below the folder as it is written, such as ``C:\\me\\a.jpg``.

    The longest end of the name that is there, also in other case or of another file type, if its size is that of the
    image. size: (width, height), None for any. None if there is no such photo.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    for tail in (parts[start:] for start in range(len(parts))):
        if ".." in tail:
            continue
        found = similar_name(folder, "/".join(tail))
        if found is None:
            continue
        try:
            info = photos.photo_info(photos.photo_path(folder, found))
        except TrashkitError:
            return None
        return found if size in {None, (info.width, info.height), info.oriented_size} else None
    return None


def similar_name(folder: Path, name: str) -> str | None:
    """The name of a file that exists and differs only in case or file type; None if there is none.

    Looked up folder by folder, so that no folder tree is read as a whole.
    """
    there = folder
    parts = Path(name).parts
    for depth, part in enumerate(parts):
        if exists(there / part):
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
    return there.relative_to(folder).as_posix() if there.is_file() else None


@lru_cache(maxsize=64)
def _names_in(folder: str) -> dict[str, str]:
    """Names in a folder by lower-case name."""
    try:
        names = sorted((found.name for found in Path(folder).iterdir()), reverse=True)
        return {name.casefold(): name for name in names}
    except OSError:
        return {}


def forget_names() -> None:
    """Read folders anew: what is in them is remembered, since it is looked up for each photo that is missing."""
    _names_in.cache_clear()
