"""Test-time augmentation: views of a batch of photos, and how to turn their predictions back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import torch

from trashkit.errors import TrashkitError

Turn = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class View:
    """One way to look at a batch [B, C, H, W]: `undo(apply(x))` is exactly `x`."""

    name: str
    apply: Turn
    undo: Turn


def _turn(quarter_turns: int, mirrored: bool) -> View:
    def apply(batch: torch.Tensor) -> torch.Tensor:
        batch = batch.flip(-1) if mirrored else batch
        return batch.rot90(quarter_turns, (-2, -1)) if quarter_turns else batch

    def undo(batch: torch.Tensor) -> torch.Tensor:
        batch = batch.rot90(-quarter_turns, (-2, -1)) if quarter_turns else batch
        return batch.flip(-1) if mirrored else batch

    return View(f"{quarter_turns * 90} degrees{', mirrored' if mirrored else ''}", apply, undo)


VIEWS: dict[str, tuple[View, ...]] = {
    "none": (_turn(0, False),),
    "flip": (_turn(0, False), _turn(0, True)),
    "flips": (_turn(0, False), _turn(0, True), _turn(2, False), _turn(2, True)),
    "d4": tuple(_turn(turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}
"""Sets of views by name: none; left-right; left-right and up-down; all eight turns and mirrors of a square."""


def views(name: str) -> tuple[View, ...]:
    """The views of a set; TrashkitError lists the choices, closest first, for an unknown name."""
    if name not in VIEWS:
        close = get_close_matches(name, VIEWS, n=len(VIEWS), cutoff=0)
        raise TrashkitError(
            f'there is no test-time augmentation "{name}"', hint=f"choose --tta from: {', '.join(close)}"
        )
    return VIEWS[name]
