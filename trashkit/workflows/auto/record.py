"""What is done: record.json, and earlier results that newer inputs have replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from trashkit.errors import TrashkitError
from trashkit.files import lock, open_lock
from trashkit.outputs import write_text
from trashkit.readers import checked, decode_json, read_bytes
from trashkit.workflows.auto.options import OPTIONS
from trashkit.workflows.auto.plan import EARLIER, PLAN, RECORD

LOCK = ".auto"
DECIDED = "decided: "
"""Beginning of the name under which the record keeps the verdict on an option."""


class Entry(TypedDict):
    """Record of a step that is done: fingerprint of what it depends on, seconds it took, what it made, its result."""

    fingerprint: str
    seconds: Annotated[float, Meta(ge=0, le=1e9)]
    finished: str
    made: list[Annotated[str, Meta(pattern=r"\A[^\0]*\Z", max_length=4000)]]
    result: dict[str, Any]


class _Score(TypedDict):
    path: str
    miou: float


class _Base(TypedDict):
    miou: float


class _Judged(TypedDict):
    a: _Base
    candidates: list[_Score]
    best: str
    gain: float
    interval: tuple[float, float]
    evidence: bool


class _Decided(TypedDict):
    value: str
    gain: float
    interval: tuple[float, float]
    taken: bool
    candidates: list[float]
    base: float


class _Mix(TypedDict):
    name: str
    mix: dict[str, Any] | None
    miou: float
    gain: float
    interval: tuple[float, float]


class _Fit(TypedDict):
    chosen: str
    candidates: list[_Mix]


class _Fitted(TypedDict, total=False):
    fit: _Fit


class _Findings(TypedDict, total=False):
    by_severity: dict[str, int]
    by_code: dict[str, int]


class _Audit(TypedDict, total=False):
    summary: _Findings


class _Fixes(TypedDict, total=False):
    kept_back: int


class _Fix(TypedDict, total=False):
    edits: int
    summary: _Fixes


class _Page(TypedDict):
    miou: float
    miou_in_truth: float
    miou_without_background: float
    interval: tuple[float, float]


_RESULTS: Mapping[str, Any] = {
    "audit": _Audit, "fix": _Fix, "judge": _Judged, "ensemble": _Fitted, "decided:": _Decided, "page": _Page,
}  # fmt: skip
"""What is read of results, by the first word of the name of a step."""


def _fits(name: str, result: Mapping[str, Any]) -> bool:
    """Whether the result of a step is about what is tried today; ContentError where it is of another type."""
    kind, _, option = name.partition(" ")
    if kind in _RESULTS:
        checked(result, _RESULTS[kind])
    if kind == "ensemble" and "fit" in result:
        return sum(one["mix"] is not None for one in result["fit"]["candidates"]) > 1
    if kind not in ("judge", "decided:"):
        return True
    values = next((one.values for one in OPTIONS if one.name == option), ())
    best, tried = (
        (result["value"], values)
        if kind == "decided:"
        else (result["best"], [one["path"] for one in result["candidates"]])
    )
    return len(result["candidates"]) == len(values) and best in tried


class Record:
    """record.json: what is done, by the name of the step; written after every step."""

    def __init__(self, out: Path) -> None:
        self.path = out / RECORD
        self.steps: dict[str, Entry] = {}
        try:
            value = decode_json(read_bytes(self.path))
            checked(value, dict[str, Entry])
            self.steps = {name: entry for name, entry in value.items() if _fits(name, entry["result"])}
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise TrashkitError(
                f"{self.path} is damaged: {' '.join(str(error).split())[:160]}",
                hint="start again with `trashkit auto ... --overwrite`",
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
