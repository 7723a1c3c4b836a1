"""The immutable COCO file, which keeps every row as its original JSON text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import msgspec

from trashkit.errors import TrashkitError

RawRows = tuple[msgspec.Raw, ...]


def decode(raw: msgspec.Raw | bytes) -> Any:
    """Decode one JSON text. NaN, Infinity and out-of-range numbers are accepted, as in Python's json."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return json.loads(bytes(raw), parse_int=parse_int)


def parse_int(text: str) -> int | float:
    """Parse an integer of any size; one with more digits than Python converts becomes infinite, as 1e999 does."""
    return int(text) if len(text) < 4300 else float(text)


def encode(value: Any) -> msgspec.Raw:
    """Encode a value as trashkit writes it: keys in order, shortest floats, non-ASCII letters unescaped."""
    try:
        return msgspec.Raw(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form and stays escaped
        return msgspec.Raw(json.dumps(value).encode())


def is_valid_id(value: Any) -> bool:
    """Whether a value can be an id: an integer or a string."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number, and finite as a float: integers may have thousands of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def image_size(image: Any, *, rounded: bool = False) -> tuple[int, int] | None:
    """(height, width) in pixels of a row of ``images``; None unless both are positive whole numbers below 2**31.

    rounded: cut off fractions instead of refusing them, which is good enough to draw a damaged file.
    """
    if not isinstance(image, dict):
        return None
    height, width = (_side(image.get(name), rounded) for name in ("height", "width"))
    return None if height is None or width is None else (height, width)


def _side(value: Any, rounded: bool) -> int | None:
    if type(value) not in (int, float) or not 0 < value < 2**31:
        return None
    return int(value) if rounded or value == int(value) else None


@dataclass(frozen=True, eq=False)
class Coco:
    """A COCO file, damaged or not, keyed by row and never by id, since ids may repeat.

    items: top-level names in file order. A list is a tuple of rows, each as JSON text; other values are one JSON text.
    path: where it was read from, None if it was made in memory.
    source: the bytes it was read from, None after a change.
    duplicate_keys: top-level names that occur more than once in the file. `items` holds only the last value of each, so
    writing it would lose the others: see `require_unique_keys`.

    Nothing is dropped, renumbered or reformatted: rows that are not replaced are written exactly as they were read.
    """

    items: Mapping[str, RawRows | msgspec.Raw]
    path: Path | None = None
    source: bytes | None = field(default=None, repr=False)
    duplicate_keys: tuple[str, ...] = ()

    def require_unique_keys(self) -> None:
        """Raise TrashkitError if a top-level key occurs twice in the file: it is unclear which value is meant."""
        if self.duplicate_keys:
            names = ", ".join(json.dumps(name, ensure_ascii=False) for name in self.duplicate_keys)
            raise TrashkitError(
                f"{self.path or 'the file'} has the top-level key {names} more than once, and all but the last would "
                "be lost",
                hint="decide by hand which list is right, and remove or join the others",
            )

    @classmethod
    def of(cls, value: Mapping[str, Any], path: Path | None = None) -> Coco:
        """Build a Coco from plain values, such as a dict."""
        return cls(
            {
                name: tuple(encode(row) for row in item) if isinstance(item, list | tuple) else encode(item)
                for name, item in value.items()
            },
            path,
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.count(block)} {block}" for block in self.blocks())
        return f"Coco({self.path or 'in memory'}: {counts})"

    def blocks(self) -> tuple[str, ...]:
        """Names of the top-level lists, in file order."""
        return tuple(name for name, item in self.items.items() if isinstance(item, tuple))

    def rows(self, block: str) -> RawRows:
        """The rows of a block as JSON texts; empty if the file has no such list."""
        item = self.items.get(block, ())
        return item if isinstance(item, tuple) else ()

    def count(self, block: str) -> int:
        """Number of rows of a block; 0 if the file has no such list."""
        return len(self.rows(block))

    def raw(self, block: str, row: int) -> msgspec.Raw:
        """JSON text of one row, exactly as in the file."""
        return self.rows(block)[row]

    def record(self, block: str, row: int) -> Any:
        """One row as a plain JSON value: a dict in a valid file, any value in a damaged one."""
        return decode(self.rows(block)[row])

    def records(self, block: str) -> list[Any]:
        """All rows of a block as plain JSON values."""
        return [decode(raw) for raw in self.rows(block)]

    def top(self, name: str) -> Any:
        """A top-level value that is not a list of rows, such as ``info``; None if absent."""
        item = self.items.get(name)
        if item is None:
            return None
        return [decode(raw) for raw in item] if isinstance(item, tuple) else decode(item)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the source bytes, or of the bytes that `write` would write."""
        if self.source is not None:
            return hashlib.sha256(self.source).hexdigest()
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self) -> Iterable[bytes | msgspec.Raw]:
        """The bytes that `write` writes, in pieces: one row per line, rows verbatim."""
        yield b"{"
        for n, (name, item) in enumerate(self.items.items()):
            yield (b",\n" if n else b"") + bytes(encode(name)) + b": "
            if not isinstance(item, tuple):
                yield item
            elif not item:
                yield b"[]"
            else:
                for row, raw in enumerate(item):
                    yield b",\n" if row else b"[\n"
                    yield raw
                yield b"\n]"
        yield b"}\n"

    def replace(self, block: str, changes: Mapping[int, Any] | None = None, append: Sequence[Any] = ()) -> Coco:
        """A new Coco with rows of one block changed, deleted (None) or appended; all other rows are unchanged.

        Raises IndexError for a row that does not exist.
        """
        changes = changes or {}
        rows = self.rows(block)
        for row in changes:
            if not 0 <= row < len(rows):
                raise IndexError(f"{block} has {len(rows)} rows, and none at {row}")
        new = tuple(
            encode(changes[row]) if row in changes else raw
            for row, raw in enumerate(rows)
            if row not in changes or changes[row] is not None
        ) + tuple(encode(record) for record in append)
        return Coco({**self.items, block: new}, self.path, duplicate_keys=self.duplicate_keys)

    def keep(self, block: str, rows: Iterable[int]) -> Coco:
        """A new Coco with only these rows of one block, in file order."""
        wanted = set(rows)
        kept = tuple(raw for row, raw in enumerate(self.rows(block)) if row in wanted)
        return Coco({**self.items, block: kept}, self.path, duplicate_keys=self.duplicate_keys)

    def subset(self, image_rows: Iterable[int]) -> Coco:
        """A new Coco with only these images and the rows that refer to them by ``image_id``; ids are unchanged.

        Rows of any block with an ``image_id`` (annotations, TACO's scene_annotations) are kept with their image.
        """
        small = self.keep("images", image_rows)
        ids = {_hashable(image.get("id")) for image in small.records("images") if isinstance(image, dict)}
        for block in self.blocks():
            if block == "images":
                continue
            kept = [
                row
                for row, record in enumerate(self.records(block))
                if not (isinstance(record, dict) and "image_id" in record) or _hashable(record["image_id"]) in ids
            ]
            if len(kept) < self.count(block):
                small = small.keep(block, kept)
        return small


def _hashable(value: Any) -> Any:
    return value if not isinstance(value, list | dict) else json.dumps(value)
