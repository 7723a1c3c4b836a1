"""Encode and decode the submission CSV: one row per image with its file name and the class of every pixel.

The competition's file has the header ``image_id,PredictionString``; `image_id` is the ``file_name`` of the image and
`PredictionString` the 256x256 label map as 65,536 integers, row by row, joined by single spaces. `CsvLayout` describes
other sizes, headers, separators and numbers of classes.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.outputs import Output
from trashkit.readers import HEAD, open_file, other_form

_LONGEST_NAME = 1 << 16
"""Most bytes of a header, and of a file name in a row."""
_MOST_VALUES = 1 << 27
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """The layout of a submission CSV: column names, size in pixels, separator of the values, number of classes."""

    image_column: str = "image_id"
    values_column: str = "PredictionString"
    height: int = 256
    width: int = 256
    separator: str = " "
    classes: int = 11

    def __post_init__(self) -> None:
        if len(self.separator) != 1 or self.separator in '0123456789,"\r\n' or not self.separator.isascii():
            raise ValueError(f"values cannot be joined by {self.separator!r}")
        if not 1 <= self.classes <= 255 or min(self.height, self.width) < 1:
            raise ValueError("a layout needs 1 to 255 classes and a positive size")
        if self.count > _MOST_VALUES:
            raise ValueError(f"{self.width}x{self.height} values are too many for a row")

    @property
    def count(self) -> int:
        """Number of values in a row."""
        return self.height * self.width

    @property
    def header(self) -> str:
        """The header line, without line end."""
        return _csv_line([self.image_column, self.values_column])


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read.

    line: line of the file, from 1 (the header). offset, length: its bytes in the file, without the line end.
    label_map: uint8 [H, W], or None where the values are wrong; `problem` and `cure` then say why and what to do.
    """

    line: int
    file_name: str
    offset: int
    length: int
    label_map: NDArray[np.uint8] | None
    problem: str = ""
    cure: str = ""


def _csv_line(fields: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def _digits(classes: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Digits of the numbers 0 .. classes - 1, each followed by a space, and which places they use; [C, 4] both."""
    table = np.zeros((classes, 4), dtype=np.uint8)
    for value in range(classes):
        text = str(value).encode() + b" "
        table[value, : len(text)] = list(text)
    return table, table != 0


def encode_values(label_map: NDArray[np.uint8], layout: CsvLayout) -> bytes:
    """Return the values of one row, without line end. ValueError for another shape or an unknown class."""
    if label_map.shape != (layout.height, layout.width):
        raise ValueError(f"label map of {label_map.shape}, the submission takes {(layout.height, layout.width)}")
    flat = np.ascontiguousarray(label_map, dtype=np.uint8).ravel()
    top = int(flat.max())
    if top >= layout.classes:
        raise ValueError(f"class {top} in a submission of {layout.classes} classes")
    separator = ord(layout.separator)
    if top <= 10 and separator != ord(":"):
        # Byte translation: one character per class, ":" (the one after "9") standing for 10.
        out = np.full(2 * flat.size, separator, dtype=np.uint8)
        np.add(flat, ord("0"), out=out[::2])
        return out[:-1].tobytes().replace(b":", b"10")
    table, used = _digits(layout.classes)
    table[table == ord(" ")] = separator
    return table[flat][used[flat]].tobytes()[:-1]


def write(
    path: Path,
    rows: Iterable[tuple[str, NDArray[np.uint8]]],
    layout: CsvLayout | None = None,
    *,
    overwrite: bool = False,
) -> int:
    """Write pairs (file name, label map uint8 [H, W]) as a CSV, atomically; return the number of rows.

    Lines end with a line feed. Raises TrashkitError for an existing `path` without `overwrite`.
    """
    with Output(path, overwrite=overwrite).writing() as temporary, temporary.open("wb", buffering=1 << 20) as file:
        return write_to(file, rows, layout or CsvLayout())


def write_to(file: BinaryIO, rows: Iterable[tuple[str, NDArray[np.uint8]]], layout: CsvLayout) -> int:
    """Write rows as `write` does, into an open binary file."""
    file.write(layout.header.encode() + b"\n")
    count = 0
    for name, label_map in rows:
        file.write(_csv_line([name]).encode() + b",")
        file.write(encode_values(label_map, layout))
        file.write(b"\n")
        count += 1
    return count


def decode_values(text: bytes, layout: CsvLayout) -> NDArray[np.uint8] | None:
    """Return the label map of one row's values, uint8 [H, W]; None unless `encode_values` would write them so."""
    separator = ord(layout.separator)
    if layout.classes <= 11 and separator != ord(":"):
        if b":" in text:
            return None
        codes = np.frombuffer(text.replace(b"10", b":"), dtype=np.uint8)
        if codes.size != 2 * layout.count - 1 or (codes[1::2] != separator).any():
            return None
        # Anything below "0" wraps around to a large number.
        values: NDArray[np.integer[Any]] = codes[::2] - np.uint8(ord("0"))
    else:
        decoded = _decode_longer(np.frombuffer(text, dtype=np.uint8), separator)
        if decoded is None or decoded.size != layout.count:
            return None
        values = decoded
    if values.max() >= layout.classes:
        return None
    return values.astype(np.uint8).reshape(layout.height, layout.width)


def _decode_longer(codes: NDArray[np.uint8], separator: int) -> NDArray[np.int32] | None:
    """Numbers of one to three digits, without leading zeros; None for anything else."""
    gaps = np.flatnonzero(codes == separator)
    starts = np.concatenate([[0], gaps + 1])
    lengths = np.concatenate([gaps, [codes.size]]) - starts
    if lengths.min() < 1 or lengths.max() > 3:
        return None
    digits = codes.astype(np.int32) - ord("0")
    if ((digits < 0) | (digits > 9))[codes != separator].any():
        return None
    values: NDArray[np.int32] = digits[starts]
    if (values[lengths > 1] == 0).any():
        return None
    for place in (1, 2):
        longer = lengths > place
        values[longer] = values[longer] * 10 + digits[starts[longer] + place]
    return values


def explain_values(text: bytes, layout: CsvLayout) -> tuple[str, str]:
    """Return what is wrong with values that `decode_values` refuses, and how to fix it."""
    separator = layout.separator.encode()
    if not text.strip():
        return "it has no values", "predict this image again"
    tokens = text.split(separator)
    if b"" in tokens:
        what = "space" if separator == b" " else repr(layout.separator)
        return f"its values are not joined by single {what}s", f"join them with one {what}, none before or after"
    for place, token in enumerate(tokens):
        where = f"value {place + 1} (pixel row {place // layout.width}, column {place % layout.width})"
        shown = token[:20].decode(errors="replace")
        if not token.isdigit():
            return f"{where} is {shown!r}, which is not a class", f"write integers from 0 to {layout.classes - 1}"
        if len(token) > 3 or int(token) >= layout.classes:
            return f"{where} is class {shown}", f"the classes are 0 to {layout.classes - 1}"
    if len(tokens) != layout.count:
        side = round(len(tokens) ** 0.5)
        cure = f"write the {layout.width}x{layout.height} label map, row by row"
        if side * side == len(tokens):
            cure = f"resize the {side}x{side} label map to {layout.width}x{layout.height} (nearest neighbour)"
        return f"it has {len(tokens):,} values instead of {layout.count:,}", cure
    return "its numbers have leading zeros", "write them without"


def _split(line: bytes) -> tuple[str, bytes]:
    """Return the file name and the values of a line; the name may be quoted, as in CSV names with commas."""
    if line.startswith(b'"'):
        end = line.find(b'",')
        while end > 0 and line[: end + 1].count(b'"') % 2:  # an escaped quote before a comma
            end = line.find(b'",', end + 1)
        if end > 0:
            name, values = line[1:end].replace(b'""', b'"'), line[end + 2 :]
        else:
            name, values = line.strip(b'"'), b""
    else:
        name, _, values = line.partition(b",")
    if values.startswith(b'"') and values.endswith(b'"'):
        values = values[1:-1]
    return name.decode(errors="replace"), values


def read_header(path: Path) -> str:
    """Return the first line of a CSV, without byte order mark and line end.

    TrashkitError if it cannot be read, or is another kind of file that can be told, such as a web page.
    """
    try:
        with open_file(path) as file:
            found = other_form(file.peek(HEAD)[:HEAD])
            if found is not None:
                raise TrashkitError(f"{path} is not a CSV file: {found.reason}", hint=found.hint)
            return file.readline(_LONGEST_NAME).removeprefix(BOM).rstrip(b"\r\n").decode(errors="replace")
    except OSError as error:
        raise TrashkitError(
            f"{path} cannot be read: {error.strerror}", hint="give a submission CSV that exists"
        ) from error


def read(path: Path, layout: CsvLayout | None = None, *, values: bool = True) -> Iterator[Row]:
    """Yield the rows of a CSV, without header and empty lines; wrong ones with their problem.

    values: False leaves the values undecoded (`label_map` None, no problem), to find only where the rows are. The
    header is not checked (`read_header`). Windows line ends are accepted. TrashkitError if the file cannot be read.
    """
    layout = layout or CsvLayout()
    read_header(path)
    # The values of the longest row are cut where they are certainly too many.
    longest = _LONGEST_NAME + 5 * layout.count
    with open_file(path) as file:
        offset = _skip_line(file)
        for line in itertools.count(2):
            raw = file.readline(longest)
            if not raw:
                break
            text = raw.rstrip(b"\r\n")
            if text:
                yield _row(text, line, offset, layout, values=values)
            offset += len(raw) + (0 if raw.endswith(b"\n") else _skip_line(file))


def _skip_line(file: BinaryIO) -> int:
    """Read to the end of a line; return the number of bytes."""
    count = 0
    while piece := file.readline(1 << 20):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count


def _row(text: bytes, line: int, offset: int, layout: CsvLayout, *, values: bool) -> Row:
    name, content = _split(text)
    if not values:
        return Row(line, name, offset, len(text), None)
    label_map = decode_values(content, layout)
    problem, cure = ("", "") if label_map is not None else explain_values(content, layout)
    return Row(line, name, offset, len(text), label_map, problem, cure)


def read_at(file: BinaryIO, row: Row, layout: CsvLayout) -> Row:
    """Read one row again, with its values, from an open file: for random access after ``read(..., values=False)``."""
    file.seek(row.offset)
    return _row(file.read(row.length), row.line, row.offset, layout, values=True)


def require(row: Row, path: Path) -> NDArray[np.uint8]:
    """Return the label map of a row; TrashkitError with line, image and hint if its values are wrong."""
    if row.label_map is None:
        raise TrashkitError(f"{path}, line {row.line}: {row.file_name}: {row.problem}", hint=row.cure)
    return row.label_map
