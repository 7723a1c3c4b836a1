"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to lose on resume."""

from __future__ import annotations

import math
from collections.abc import Callable

Shape = Callable[[float], float]
"""Share of the way after the warm-up (0..1) -> share of the peak learning rate (1..0)."""

START = 0.04
"""A warm-up begins at this share of the peak, as PyTorch's OneCycleLR does."""


def _cosine(x: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * x))


def _steps(x: float) -> float:
    return 1.0 if x < 0.6 else 0.1 if x < 0.85 else 0.01


SHAPES: dict[str, Shape] = {
    "onecycle": _cosine,
    "cosine": _cosine,
    "poly": lambda x: (1 - x) ** 0.9,
    "linear": lambda x: 1 - x,
    "multistep": _steps,
    "constant": lambda _: 1.0,
}


def factor(name: str, step: int, total: int, *, warmup: float, floor: float) -> float:
    """Learning rate at `step` (from 0) of `total`, as a share of the peak.

    The first ``warmup * total`` steps rise from START to 1, by a half cosine for ``onecycle`` and evenly for the
    others; the rest falls by the named shape, from 1 to `floor`.
    """
    rising = warmup * total
    if step < rising:
        x = step / rising
        return START + (1 - START) * (1 - _cosine(x) if name == "onecycle" else x)
    x = min(1.0, (step - rising) / max(1.0, total - 1 - rising))
    return floor + (1 - floor) * SHAPES[name](x)
