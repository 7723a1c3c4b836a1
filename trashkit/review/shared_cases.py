"""Unusual cases in a small file that teammates share: images and annotations, with tags and a note."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from trashkit.edits.working_copy import Place
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.outputs import Output, OutputKind
from trashkit.readers import ContentError, checked, decode_json, read_bytes
from trashkit.review.session import PLAIN_NOTE, ReviewSession, SharedCase, SharedCases

FORMAT, VERSION = "trashkit cases", 1
_HINT = "give a file that Share cases wrote in a review"


class _Header(TypedDict):
    """What every file of shared cases has."""

    format: str
    version: int
    cases: list[dict[str, Any]]


class _File(_Header, total=False):
    """What else it may have."""

    title: str
    by: str
    annotations: str
    sha256: str


def _is_cases_file(path: Path) -> bool:
    try:
        value = decode_json(read_bytes(path), _Header)
    except (OSError, ContentError):
        return False
    return bool(value["format"] == FORMAT)


CASES_FILE = OutputKind("file of shared cases", _is_cases_file)
"""A file that `share` writes, and the only kind of file that it replaces."""


def path_beside(log: Path, name: str) -> Path:
    """The file of this name in the log's folder. Raises TrashkitError for a path that leads elsewhere.

    A link is never followed: it would lead out of the folder.
    """
    path = log.parent / name
    if name in ("", ".", "..") or name != Path(name).name or "\\" in name or not name.isprintable() or len(name) > 100:
        raise TrashkitError(
            f"{name!r} is not a plain file name",
            hint=f"give a name such as cases.json; it is written beside {log.name}",
        )
    if path.is_symlink():
        raise TrashkitError(f"{path} is a symbolic link", hint="choose another name")
    if path.suffix.lower() != ".json":
        raise TrashkitError(f"{name!r} does not end in .json", hint="choose a name such as cases.json")
    return path


def noted(session: ReviewSession) -> list[Place]:
    """Rows with a note or tag in the log, in the order in which they first got one."""
    return list(
        dict.fromkeys(
            (edit.block, edit.row)
            for edit in session.working_copy().edits
            if edit.kind in ("note", "unusable") and edit.row is not None
        )
    )


def share(
    session: ReviewSession, path: Path, places: Sequence[Place], *, title: str = "", overwrite: bool = False
) -> int:
    """Write rows with their tags and notes to a file, and return the number of cases.

    Raises TrashkitError if there are none, or if `path` exists and `overwrite` is not set or it is another kind of
    file.
    """
    cases = [case for place in dict.fromkeys(places) if (case := _case(session, place)) is not None]
    if not cases:
        raise TrashkitError("there are no cases to share", hint="select images, or tag some first")
    value = {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "by": session.reviewer,
        "annotations": session.coco.path.name if session.coco.path else "",
        "sha256": session.coco.sha256,
        "cases": cases,
    }
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    with Output(path, overwrite, kind=CASES_FILE).writing() as temporary:
        temporary.write_bytes(text.encode(errors="backslashreplace"))
    return len(cases)


def _case(session: ReviewSession, place: Place) -> dict[str, Any] | None:
    block, row = place
    image_row = row if block == "images" else session.image_of(session.coco.record(block, row))
    if image_row is None or not isinstance(session.image_records[image_row], dict):
        return None
    image = session.image_records[image_row]
    edits = [edit for edit in session.edits_of(place) if edit.kind in ("note", "unusable")]
    case: dict[str, Any] = {"image": image_row, "image_id": image.get("id"), "file_name": image.get("file_name")}
    if block == "annotations":
        record = session.coco.record(block, row)
        case |= {"annotation": row, "annotation_id": record.get("id") if isinstance(record, dict) else None}
    tags = ["unusable" if edit.kind == "unusable" else edit.reason for edit in edits]
    case["tags"] = [tag for tag in dict.fromkeys(tags) if tag != PLAIN_NOTE]
    case["note"] = "; ".join(edit.note for edit in edits if edit.note)
    return case


def read_cases(path: Path, session: ReviewSession) -> tuple[SharedCases, int]:
    """Read shared cases as rows of the file under review. Also returns how many cases this file does not have.

    If the cases are from the same file, rows are taken from them; otherwise images are found by file name and
    annotations by id. Raises TrashkitError for a file without cases, or without any that this file has.
    """
    try:
        value = decode_json(read_bytes(path))
    except FileNotFoundError as error:
        raise TrashkitError(f"{path} does not exist", hint=_HINT) from error
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint=_HINT) from error
    except ContentError as error:
        raise TrashkitError(f"{path} cannot be read: {error}", hint=_HINT) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("cases"), list):
        raise TrashkitError(f"{path} is not a file of shared cases", hint=_HINT)
    if value.get("version") != VERSION:
        raise TrashkitError(f"{path} has version {value.get('version')!r}, not {VERSION}", hint="upgrade trashkit")
    try:
        value = checked(value, _File)
    except ContentError as error:
        raise TrashkitError(f"{path} cannot be read: {error}", hint=_HINT) from error
    find = _Finder(session, same=value.get("sha256") == session.coco.sha256)
    cases: list[SharedCase] = []
    for record in value["cases"]:
        found = find(record)
        cases += [found] if found is not None else []
    if not cases:
        raise TrashkitError(
            f"none of the {len(value['cases'])} cases of {path} is in {session.coco.path or 'this file'}",
            hint=f"they are from {value.get('annotations') or 'another file'}",
        )
    return SharedCases(str(value.get("title") or path.stem), str(value.get("by") or ""), tuple(cases)), (
        len(value["cases"]) - len(cases)
    )


class _Finder:
    """Finds the rows that a case is about. same: whether the cases are from the same file."""

    def __init__(self, session: ReviewSession, *, same: bool) -> None:
        self.session, self.same = session, same
        self.by_name: dict[Any, int] = _unique(
            (image.get("file_name"), row) for row, image in enumerate(session.image_records) if isinstance(image, dict)
        )

    def __call__(self, record: dict[str, Any]) -> SharedCase | None:
        image = record.get("image") if self.same else self.by_name.get(str(record.get("file_name")))
        if type(image) is not int or not 0 <= image < len(self.session.image_records):
            return None
        annotation = record.get("annotation")
        rows = self.session.annotations_of.get(image, [])
        if annotation is not None and not self.same:
            ids = _unique((self._id(row), row) for row in rows)
            annotation = ids.get(str(record.get("annotation_id")))
        if annotation not in rows:
            annotation = None  # show the image even so
        tags = record.get("tags")
        words = tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
        return SharedCase(image, annotation, words, str(record.get("note") or ""))

    def _id(self, row: int) -> str:
        record = self.session.coco.record("annotations", row)
        return str(record.get("id")) if isinstance(record, dict) else ""


def _unique(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """Rows by name, for names that only one row has."""
    found: dict[Any, int | None] = {}
    for name, row in pairs:
        found[str(name)] = None if str(name) in found else row
    return {name: row for name, row in found.items() if row is not None}
