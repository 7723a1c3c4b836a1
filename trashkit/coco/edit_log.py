"""Edit logs on disk: JSON Lines, one edit a line, safe to append to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from trashkit.coco.dataset import decode, encode
from trashkit.coco.edit import KINDS, Edit
from trashkit.errors import TrashkitError
from trashkit.files import replacing

_DEFAULTS = {field.name: field.default for field in fields(Edit)}
_NEEDED = ("kind", "block", "row", "reason", "author")
_TEXTS = ("block", "reason", "author", "source", "note")
_TEXTS_OR_NULL = ("fingerprint", "time", "before_text", "after_text")


class EditLog(NamedTuple):
    """What an edit log holds. torn: about a last line that a killed process left unfinished, else empty."""

    edits: list[Edit]
    torn: str


def to_record(edit: Edit) -> dict[str, Any]:
    """One edit as a JSON object; fields at their default are left out, except the five that every edit has."""
    record = {name: getattr(edit, name) for name in _DEFAULTS}
    shown = {name: value for name, value in record.items() if name in _NEEDED or value != _DEFAULTS[name]}
    return {**shown, "related": list(edit.related)} if edit.related else shown


_BEGINNING = b'{"kind"'
"""Of each line that is written."""


def to_line(edit: Edit) -> bytes:
    """One edit as a line of JSON, see `to_record`."""
    return bytes(encode(to_record(edit))) + b"\n"


def from_record(record: Any) -> Edit:
    """An edit from the JSON value of its line. Raises ValueError that says what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError("is not an object")
    for name in _NEEDED:
        if name not in record:
            raise ValueError(f'has no "{name}"')
    unknown = next((name for name in record if name not in _DEFAULTS), None)
    if unknown is not None:
        raise ValueError(f'has an unknown field "{unknown}"')
    if record["kind"] not in KINDS:
        raise ValueError(f"has kind {record['kind']!r}, which is none of {', '.join(KINDS)}")
    for name in (*_TEXTS, *_TEXTS_OR_NULL):
        value = record.get(name, "")
        if not isinstance(value, str) and not (value is None and name in _TEXTS_OR_NULL):
            raise ValueError(f'has a "{name}" that is no text')
    for name in ("row", "at"):
        value = record.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise ValueError(f'has a "{name}" that is no row number')
    related = record.get("related", [])
    if not isinstance(related, list) or not all(type(row) is int for row in related):
        raise ValueError('has "related" that is no list of rows')
    if (record["row"] is None) != (record["kind"] == "add"):
        raise ValueError('has no "row"' if record["row"] is None else "adds a row that has a row number already")
    if record["kind"] not in ("add", "delete", "reject", "unusable", "note") and not (
        isinstance(record.get("before"), dict) and isinstance(record.get("after"), dict)
    ):
        raise ValueError('needs objects "before" and "after"')
    return Edit(**{**record, "related": tuple(related)})


def read_log(path: Path | str) -> EditLog:
    """Read an edit log. An unfinished last line is left out and told in `torn`.

    Raises TrashkitError for a missing file and, with its number, for any other line that is no edit.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="name an edit log (JSON Lines)") from error
    lines = data.split(b"\n")
    edits: list[Edit] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            edits.append(from_record(decode(line)))
        except (ValueError, RecursionError) as error:
            what = str(error) if str(error).startswith(("is ", "has ", "needs ", "adds ")) else f"is not JSON: {error}"
            # Nothing but a kill leaves out the newline; what does not begin as `to_line` does is no log at all.
            torn = line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
            if number == len(lines) and torn and what.startswith("is not JSON"):
                return EditLog(edits, f"{path} line {number} is unfinished and left out: its writer was stopped")
            raise TrashkitError(
                f"{path} line {number} {what}", hint="each line of an edit log is one edit, as `trashkit fix` writes it"
            ) from error
    return EditLog(edits, "")


def write_log(path: Path | str, edits: Sequence[Edit], *, overwrite: bool = False) -> None:
    """Write a new edit log, whole or not at all. Raises TrashkitError where it exists, unless `overwrite`."""
    with replacing(Path(path), overwrite=overwrite) as temporary, temporary.open("wb") as file:
        for edit in edits:
            file.write(to_line(edit))


def log_to_go_on(path: Path, edits: Sequence[Edit]) -> EditLog:
    """The log that edits will be appended to, empty where there is none. Raises TrashkitError where it is about another
    file, or no edit log at all."""
    there = read_log(path) if path.exists() else EditLog([], "")
    sources = {edit.source for edit in there.edits}
    foreign = next((edit for edit in edits if sources and edit.source not in sources), None)
    if foreign is not None:
        raise TrashkitError(
            f"{path} holds edits of another file ({next(iter(sources))[:12]}, not {foreign.source[:12]})",
            hint="name a new log: one log is about one file",
        )
    return there


def append_log(path: Path | str, edits: Sequence[Edit]) -> int:
    """Append edits to a log, made if it is absent; how many were new: those it holds already are not repeated.

    A last line that a killed writer left unfinished is cut off first. Written with one call and flushed to disk, so
    that a kill tears at most the last line. Raises TrashkitError as `log_to_go_on` does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    there = log_to_go_on(path, edits)
    lines = {to_line(edit) for edit in there.edits}
    new = [line for line in map(to_line, edits) if line not in lines]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        data = file.read()
        if there.torn:
            file.truncate(data.rfind(b"\n") + 1)
        elif data and not data.endswith(b"\n"):
            new.insert(0, b"\n")
        file.write(b"".join(new))
        os.fsync(file.fileno())
    return sum(line != b"\n" for line in new)
