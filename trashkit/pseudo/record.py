"""The record of a pseudo-label round: ``pseudo.json`` in its folder, and the names of the other files there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from trashkit.errors import TrashkitError
from trashkit.files import is_empty
from trashkit.outputs import Output, OutputKind, write_text
from trashkit.pseudo.groups import ParentRound
from trashkit.pseudo.labels import LabelChange
from trashkit.readers import ContentError, checked, decode_json, read_bytes
from trashkit.runs.run import new_manifest, require_same

ROUND = "pseudo.json"
LABELS = "labels"
COUNTS = "labels.json"
PROBABILITIES = "probabilities"
PAGE = "pseudo.html"
FORMAT = "trashkit pseudo"
VERSION = 1


class StudentRecord(TypedDict):
    """One trained stage: its name, run folder, validation mIoU (None without validation), epochs and seconds.

    miou_without_background: as miou; rounds of earlier versions have none. finds_almost_nothing: see
    `trashkit.metrics.summary`.
    """

    stage: str
    path: str
    miou: float | None
    miou_without_background: NotRequired[float | None]
    finds_almost_nothing: NotRequired[bool]
    epochs: int
    seconds: float | None


class GroupRecord(TypedDict):
    """One group of teachers and its student.

    folder: of the labels and runs. annotations: the labels as a COCO file; rounds of earlier versions have none.
    labels: counts, see `trashkit.pseudo.labels.LabelCounts`. change: against the round before, None for a first round.
    """

    fold: int | None
    folder: str
    annotations: NotRequired[str]
    near_duplicates_left_out: NotRequired[dict[str, Any]]
    labels: dict[str, Any]
    change: LabelChange | None
    runs: list[StudentRecord]


class RoundSummary(TypedDict):
    """What a round is: its number and parent, strategy with stages, teachers, label selection, targets, and inputs."""

    round: int
    parent: ParentRound | None
    strategy: str
    teachers: list[str]
    selection: dict[str, Any]
    stages: list[dict[str, Any]]
    targets: NotRequired[str]
    command: str
    data: str
    unlabeled: str


class RoundRecord(RoundSummary):
    """``pseudo.json``: the summary, how the round came to be, and once it is complete its groups and page.

    status: ``running`` or ``complete``. identity: everything that decides the result.
    """

    format: str
    version: int
    status: str
    started: str
    versions: dict[str, Any]
    git: Any
    identity: dict[str, Any]
    groups: NotRequired[list[GroupRecord]]
    page: NotRequired[str]
    finished: NotRequired[str]


class _RunForm(TypedDict):
    stage: str
    path: str
    miou: float | None
    miou_without_background: NotRequired[float | None]
    finds_almost_nothing: NotRequired[bool]
    epochs: int
    seconds: NotRequired[float | None]


class _LabelsForm(TypedDict):
    predicted: list[int]
    kept: list[int]
    kept_share: dict[str, float]
    left_out: list[str]


class _GroupForm(TypedDict):
    fold: int | None
    folder: NotRequired[str]
    annotations: NotRequired[str]
    near_duplicates_left_out: NotRequired[dict[str, Any]]
    labels: _LabelsForm
    change: NotRequired[LabelChange | None]
    runs: list[_RunForm]


class _RoundForm(TypedDict):
    """What a record must have for its round to be resumed and shown; any version of trashkit writes it so."""

    round: int
    strategy: str
    teachers: list[str]
    selection: dict[str, Any]
    status: str
    identity: dict[str, Any]
    groups: NotRequired[list[_GroupForm]]
    page: NotRequired[str]


def read_round(folder: Path) -> RoundRecord:
    """Return the record of a round. Raises TrashkitError for a folder without one."""
    try:
        record = decode_json(read_bytes(folder / ROUND))
    except (OSError, ContentError) as error:
        raise TrashkitError(
            f"{folder} is not the folder of a pseudo-label round",
            hint="give a folder that `trashkit pseudo --out` wrote",
        ) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise TrashkitError(f"{folder / ROUND} is not the record of a pseudo-label round", hint="choose another --out")
    try:
        checked(record, _RoundForm)
    except ContentError as error:
        raise TrashkitError(f"{folder / ROUND} is damaged: {error}", hint="start the round again") from error
    return cast(RoundRecord, record)


def _is_round(folder: Path) -> bool:
    try:
        read_round(folder)
    except TrashkitError:
        return False
    return True


ROUND_FOLDER = OutputKind("folder of a pseudo-label round", _is_round, is_free=is_empty, is_resumable=_is_round)


def write_round(folder: Path, record: RoundRecord) -> None:
    """Write the record atomically."""
    write_text(folder / ROUND, json.dumps(record, ensure_ascii=False, indent=1) + "\n", overwrite=True)


def open_round(
    folder: Path, identity: Mapping[str, Any], summary: RoundSummary, *, resume: bool, overwrite: bool
) -> RoundRecord:
    """Start a round in `folder`, or open one to resume it; return its record.

    identity: everything that decides the result. Raises TrashkitError for an existing folder, except with `resume` (the
    identity must be equal; the error names what differs) and with `overwrite` (only a round is replaced).
    """
    wanted = json.loads(json.dumps(identity))
    output = Output(folder, overwrite=overwrite, resume=resume, kind=ROUND_FOLDER)
    output.check()
    if resume and folder.exists() and not is_empty(folder):
        record = read_round(folder)
        require_same(folder, record["identity"], wanted)
        return record
    output.remove()
    folder.mkdir(parents=True, exist_ok=True)
    record = cast(RoundRecord, new_manifest(FORMAT, VERSION, wanted, summary))
    write_round(folder, record)
    return record
