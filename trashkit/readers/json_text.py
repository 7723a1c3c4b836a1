"""JSON: limits on nesting and numbers, and types of what is inside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.readers.content import SMALL, ContentError, PointerError, as_utf8, read_bytes
from trashkit.readers.other_forms import HEAD, JSON_LINES, OtherForm, is_json_lines, other_encoding, other_form

MOST_LEVELS = 100
"""Deepest nesting of objects and lists."""

T = TypeVar("T")


def decode_json(data: bytes | str, kind: type[T] | Any = Any, *, levels: int = MOST_LEVELS) -> T | Any:
    """Return a JSON value; NaN and Infinity are read, too.

    kind: the type of the value, see `checked`. Raises ContentError where the text does not parse, is nested more than
    `levels` deep, holds an integer of more than 4,300 digits, or is of another type.
    """
    if isinstance(data, bytes):
        data = as_utf8(data)
        try:
            data = data.decode("utf-8", "surrogatepass")  # as json does
        except UnicodeDecodeError as error:
            raise ContentError(*other_encoding(error.object)) from error
    try:
        value = json.loads(data)
    except RecursionError:
        raise ContentError(f"it is nested more than {levels} levels deep") from None
    except json.JSONDecodeError as error:
        found = _other_form(error)
        if found is not None:
            raise ContentError(*found) from error
        raise ContentError(f"{error.msg} in line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # from int()
        raise ContentError("it contains an integer of more than 4300 digits") from error
    check_nesting(value, levels)
    return value if kind is Any else checked(value, kind)


def _other_form(error: json.JSONDecodeError) -> OtherForm | None:
    """What a text is that does not parse as JSON, where that can be told."""
    if error.msg == "Extra data" and is_json_lines(error.doc, error.pos):
        return JSON_LINES
    return other_form(error.doc[:HEAD].encode(errors="surrogatepass")) if error.pos < HEAD else None


def check_nesting(value: Any, levels: int = MOST_LEVELS) -> None:
    """Raise ContentError where objects and lists are nested more than `levels` deep."""
    inside = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inside = [
            item
            for outer in inside
            for item in (outer.values() if type(outer) is dict else outer)
            if type(item) is dict or type(item) is list
        ]
        if not inside:
            return
    raise ContentError(f"it is nested more than {levels} levels deep")


def checked(value: Any, kind: type[T] | Any) -> T | Any:
    """Return a decoded value as a type: builtins, TypedDicts, dataclasses, msgspec structs, and collections of them.

    Integers count as floats, nothing else is converted. Raises ContentError with the place of the first value of
    another type, as in "at images[3].width: expected int, got str"; keys of plain dictionaries are not named.
    """
    import msgspec

    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ContentError(_with_place(str(error))) from error
    except UnicodeEncodeError as error:  # half of a pair, as in "\\ud800"
        raise ContentError("it contains half of a surrogate pair") from error
    except (OverflowError, RecursionError) as error:
        raise ContentError("it contains a number that is too large") from error


def _with_place(text: str) -> str:
    """The message of msgspec with the place first, and without backquotes and ``$``."""
    message, _, place = text.partition(" - at ")
    message = message.replace("`", "")
    message = message[:1].lower() + message[1:]
    place = re.sub(r"^\$\.?", "", place.strip("`"))
    return f"at {place}: {message}" if place else message


def read_json(
    path: Path | str, kind: type[T] | Any = Any, *, name: str = "", hint: str = "check the file", most: int = SMALL
) -> T | Any:
    """Return the value of a JSON file, see `decode_json`.

    name: of the file in messages, the path by default. Raises TrashkitError with this hint for whatever is wrong.
    """
    name = name or str(path)
    try:
        data = read_bytes(path, most=most)
    except OSError as error:
        hint = error.hint if isinstance(error, PointerError) else hint
        raise TrashkitError(f"{name} cannot be read: {read_error_reason(error)}", hint=hint) from error
    try:
        return decode_json(data, kind)
    except ContentError as error:
        raise TrashkitError(f"{name} cannot be read as JSON: {error}", hint=error.hint or hint) from error
