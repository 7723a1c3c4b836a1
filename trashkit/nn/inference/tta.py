"""Test-time augmentation: views of a batch of photos and the inverse transforms of their predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import torch

from trashkit.errors import TrashkitError

Turn = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class View:
    """One invertible view of a batch [B, C, H, W]: `undo(apply(x))` equals `x`.

    scale: scale factor of the network input; probabilities are resized back.
    """

    name: str
    apply: Turn
    undo: Turn
    scale: float = 1.0


def _view(quarter_turns: int, mirrored: bool, scale: float = 1.0) -> View:
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
    "none": (_view(0, False),),
    "flip": (_view(0, False), _view(0, True)),
    "flips": (_view(0, False), _view(0, True), _view(2, False), _view(2, True)),
    "d4": tuple(_view(turns, mirrored) for turns in range(4) for mirrored in (False, True)),
    "scales": tuple(_view(0, False, scale) for scale in SCALES),
    "scales-flip": tuple(_view(0, mirrored, scale) for scale in SCALES for mirrored in (False, True)),
}
"""Sets of views by name: no augmentation; horizontal flip; horizontal and vertical flips; all eight flips and rotations
of a square; three scales; three scales with horizontal flips."""


def input_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Input size (height, width) of a view with this scale: whole pixels, at least 32."""
    return max(32, round(size[0] * scale)), max(32, round(size[1] * scale))


def views(name: str) -> tuple[View, ...]:
    """Views of a set, or a single view by its index, as in ``flip:1``.

    Raises TrashkitError for an unknown name, listing the choices, closest first.
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
