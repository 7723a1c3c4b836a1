"""Outputs that are whole or absent: written under a temporary name, renamed when complete."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trashkit.errors import TrashkitError


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise unless `path` is free or may be overwritten, and its parent is (or can become) a folder.

    Devices, pipes and links to nothing are never overwritten.
    """
    if not path.name or path.name == "..":
        raise TrashkitError(f"{path} has no name of its own", hint="write to a name inside it, such as --out NAME")
    if path.is_symlink() and not path.exists():
        raise TrashkitError(f"{path} is a link to nothing", hint="remove the link, or choose another name")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise TrashkitError(f"{path} is neither a file nor a folder, so it is kept", hint="choose another name")
    if path.exists() and not overwrite:
        raise TrashkitError(f"{path} exists already", hint="choose another name, or add --overwrite")
    for parent in path.parents:
        if parent.exists():
            if not parent.is_dir():
                raise TrashkitError(f"{parent} is a file, so {path} cannot be written", hint="choose another --out")
            if not os.access(parent, os.W_OK):
                raise TrashkitError(f"the folder {parent} cannot be written to", hint="choose another --out")
            break


def real_path(path: Path | str) -> Path:
    """The absolute path without links; of links that lead round in circles, what can be made of them."""
    return Path(os.path.realpath(path))


def is_file(name: Path | str) -> bool:
    """Whether a text names a file; not where it could name none, being too long or with a zero byte."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def refuse_inputs(out: Path, inputs: Iterable[Path | str | None]) -> None:
    """Raise where writing `out` would destroy something that was given to read.

    That is an input itself, also through another spelling or a link, or a folder that an input lies in (a written
    folder replaces the one that was there). None among the inputs is skipped; so are names that do not exist.
    """
    where = real_path(out)
    for given in inputs:
        if given is None:
            continue
        path = Path(given)
        real = real_path(path)
        # samefile also sees hard links and file systems that ignore case.
        if where == real or (out.exists() and path.exists() and out.samefile(path)):
            raise TrashkitError(f"{out} is an input and would be overwritten", hint="choose another name")
        if path.exists() and where in real.parents:
            raise TrashkitError(f"{out} holds the input {path} and would be overwritten", hint="choose another name")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def remove_folder(path: Path) -> None:
    """Remove a folder that an output will take the place of; killed at any moment, it is there whole or not at all.

    What a killed removal left under a hidden name is removed as well.
    """
    remove_leftovers(path)
    gone = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    _remove(gone)
    path.rename(gone)
    _remove(gone)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.stem}.old.{os.getpid()}.part{path.suffix}")


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of the same output under temporary names; what they moved aside comes back
    where nothing has taken its place."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}"):
        number = left.name.removeprefix(f".{path.stem}.").removesuffix(f".part{path.suffix}")
        process = number.removeprefix("old.").removesuffix(".new")
        if process.isdecimal() and not _is_running(int(process)):
            if number.startswith("old.") and not path.exists():
                left.rename(path)
            else:
                _remove(left)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # signal 0 is Ctrl-C there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no number of a process
        return True
    return True


MARK = ".trashkit"
"""A file that says who wrote a folder, for folders that hold nothing else that would."""
LEFT_BY_FILE_MANAGERS = {".ds_store", "thumbs.db", "desktop.ini"}


def _refuse_foreign(folder: Path, ours: str, mark: str) -> None:
    """Raise unless the folder is empty, or all names in it match `ours` or `mark`, and at least one `mark`."""
    names = sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
    parts = [path.relative_to(folder).as_posix() for path in names if path.name.lower() not in LEFT_BY_FILE_MANAGERS]
    marks = {part for part in parts if re.fullmatch(mark, part)}
    foreign = [part for part in parts if part not in marks and not re.fullmatch(ours, part)]
    if parts and (foreign or not marks):
        raise TrashkitError(
            f"{folder} holds {(foreign or parts)[0]}, which this command did not write, so it is kept",
            hint="choose another --out, or move the folder away",
        )


def _exchange(old: Path, new: Path) -> None:
    """Put the folder `new` in the place of `old`, which is moved aside first and removed last: removing takes long."""
    aside = _aside(old)
    _remove(aside)
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    _remove(aside)


_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
"""How JPEG, PNG, GIF, WebP, TIFF and BMP files begin."""


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(_PICTURES)


@contextmanager
def replacing(
    path: Path, *, overwrite: bool = False, ours: str | None = None, mark: str = re.escape(MARK)
) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to (a file or a folder); rename it to `path` when the block ends.

    An exception in the block removes what was written and leaves an existing `path` as it was. An existing `path` is
    refused with TrashkitError unless `overwrite`, and so is always a folder where a file was written, the other way
    round, and a picture where no picture was: it may be somebody's photo. Parents are created. What a killed process
    left is removed.
    ours: pattern of the names of files (with "/", as of the folder) that an earlier output may hold. A folder with any
    other file is refused, whatever `overwrite` says: it may be somebody's photos. None where the caller knows better.
    mark: pattern of names that the caller writes into each such folder; one without any is refused too.
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    if ours is not None:
        _refuse_foreign(path, ours, mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept, since writers such as cv2.imwrite choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    _remove(temporary)
    remove_leftovers(path)
    try:
        yield temporary
        if path.exists() and temporary.exists() and path.is_dir() != temporary.is_dir():
            raise TrashkitError(f"{path} is a {'folder' if path.is_dir() else 'file'}", hint="choose another name")
        if path.is_file() and temporary.is_file() and _is_picture(path) and not _is_picture(temporary):
            raise TrashkitError(f"{path} is a picture, so it is kept", hint="choose another name")
        if path.is_dir() and temporary.is_dir():
            _exchange(path, temporary)
        else:
            temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file whole or not at all."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a UTF-8 file whole or not at all; lone surrogates, which UTF-8 does not have, escaped as in JSON."""
    write_bytes(path, text.encode(errors="backslashreplace"), overwrite=overwrite)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
