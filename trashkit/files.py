"""Paths and files: resolving paths, hashing files, and removing folders completely or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import IO, Any

FILE_MANAGER_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
"""Files (lower case) that file managers leave in every folder they show."""


def real_path(path: Path | str) -> Path:
    """The absolute path with links resolved; circular links are resolved as far as they go."""
    return Path(os.path.realpath(path))


def without_suffix(name: str) -> PurePosixPath:
    """The path in a data file without the suffix of its last part; paths such as "." and "/", which have none, stay."""
    path = PurePosixPath(name)
    return path.parent / path.stem


def is_file(name: Path | str) -> bool:
    """Whether `name` names an existing file; False for text that cannot be a path (too long, or with a zero byte)."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def exists(name: Path | str) -> bool:
    """Whether `name` names something that exists; False for text that cannot be a path (too long, with a zero byte)."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def is_empty(folder: Path) -> bool:
    """Whether `folder` is an existing folder with nothing in it."""
    return folder.is_dir() and not any(folder.iterdir())


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_bytes(file: IO[bytes], data: bytes, path: Path) -> None:
    """Append to an unbuffered file and flush to disk; where that fails, such as on a full disk, remove what was added.

    Raises OSError that names `path`.
    """
    end = file.seek(0, os.SEEK_END)
    try:
        left = memoryview(data)
        while left:  # a nearly full disk takes a part
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            file.truncate(end)
        error.filename = error.filename or str(path)
        raise


def open_lock(path: Path) -> IO[bytes]:
    """Open a file to lock, created where it does not exist. Never through a link, and what it contains is kept.

    Raises OSError for a link and for whatever else cannot be opened.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its other end.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def lock(file: IO[Any], *, shared: bool = False, wait: bool = True) -> None:
    """Lock an open file until it is closed or its process ends; `shared` locks exclude exclusive ones only.

    Raises BlockingIOError where another process holds it and `wait` is False. Does nothing on systems without fcntl,
    such as Windows: there, two processes must not write one log, ledger or run at a time.
    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def temporary_name(path: Path, *, moved: bool = False) -> Path:
    """A hidden sibling of `path` with the number of this process in its name; `remove_leftovers` recognises it.

    The suffix is kept, since writers such as cv2.imwrite choose the format by it. moved: for an earlier output that is
    moved out of the way, and is restored if the process is killed.
    """
    return path.with_name(f".{path.stem}.{'old.' if moved else ''}{os.getpid()}.part{path.suffix}")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def remove_folder(path: Path) -> None:
    """Remove a folder. It is renamed first, so that a killed process leaves it either complete or gone.

    Leftovers of earlier killed processes are removed as well.
    """
    remove_leftovers(path)
    gone = temporary_name(path)
    remove(gone)
    path.rename(gone)
    remove(gone)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of the output `path` under temporary names.

    A folder that such a process had moved out of the way is put back, unless something else has taken its place.
    """
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}"):
        number = left.name.removeprefix(f".{path.stem}.").removesuffix(f".part{path.suffix}")
        process = number.removeprefix("old.").removesuffix(".new")  # ".new": stores of earlier versions
        if process.isdecimal() and not _is_running(int(process)):
            with contextlib.suppress(FileNotFoundError):  # another process removed it first
                if number.startswith("old.") and not path.exists():
                    left.rename(path)
                else:
                    remove(left)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # signal 0 is Ctrl-C there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or not a process number
        return True
    return True
