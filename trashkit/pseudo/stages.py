"""The three strategies, each a list of stages, and the settings that each stage trains with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trashkit.config import TrainConfig, unknown
from trashkit.errors import TrashkitError


@dataclass(frozen=True)
class Stage:
    """One training of a strategy.

    pseudo: whether the pseudo-labelled images join the annotated ones. start: where the weights come from, ``recipe``
    (as the student's settings say), ``teacher`` or the name of an earlier stage. epochs: as a share of the student's.
    rate: the learning rate as a share of the student's. weight: of a pseudo-labelled image against an annotated one.
    ramp: share of the stage's steps in which that weight rises from 0.
    """

    name: str
    pseudo: bool
    start: str
    epochs: float = 1.0
    rate: float = 1.0
    weight: float = 1.0
    ramp: float = 0.0


STRATEGIES: Mapping[str, tuple[Stage, ...]] = {
    "joint": (Stage("joint", True, "recipe"),),
    "finetune": (Stage("finetune", True, "teacher", epochs=0.5, rate=0.3),),
    "joint-then-clean": (
        Stage("joint", True, "recipe"),
        Stage("clean", False, "joint", epochs=0.3, rate=0.3),
    ),
}
"""By name: train on both together; continue a trained model on both; train on both, then on the annotated ones alone,
to undo what was learned from wrong pseudo-labels. A continued model learns slower, so that it keeps what it knows."""

_NUMBERS = ("epochs", "rate", "weight", "ramp")


def stages(strategy: str, changes: Sequence[str] = (), *, weight: float = 1.0, ramp: float = 0.0) -> tuple[Stage, ...]:
    """The stages of a strategy, all of one `weight` and `ramp`, with changes such as ``clean.epochs=0.5``.

    Raises TrashkitError for an unknown strategy, stage or entry, and for numbers that make no sense.
    """
    if strategy not in STRATEGIES:
        raise TrashkitError(unknown("strategy", strategy, list(STRATEGIES)), hint="see `trashkit pseudo --help`")
    made = {one.name: replace(one, weight=weight, ramp=ramp) for one in STRATEGIES[strategy]}
    for change in changes:
        key, _, text = change.partition("=")
        name, _, entry = key.strip().partition(".")
        if name not in made or entry not in _NUMBERS:
            keys = [f"{stage}.{number}" for stage in made for number in _NUMBERS]
            raise TrashkitError(unknown("stage setting", key, keys), hint="as in --stage clean.epochs=0.5")
        try:
            value: Any = float(text)
        except ValueError as error:
            raise TrashkitError(f'{key} must be a number, not "{text}"', hint=f"as in --stage {key}=0.5") from error
        made[name] = replace(made[name], **{entry: value})
    for stage in made.values():
        _check(stage)
    return tuple(made.values())


def _check(stage: Stage) -> None:
    limits = {
        "epochs": 0 < stage.epochs < math.inf,
        "rate": 0 < stage.rate < math.inf,
        "weight": 0 <= stage.weight < math.inf,
        "ramp": 0 <= stage.ramp <= 1,
    }
    for name, holds in limits.items():
        if not holds:
            raise TrashkitError(
                f"{stage.name}.{name} cannot be {getattr(stage, name)}",
                hint="epochs and rate are shares above 0, the weight is 0 or more, the ramp lies between 0 and 1",
            )


def stage_config(stage: Stage, student: TrainConfig, start: str | None) -> TrainConfig:
    """The settings of one stage. start: run folder or file to take the weights from; None for the student's own."""
    lr = student.optimiser.lr * stage.rate
    changes: dict[str, Any] = {
        "epochs": max(1, round(student.epochs * stage.epochs)),
        "optimiser": student.optimiser.model_copy(update={"lr": lr}),
    }
    if start is not None:
        changes["model"] = student.model.model_copy(update={"weights": start})
    return student.model_copy(update=changes)


def as_json(stage: Stage) -> dict[str, Any]:
    """A stage as JSON values."""
    return asdict(stage)
