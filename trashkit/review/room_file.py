"""A room on disk: the App's server is another process than the command that starts it, and opens the same room."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from trashkit.coco import read
from trashkit.coco.dataset import decode, encode
from trashkit.coco.edit import Edit
from trashkit.coco.edit_log import from_record, to_record
from trashkit.errors import TrashkitError
from trashkit.files import write_bytes
from trashkit.finding import Finding, Severity
from trashkit.review.room import Fix, Room


def save_room(room: Room, path: Path) -> None:
    """Write what is needed to open the room again; an existing file is replaced."""
    value = {
        "annotations": str(room.coco.path.resolve()) if room.coco.path else None,
        "sha256": room.coco.sha256,
        "log": str(room.log.resolve()),
        "reviewer": room.reviewer,
        "images": str(room.images.resolve()) if room.images else None,
        "findings": [dataclasses.asdict(finding) for finding in room.findings],
        "fixes": [
            [n, [to_record(edit) for edit in fix.alone], [to_record(edit) for edit in fix.together]]
            for n, fix in room.fixes.items()
        ],
    }
    write_bytes(path, bytes(encode(value)), overwrite=True)


def load_room(path: Path) -> Room:
    """Open a room that `save_room` wrote. TrashkitError where its annotation file has changed since."""
    value: dict[str, Any] = decode(path.read_bytes())
    coco = read(Path(value["annotations"]))
    if coco.sha256 != value["sha256"]:
        raise TrashkitError(f"{coco.path} was changed while it was being reviewed", hint="start the review again")
    findings = [read_finding(record) for record in value["findings"]]
    fixes = {n: Fix(_edits(alone), _edits(together)) for n, alone, together in value["fixes"]}
    images = Path(value["images"]) if value["images"] else None
    return Room(coco, findings, fixes, Path(value["log"]), reviewer=value["reviewer"], images=images)


def _edits(records: list[Any]) -> tuple[Edit, ...]:
    return tuple(from_record(record) for record in records)


def read_finding(record: Any) -> Finding:
    """A finding from its JSON object, as `audit --json` writes it. Raises ValueError for what is none."""
    if not isinstance(record, dict):
        raise ValueError("is not an object")
    names = {field.name for field in dataclasses.fields(Finding)}
    missing = [name for name in ("code", "name", "severity", "block", "row", "message") if name not in record]
    if missing:
        raise ValueError(f'has no "{missing[0]}"')
    known = {key: value for key, value in record.items() if key in names}
    row = known["row"]
    if row is not None and (type(row) is not int or row < 0):
        raise ValueError('has a "row" that is no row number')
    related = tuple(one for one in known.get("related") or () if type(one) is int)
    return Finding(**{**known, "severity": Severity(known["severity"]), "related": related})


def read_findings(path: Path, blocks: dict[str, int]) -> list[Finding]:
    """Findings from the JSON that `audit --json` prints.

    blocks: how many rows each block of the annotation file has. TrashkitError, with the place, for what is no finding
    and for rows that the file lacks.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrashkitError(
            f"{path} cannot be read: {error}", hint="trashkit audit ANN.json --json > F.json"
        ) from error
    records = value.get("findings") if isinstance(value, dict) else value
    if not isinstance(records, list):
        raise TrashkitError(f"{path} has no findings", hint="trashkit audit ANN.json --json > F.json")
    found = []
    for n, record in enumerate(records):
        try:
            finding = read_finding(record)
            if finding.row is not None and finding.row >= blocks.get(finding.block, 0):
                raise ValueError(f"is about {finding.block}[{finding.row}], which the annotation file lacks")
        except ValueError as error:
            hint = "make the findings from this annotation file: trashkit audit ANN.json --json > F.json"
            raise TrashkitError(f"{path}: findings[{n}] {error}", hint=hint) from error
        found.append(finding)
    return found
