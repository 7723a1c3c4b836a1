"""Learning-rate schedules as pure functions of the step, so a resumed run needs no scheduler state.

To add a schedule, add its shape to `SCHEDULES`; its own parameters go into `ScheduleSettings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trashkit.runs.metrics import EpochRow
from trashkit.settings.training import ScheduleSettings

Shape = Callable[[float, ScheduleSettings], float]
"""Progress after the warm-up (0..1) -> share of the peak learning rate (0..1)."""

WARMUP_START = 0.04
"""The warm-up starts at this share of the peak, as in PyTorch's OneCycleLR."""


def _half_cosine(x: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * x))


def _restarts(x: float, settings: ScheduleSettings) -> float:
    """Cosine with warm restarts (Loshchilov and Hutter 2017); each cycle is `growth` times as long as the last."""
    lengths = [settings.growth**n for n in range(settings.cycles)]
    left = x * sum(lengths)
    for length in lengths[:-1]:
        if left < length:
            return _half_cosine(left / length)
        left -= length
    return _half_cosine(min(1.0, left / lengths[-1]))


SCHEDULES: dict[str, Shape] = {
    "onecycle": lambda x, _: _half_cosine(x),
    "cosine": lambda x, _: _half_cosine(x),
    "restarts": _restarts,
    "poly": lambda x, settings: (1 - x) ** settings.power,
    "linear": lambda x, _: 1 - x,
    "multistep": lambda x, settings: settings.gamma ** sum(x >= milestone for milestone in settings.milestones),
    "plateau": lambda *_: 1.0,
    "constant": lambda *_: 1.0,
}


def lr_factor(settings: ScheduleSettings, step: int, total: int) -> float:
    """Learning rate at `step` (from 0) of `total`, as a share of the peak.

    In the first ``warmup * total`` steps it rises from `WARMUP_START` to 1, as a half cosine for ``onecycle`` and
    linearly for the others. Then it follows the named shape from 1 to `floor`. For ``plateau`` see
    `plateau_reductions`.
    """
    warmup = settings.warmup * total
    if step < warmup:
        x = step / warmup
        return WARMUP_START + (1 - WARMUP_START) * (1 - _half_cosine(x) if settings.name == "onecycle" else x)
    x = min(1.0, (step - warmup) / max(1.0, total - 1 - warmup))
    return settings.floor + (1 - settings.floor) * SCHEDULES[settings.name](x, settings)


def encoder_lr_factor(settings: ScheduleSettings, step: int, total: int, frozen: int) -> float:
    """Additional factor on the encoder's rate: 0 in the first `frozen` steps, then rising linearly to 1 over
    ``encoder_warmup * total`` steps."""
    warmup = settings.encoder_warmup * total
    if step < frozen:
        return 0.0
    return min(1.0, (step + 1 - frozen) / warmup) if warmup else 1.0


def plateau_reductions(settings: ScheduleSettings, rows: Sequence[EpochRow], warmup: int) -> int:
    """How often ``plateau`` has reduced the rate after these epochs; 0 for other schedules.

    The rate is reduced after `patience` epochs without a new best validation mIoU (without validation: training loss),
    and the count starts again. Epochs that end within the first `warmup` steps do not count as waiting.
    """
    if settings.name != "plateau":
        return 0
    best, waited, count = -math.inf, 0, 0
    scored = any(row.get("miou") is not None for row in rows)
    for row in rows:
        miou = row.get("miou")
        value = miou if miou is not None else -math.inf if scored else -row["loss"]
        if value > best:
            best, waited = value, 0
        elif row["step"] > warmup:
            waited += 1
        if waited >= settings.patience:
            waited, count = 0, count + 1
    return count
