"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to lose on resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trashkit.config import ScheduleSettings

Shape = Callable[[float, ScheduleSettings], float]
"""Share of the way after the warm-up (0..1) -> share of the peak learning rate (0..1)."""

START = 0.04
"""A warm-up begins at this share of the peak, as PyTorch's OneCycleLR does."""


def _half_cosine(x: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * x))


def _restarts(x: float, settings: ScheduleSettings) -> float:
    """Cosine with warm restarts (Loshchilov and Hutter 2017): `cycles` of them, each `growth` times the last."""
    lengths = [settings.growth**n for n in range(settings.cycles)]
    left = x * sum(lengths)
    for length in lengths[:-1]:
        if left < length:
            return _half_cosine(left / length)
        left -= length
    return _half_cosine(min(1.0, left / lengths[-1]))


SHAPES: dict[str, Shape] = {
    "onecycle": lambda x, _: _half_cosine(x),
    "cosine": lambda x, _: _half_cosine(x),
    "restarts": _restarts,
    "poly": lambda x, settings: (1 - x) ** settings.power,
    "linear": lambda x, _: 1 - x,
    "multistep": lambda x, settings: settings.gamma ** sum(x >= milestone for milestone in settings.milestones),
    "plateau": lambda *_: 1.0,
    "constant": lambda *_: 1.0,
}


def factor(settings: ScheduleSettings, step: int, total: int) -> float:
    """Learning rate at `step` (from 0) of `total`, as a share of the peak.

    The first ``warmup * total`` steps rise from START to 1, by a half cosine for ``onecycle`` and evenly for the
    others; the rest falls by the named shape, from 1 to `floor`. For ``plateau`` see `reductions`.
    """
    rising = settings.warmup * total
    if step < rising:
        x = step / rising
        return START + (1 - START) * (1 - _half_cosine(x) if settings.name == "onecycle" else x)
    x = min(1.0, (step - rising) / max(1.0, total - 1 - rising))
    return settings.floor + (1 - settings.floor) * SHAPES[settings.name](x, settings)


def encoder_factor(settings: ScheduleSettings, step: int, total: int, frozen: int) -> float:
    """What the encoder's rate is multiplied with beside `factor`: 0 in the first `frozen` steps, then rising to 1 over
    ``encoder_warmup * total`` steps."""
    rising = settings.encoder_warmup * total
    if step < frozen:
        return 0.0
    return min(1.0, (step + 1 - frozen) / rising) if rising else 1.0


def reductions(settings: ScheduleSettings, rows: Sequence[Mapping[str, Any]], warm: int) -> int:
    """How often ``plateau`` has lowered the rate after these epochs, a function of metrics.jsonl and so of no memory.

    It falls after `patience` epochs without a validation mIoU better than the best so far (without validation: a lower
    training loss), and then waits as long again. Epochs that end in the first `warm` steps do not count. Other
    schedules: 0.
    """
    if settings.name != "plateau":
        return 0
    best, waited, count = -math.inf, 0, 0
    for row in rows:
        value = row["miou"] if row.get("miou") is not None else -row["loss"]
        if value > best:
            best, waited = value, 0
        elif row["step"] > warm:
            waited += 1
        if waited >= settings.patience:
            waited, count = 0, count + 1
    return count
