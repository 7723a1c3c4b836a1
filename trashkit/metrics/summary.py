"""A score in words: mIoU with and without background, and whether a model finds anything at all.

Background covers most of a photo of trash, so a model that predicts nothing else still has a respectable mIoU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

ALMOST_NOTHING = 0.05
"""A model finds almost nothing if its mIoU without background is lower than this ..."""
ONE_CLASS_FOUND = 0.2
"""... and no class but the background has this IoU: a model that finds one class of many well is not meant."""

NOTHING_FOUND = "it finds almost nothing"


def without_background(iou: Iterable[float | None]) -> float:
    """Mean IoU over all classes but the first, the background; NaN if none of them counts.

    iou: of each class, the background first; None or NaN for a class in neither truth nor prediction.
    """
    known = _without_first(iou)
    return sum(known) / len(known) if known else math.nan


def finds_almost_nothing(iou: Iterable[float | None]) -> bool:
    """Whether hardly any pixel but background is right, see `ALMOST_NOTHING`; arguments as in `without_background`.

    False where no class but the background counts.
    """
    known = _without_first(iou)
    return bool(known) and sum(known) / len(known) < ALMOST_NOTHING and max(known) < ONE_CLASS_FOUND


def miou_text(miou: float, iou: Iterable[float | None], digits: int = 3) -> str:
    """Both scores as text, such as "0.171 with background, 0.014 without: it finds almost nothing".

    miou: pooled, NaN for none. Other arguments as in `without_background`; without any known class only `miou` is told.
    """
    values = list(iou)
    other = without_background(values)
    if math.isnan(other):
        return "–" if math.isnan(miou) else f"{miou:.{digits}f}"
    end = f": {NOTHING_FOUND}" if finds_almost_nothing(values) else ""
    return f"{miou:.{digits}f} with background, {other:.{digits}f} without{end}"


def short_miou_text(miou: float, other: float | None) -> str:
    """Both scores for a list of many, such as "0.1710 (0.0140 without background)".

    other: as `without_background` gives it; where it is None or NaN, only `miou` is told.
    """
    if other is None or math.isnan(other):
        return "–" if math.isnan(miou) else f"{miou:.4f}"
    return f"{miou:.4f} ({other:.4f} without background)"


def _without_first(iou: Iterable[float | None]) -> list[float]:
    return [float(value) for value in list(iou)[1:] if value is not None and not math.isnan(value)]
