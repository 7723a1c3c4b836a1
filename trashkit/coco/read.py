"""Read COCO files leniently: any JSON is accepted, NaN and Infinity included; syntax errors give line and column."""

from __future__ import annotations

import codecs
import re
from json.decoder import WHITESPACE, JSONDecodeError, JSONDecoder, scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import msgspec

from trashkit import readers
from trashkit.coco.dataset import Coco, RawRows, decode, encode, parse_int
from trashkit.coco.forms import other_annotations, other_list, other_object
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import exists
from trashkit.names import quoted
from trashkit.readers import LARGE, MOST_LEVELS, ContentError, check_nesting

_CHUNK = 1 << 24


def read_bytes(path: Path) -> bytes:
    """Read an annotation file in UTF-8, UTF-16 or UTF-32 as UTF-8 bytes without a byte-order mark.

    Raises TrashkitError for a missing, unreadable or empty file, a folder, and text that is not Unicode.
    """
    if not exists(path):
        raise TrashkitError(f"{path} does not exist", hint="check the path")
    if path.is_dir():
        raise TrashkitError(f"{path} is a folder, not an annotation file", hint="give the COCO JSON file inside it")
    try:
        data = readers.read_bytes(path, most=LARGE)
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint="check the file") from error
    data = readers.as_utf8(data)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TrashkitError(f"{path} is not valid UTF-16", hint="save it as UTF-8")
    if not data.strip():
        raise TrashkitError(f"{path} is empty", hint="export the annotations again")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _CHUNK):
        try:
            decoder.decode(data[start : start + _CHUNK], start + _CHUNK >= len(data))
        except UnicodeDecodeError as error:
            found = readers.other_form(data[: readers.HEAD])
            if found is not None:
                raise TrashkitError(f"{path} is not a COCO file: {found.reason}", hint=found.hint) from error
            reason, hint = readers.other_encoding(data)
            raise TrashkitError(
                f"{path} is not a JSON file: {reason} (near byte {start + error.start})", hint=hint
            ) from error
    return data


def read(path: Path | str) -> Coco:
    """Read a COCO file, valid or damaged.

    Every row is kept as its original text, so reading is fast (450 MB in a few seconds) and writing exact.
    Raises TrashkitError if the file is missing, is not JSON (with line and column), is not an object, has a row that is
    nested more than 100 levels deep, or is another kind of file that can be told, such as COCO panoptic.
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        raw_items = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        duplicate_keys = () if _adds_up(raw_items, data) else _repeated(data)
        coco = Coco({name: _split(raw) for name, raw in raw_items.items()}, path, data, duplicate_keys)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        coco = Coco(*_read_slowly(data.decode(), path, data))
    for name, item in coco.items.items():
        for row, raw in enumerate(item) if isinstance(item, tuple) else ((None, item),):
            if _is_nested_too_deeply(raw):
                place = name if row is None else f"{name}[{row}]"
                problem = f"{path}: {place} is nested more than {MOST_LEVELS} levels deep"
                raise TrashkitError(problem, hint="correct that value by hand, or export it again")
    found = other_object(coco) or other_annotations(coco)
    if found is not None:
        raise _is_other(path, *found)
    return coco


def _is_other(path: Path, what: str, hint: str) -> TrashkitError:
    return TrashkitError(f"{path} is {what}", hint=hint.format(path=quoted(str(path))))


def _is_nested_too_deeply(raw: msgspec.Raw) -> bool:
    text = bytes(raw)
    if text.count(b"[") + text.count(b"{") <= MOST_LEVELS:
        return False
    try:
        check_nesting(decode(text))
    except (ContentError, RecursionError):
        return True
    return False


def _split(raw: msgspec.Raw) -> RawRows | msgspec.Raw:
    if bytes(memoryview(raw)[:1]) == b"[":
        return tuple(msgspec.json.decode(raw, type=list[msgspec.Raw]))
    return raw


def _adds_up(items: dict[str, msgspec.Raw], data: bytes) -> bool:
    """Whether the quotation marks of all decoded names and values account for all in the file; if not, a key may occur
    twice. Counting costs a tenth of the reading time, a second scan of all keys as much as reading again."""
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
    return tuple(scanner.duplicate_keys)


def _not_json(text: str, path: Path, error: JSONDecodeError) -> TrashkitError:
    """What is wrong with the JSON, with the cause where the place shows it."""
    place = f"at line {error.lineno}, column {error.colno}"
    before, after = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    if not after or error.msg.startswith("Unterminated string"):
        return TrashkitError(f"{path} is not JSON: it is truncated, {place}", hint="copy, download or export it again")
    if re.match(r",\s*[]}]", before[-1:] + after) or re.match(r",\s*[]}]", after):
        return TrashkitError(f"{path} is not JSON: a comma before a closing bracket {place}", hint="remove that comma")
    return TrashkitError(
        f"{path} is not JSON: {error.msg} {place}",
        hint="it was probably edited by hand or damaged: fix that place, or export it again",
    )


def _read_slowly(text: str, path: Path, data: bytes) -> tuple[Any, Path, bytes, tuple[str, ...]]:
    """Read what the fast parser rejects: NaN and Infinity, or invalid JSON, which is reported with line and column."""
    scanner = _Scanner(text)
    try:
        return scanner.file(), path, data, tuple(scanner.duplicate_keys)
    except JSONDecodeError as error:
        found = readers.other_form(data[: readers.HEAD])
        if found is None and error.msg == "Extra data" and readers.is_json_lines(text, error.pos):
            found = readers.JSON_LINES
        found = found or readers.not_json(text)
        if found is not None:
            raise TrashkitError(f"{path} is not a COCO file: {found.reason}", hint=found.hint) from error
        raise _not_json(text, path, error) from error
    except RecursionError as error:
        raise TrashkitError(f"{path} is nested too deeply", hint="export it again") from error
    except _NotAnObjectError as error:
        value = error.value
        form = other_list(value) if isinstance(value, list) else None
        if form is not None:
            raise _is_other(path, *form) from error
        what = "a list" if isinstance(value, list) else f"the value {bytes(encode(value)).decode()[:40]}"
        raise TrashkitError(
            f"{path} holds {what}, not an object with images, annotations and categories", hint="give a COCO data set"
        ) from error


class _NotAnObjectError(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Scanner:
    """Splits a JSON object into its top-level values and their rows, each as a slice of the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.value = JSONDecoder(parse_int=parse_int).raw_decode
        self.at = 0
        self.duplicate_keys: dict[str, None] = {}

    def space(self) -> str:
        """Skip white space; returns the next character, or an empty string at the end."""
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

    def file(self) -> dict[str, RawRows | msgspec.Raw]:
        if self.space() != "{":
            value, self.at = self.value(self.text, self.at)
            self.end()
            raise _NotAnObjectError(value)
        self.at += 1
        items: dict[str, RawRows | msgspec.Raw] = {}
        if self.space() == "}":
            self.at += 1
        else:
            while True:
                self.expect('"')
                name, self.at = scanstring(self.text, self.at, True)
                self.expect(":")
                if name in items:
                    self.duplicate_keys[name] = None
                items[name] = self.rows() if self.space() == "[" else self.slice()
                if self.expect(",}") == "}":
                    break
        self.end()
        return items

    def rows(self) -> RawRows:
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
