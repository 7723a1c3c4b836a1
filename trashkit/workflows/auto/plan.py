"""The plan of `trashkit auto`: what was asked for, what was chosen and why, and the steps that follow from it.

It is written before the first step, and read again by ``--resume``: nothing is chosen or timed twice.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from trashkit.errors import TrashkitError
from trashkit.outputs import write_text
from trashkit.readers import ContentError, checked, decode_json, read_bytes
from trashkit.workflows.auto.inputs import AutoInputs, AutoRequest, Role

FORMAT, VERSION = "trashkit auto plan", 1
PLAN = "plan.json"
RECORD = "record.json"
PAGE = "index.html"
EARLIER = "earlier"
"""Folder for results that newer inputs have replaced."""


@dataclass(frozen=True)
class Step:
    """One command.

    name: unique. why: in a few words. seconds: expected. words: what is typed after ``trashkit``. makes: files and
    folders that it writes. after: names of the steps whose results it reads. reads: the inputs that it reads itself.
    exits: exit codes that are not failures. keeps: keys of its JSON result that are recorded. resumes: whether it
    continues what an interrupted run of it left. launched: whether the plan's launcher starts it.
    """

    name: str
    why: str
    seconds: float
    words: tuple[str, ...]
    makes: tuple[Path, ...] = ()
    after: tuple[str, ...] = ()
    reads: tuple[Role, ...] = ()
    exits: tuple[int, ...] = (0,)
    keeps: tuple[str, ...] = ()
    resumes: bool = False
    launched: bool = False

    def typed(self, launch: str = "") -> str:
        """The command as it can be typed."""
        before = f"{launch} -m trashkit" if launch and self.launched else "trashkit"
        return f"{before} {shlex.join(self.words)}"

    def as_json(self, launch: str = "") -> dict[str, Any]:
        """For people and scripts; it is not read again."""
        return {
            "name": self.name,
            "why": self.why,
            "seconds": round(self.seconds, 1),
            "command": self.typed(launch),
            "makes": [str(path) for path in self.makes],
        }


@dataclass(frozen=True)
class Choice:
    """What was chosen automatically, its value, and the reason."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class Choices:
    """How networks are trained.

    recipes: one network of each for each fold. settings: ``--set`` of all of them. size: side of the input in pixels.
    jobs: trainings side by side, 0 for one per GPU. rate: photos per second that all of them train on together. start:
    seconds until a command that needs torch starts to work. reasons: in the order in which they are told.
    """

    recipes: tuple[str, ...]
    settings: tuple[str, ...]
    size: int
    folds: int
    epochs: int
    jobs: int
    rate: float
    start: float
    reasons: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What was asked for, and what was chosen. skipped: reason for each optional step that is not tried, by its name.
    made: time in UTC. minutes of planning are part of the budget: planned is the number of seconds that it took."""

    request: AutoRequest
    inputs: AutoInputs
    choices: Choices
    skipped: Mapping[str, str]
    made: str
    planned: float

    @property
    def out(self) -> Path:
        """The folder of all results."""
        return self.request.out

    @property
    def fixed(self) -> Path:
        """The fixed annotations."""
        return self.out / "fixed.json"

    @property
    def split(self) -> Path:
        """The folds."""
        return self.out / "split.json"

    def networks(self, recipe: str) -> Path:
        """Folder of the runs of a recipe, one for each fold."""
        return self.out / Path(recipe).stem

    def with_inputs(self, request: AutoRequest, inputs: AutoInputs) -> Plan:
        """The same plan for other photos to predict."""
        return replace(self, request=request, inputs=inputs)


def write_plan(plan: Plan, steps: Sequence[Step]) -> None:
    """Write plan.json atomically. steps: for whoever reads the file."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made": plan.made,
        "planned": round(plan.planned, 1),
        "request": plan.request.as_json(),
        "choices": {**vars(plan.choices), "reasons": [vars(one) for one in plan.choices.reasons]},
        "skipped": dict(plan.skipped),
        "steps": [step.as_json(plan.request.launch) for step in steps],
        "inputs": plan.inputs.as_json(),
    }
    write_text(plan.out / PLAN, json.dumps(content, ensure_ascii=False, indent=1) + "\n", overwrite=True)


_Text = Annotated[str, Meta(pattern=r"\A[^\0]*\Z")]
_Path = Annotated[str, Meta(pattern=r"\A(?!-)[^\0]+\Z")]
"""Not beginning as an option does."""
_Recipe = Annotated[str, Meta(pattern=r"\A([^\0]*/)?(?!\.{1,2}\Z)[^/\0]+\Z")]
"""Its last part names the folder of its networks."""
_Count = Annotated[int, Meta(ge=0, le=10**9)]
_Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class _Reason(TypedDict):
    what: str
    value: str
    why: str


class _Choices(TypedDict):
    recipes: Annotated[list[_Recipe], Meta(min_length=1, max_length=100)]
    settings: list[_Text]
    size: Annotated[int, Meta(ge=1, le=100_000)]
    folds: Annotated[int, Meta(ge=2, le=1000)]
    epochs: Annotated[int, Meta(ge=1, le=10**6)]
    jobs: Annotated[int, Meta(ge=0, le=1000)]
    rate: Annotated[float, Meta(ge=1e-6, le=1e9)]
    start: _Seconds
    reasons: list[_Reason]


class _Request(TypedDict):
    data: _Path
    images: _Path
    test: _Path | None
    photos: _Path | None
    sample: _Path | None
    classes: _Text | None
    groups: list[_Text]
    extra: list[_Text]
    minutes: _Seconds
    recipes: list[_Text]
    unsafe: bool
    launch: _Text
    device: _Text
    project: _Text | None


class _Roles(TypedDict):
    labels: str
    unlabelled: str
    sample: str


class _Inputs(TypedDict):
    roles: _Roles
    photos: dict[str, str]
    labelled: _Count
    unlabelled: _Count
    extra: _Count
    missing: list[str]
    megapixels: NotRequired[_Seconds]


class _Plan(TypedDict):
    format: str
    version: int
    made: str
    planned: _Seconds
    request: _Request
    choices: _Choices
    skipped: dict[str, str]
    inputs: _Inputs


def has_plan(out: Path) -> bool:
    """Whether a folder has the plan of an earlier call."""
    return (out / PLAN).is_file()


def read_plan(out: Path) -> Plan:
    """Read the plan in a folder. Raises TrashkitError where there is none, and for one that cannot be read."""
    path = out / PLAN
    again = "start again with `trashkit auto ... --overwrite`"
    try:
        value = decode_json(read_bytes(path))
        if isinstance(value, dict) and isinstance(value.get("version"), int) and value["version"] > VERSION:
            raise TrashkitError(f"{path} was written by a newer trashkit", hint=f"update trashkit, or {again}")
        checked(value, _Plan)
        if value["format"] != FORMAT:
            raise ContentError("it is another kind of file")
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no plan in {out}", hint="leave out --resume to make one") from error
    except (OSError, ValueError) as error:
        raise TrashkitError(f"{path} is damaged: {' '.join(str(error).split())[:160]}", hint=again) from error
    given = value["choices"]
    choices = Choices(
        **{
            **given,
            "recipes": tuple(given["recipes"]),
            "settings": tuple(given["settings"]),
            "reasons": tuple(Choice(**one) for one in given["reasons"]),
        }
    )
    request, inputs = AutoRequest.of(value["request"], out), AutoInputs.of(value["inputs"])
    return Plan(request, inputs, choices, value["skipped"], value["made"], value["planned"])
