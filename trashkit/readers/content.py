"""The bytes and the text of a file: regular files only, up to a size."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from trashkit.readers.other_forms import HEAD, OtherForm, other_encoding, other_form, other_text, pointer, unicode_form

SMALL = 64 << 20
"""Most bytes of settings, manifests, notes, logs and other files that are small by nature."""
LARGE = 8 << 30
"""Most bytes of annotation files and logs of edits."""


class ContentError(ValueError):
    """The content of a file is not as expected. The text is a clause, such as "it is nested more than 100 levels deep".

    It fits behind a colon: "runs/a/manifest.json cannot be read: it is not UTF-8 text". hint: what to do, where the
    content tells; it counts more than the hint of a message that this error causes.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class PointerError(OSError):
    """A file that only stands for another, as of Git LFS. hint: how to get the one that is meant."""

    def __init__(self, found: OtherForm, path: Path) -> None:
        super().__init__(errno.EINVAL, found.reason, str(path))
        self.hint = found.hint


def open_file(path: Path | str) -> BufferedReader:
    """Open a regular file for reading.

    Raises OSError, with a reason in ``strerror``, for a missing file, a folder, a pipe and a device. A pipe that the
    shell opened, as in ``<(zcat a.json.gz)``, is opened. PointerError for what stands for another file.
    """
    path = Path(path)
    try:
        about = path.stat()
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.ENOENT, "its name is not valid", str(path)) from error
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(about.st_mode) and not str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/")):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    file = path.open("rb")
    if stat.S_ISREG(about.st_mode) and about.st_size < HEAD:
        found = pointer(file.read(HEAD))
        if found is not None:
            file.close()
            raise PointerError(found, path)
        file.seek(0)
    return file


def read_bytes(path: Path | str, *, most: int = SMALL) -> bytes:
    """Return the bytes of a regular file.

    Raises OSError, with a reason in ``strerror``, as `open_file` does, and for a file of more than `most` bytes.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = _up_to(most + 1, file, size) if size <= most else b""
    if size > most or len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
    return data


def _up_to(most: int, file: BinaryIO, size: int) -> bytes:
    """Up to `most` bytes of a file that says it has `size`.

    In steps: ``read(n)`` takes n bytes of memory at once, also where there are fewer.
    """
    pieces = [file.read(min(size + 1, most))]
    left = most - len(pieces[0])
    while left and pieces[-1]:
        pieces.append(file.read(min(left, 1 << 18)))
        left -= len(pieces[-1])
    return b"".join(pieces)


def read_text(path: Path | str, *, most: int = SMALL) -> str:
    """Return a UTF-8 file as text, with line ends as ``\\n`` and without a byte order mark.

    Raises OSError as `read_bytes` does, and ContentError for other encodings.
    """
    return decode_text(read_bytes(path, most=most)).replace("\r\n", "\n").replace("\r", "\n")


def decode_text(data: bytes | str) -> str:
    """Return UTF-8, UTF-16 or UTF-32 bytes as text without a byte order mark.

    ContentError, with what the file is where that can be told, for other encodings and for web pages, XML, archives and
    other binary files.
    """
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    data = as_utf8(data)
    head = data[:HEAD]
    found = other_form(head) if b"\0" in head else other_text(head)
    if found is not None:
        raise ContentError(*found)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ContentError(*other_encoding(data)) from error


def as_utf8(data: bytes) -> bytes:
    """Return text as UTF-8 without a byte order mark, if it is UTF-8, UTF-16 or UTF-32; else the bytes as they are."""
    form = unicode_form(data)
    if form:
        try:
            return data.decode(form).removeprefix("\ufeff").encode()
        except UnicodeError:
            return data
    return data.removeprefix(codecs.BOM_UTF8)
