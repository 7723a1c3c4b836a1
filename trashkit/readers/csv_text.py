"""CSV: rows of a text or of a file, with limits on the length of fields and lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trashkit.readers.content import ContentError, open_file
from trashkit.readers.other_forms import HEAD, other_form, unicode_form

_LONGEST = 1 << 17
LONGEST_LINE = 1 << 26
"""Most characters of a line that `iterate_csv` reads."""


def csv_rows(text: str, *, delimiter: str = ",", skip_spaces: bool = False) -> list[list[str]]:
    """Return the rows of a CSV text; ContentError, with the line, where a field has more than 128 KiB.

    skip_spaces: ignore spaces after a delimiter, so that a quoted field may follow them.
    """
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=skip_spaces)
    with _longest_field(_LONGEST):
        try:
            return list(rows)
        except csv.Error as error:
            raise ContentError(f"line {rows.line_num}: {error}") from error


def iterate_csv(path: Path | str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row of a UTF-8 CSV file; empty lines have no fields.

    The file is read piece by piece; UTF-16 and UTF-32 are read, too, and other encodings give replacement characters.
    Raises OSError as `read_bytes` does, and ContentError, with the line, where a line or a field is longer than 64 MiB,
    and for web pages, archives and pictures.
    """
    with open_file(path) as file, _as_text(file) as text:
        rows = csv.reader(_lines(text))
        while True:
            with _longest_field(LONGEST_LINE):  # only while a row is read: the limit is the process's
                try:
                    fields = next(rows, None)
                except csv.Error as error:
                    raise ContentError(f"line {rows.line_num}: {error}") from error
            if fields is None:
                return
            yield rows.line_num, fields


def _as_text(file: io.BufferedReader) -> io.TextIOWrapper:
    head = file.peek(HEAD)[:HEAD]
    form = unicode_form(head)
    found = None if form else other_form(head)
    if found is not None:
        raise ContentError(*found)
    return io.TextIOWrapper(file, form or "utf-8-sig", "replace", newline="")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise ContentError(f"line {number} is longer than {LONGEST_LINE >> 20} MiB")
        yield line


@contextmanager
def _longest_field(most: int) -> Iterator[None]:
    before = csv.field_size_limit(most)
    try:
        yield
    finally:
        csv.field_size_limit(before)
