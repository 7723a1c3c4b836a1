"""The ledger of submissions: JSON Lines, only ever appended to.

A line is either a submission (its file, run, split, validation, and the pixels of each class that it predicts), or what
was added later for a submission of an earlier line: scores, validation, run or split. The confusion matrices of single
images, which the proxy weights, are in files next to the ledger (see `trashkit.leaderboard.evidence`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Required, Self, TypedDict

from msgspec import Meta

from trashkit.errors import TrashkitError
from trashkit.files import append_bytes, lock
from trashkit.readers import HEAD, ContentError, checked, decode_json, other_form, read_bytes

FORMAT = 1
_MOST_BYTES = 1 << 29
LATER = ("run", "split", "validation", "images", "pixels")
"""What may be recorded later besides scores; the latest line counts."""


class _Record:
    """Base of the records in a ledger line: a JSON object of the fields that are known."""

    __slots__ = ()

    def as_json(self) -> dict[str, Any]:
        """The JSON object, without fields that are None."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {
            name: value.as_json() if isinstance(value, _Record) else value
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, value: Any) -> Self | None:
        """Read the JSON object; None for an empty one. Unknown keys are ignored."""
        if not isinstance(value, Mapping) or not value:
            return None
        return cls(**{one.name: value[one.name] for one in fields(cls) if one.name in value})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RunReference(_Record):
    """The run that a submission came from: a run folder with the hash of its manifest, or any name."""

    name: str = ""
    manifest_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class SplitReference(_Record):
    """The split that a submission's run was trained with."""

    path: str = ""
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class EvidenceFile(_Record):
    """The file of confusion matrices of a submission, relative to the folder of its ledger."""

    file: str = ""
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ValidationRecord(_Record):
    """Validation of a submission: out-of-fold scores with their evidence, or only a score.

    miou: pooled. interval: 95 % of resampled image sets. images: number of validated images. per_class: IoU, None where
    undefined. confusion: [C, C] of all images, rows truth. evidence: matrices of the single images; None for a score
    alone. oof, truth, truth_sha256, size: the predictions, annotations and side in pixels that were scored.
    """

    miou: float | None = None
    interval: list[float] | None = None
    images: int | None = None
    per_class: Mapping[str, float | None] | None = None
    confusion: list[list[int]] | None = None
    evidence: EvidenceFile | None = None
    oof: str | None = None
    truth: str | None = None
    truth_sha256: str | None = None
    size: int | None = None

    @classmethod
    def from_json(cls, value: Any) -> Self | None:
        """Read the JSON object, see `_Record.from_json`."""
        found = super(ValidationRecord, cls).from_json(value)
        return None if found is None else replace(found, evidence=EvidenceFile.from_json(found.evidence))

    @property
    def score_only(self) -> bool:
        """Whether there is only a score, without confusion matrices."""
        return self.evidence is None


@dataclass(frozen=True, slots=True)
class Entry:
    """One submission.

    name: short, unique in its ledger. sha256: of the CSV. time: when it was added, ISO 8601. public, private: scores,
    None while unknown. images: rows of the CSV. pixels: {class: predicted pixels}. run, split, trace: where it came
    from. validation: None where there is none.
    """

    name: str
    path: str
    sha256: str
    time: str
    public: float | None = None
    private: float | None = None
    images: int = 0
    pixels: Mapping[str, int] = field(default_factory=dict)
    run: RunReference | None = None
    split: SplitReference | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    validation: ValidationRecord | None = None

    @property
    def miou(self) -> float | None:
        """Validation mIoU, None without validation."""
        value = None if self.validation is None else self.validation.miou
        return float(value) if isinstance(value, int | float) else None

    @property
    def iou(self) -> tuple[float | None, ...]:
        """Validation IoU by class, the background first; empty without confusion matrices."""
        return tuple((self.validation.per_class or {}).values()) if self.validation else ()

    @property
    def score_only(self) -> bool:
        """Whether there is a validation score, but no confusion matrices."""
        return self.miou is not None and self.validation is not None and self.validation.score_only

    def as_json(self) -> dict[str, Any]:
        """The line of the ledger."""
        return {"format": FORMAT, **{key: _plain(key, getattr(self, key)) for key in self.__slots__}}


RECORDS: Mapping[str, type[_Record]] = {"run": RunReference, "split": SplitReference, "validation": ValidationRecord}


def _plain(key: str, value: Any) -> Any:
    """A value of an entry as JSON; a record that is None is an empty object."""
    if key in RECORDS:
        return value.as_json() if isinstance(value, _Record) else {}
    return value


def _value(key: str, value: Any) -> Any:
    """A value of a line as an entry holds it."""
    return RECORDS[key].from_json(value) if key in RECORDS else value


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger: entries in the order they were added, and numbers of the lines that could not be read."""

    path: Path
    entries: tuple[Entry, ...]
    damaged: tuple[int, ...] = ()

    def find(self, sha256: str) -> Entry | None:
        """The entry of a submission by the hash of its CSV, None if there is none."""
        return next((entry for entry in self.entries if entry.sha256 == sha256), None)


def read_ledger(path: Path) -> Ledger:
    """Read a ledger; a file that does not exist is an empty ledger.

    A line that a crash or a full disk left incomplete is skipped and listed in `damaged`; later lines are still read.
    TrashkitError for a file that is not a ledger, or one of a later version.
    """
    try:
        lines = read_bytes(path, most=_MOST_BYTES).split(b"\n")
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
            value = decode_json(line)
        except ContentError:
            damaged.append(number)
            continue
        _take(value, entries, f"{path}, line {number}")
    begun = any(lines[number - 1].startswith(b'{"format"') for number in damaged)
    if damaged and not entries and not begun:
        found = other_form(b"\n".join(lines)[:HEAD])
        hint = found.hint if found else "give the --ledger that trashkit leaderboard add wrote"
        raise TrashkitError(f"{path} is not a ledger{f': {found.reason}' if found else ''}", hint=hint)
    return Ledger(path, tuple(entries), tuple(damaged))


_Score = Annotated[float, Meta(ge=0, le=1)]


class _RunForm(TypedDict, total=False):
    name: str
    manifest_sha256: str | None


class _SplitForm(TypedDict, total=False):
    path: str
    sha256: str | None


class _EvidenceForm(TypedDict, total=False):
    file: Required[str]
    sha256: str | None


class _ValidationForm(TypedDict, total=False):
    miou: _Score | None
    interval: list[float | None] | None
    images: int | None
    per_class: dict[str, float | None] | None
    confusion: list[list[int]] | None
    evidence: _EvidenceForm | None
    oof: str | None
    truth: str | None
    truth_sha256: str | None
    size: int | None


class _EntryForm(TypedDict, total=False):
    """What a line must have; any version of trashkit writes it so."""

    name: str
    path: str
    sha256: str
    time: str
    images: int
    pixels: dict[str, Annotated[int, Meta(ge=0)]]
    run: _RunForm | None
    split: _SplitForm | None
    trace: dict[str, Any]
    validation: _ValidationForm | None


def _take(value: Any, entries: list[Entry], place: str) -> None:
    hint = "give the --ledger that trashkit leaderboard add wrote"
    if not isinstance(value, dict) or not isinstance(value.get("sha256"), str):
        raise TrashkitError(f"{place} is not a record of a submission", hint=hint)
    if value.get("format") != FORMAT:
        raise TrashkitError(f"{place} has the format {value.get('format')!r}", hint="upgrade trashkit")
    try:
        checked(value, _EntryForm)
    except ContentError as error:
        raise TrashkitError(f"{place} is not a record of a submission: {error}", hint=hint) from error
    scores = {side: _score(value.get(side), f"{place}, {side}") for side in ("public", "private")}
    if value.get("later"):
        for n, entry in enumerate(entries):
            if entry.sha256 == value["sha256"]:
                new: dict[str, Any] = {side: score for side, score in scores.items() if score is not None}
                entries[n] = replace(entry, **new, **{key: _value(key, value[key]) for key in LATER if key in value})
                return
        raise TrashkitError(f"{place} adds to a submission that no earlier line records", hint=hint)
    known: dict[str, Any] = {key: _value(key, value[key]) for key in Entry.__slots__ if key in value}
    try:
        entries.append(Entry(**{**known, **scores}))
    except TypeError as error:
        raise TrashkitError(f"{place} is an incomplete record of a submission", hint=hint) from error


def _score(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise TrashkitError(f"{what} {value} is not an mIoU", hint="give a number from 0 to 1, such as 0.8209")
    return float(value)


def check_scores(entry: Entry, ledger: Ledger) -> None:
    """Raise TrashkitError for scores that are not an mIoU or differ from the recorded ones, and for a score alone where
    confusion matrices are recorded."""
    old = ledger.find(entry.sha256)
    score_only = entry.validation is not None and entry.validation.score_only
    if score_only:
        _score(entry.validation.miou if entry.validation else None, "--validation")
    if score_only and old is not None and old.validation is not None and not old.validation.score_only:
        raise TrashkitError(
            f"{old.name} is in {ledger.path} with out-of-fold confusion matrices, which contain more than a score",
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
    """Append a submission, or new information about a recorded one; returns the entry as the ledger now has it.

    Scores, validation (with images and pixels), run and split may be added later; missing ones leave what is recorded.
    A name that another submission has gets a number. TrashkitError for a recorded submission without new information,
    and for scores that differ from the recorded ones: lines of a ledger are never rewritten.
    """
    check_scores(entry, Ledger(path, ()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        lock(file)
        ledger = read_ledger(path)
        check_scores(entry, ledger)
        line, entry = _line(entry, ledger)
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # an incomplete line is left as it is
                line = b"\n" + line
        append_bytes(file, line, path)
    return entry


def _line(entry: Entry, ledger: Ledger) -> tuple[bytes, Entry]:
    """The line to append, and the resulting entry."""
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
            f"{entry.path} is already in {ledger.path}, as {old.name} of {old.time}, and nothing about it is new",
            hint="identical submissions score the same; add what is new, such as --oof and --data",
        )
    new |= described
    changes = {key: _plain(key, value) for key, value in new.items()}
    value = {"format": FORMAT, "later": True, "sha256": old.sha256, "time": entry.time, **changes}
    return json.dumps(value, ensure_ascii=False).encode() + b"\n", replace(old, **new)


def _new_evidence(old: Entry, now: Entry) -> dict[str, Any]:
    """Run, split and validation of `now` that differ from `old`."""
    new: dict[str, Any] = {
        key: value for key in ("run", "split") if (value := getattr(now, key)) and value != getattr(old, key)
    }
    if now.validation is not None and not same_evidence(old, now):
        new["validation"] = now.validation
        if now.pixels:  # a score alone is added without reading the submission again
            new |= {"images": now.images, "pixels": dict(now.pixels)}
    return new


def same_evidence(one: Entry, other: Entry) -> bool:
    """Whether two entries have the same confusion matrices against the same annotations, or the same score alone."""
    first, second = one.validation or ValidationRecord(), other.validation or ValidationRecord()
    if first.evidence is None and second.evidence is None:
        return first.miou == second.miou
    hashes = [None if side.evidence is None else side.evidence.sha256 for side in (first, second)]
    return hashes[0] == hashes[1] and first.truth_sha256 == second.truth_sha256
