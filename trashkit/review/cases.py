"""Unusual cases in a small file of their own: which images and annotations, with tags and a note, for a team mate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.files import write_text
from trashkit.review.room import PLAIN_NOTE, Case, Place, Room, Shared

FORMAT, VERSION = "trashkit cases", 1
_HINT = "give a file that a review's Share wrote"


def noted(room: Room) -> list[Place]:
    """Rows that the log leaves a note or tag on, in the order in which they were first noted."""
    return list(
        dict.fromkeys(
            (edit.block, edit.row)
            for edit in room.standing().edits
            if edit.kind in ("note", "unusable") and edit.row is not None
        )
    )


def share(room: Room, path: Path, places: Sequence[Place], *, title: str = "", overwrite: bool = False) -> int:
    """Write these rows with their tags and notes from the log; how many cases that are.

    Raises TrashkitError where there are none, and where `path` exists (without `overwrite`).
    """
    cases = [case for place in dict.fromkeys(places) if (case := _case(room, place)) is not None]
    if not cases:
        raise TrashkitError("there are no cases to share", hint="select images, or tag some first")
    value = {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "by": room.reviewer,
        "annotations": room.coco.path.name if room.coco.path else "",
        "sha256": room.coco.sha256,
        "cases": cases,
    }
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n", overwrite=overwrite)
    return len(cases)


def _case(room: Room, place: Place) -> dict[str, Any] | None:
    block, row = place
    image_row = row if block == "images" else room.image_of(room.coco.record(block, row))
    if image_row is None or not isinstance(room.images_rows[image_row], dict):
        return None
    image = room.images_rows[image_row]
    edits = [edit for edit in room.standing().of.get(place, ()) if edit.kind in ("note", "unusable")]
    case: dict[str, Any] = {"image": image_row, "image_id": image.get("id"), "file_name": image.get("file_name")}
    if block == "annotations":
        record = room.coco.record(block, row)
        case |= {"annotation": row, "annotation_id": record.get("id") if isinstance(record, dict) else None}
    tags = ["unusable" if edit.kind == "unusable" else edit.reason for edit in edits]
    case["tags"] = [tag for tag in dict.fromkeys(tags) if tag != PLAIN_NOTE]
    case["note"] = "; ".join(edit.note for edit in edits if edit.note)
    return case


def read_cases(path: Path, room: Room) -> tuple[Shared, int]:
    """Shared cases as rows of the file under review, and how many of them it does not have.

    Rows are taken as they stand where the cases are from this very file; else images are found by file name and
    annotations by id. Raises TrashkitError for a file that holds no cases, or none that this file has.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no {path}", hint=_HINT) from error
    except (OSError, ValueError, RecursionError) as error:
        raise TrashkitError(f"{path} cannot be read: {error}", hint=_HINT) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("cases"), list):
        raise TrashkitError(f"{path} holds no shared cases", hint=_HINT)
    if value.get("version") != VERSION:
        raise TrashkitError(f"{path} is of version {value.get('version')!r}, not {VERSION}", hint="update trashkit")
    find = _Finder(room, same=value.get("sha256") == room.coco.sha256)
    cases: list[Case] = []
    for n, record in enumerate(value["cases"]):
        if not isinstance(record, dict):
            raise TrashkitError(f"{path}: cases[{n}] is not an object", hint=_HINT)
        found = find(record)
        cases += [found] if found is not None else []
    if not cases:
        raise TrashkitError(
            f"none of the {len(value['cases'])} cases of {path} is in {room.coco.path or 'this file'}",
            hint=f"they are from {value.get('annotations') or 'another file'}",
        )
    return Shared(str(value.get("title") or path.stem), str(value.get("by") or ""), tuple(cases)), (
        len(value["cases"]) - len(cases)
    )


class _Finder:
    """Finds the rows that a case is about."""

    def __init__(self, room: Room, *, same: bool) -> None:
        self.room, self.same = room, same
        self.by_name: dict[Any, int] = _unique(
            (image.get("file_name"), row) for row, image in enumerate(room.images_rows) if isinstance(image, dict)
        )

    def __call__(self, record: dict[str, Any]) -> Case | None:
        image = record.get("image") if self.same else self.by_name.get(str(record.get("file_name")))
        if type(image) is not int or not 0 <= image < len(self.room.images_rows):
            return None
        annotation = record.get("annotation")
        rows = self.room.annotations_of.get(image, [])
        if annotation is not None and not self.same:
            ids = _unique((self._id(row), row) for row in rows)
            annotation = ids.get(str(record.get("annotation_id")))
        if annotation not in rows:
            annotation = None  # the image is shown all the same
        tags = record.get("tags")
        words = tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
        return Case(image, annotation, words, str(record.get("note") or ""))

    def _id(self, row: int) -> str:
        record = self.room.coco.record("annotations", row)
        return str(record.get("id")) if isinstance(record, dict) else ""


def _unique(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """A row by its name, for names that only one row has."""
    found: dict[Any, int | None] = {}
    for name, row in pairs:
        found[str(name)] = None if str(name) in found else row
    return {name: row for name, row in found.items() if row is not None}
