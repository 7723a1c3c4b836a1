"""What a round of pseudo-labelling writes down: ``pseudo.json`` in its folder, and what its runs say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, remove_folder, write_text
from trashkit.run import beginning, require_same

ROUND = "pseudo.json"
LABELS = "labels"
COUNT = "labels.json"
PROBABILITIES = "probabilities"
PAGE = "pseudo.html"
FORMAT = "trashkit pseudo"
VERSION = 1


def read_round(folder: Path) -> dict[str, Any]:
    """The record of a round. Raises TrashkitError for a folder that has none."""
    try:
        record = json.loads((folder / ROUND).read_bytes())
    except (OSError, ValueError) as error:
        raise TrashkitError(
            f"{folder} holds no round of pseudo-labelling", hint="give a folder that `trashkit pseudo --out` wrote"
        ) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise TrashkitError(f"{folder / ROUND} is no record of pseudo-labelling", hint="choose another --out")
    return record


def write_round(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record whole or not at all."""
    write_text(folder / ROUND, json.dumps(record, ensure_ascii=False, indent=1) + "\n", overwrite=True)


def open_round(
    folder: Path, identity: Mapping[str, Any], content: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """Start a round in `folder`, or open one to go on with it; its record comes back.

    identity: everything that decides the result. A folder that exists is refused unless `resume` (then the identity
    must be equal, and what differs is named) or `overwrite` (then a round is removed first, and nothing else is).
    """
    wanted = json.loads(json.dumps(identity))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if resume:
            record = read_round(folder)
            require_same(folder, record["identity"], wanted)
            return record
        if not overwrite:
            raise TrashkitError(
                f"{folder} exists already", hint="choose another --out, or add --resume to go on or --overwrite"
            )
        read_round(folder)
        remove_folder(folder)
    refuse_existing(folder, overwrite=True)
    folder.mkdir(parents=True, exist_ok=True)
    record = beginning(FORMAT, VERSION, wanted, content)
    write_round(folder, record)
    return record
