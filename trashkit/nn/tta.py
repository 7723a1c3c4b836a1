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
    """One way to look at a batch [B, C, H, W]: `undo(apply(x))` is exactly `x`.

    scale: the sides of what the network sees, as a share of the batch's; probabilities are resized back.
    """

    name: str
    apply: Turn
    undo: Turn
    scale: float = 1.0


def _turn(quarter_turns: int, mirrored: bool, scale: float = 1.0) -> View:
    def apply(batch: torch.Tensor) -> torch.Tensor:
        batch = batch.flip(-1) if mirrored else batch
        return batch.rot90(quarter_turns, (-2, -1)) if quarter_turns else batch

    def undo(batch: torch.Tensor) -> torch.Tensor:
        batch = batch.rot90(-quarter_turns, (-2, -1)) if quarter_turns else batch
        return batch.flip(-1) if mirrored else batch

    name = f"{quarter_turns * 90} degrees{', mirrored' if mirrored else ''}{f', times {scale}' if scale != 1 else ''}"
    return View(name, apply, undo, scale)


SCALES = (0.75, 1.0, 1.25)


VIEWS: dict[str, tuple[View, ...]] = {
    "none": (_turn(0, False),),
    "flip": (_turn(0, False), _turn(0, True)),
    "flips": (_turn(0, False), _turn(0, True), _turn(2, False), _turn(2, True)),
    "d4": tuple(_turn(turns, mirrored) for turns in range(4) for mirrored in (False, True)),
    "scales": tuple(_turn(0, False, scale) for scale in SCALES),
    "scales-flip": tuple(_turn(0, mirrored, scale) for scale in SCALES for mirrored in (False, True)),
}
"""Sets of views by name: none; left-right; left-right and up-down; all eight turns and mirrors of a square; three
scales; three scales, each also mirrored."""


def seen_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) at which a view of this scale shows photos of `size`: whole pixels, at least 32."""
    return max(32, round(size[0] * scale)), max(32, round(size[1] * scale))


def views(name: str) -> tuple[View, ...]:
    """The views of a set, or one of them alone by its number, as in ``flip:1``.

    TrashkitError lists the choices, closest first, for an unknown name.
    """
    family, _, number = name.partition(":")
    if family in VIEWS and number.isdecimal() and int(number) < len(VIEWS[family]):
        return (VIEWS[family][int(number)],)
    if name not in VIEWS:
        close = get_close_matches(name, VIEWS, n=len(VIEWS), cutoff=0)
        raise TrashkitError(
            f'there is no test-time augmentation "{name}"', hint=f"choose --tta from: {', '.join(close)}"
        )
    return VIEWS[name]
