"""Training strategies with pseudo-labels: each a list of stages.

A new strategy is one entry of `STRATEGIES`; the command's choices and its help follow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trashkit.errors import TrashkitError


@dataclass(frozen=True)
class Stage:
    """One training of a strategy.

    pseudo: whether the pseudo-labelled images join the annotated ones. start: where the weights come from, ``recipe``
    (as the student's settings say), ``teacher`` or the name of an earlier stage. epochs: as a share of the student's.
    rate: the learning rate as a share of the student's. weight: of a pseudo-labelled image against an annotated one.
    ramp: share of the stage's steps over which that weight rises from 0.
    """

    name: str
    pseudo: bool
    start: str
    epochs: float = 1.0
    rate: float = 1.0
    weight: float = 1.0
    ramp: float = 0.0


@dataclass(frozen=True)
class Strategy:
    """Stages in order, with a short description for the command's help.

    Raises ValueError if there are no stages, if two have the same name, or if a stage starts from one that is not
    earlier.
    """

    about: str
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a strategy needs at least one stage")
        starts = ["recipe", "teacher"]
        for stage in self.stages:
            if stage.name in starts:
                raise ValueError(f'the stage name "{stage.name}" is taken: stages need different names')
            if stage.start not in starts:
                raise ValueError(
                    f'stage {stage.name} cannot start from "{stage.start}"; '
                    f"choices: {', '.join(starts)} (recipe, teacher or an earlier stage)"
                )
            starts.append(stage.name)


STRATEGIES: Mapping[str, Strategy] = {
    "joint": Strategy(
        "trains on annotated and pseudo-labelled images together",
        (Stage("joint", pseudo=True, start="recipe"),),
    ),
    # A continued model trains at a lower rate, so that it keeps what it has learned.
    "finetune": Strategy(
        "continues a trained model on both",
        (Stage("finetune", pseudo=True, start="teacher", epochs=0.5, rate=0.3),),
    ),
    "joint-then-clean": Strategy(
        "trains on both, then on the annotated images alone, to unlearn wrong pseudo-labels",
        (
            Stage("joint", pseudo=True, start="recipe"),
            Stage("clean", pseudo=False, start="joint", epochs=0.3, rate=0.3),
        ),
    ),
}

_NUMBERS = ("epochs", "rate", "weight", "ramp")


def stages(strategy: str, changes: Sequence[str] = (), *, weight: float = 1.0, ramp: float = 0.0) -> tuple[Stage, ...]:
    """Return the stages of a strategy with changes such as ``clean.epochs=0.5``.

    weight: factor on the weight of every stage. ramp: replaces the ramp of every stage; 0 leaves those of the table.
    Raises TrashkitError for an unknown strategy, stage or key, and for numbers out of range.
    """
    from trashkit.settings.training import unknown  # pydantic, which the command's help does without

    if strategy not in STRATEGIES:
        raise TrashkitError(unknown("strategy", strategy, list(STRATEGIES)), hint="see `trashkit pseudo --help`")
    found = {
        one.name: replace(one, weight=weight * one.weight, ramp=ramp or one.ramp) for one in STRATEGIES[strategy].stages
    }
    for change in changes:
        key, _, text = change.partition("=")
        name, _, entry = key.strip().partition(".")
        if name not in found or entry not in _NUMBERS:
            keys = [f"{stage}.{number}" for stage in found for number in _NUMBERS]
            raise TrashkitError(unknown("stage setting", key, keys), hint="as in --stage clean.epochs=0.5")
        try:
            value: Any = float(text)
        except ValueError as error:
            raise TrashkitError(f'{key} must be a number, not "{text}"', hint=f"as in --stage {key}=0.5") from error
        found[name] = replace(found[name], **{entry: value})
    for stage in found.values():
        _check(stage)
    return tuple(found.values())


def _check(stage: Stage) -> None:
    in_range = {
        "epochs": 0 < stage.epochs < math.inf,
        "rate": 0 < stage.rate < math.inf,
        "weight": 0 <= stage.weight < math.inf,
        "ramp": 0 <= stage.ramp <= 1,
    }
    for name, holds in in_range.items():
        if not holds:
            raise TrashkitError(
                f"{stage.name}.{name} cannot be {getattr(stage, name)}",
                hint="epochs and rate are shares above 0, weight is 0 or more, ramp is between 0 and 1",
            )


def as_json(stage: Stage) -> dict[str, Any]:
    """Return a stage as JSON values."""
    return asdict(stage)
