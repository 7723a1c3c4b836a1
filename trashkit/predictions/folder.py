"""The folder of a store of probabilities as an output; loads without zarr, see `trashkit.predictions.store`."""

from __future__ import annotations

import re
from pathlib import Path

from trashkit.errors import TrashkitError
from trashkit.files import is_empty
from trashkit.outputs import OutputKind

METADATA = "zarr.json"

_FILES = re.compile(r"zarr\.json|c\.[\d.]+|.*\.partial|\..*", re.DOTALL)
"""Names of the files in a store, and hidden ones, which file managers leave."""


def is_store(path: Path) -> bool:
    """Whether `path` looks like a store: a folder with a `zarr.json`."""
    return (Path(path) / METADATA).is_file()


def _is_unfinished(path: Path) -> bool:
    from trashkit.predictions.store import open_store

    try:
        return is_store(path) and not open_store(path).done.all()
    except TrashkitError:
        return False


def _foreign(path: Path) -> str:
    names = (one.name for one in path.iterdir()) if path.is_dir() and is_store(path) else iter(())
    first = next((name for name in names if not _FILES.fullmatch(name)), "")
    return first and f"{first}, which is not part of a store"


STORE = OutputKind(
    "store",
    lambda path: is_store(path) or is_empty(path),
    _foreign,
    is_resumable=_is_unfinished,
    owns=lambda folder, _: is_store(folder),
)
