"""The immutable COCO file: every row kept as the JSON text it came as."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from trashkit.errors import TrashkitError

Rows = tuple[msgspec.Raw, ...]


def decode(raw: msgspec.Raw | bytes) -> Any:
    """The value of one JSON text. NaN, Infinity and numbers out of range are taken, as Python's json takes them."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return json.loads(bytes(raw), parse_int=whole_number)


def whole_number(text: str) -> int | float:
    """An integer of any size; past the digits that Python converts it is out of all range: infinite, as 1e999 is."""
    return int(text) if len(text) < 4300 else float(text)


def encode(value: Any) -> msgspec.Raw:
    """JSON text of a value as trashkit writes it: keys in their order, floats in shortest form, letters unescaped."""
    try:
        return msgspec.Raw(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form and stays escaped
        return msgspec.Raw(json.dumps(value).encode())


def ids_in(value: Any) -> bool:
    """Whether a value may serve as an id: an integer or a string."""
    return isinstance(value, int | str) and not isinstance(value, bool)


@dataclass(frozen=True, eq=False)
class Coco:
    """A COCO file, damaged or not, keyed by row and never by id, since ids may repeat.

    items: top-level names in file order. A list is a tuple of rows, each its JSON text; anything else is one JSON text.
    path: where it was read from, None when it was made in memory.
    source: the bytes it was read from, None after a change.
    repeated: top-level names that the file gives more than once. `items` has the last value of each, so that the others
    would be lost in whatever is written from it: see `refuse_repeated`.

    Nothing is dropped, renumbered or reformatted: a row that no `replace` names is written as it was read.
    """

    items: Mapping[str, Rows | msgspec.Raw]
    path: Path | None = None
    source: bytes | None = field(default=None, repr=False)
    repeated: tuple[str, ...] = ()

    def refuse_repeated(self) -> None:
        """Raise TrashkitError where a top-level name stands in the file twice: nobody knows which value is meant."""
        if self.repeated:
            names = ", ".join(json.dumps(name) for name in self.repeated)
            raise TrashkitError(
                f"{self.path or 'the file'} gives the top-level key {names} more than once, and all but the last would "
                "be lost",
                hint="decide by hand which list is meant, and remove or join the others",
            )

    @classmethod
    def of(cls, value: Mapping[str, Any], path: Path | None = None) -> Coco:
        """A Coco from plain values, such as a dict made by code."""
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

    def rows(self, block: str) -> Rows:
        """The rows of a block as JSON texts; empty where the file has no such list."""
        item = self.items.get(block, ())
        return item if isinstance(item, tuple) else ()

    def count(self, block: str) -> int:
        """How many rows a block has; 0 where the file has no such list."""
        return len(self.rows(block))

    def raw(self, block: str, row: int) -> msgspec.Raw:
        """JSON text of one row, as it stands in the file."""
        return self.rows(block)[row]

    def record(self, block: str, row: int) -> Any:
        """One row as a plain JSON value: a dict in a sound file, anything at all in a damaged one."""
        return decode(self.rows(block)[row])

    def records(self, block: str) -> list[Any]:
        """All rows of a block as plain JSON values."""
        return [decode(raw) for raw in self.rows(block)]

    def top(self, name: str) -> Any:
        """A top-level value that is not a list of rows, such as ``info``; None where it is absent."""
        item = self.items.get(name)
        if item is None:
            return None
        return [decode(raw) for raw in item] if isinstance(item, tuple) else decode(item)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the source bytes, or of what `write` would write."""
        if self.source is not None:
            return hashlib.sha256(self.source).hexdigest()
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self) -> Iterable[bytes | msgspec.Raw]:
        """The file that `write` writes, piece by piece: one row a line, rows verbatim."""
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
        """A new Coco with rows of one block changed, deleted (None) or appended; all other rows as they are.

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
        return Coco({**self.items, block: new}, self.path, repeated=self.repeated)

    def keep(self, block: str, rows: Iterable[int]) -> Coco:
        """A new Coco with only these rows of one block, in file order."""
        wanted = set(rows)
        kept = tuple(raw for row, raw in enumerate(self.rows(block)) if row in wanted)
        return Coco({**self.items, block: kept}, self.path, repeated=self.repeated)

    def subset(self, image_rows: Iterable[int]) -> Coco:
        """A new Coco with only these images and whatever refers to them by ``image_id``; ids untouched.

        Rows of any block that have an ``image_id`` (annotations, TACO's scene_annotations) follow their image.
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
