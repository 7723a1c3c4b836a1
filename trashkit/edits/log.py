"""Edit logs on disk: JSON Lines with one edit per line, which can be appended to safely."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from trashkit.coco.dataset import decode, encode
from trashkit.edits.edit import DECISIONS, KINDS, Edit
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import append_bytes, exists
from trashkit.outputs import Output
from trashkit.readers import HEAD, LARGE, MOST_LEVELS, ContentError, check_nesting, other_form, read_bytes

_DEFAULTS = {field.name: field.default for field in fields(Edit)}
_NEEDED = ("kind", "block", "row", "reason", "author")


class EditLog(NamedTuple):
    """The contents of an edit log. torn: a message about an incomplete last line of a killed process, else empty."""

    edits: list[Edit]
    torn: str


def to_record(edit: Edit) -> dict[str, Any]:
    """One edit as a JSON object without fields that have their default value, except the five required ones."""
    record = {name: getattr(edit, name) for name in _DEFAULTS}
    shown = {name: value for name, value in record.items() if name in _NEEDED or value != _DEFAULTS[name]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()}


_BEGINNING = b'{"kind"'
"""The beginning of every line that `to_line` writes."""


def to_line(edit: Edit) -> bytes:
    """One edit as a line of JSON, see `to_record`."""
    return bytes(encode(to_record(edit))) + b"\n"


def from_record(record: Any) -> Edit:
    """An edit from its JSON object. Raises ValueError with a message such as 'has no "kind"'."""
    if not isinstance(record, dict):
        raise ValueError("is not an object")
    for name in _NEEDED:
        if name not in record:
            raise ValueError(f'has no "{name}"')
    unknown = next((name for name in record if name not in _DEFAULTS), None)
    if unknown is not None:
        raise ValueError(f'has an unknown field "{unknown}"')
    for name, (what, fits) in _TYPES.items():
        if name in record and not fits(record[name]):
            raise ValueError(f'has {"an" if name[0] in "aeiou" else "a"} "{name}" that is not {what}')
    kind = record["kind"]
    if kind not in KINDS:
        raise ValueError(f"has kind {kind!r}, which is not one of {', '.join(KINDS)}")
    if (record["row"] is None) != (kind == "add"):
        raise ValueError('has no "row"' if record["row"] is None else "adds a row, but has a row number")
    wanted = _VALUES.get(kind, (dict, dict))
    if not all(isinstance(record.get(name), one) for name, one in zip(("before", "after"), wanted, strict=True)):
        raise ValueError(_WRONG_VALUES.get(kind, 'needs objects "before" and "after"'))
    return Edit(**{**record, **{name: tuple(record.get(name, ())) for name in ("related", "accepted_by")}})


def _is_row(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_json(text: Any) -> bool:
    """Whether a value is a JSON text, or null."""
    if text is None:
        return True
    try:
        decode(text.encode())
    except (AttributeError, ValueError, RecursionError):
        return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("block", "reason", "author", "source", "note"), ("a string", _is_text)),
    **dict.fromkeys(("fingerprint", "time"), ("a string", _is_text_or_null)),
    **dict.fromkeys(("before_text", "after_text"), ("a JSON text", _is_json)),
    **dict.fromkeys(("row", "at"), ("a row number", lambda value: value is None or _is_row(value))),
    "related": ("a list of rows", lambda value: isinstance(value, list) and all(map(_is_row, value))),
    "accepted_by": ("a list of names", lambda value: isinstance(value, list) and all(map(_is_text, value))),
    "id": ("a number or a string", lambda value: value is None or isinstance(value, int | float | str)),
}
"""For each field with a fixed type, its name and whether a value has it."""
_NULL = type(None)
_VALUES: dict[str, tuple[type, type]] = {
    "add": (_NULL, object), "delete": (object, _NULL), **dict.fromkeys(DECISIONS, (_NULL, _NULL))
}  # fmt: skip
"""Types of `before` and `after` by kind; two objects for all other kinds."""
_WRONG_VALUES = {
    "add": 'adds a row, but has a "before"',
    "delete": 'is a deletion, but has an "after"',
    **dict.fromkeys(DECISIONS, 'is a decision, but has a "before" or an "after"'),
}


def read_log(path: Path | str) -> EditLog:
    """Read an edit log. An incomplete last line is skipped and reported in `torn`.

    Raises TrashkitError for a missing file, and for any other line that is not an edit, with its number.
    """
    path = Path(path)
    try:
        data = read_bytes(path, most=LARGE)
    except OSError as error:
        reason = read_error_reason(error)
        raise TrashkitError(f"{path} cannot be read: {reason}", hint="pass an edit log (JSON Lines)") from error
    found = other_form(data[:HEAD])
    if found is not None:
        raise TrashkitError(f"{path} is not an edit log: {found.reason}", hint=found.hint)
    lines = data.split(b"\n")
    edits: list[Edit] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            edits.append(from_record(_decoded(line)))
        except ValueError as error:
            # Only a killed writer leaves out the newline; a line with another beginning is not from an edit log.
            torn = line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
            if number == len(lines) and torn and isinstance(error, ContentError):
                return EditLog(edits, f"{path} line {number} is incomplete and was skipped: its writer was killed")
            raise TrashkitError(
                f"{path} line {number} {'is not JSON: ' if isinstance(error, ContentError) else ''}{error}",
                hint="each line of an edit log must be one edit, as written by `trashkit fix`",
            ) from error
    return EditLog(edits, "")


def _decoded(line: bytes) -> Any:
    """The JSON value of a line; ContentError if it is not JSON, or nested too deeply."""
    try:
        value = decode(line)
    except UnicodeDecodeError as error:
        raise ContentError("it is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ContentError(reason) from error
    if line.count(b"[") + line.count(b"{") > MOST_LEVELS:
        check_nesting(value, MOST_LEVELS + 1)  # a row that may be edited, in a field of an edit
    return value


def write_log(path: Path | str, edits: Sequence[Edit], *, overwrite: bool = False) -> None:
    """Write a new edit log atomically. Raises TrashkitError if it exists, unless `overwrite`."""
    with Output(Path(path), overwrite=overwrite).writing() as temporary, temporary.open("wb") as file:
        for edit in edits:
            file.write(to_line(edit))


def check_log_continues(path: Path, edits: Sequence[Edit]) -> EditLog:
    """Check that `edits` may be appended to a log, and return its contents, empty if it does not exist.

    Raises TrashkitError if the log is about another file, or is not an edit log.
    """
    there = read_log(path) if exists(path) else EditLog([], "")
    sources = {edit.source for edit in there.edits}
    foreign = next((edit for edit in edits if sources and edit.source not in sources), None)
    if foreign is not None:
        raise TrashkitError(
            f"{path} contains edits of another file ({next(iter(sources))[:12]}, not {foreign.source[:12]})",
            hint="use a new log: each log is about one file",
        )
    return there


def append_log(path: Path | str, edits: Sequence[Edit]) -> int:
    """Append edits to a log, which is created if necessary, and return how many were new. Repeated edits are skipped.

    An incomplete last line of a killed writer is removed first. Edits are written with one call and flushed to disk, so
    that a kill can damage at most the last line. Raises TrashkitError as `check_log_continues` does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    there = check_log_continues(path, edits)
    lines = {to_line(edit) for edit in there.edits}
    new = [line for line in map(to_line, edits) if line not in lines]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        data = file.read()
        if there.torn:
            file.truncate(data.rfind(b"\n") + 1)
        elif data and not data.endswith(b"\n"):
            new.insert(0, b"\n")
        append_bytes(file, b"".join(new), path)
    return sum(line != b"\n" for line in new)
