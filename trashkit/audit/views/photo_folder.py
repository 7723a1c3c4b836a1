"""Recognise a wrong photo folder, with which a data set looks as if it had no photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trashkit.audit.views.found_photos import forget_names, meant_photo
from trashkit.coco.dataset import Coco
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_path

MOST = 0.5
"""A folder that lacks more than this share of the photos is assumed to be the wrong one."""
SAMPLE = 200
"""How many photos to look for in each other folder, evenly distributed over the file."""


def missing_photos(coco: Coco, folder: Path) -> tuple[int, int]:
    """How many photos are missing from the folder, and how many images have a file name.

    Photos that are there under a similar name or in another folder are not missing, since fixes correct their names;
    but if most names fit another folder as they are, it is the folder that is wrong, not the names.
    """
    names = _names(coco)
    absent = [name for name in names if not _is_there(folder, name)]
    if len(absent) > MOST * len(names) and fitting_folder(coco, folder) is not None:
        return len(absent), len(names)
    forget_names()
    return sum(meant_photo(folder, name, None) is None for name in absent), len(names)


def fitting_folder(coco: Coco, folder: Path) -> Path | None:
    """A folder above `folder` or directly below it that has most of the photos; None if there is none."""
    names = _names(coco)
    names = names[:: len(names) // SAMPLE + 1]
    best = max(_nearby(folder), key=lambda other: sum(_is_there(other, name) for name in names), default=None)
    if best is None or sum(_is_there(best, name) for name in names) <= MOST * len(names):
        return None
    return best


def wrong_folder(coco: Coco, folder: Path) -> tuple[int, int, str]:
    """As `missing_photos`, and a hint which folder to use instead."""
    missing, number = missing_photos(coco, folder)
    fits = fitting_folder(coco, folder) if missing > MOST * number else None
    if fits is not None:
        return missing, number, f"use --images {fits}, where the photos are"
    example = next((name for name in _names(coco) if not _is_there(folder, name)), "")
    return missing, number, f"check --images: file names such as {example} must be relative to it"


def better_folder(coco: Coco, folder: Path) -> Path | None:
    """The folder to use instead where most photos are missing: `folder` itself if no other has them, else None."""
    missing, number = missing_photos(coco, folder)
    return (fitting_folder(coco, folder) or folder) if missing > MOST * number else None


def refuse_wrong_folder(coco: Coco, folder: Path) -> None:
    """Raise TrashkitError if the folder lacks most of the photos, with a hint which folder to use."""
    missing, number, hint = wrong_folder(coco, folder)
    if missing > MOST * number:
        raise TrashkitError(
            f"{missing} of {number} photos are not in {folder}, and their images would be deleted", hint=hint
        )


def _names(coco: Coco) -> list[str]:
    names = (record.get("file_name") for record in coco.records("images") if isinstance(record, dict))
    return [name for name in names if isinstance(name, str) and name]


def _is_there(folder: Path, name: str) -> bool:
    try:
        return photo_path(folder, name).exists()
    except (TrashkitError, OSError, ValueError):  # a name that leads out, is too long, or has a surrogate
        return False


def _nearby(folder: Path) -> Iterator[Path]:
    """Folders that are likely to be the right one, the nearest first."""
    yield from list(folder.parents)[:3] or [Path("..")]
    for below in sorted(folder.iterdir())[:50] if folder.is_dir() else ():
        if below.is_dir():
            yield below
