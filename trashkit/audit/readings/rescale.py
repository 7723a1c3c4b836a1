"""New coordinates for one annotation of a file whose coordinates are in another unit or order."""

# ruff: noqa: PLR0911 - each step returns as soon as it is clear that something does not apply.

from __future__ import annotations

import math
from typing import Any

from trashkit.audit.readings.evidence import box_agrees, evidence_of
from trashkit.audit.readings.placement import FEW_PIXELS, Placement
from trashkit.raster.measures import ring_area


def rescaled(record: Any, size: tuple[int, int] | None, proposal: dict[str, Any]) -> dict[str, Any]:
    """New values for the fields of one annotation, as `Scale` and the annotation's own values say; empty if it fits.

    size: (height, width) of its image. Box and area that fit the new shape stay; others are left to be measured anew.
    """
    rings = record.get("segmentation") if isinstance(record, dict) else None
    if (
        size is None
        or not isinstance(rings, list)
        or not all(isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0 for ring in rings)
    ):
        return {}
    if not rings or not all(type(side) in (int, float) and math.isfinite(side) for ring in rings for side in ring):
        return {}
    stated = evidence_of(record)
    if "move" in proposal:
        move = Placement(*proposal["move"])
        old = _box_of(rings)
        if stated.box is None or not box_agrees(stated.box, move.box(old)):
            return {}
        if proposal["target"] == "box":
            return {"bbox": [_rounded(side) for side in (old[0], old[1], old[2] - old[0], old[3] - old[1])]}
        return {"segmentation": move.rings(rings)}
    unit, factor = proposal["unit"], proposal["factor"]
    x, y = (size[1] / unit, size[0] / unit) if unit else (factor, factor)
    old = _box_of(rings)
    if proposal["target"] == "box":
        agrees = stated.box is not None and _same(stated.box, old, (x, y))
        box = [_rounded(side) for side in (old[0], old[1], old[2] - old[0], old[3] - old[1])]
        return {"bbox": box} if agrees else {}
    if unit and (min(old) < -0.01 * unit or max(old) > 1.01 * unit):
        return {}
    new = [[_rounded(side * (x, y)[n % 2]) for n, side in enumerate(ring)] for ring in rings]
    right = _box_of(new)
    boxed = stated.box is not None and box_agrees(stated.box, right)
    if proposal["which"] == "boxed" and not boxed:
        return {}
    if proposal["which"] == "each" and not boxed and stated.box is not None and box_agrees(stated.box, old):
        return {}  # this one is in pixels
    fields: dict[str, Any] = {"segmentation": new}
    if unit == 1 and not boxed and stated.box is not None and min(stated.box[2:]) > FEW_PIXELS:
        return fields  # a box in pixels may be right: it is looked at anew, once the shape is in pixels, too
    if not boxed:
        fields["bbox"] = [_rounded(side) for side in (right[0], right[1], right[2] - right[0], right[3] - right[1])]
    area = sum(map(ring_area, new))
    if stated.area is None or not abs(stated.area - area) <= 0.1 * area:
        fields["area"] = round(area, 2)
    return fields


def _same(stated: tuple[float, float, float, float], box: list[float], by: tuple[float, float]) -> bool:
    left, top, width, height = (side * by[n % 2] for n, side in enumerate(stated))
    limit = max(1.5, 0.02 * max(width, height))
    edges = (left, top, left + width, top + height)
    return all(abs(one - other) <= limit for one, other in zip(edges, box, strict=True))


def _box_of(rings: list[list[float]]) -> list[float]:
    xs, ys = [x for ring in rings for x in ring[0::2]], [y for ring in rings for y in ring[1::2]]
    return [min(xs), min(ys), max(xs), max(ys)]


def _rounded(side: float) -> float:
    return round(side, 3)
