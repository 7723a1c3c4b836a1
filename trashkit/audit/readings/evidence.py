"""What a row itself says about its shape: whether its box and area agree with a reading of its segmentation."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from trashkit.coco.segmentation import MAX_COORDINATE

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*", re.ASCII)
_COMMA = re.compile(r"\s*-?\d{1,7},\d{1,9}\s*", re.ASCII)
_LONGEST = 40
BOX_OFF = 1.5
"""An edge of a box may be this many pixels off: some boxes have whole pixels, or end at the last pixel ..."""
BOX_SHARE = 0.25
"""... but no more than this share of its shorter side."""


class Evidence(NamedTuple):
    """A row's own `bbox` (left, top, width, height) and `area`; None where they are missing, not usable or empty."""

    box: tuple[float, float, float, float] | None
    area: float | None


def as_number(value: Any) -> int | float | None:
    """A finite number of usual size, also one that is written as text; whole numbers in text become integers."""
    if isinstance(value, str) and len(value) <= _LONGEST and _NUMBER.fullmatch(value):
        value = int(value) if re.fullmatch(r"\s*-?\d+\s*", value, re.ASCII) else float(value)
    if type(value) not in (int, float) or not abs(value) <= MAX_COORDINATE**2:
        return None
    return value  # type: ignore[no-any-return]


def with_point(value: Any) -> Any:
    """A number in text with a decimal comma, such as "12,5", with a point; any other value as it is."""
    return value.replace(",", ".") if isinstance(value, str) and _COMMA.fullmatch(value) else value


def evidence_of(record: Any) -> Evidence:
    """The box and the area that a row states, also if they are written as text, even with decimal commas."""
    box = record.get("bbox")
    sides = [as_number(with_point(side)) for side in box] if isinstance(box, list) and len(box) == 4 else []
    stated = None
    if sides and not any(side is None for side in sides):
        left, top, width, height = (float(side or 0) for side in sides)
        stated = (left, top, width, height) if width > 0 and height > 0 else None
    area = as_number(with_point(record.get("area")))
    return Evidence(stated, float(area) if area is not None and area > 0 else None)


def box_agrees(stated: Sequence[float], box: Sequence[float]) -> bool:
    """Whether a stated box [left, top, width, height] is that of a shape with these left, top, right, bottom.

    Boxes of the form [left, top, right, bottom], which some tools write, agree too.
    """
    left, top, width, height = stated
    limit = min(BOX_OFF, BOX_SHARE * min(box[2] - box[0], box[3] - box[1]))
    edges = (left, top, left + width, top + height)
    return any(
        all(abs(one - other) <= limit + 1e-9 for one, other in zip(which, box, strict=True))
        for which in (edges, tuple(stated))
    )


def area_agrees(stated: float, area: float, box: Sequence[float], *, closely: bool = False) -> bool:
    """Whether a stated area is that of a shape: off by at most 2 %, or by half a pixel along its outline.

    Areas of the box, which some tools write, agree too. closely: neither is enough, and it may be off by 1 %.
    """
    off = abs(stated - area)
    if closely:
        return off <= 0.01 * area
    width, height = box[2] - box[0], box[3] - box[1]
    return off <= max(0.02 * area, width + height) or abs(stated - width * height) <= 0.02 * width * height


def proof(evidence: Evidence, box: Sequence[float], area: float) -> str | None:
    """What proves that a shape with this box (left, top, right, bottom) and area is the one that the row describes.

    Empty if the row states neither box nor area; None if one of them contradicts the shape.
    """
    if not math.isfinite(area) or area <= 0:
        return None
    if evidence.box is None:
        if evidence.area is None:
            return ""
        return "its area agrees" if area_agrees(evidence.area, area, box, closely=True) else None
    if not box_agrees(evidence.box, box):
        return None
    if evidence.area is None:
        return "its bbox agrees"
    return "its bbox and area agree" if area_agrees(evidence.area, area, box) else None
