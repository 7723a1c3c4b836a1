"""Whether a folder holds the photos of a file at all: a wrong folder looks like a data set without photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trashkit.coco.dataset import Coco
from trashkit.errors import TrashkitError
from trashkit.photos import photo_path

MOST = 0.5
"""A folder that lacks more than this share of the photos is taken for the wrong one."""
SAMPLE = 200
"""Photos that are looked for in each other folder, spread over the file."""


def missing_photos(coco: Coco, folder: Path) -> tuple[int, int]:
    """How many photos that the images name are not in the folder, and how many images name one."""
    names = _names(coco)
    return sum(not _is_there(folder, name) for name in names), len(names)


def fitting_folder(coco: Coco, folder: Path) -> Path | None:
    """A folder above `folder` or just below it that has most of the photos; None where there is none."""
    names = _names(coco)
    names = names[:: len(names) // SAMPLE + 1]
    best = max(_nearby(folder), key=lambda other: sum(_is_there(other, name) for name in names), default=None)
    if best is None or sum(_is_there(best, name) for name in names) <= MOST * len(names):
        return None
    return best


def wrong_folder(coco: Coco, folder: Path) -> tuple[int, int, str]:
    """As `missing_photos`, with a hint which folder to name, for a message about both."""
    missing, number = missing_photos(coco, folder)
    fits = fitting_folder(coco, folder) if missing > MOST * number else None
    if fits is not None:
        return missing, number, f"the file names lead there from {fits}: give --images {fits}"
    example = next((name for name in _names(coco) if not _is_there(folder, name)), "")
    return missing, number, f"check --images: file names such as {example} must lead to the photos from there"


def refuse_wrong_folder(coco: Coco, folder: Path) -> None:
    """Raise TrashkitError where the folder lacks most of the photos, with the folder that fits as a hint."""
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
    except (TrashkitError, OSError, ValueError):  # a name out of the folder, too long, or with a lone surrogate
        return False


def _nearby(folder: Path) -> Iterator[Path]:
    """Folders that are likely to be meant, the nearest first."""
    yield from list(folder.parents)[:3] or [Path("..")]
    for below in sorted(folder.iterdir())[:50] if folder.is_dir() else ():
        if below.is_dir():
            yield below
