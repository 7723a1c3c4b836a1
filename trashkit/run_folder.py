"""What lies in a run folder, and who may write to it; `trashkit.run` reads and writes what is inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from trashkit.errors import TrashkitError
from trashkit.files import real_path

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
"""What in a run folder is the run's, and no output of other commands."""
FORMAT = "trashkit run"
VERSION = 1


def is_run(path: Path) -> bool:
    """Whether a folder holds a run's manifest."""
    try:
        return bool(json.loads((path / MANIFEST).read_bytes()).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


def is_bare(path: Path) -> bool:
    """Whether a folder holds nothing, or only what is made before the manifest: a run may have been killed there."""
    return path.is_dir() and all(
        entry.name.startswith(".") or (entry.name == CHECKPOINTS and entry.is_dir() and not any(entry.iterdir()))
        for entry in path.iterdir()
    )


def refuse_folder(path: Path, *, overwrite: bool, resumes: bool = True) -> None:
    """Raise TrashkitError unless a run may be written to `path`: nothing is there, or with `overwrite` a run.

    resumes: the command has --resume, which its advice then names.
    """
    for place in (path, *path.parents):
        if place.is_file():
            raise TrashkitError(f"{place} is a file", hint="--out takes the name of a folder")
    if not path.exists() or is_bare(path):
        return
    if not overwrite:
        more = "--resume to go on or --overwrite" if resumes else "--overwrite"
        raise TrashkitError(f"{path} exists already", hint=f"choose another --out, or add {more}")
    if not (is_run(path) or is_damaged(path)):
        raise TrashkitError(f"{path} is not a run, and is not removed", hint="choose another --out")


def refuse_parts(out: Path) -> None:
    """Raise TrashkitError where `out` would lie in a store, or replace a part of a run: its manifest, weights ..."""
    place = real_path(out)
    for folder in place.parents:
        if (folder / "zarr.json").is_file():
            raise TrashkitError(f"{out} lies in the store {folder}", hint="choose another name")
        if place.relative_to(folder).parts[0] in OWN and (is_run(folder) or is_damaged(folder)):
            raise TrashkitError(f"{out} is part of the run {folder}", hint="choose another name")


def is_damaged(path: Path) -> bool:
    """Whether a folder is a run but for its manifest, which is lost, damaged or another's."""
    return not is_run(path) and (path / CHECKPOINTS).is_dir() and (path / SETTINGS).is_file()


def lock(path: Path) -> IO[bytes]:
    """Say that this process trains the run in `path`, until what is returned is closed or the process ends.

    Raises TrashkitError where another process does. Systems without such locks know of no other.
    """
    file = (path / LOCK).open("ab")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise TrashkitError(
            f"{path} is being trained by another process", hint="wait for it, or choose another --out"
        ) from None
    except (ImportError, OSError):
        pass
    return file


def unlock(path: Path, held: IO[bytes]) -> None:
    """End what `lock` began."""
    (path / LOCK).unlink(missing_ok=True)
    held.close()
