"""Write COCO files, byte-stable."""

from __future__ import annotations

from pathlib import Path

from trashkit.coco.dataset import Coco
from trashkit.outputs import Output


def write(coco: Coco, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a Coco: the same JSON values in the same order, rows verbatim, one row per line.

    A file that trashkit wrote is reproduced byte for byte. Raises TrashkitError if `path` exists without `overwrite`,
    or if the file it was read from has a duplicate top-level key.
    """
    coco.require_unique_keys()
    with Output(Path(path), overwrite=overwrite).writing() as temporary, temporary.open("wb") as file:
        for piece in coco.pieces():
            file.write(piece)
