"""Select predicted pixels as pseudo-labels: a measure of certainty, and a threshold for each class.

Certainty is counted in STEPS equal steps from 0 to 1, so thresholds come from integer histograms, image by image, and
what is kept is exactly what was counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError

Measure = Literal["confidence", "margin", "entropy"]
MEASURES: tuple[Measure, ...] = ("confidence", "margin", "entropy")
STEPS = 1000
IGNORE = 255


@dataclass(frozen=True)
class Selection:
    """What a pixel and an image must reach to be kept.

    measure: ``confidence`` (the highest probability), ``margin`` (its distance to the second highest) or ``entropy``
    (1 minus the entropy over its maximum, log of the number of classes); each from 0 to 1, higher is more certain.
    threshold: pixels less certain than this are ignored. at_least: share of each class's predicted pixels that is kept
    even below the threshold, the most certain first, so that rare classes, which models are less sure of, keep some
    (Zou et al. 2018, class-balanced self-training). balance: no class keeps more pixels than its share in the training
    labels, the most certain first. agreement: share of the members (models or views) that must predict the pixel's
    class, 0 for no limit. min_kept: images with a smaller share of kept pixels are left out.
    """

    measure: Measure = "confidence"
    threshold: float = 0.9
    at_least: float = 0.0
    balance: bool = False
    agreement: float = 0.0
    min_kept: float = 0.1

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise TrashkitError(f'there is no measure "{self.measure}"', hint=f"choose from: {', '.join(MEASURES)}")
        for name in ("threshold", "at_least", "agreement", "min_kept"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrashkitError(f"{name} must be between 0 and 1, not {getattr(self, name)}", hint="as in 0.9")


def certainty(probabilities: NDArray[np.float32], measure: Measure) -> NDArray[np.int32]:
    """Return each pixel's certainty in steps 0 .. STEPS, int32 [H, W], from probabilities float32 [C, H, W]."""
    if measure == "entropy":
        safe = np.maximum(probabilities, np.float32(1e-12))
        value = 1 + (probabilities * np.log(safe)).sum(axis=0) / np.log(max(2, len(probabilities)))
    else:
        top = np.partition(probabilities, -2, axis=0)[-2:] if len(probabilities) > 1 else probabilities[[0, 0]]
        value = top[1] if measure == "confidence" else top[1] - top[0]
    # A little is added, since 0.9 as float32 times 1000 may be just below 900.
    steps: NDArray[np.int32] = np.clip(np.floor(value * STEPS + 1e-3), 0, STEPS).astype(np.int32)
    return steps


def votes(members: Sequence[NDArray[np.float32]], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of members, each [C, H, W], whose argmax equals `labels`; float32 [H, W]."""
    agree = np.zeros(labels.shape, np.float32)
    for values in members:
        agree += values.argmax(axis=0) == labels
    return agree / np.float32(len(members))


def histogram(labels: NDArray[np.uint8], steps: NDArray[np.int32], classes: int) -> NDArray[np.int64]:
    """Count pixels by class and certainty, int64 [classes, STEPS + 1]; labels of 255 are not counted."""
    valid = labels != IGNORE
    flat = labels[valid].astype(np.int64) * (STEPS + 1) + steps[valid]
    return np.bincount(flat, minlength=classes * (STEPS + 1)).reshape(classes, STEPS + 1)


def thresholds(
    counts: NDArray[np.int64], selection: Selection, mix: NDArray[np.float64] | None = None
) -> NDArray[np.int32]:
    """Return the step that a pixel of each class must reach, int32 [C]; STEPS + 1 where a class keeps nothing.

    counts: `histogram` of all images. mix: share of each class among the training pixels [C], for ``balance``.
    With ``at_least`` a class's step is lowered until that share of its pixels is kept; all tied pixels are kept. With
    ``balance`` it is raised until no more pixels are kept than the class's share of all that would be.
    """
    wanted = int(np.ceil(selection.threshold * STEPS - 1e-9))
    reached = counts[:, ::-1].cumsum(axis=1)[:, ::-1]  # pixels of the class at or above each step
    total = reached[:, 0]
    chosen = np.full(len(counts), wanted, np.int32)
    if selection.at_least:
        enough = reached >= np.ceil(selection.at_least * total - 1e-9)[:, None]
        highest = np.array([int(np.flatnonzero(row)[-1]) for row in enough])
        chosen = np.where(total > 0, np.minimum(chosen, highest), chosen).astype(np.int32)
    if selection.balance:
        if mix is None:
            raise ValueError("a balanced selection needs the class mix of the training labels")
        kept = reached[np.arange(len(counts)), chosen].sum()
        allowed = np.floor(mix * kept)
        for index, most in enumerate(allowed):
            fits = np.flatnonzero(reached[index] <= most)
            least = int(fits[0]) if len(fits) else STEPS + 1
            chosen[index] = max(int(chosen[index]), least)
    return chosen


def select(
    labels: NDArray[np.uint8],
    steps: NDArray[np.int32],
    chosen: NDArray[np.int32],
    agree: NDArray[np.float32] | None = None,
    agreement: float = 0.0,
) -> NDArray[np.uint8]:
    """Return the label map with 255 where a pixel misses its class's threshold, or too few members agree.

    labels uint8 [H, W] of class indices, steps int32 [H, W] as from `certainty`, chosen int32 [C] as from `thresholds`.
    """
    keep = steps >= chosen[labels]
    if agree is not None and agreement:
        keep &= agree >= np.float32(agreement) - np.float32(1e-6)
    return np.where(keep, labels, np.uint8(IGNORE)).astype(np.uint8)
