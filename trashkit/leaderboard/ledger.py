"""The ledger: one JSON line for every submission, only ever appended to.

A line is either a submission (what it is, which run and split it came from, what validation said of it, how much of
each class it predicts) or what came later for a submission that stands above: scores, validation, its run or split.
Confusion matrices of the single images, which the proxy weighs, are kept beside it (see
`trashkit.leaderboard.evidence`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError

FORMAT = 1
LATER = ("run", "split", "validation", "images", "pixels")
"""What may be recorded later beside the scores; the latest line counts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One submission.

    name: short and unique in its ledger. sha256: of the CSV. time: when it was added, ISO 8601. public, private:
    scores, None while unknown. run, split, trace: what made it, as JSON. pixels: {class: pixels predicted}.
    validation: summary of its out-of-fold score, with the name of the file of its matrices; the score alone where
    only that is known (key ``miou``); empty where nothing is.
    """

    name: str
    path: str
    sha256: str
    time: str
    public: float | None = None
    private: float | None = None
    images: int = 0
    pixels: Mapping[str, int] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def miou(self) -> float | None:
        """Out-of-fold mIoU, None where no validation was recorded."""
        value = self.validation.get("miou")
        return float(value) if isinstance(value, int | float) else None

    def as_json(self) -> dict[str, Any]:
        """The line that the ledger holds."""
        return {"format": FORMAT, **{key: getattr(self, key) for key in self.__slots__}}


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger that was read: entries in the order of their adding, and numbers of the lines that could not be read."""

    path: Path
    entries: tuple[Entry, ...]
    damaged: tuple[int, ...] = ()

    def find(self, sha256: str) -> Entry | None:
        """The entry of a submission, by the hash of its CSV."""
        return next((entry for entry in self.entries if entry.sha256 == sha256), None)


def read_ledger(path: Path) -> Ledger:
    """Read a ledger; one that does not exist is empty.

    A line that a crash or a full disk left half written is skipped and counted in `damaged`: whatever was appended
    after it is still read. TrashkitError for a file that is no ledger, or one of a later version.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Ledger(path, ())
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="give another --ledger") from error
    entries: list[Entry] = []
    damaged: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            damaged.append(number)
            continue
        _take(value, entries, f"{path}, line {number}")
    begun = any(lines[number - 1].startswith(b'{"format"') for number in damaged)
    if damaged and not entries and not begun:
        raise TrashkitError(f"{path} is no ledger", hint="give the --ledger that trashkit leaderboard add wrote")
    return Ledger(path, tuple(entries), tuple(damaged))


def _take(value: Any, entries: list[Entry], place: str) -> None:
    hint = "give the --ledger that trashkit leaderboard add wrote"
    if not isinstance(value, dict) or not isinstance(value.get("sha256"), str):
        raise TrashkitError(f"{place} is no record of a submission", hint=hint)
    if value.get("format") != FORMAT:
        raise TrashkitError(f"{place} has the format {value.get('format')!r}", hint="install a later trashkit")
    scores = {side: _score(value.get(side), f"{place}, {side}") for side in ("public", "private")}
    if value.get("later"):
        for n, entry in enumerate(entries):
            if entry.sha256 == value["sha256"]:
                new: dict[str, Any] = {side: score for side, score in scores.items() if score is not None}
                entries[n] = replace(entry, **new, **{key: value[key] for key in LATER if key in value})
                return
        raise TrashkitError(f"{place} has more on a submission that does not stand above it", hint=hint)
    known: dict[str, Any] = {key: value[key] for key in Entry.__slots__ if key in value}
    try:
        entries.append(Entry(**{**known, **scores}))
    except TypeError as error:
        raise TrashkitError(f"{place} lacks a part of a submission's record", hint=hint) from error


def _score(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise TrashkitError(f"{what} {value} is no mIoU", hint="give a number from 0 to 1, such as 0.8209")
    return float(value)


def refuse_scores(entry: Entry, ledger: Ledger) -> None:
    """TrashkitError for scores that are no mIoU, for others than those recorded of the same submission, and for a bare
    validation score where there are matrices, which say more."""
    old = ledger.find(entry.sha256)
    bare = bool(entry.validation) and not entry.validation.get("evidence")
    if bare:
        _score(entry.validation.get("miou"), "--validation")
    if bare and old is not None and old.validation.get("evidence"):
        raise TrashkitError(
            f"{old.name} is in {ledger.path} with out-of-fold matrices, which say more than a score",
            hint="leave --validation out",
        )
    for side in ("public", "private"):
        now = _score(getattr(entry, side), f"--{side}")
        before = getattr(old, side) if old is not None else None
        if old is not None and before is not None and now is not None and before != now:
            raise TrashkitError(
                f"{old.name} has the {side} score {before} in {ledger.path}, not {now}",
                hint="check the score; a wrong line can be deleted from the ledger by hand",
            )


def append(path: Path, entry: Entry) -> Entry:
    """Add a submission, or what came later for one that is there already; returns what the ledger now says.

    Later may come scores, validation (with images and pixels), run and split; empty ones leave what is known. A name
    that another submission has gets a number. TrashkitError for a submission that stands there where nothing is new,
    and for another score than the recorded one: a ledger tells what happened and is not rewritten.
    """
    refuse_scores(entry, Ledger(path, ()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ledger = read_ledger(path)
        refuse_scores(entry, ledger)
        line, entry = _line(entry, ledger)
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # what a crash left half written stays as it is, on its own line
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return entry


def _line(entry: Entry, ledger: Ledger) -> tuple[bytes, Entry]:
    """The line to append, and the entry as it then is."""
    old = ledger.find(entry.sha256)
    if old is None:
        names = {other.name for other in ledger.entries}
        name, number = entry.name, 2
        while name in names:
            name, number = f"{entry.name}-{number}", number + 1
        entry = replace(entry, name=name)
        return json.dumps(entry.as_json(), ensure_ascii=False).encode() + b"\n", entry
    sides = [(side, getattr(old, side), getattr(entry, side)) for side in ("public", "private")]
    new: dict[str, Any] = {side: now for side, before, now in sides if before is None and now is not None}
    described = _new_evidence(old, entry)
    if not new and not described:
        raise TrashkitError(
            f"{entry.path} is in {ledger.path} already, as {old.name} of {old.time}, and nothing about it is new",
            hint="the same pixels score the same: submit something else, or add what is new, such as --oof and --truth",
        )
    new |= described
    value = {"format": FORMAT, "later": True, "sha256": old.sha256, "time": entry.time, **new}
    return json.dumps(value, ensure_ascii=False).encode() + b"\n", replace(old, **new)


def _new_evidence(old: Entry, now: Entry) -> dict[str, Any]:
    """What `now` says of run, split and validation that is not what `old` says."""
    new: dict[str, Any] = {
        key: dict(value) for key in ("run", "split") if (value := getattr(now, key)) and value != getattr(old, key)
    }
    if now.validation and not same_evidence(old, now):
        new["validation"] = dict(now.validation)
        if now.pixels:  # a bare score comes without another look at the submission
            new |= {"images": now.images, "pixels": dict(now.pixels)}
    return new


def same_evidence(one: Entry, other: Entry) -> bool:
    """Whether two entries were validated by the same matrices against the same annotations, wherever they lie, or by
    the same bare score."""
    first, second = one.validation, other.validation
    if not first.get("evidence") and not second.get("evidence"):
        return first.get("miou") == second.get("miou")
    return (first.get("evidence") or {}).get("sha256") == (second.get("evidence") or {}).get("sha256") and first.get(
        "truth_sha256"
    ) == second.get("truth_sha256")
