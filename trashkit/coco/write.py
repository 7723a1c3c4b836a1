"""Byte-stable saving."""

from __future__ import annotations

from pathlib import Path

from trashkit.coco.dataset import Coco
from trashkit.files import replacing


def write(coco: Coco, path: Path | str, *, overwrite: bool = False) -> None:
    """Save a Coco: the same JSON values in the same order, rows verbatim, one row a line.

    A file that trashkit wrote is written again byte for byte. Raises TrashkitError when `path` exists and may not be
    overwritten, and when the file it was read from gave a top-level name twice.
    """
    coco.refuse_repeated()
    with replacing(Path(path), overwrite=overwrite) as temporary, temporary.open("wb") as file:
        for piece in coco.pieces():
            file.write(piece)
