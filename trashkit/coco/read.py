"""Lenient reading: whatever is JSON is taken, NaN and Infinity included; what does not parse is named by place."""

from __future__ import annotations

import codecs
from json.decoder import WHITESPACE, JSONDecodeError, JSONDecoder, scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import msgspec

from trashkit.coco.dataset import Coco, Rows, whole_number
from trashkit.errors import TrashkitError

_CHUNK = 1 << 24


def read_bytes(path: Path) -> bytes:
    """Bytes of an annotation file as UTF-8 without a byte-order mark.

    Raises TrashkitError for a missing, unreadable or empty file, a folder, and text that is not Unicode.
    """
    if not path.exists():
        raise TrashkitError(f"{path} does not exist", hint="check the path")
    if path.is_dir():
        raise TrashkitError(f"{path} is a folder, not an annotation file", hint="name the COCO JSON file inside it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError as error:
            raise TrashkitError(f"{path} is not valid UTF-16: {error}", hint="save it as UTF-8") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise TrashkitError(f"{path} is empty", hint="export the annotations again")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _CHUNK):
        try:
            decoder.decode(data[start : start + _CHUNK], start + _CHUNK >= len(data))
        except UnicodeDecodeError as error:
            raise TrashkitError(
                f"{path} is not UTF-8 text near byte {start + error.start}: it is no JSON file",
                hint="name a COCO JSON file, or save it as UTF-8",
            ) from error
    return data


def read(path: Path | str) -> Coco:
    """Read a COCO file, sound or damaged.

    Keeps every row as the text it came as, so reading is fast (a file of 450 MB in a few seconds) and saving exact.
    Raises TrashkitError where the file is missing, is not JSON (with line and column), or is not an object.
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        items = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        repeated = () if _adds_up(items, data) else _repeated(data)
        return Coco({name: _split(raw) for name, raw in items.items()}, path, data, repeated)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Coco(*_read_slowly(data.decode(), path, data))


def _split(raw: msgspec.Raw) -> Rows | msgspec.Raw:
    if bytes(memoryview(raw)[:1]) == b"[":
        return tuple(msgspec.json.decode(raw, type=list[msgspec.Raw]))
    return raw


def _adds_up(items: dict[str, msgspec.Raw], data: bytes) -> bool:
    """Whether the quotation marks of all values and names kept are all that the file has: if not, a name may be there
    twice. Counting costs a tenth of reading, a second look at each name the time of reading again."""
    seen = sum(2 + name.count('"') + _marks(raw) for name, raw in items.items())
    return seen == data.count(b'"')


def _marks(raw: msgspec.Raw) -> int:
    view = memoryview(raw)
    return sum(bytes(view[start : start + _CHUNK]).count(b'"') for start in range(0, len(view), _CHUNK))


def _repeated(data: bytes) -> tuple[str, ...]:
    scanner = _Scanner(data.decode())
    try:
        scanner.file()
    except (ValueError, RecursionError, _NotAnObjectError):
        return ()
    return tuple(scanner.repeated)


def _read_slowly(text: str, path: Path, data: bytes) -> tuple[Any, Path, bytes, tuple[str, ...]]:
    """Read what the fast parser refuses: NaN and Infinity, or text that is no JSON, whose place is then named."""
    scanner = _Scanner(text)
    try:
        return scanner.file(), path, data, tuple(scanner.repeated)
    except JSONDecodeError as error:
        raise TrashkitError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            hint="the file is cut off or was edited by hand: mend that place, or export it again",
        ) from error
    except RecursionError as error:
        raise TrashkitError(f"{path} nests its lists too deeply", hint="export it again") from error
    except _NotAnObjectError as error:
        raise TrashkitError(
            f"{path} holds {error}, not an object with images, annotations and categories",
            hint="a COCO results file is read by `trashkit score`; everything else wants a COCO data set",
        ) from error


class _NotAnObjectError(Exception):
    pass


class _Scanner:
    """Splits a JSON object into its top-level values and their rows, each as a slice of the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.value = JSONDecoder(parse_int=whole_number).raw_decode
        self.at = 0
        self.repeated: dict[str, None] = {}

    def space(self) -> str:
        """Skip white space; the next character, or an empty string at the end."""
        self.at = WHITESPACE.match(self.text, self.at).end()
        return self.text[self.at : self.at + 1]

    def expect(self, choices: str) -> str:
        found = self.space()
        if not found or found not in choices:
            raise JSONDecodeError(f"Expecting {' or '.join(map(repr, choices))}", self.text, self.at)
        self.at += 1
        return found

    def slice(self) -> msgspec.Raw:
        self.space()
        start = self.at
        _, self.at = self.value(self.text, start)
        return msgspec.Raw(self.text[start : self.at].encode())

    def file(self) -> dict[str, Rows | msgspec.Raw]:
        if self.space() != "{":
            value, self.at = self.value(self.text, self.at)
            self.end()
            raise _NotAnObjectError("a list" if isinstance(value, list) else f"the value {str(value)[:40]}")
        self.at += 1
        items: dict[str, Rows | msgspec.Raw] = {}
        if self.space() == "}":
            self.at += 1
        else:
            while True:
                self.expect('"')
                name, self.at = scanstring(self.text, self.at, True)
                self.expect(":")
                if name in items:
                    self.repeated[name] = None
                items[name] = self.rows() if self.space() == "[" else self.slice()
                if self.expect(",}") == "}":
                    break
        self.end()
        return items

    def rows(self) -> Rows:
        self.at += 1
        if self.space() == "]":
            self.at += 1
            return ()
        rows = [self.slice()]
        while self.expect(",]") == ",":
            rows.append(self.slice())
        return tuple(rows)

    def end(self) -> None:
        if self.space():
            raise JSONDecodeError("Extra data", self.text, self.at)
