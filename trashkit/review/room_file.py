"""A room on disk: the App's server is another process than the command that starts it, and opens the same room."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from trashkit.coco import read
from trashkit.coco.dataset import decode, encode
from trashkit.errors import TrashkitError
from trashkit.files import write_bytes
from trashkit.review.findings_file import as_value, from_value
from trashkit.review.room import Case, Room, Shared


def save_room(room: Room, path: Path) -> None:
    """Write what is needed to open the room again; an existing file is replaced."""
    value = {
        "annotations": str(room.coco.path.resolve()) if room.coco.path else None,
        "sha256": room.coco.sha256,
        "log": str(room.log.resolve()),
        "reviewer": room.reviewer,
        "images": str(room.images.resolve()) if room.images else None,
        "shared": dataclasses.asdict(room.shared) if room.shared else None,
        **as_value(room.findings, room.fixes),
    }
    write_bytes(path, bytes(encode(value)), overwrite=True)


def load_room(path: Path) -> Room:
    """Open a room that `save_room` wrote. TrashkitError where its annotation file has changed since."""
    value: dict[str, Any] = decode(path.read_bytes())
    coco = read(Path(value["annotations"]))
    if coco.sha256 != value["sha256"]:
        raise TrashkitError(f"{coco.path} was changed while it was being reviewed", hint="start the review again")
    findings, fixes = from_value(value)
    images = Path(value["images"]) if value["images"] else None
    shared = _shared(value["shared"])
    return Room(coco, findings, fixes, Path(value["log"]), reviewer=value["reviewer"], images=images, shared=shared)


def _shared(value: Any) -> Shared | None:
    if value is None:
        return None
    cases = [Case(one["image"], one["annotation"], tuple(one["tags"]), one["note"]) for one in value["cases"]]
    return Shared(value["title"], value["by"], tuple(cases))
