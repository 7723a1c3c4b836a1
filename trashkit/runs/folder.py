"""The files of a run folder, and who may write to it. `trashkit.runs.run` reads and writes the contents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.files import lock, open_lock
from trashkit.outputs import OutputKind
from trashkit.readers import decode_json, read_bytes

MANIFEST = "manifest.json"
SETTINGS = "settings.toml"
METRICS = "metrics.jsonl"
OOF = "oof"
VALIDATION = "validation.npz"
REPORT = "report.html"
CHECKPOINTS = "checkpoints"
STATE = "state.pt"
LOCK = ".training"
OWN = (MANIFEST, SETTINGS, METRICS, VALIDATION, CHECKPOINTS, OOF)
"""What belongs to the run; anything else in the folder may be the output of other commands."""
FORMAT = "trashkit run"
VERSION = 1


def is_run(path: Path) -> bool:
    """Whether a folder holds the manifest of a run."""
    try:
        return bool(decode_json(read_bytes(path / MANIFEST), dict[str, Any]).get("format") == FORMAT)
    except (OSError, ValueError):
        return False


def is_empty_run(path: Path) -> bool:
    """Whether a folder is empty, or holds only what is created before the manifest, as after an early kill."""
    return path.is_dir() and all(
        entry.name.startswith(".") or (entry.name == CHECKPOINTS and entry.is_dir() and not any(entry.iterdir()))
        for entry in path.iterdir()
    )


def has_lost_manifest(path: Path) -> bool:
    """Whether a folder is a run whose manifest is missing or unreadable."""
    return not is_run(path) and (path / CHECKPOINTS).is_dir() and (path / SETTINGS).is_file()


def _owns(folder: Path, name: str) -> bool:
    return name in OWN and (is_run(folder) or has_lost_manifest(folder))


RUN_FOLDER = OutputKind(
    "run folder",
    lambda path: is_run(path) or has_lost_manifest(path),
    is_free=is_empty_run,
    is_resumable=is_run,
    owns=_owns,
)


def is_being_trained(path: Path) -> bool | None:
    """Whether a training holds the lock of the run in `path`; None where that cannot be found out, as on Windows."""
    if not (path / LOCK).exists():
        return False
    if os.name == "nt":
        return None
    try:
        with open_lock(path / LOCK) as file:
            lock(file, shared=True, wait=False)  # released as the file is closed
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Mark the run in `path` as being trained by this process, until the block ends in any way, or the process.

    Raises TrashkitError if another training holds the lock. On systems without such locks it always succeeds.
    """
    with open_lock(path / LOCK) as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            raise TrashkitError(
                f"{path} is being trained already", hint="wait for it, or choose another --out"
            ) from None
        except OSError:
            pass
        try:
            yield
        finally:
            (path / LOCK).unlink(missing_ok=True)
