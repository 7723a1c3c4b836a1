"""What is done: record.json, and earlier results that newer inputs have replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from trashkit.errors import TrashkitError
from trashkit.files import lock, open_lock
from trashkit.outputs import write_text
from trashkit.readers import checked, decode_json, read_bytes
from trashkit.workflows.auto.plan import EARLIER, PLAN, RECORD

LOCK = ".auto"
DECIDED = "decided: "
"""Beginning of the name under which the record keeps the verdict on an option."""


class Entry(TypedDict):
    """Record of a step that is done: fingerprint of what it depends on, seconds it took, what it made, its result."""

    fingerprint: str
    seconds: float
    finished: str
    made: list[str]
    result: dict[str, Any]


class Record:
    """record.json: what is done, by the name of the step; written after every step."""

    def __init__(self, out: Path) -> None:
        self.path = out / RECORD
        self.steps: dict[str, Entry] = {}
        try:
            value = decode_json(read_bytes(self.path))
            checked(value, dict[str, Entry])
            self.steps = value
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise TrashkitError(
                f"{self.path} is damaged", hint="start again with `trashkit auto ... --overwrite`"
            ) from error

    def write(self) -> None:
        """Write it atomically."""
        text = json.dumps(self.steps, ensure_ascii=False, indent=1) + "\n"
        write_text(self.path, text, overwrite=True)


def decided_options(record: Mapping[str, Entry]) -> dict[str, str | None]:
    """Value of each option that was judged, None where it was not taken."""
    found = {name.removeprefix(DECIDED): entry["result"] for name, entry in record.items() if name.startswith(DECIDED)}
    return {name: one["value"] if one["taken"] else None for name, one in found.items()}


def next_aside(out: Path) -> Path:
    """The next free folder below ``earlier/``."""
    number = 1
    while (out / EARLIER / str(number)).exists():
        number += 1
    return out / EARLIER / str(number)


def set_aside(paths: Sequence[Path], folder: Path) -> None:
    """Move results into a folder, the plan first, so that a kill leaves no plan without its results."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(paths, key=lambda one: one.name != PLAN):
        path.rename(folder / path.name)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Let only one process at a time work in a folder."""
    with open_lock(out / LOCK) as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            raise TrashkitError(
                f"{out} is being worked on already", hint="wait for it, or choose another --out"
            ) from None
        yield
