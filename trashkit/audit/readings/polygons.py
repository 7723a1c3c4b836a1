"""Polygons in other notations than COCO's, and with malformed parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from trashkit.audit.fixes.repair import drop_broken_rings
from trashkit.audit.readings.columns import COLUMNS, TRIPLES
from trashkit.audit.readings.evidence import as_number, with_point
from trashkit.coco.segmentation import MAX_COORDINATE
from trashkit.readers import decode_json

Ring = list[float]
_IN_TEXT = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_WKT = re.compile(r"\s*(MULTI)?POLYGON\s*Z?\s*\(", re.ASCII | re.IGNORECASE)
"""Well-known text of a polygon, as databases and geometry libraries write it."""
_LEVELS = 8
_LONGEST = 1_000_000
_XY = (("x", "y"), ("all_points_x", "all_points_y"), ("xs", "ys"))


def polygon_readings(value: Any) -> Iterator[tuple[list[Ring], str]]:
    """Readings of a segmentation that is not a list of rings, each with how it was read, the most likely first."""
    value = _parsed(value)
    straight = _rings(value, _LEVELS)
    if straight:
        yield straight, "its points are all there in another notation"
        yield [_exchanged(ring) for ring in straight], "its points have y before x"
    triples = _without_third(value, _LEVELS)
    flat = _rings(triples, _LEVELS) if triples != value else None
    if flat:
        yield flat, TRIPLES
    points = _with_points(value, _LEVELS)
    commas = _rings(points, _LEVELS) if points != value else None
    if commas:
        yield commas, "its numbers have decimal commas"
    apart = _columns(value)
    if apart:
        yield apart, COLUMNS
    if isinstance(value, list):
        kept = [ring for part in value for ring in (_rings(part, _LEVELS - 1) or drop_broken_rings([part]))]
        if kept and kept != straight:
            yield kept, "what is left without its malformed parts is complete"
        box = _box(value)
        if box:
            yield [box], "its four numbers are a box"


def count_numbers(value: Any, levels: int = _LEVELS) -> int:
    """How many numbers a value contains, in any notation: with fewer than six there can be no outline."""
    if isinstance(value, str):
        return len(_IN_TEXT.findall(value[:_LONGEST]))
    if as_number(value) is not None:
        return 1
    if isinstance(value, list | dict) and levels:
        return sum(count_numbers(one, levels - 1) for one in (value.values() if isinstance(value, dict) else value))
    return 0


def _without_third(value: Any, levels: int) -> Any:
    """The value without the third number of each point, such as a visibility or a height."""
    if not isinstance(value, list) or not levels:
        return value
    if len(value) >= 9 and len(value) % 3 == 0 and all(as_number(one) is not None for one in value):
        return [one for n, one in enumerate(value) if n % 3 < 2]
    if len(value) >= 3 and all(isinstance(one, list) and len(one) == 3 for one in value):
        return [one[:2] for one in value]
    return [_without_third(one, levels - 1) for one in value]


def _with_points(value: Any, levels: int) -> Any:
    """The value with points in place of decimal commas in all texts that are one number."""
    if isinstance(value, list) and levels:
        return [_with_points(one, levels - 1) for one in value]
    if isinstance(value, dict) and levels:
        return {key: _with_points(one, levels - 1) for key, one in value.items()}
    return with_point(value)


def _parsed(value: Any) -> Any:
    """The value of a text with JSON, with WKT, or with numbers separated by commas, semicolons or spaces."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return value
    if _WKT.match(value):
        return [[pair.split() for pair in ring.split(",")] for ring in re.findall(r"\(([^()]+)\)", value)]
    if value.lstrip()[:1] in ("[", "{"):
        try:
            return decode_json(value)
        except ValueError:
            return value
    pieces = [piece for piece in re.split(r"[\s,;]+", value) if piece]
    numbers = [as_number(piece) for piece in pieces] if len(pieces) >= 6 else [None]
    return value if any(number is None for number in numbers) else numbers


def _rings(value: Any, levels: int) -> list[Ring] | None:
    """All rings of a value; None if any part of it is not one."""
    ring = _ring(value)
    if ring is not None:
        return [ring]
    if isinstance(value, dict) and len(value) <= 4 and levels:
        inner = [value[key] for key in ("points", "polygon", "polygons", "rings", "coordinates") if key in value]
        return _rings(inner[0], levels - 1) if len(inner) == 1 else None
    value = _parsed(value)
    if not isinstance(value, list) or not value or not levels:
        return None
    parts = [_rings(part, levels - 1) for part in value]
    if any(part is None for part in parts):
        return None
    return [ring for part in parts if part for ring in part]


def _ring(value: Any) -> Ring | None:
    """A list of at least three points, flat or in pairs, or an object with a list of x and a list of y."""
    value = _parsed(value)
    if isinstance(value, dict):
        for x, y in _XY:
            if set(value) >= {x, y} and isinstance(value[x], list) and isinstance(value[y], list):
                return _zipped(value[x], value[y])
        return None
    if not isinstance(value, list) or len(value) < 3:
        return None
    flat = [_coordinate(one) for one in value]
    if not any(number is None for number in flat):
        return flat if len(flat) >= 6 and len(flat) % 2 == 0 else None  # type: ignore[return-value]
    points = [_point(one) for one in value]
    if any(point is None for point in points):
        return None
    return [side for point in points if point for side in point]


def _point(value: Any) -> tuple[float, float] | None:
    if isinstance(value, dict):
        lower = {str(key).lower(): side for key, side in value.items()}
        value = [lower.get("x"), lower.get("y")]
    elif isinstance(value, str):
        value = re.split(r"[\s,;]+", value.strip()) if len(value) < 100 else value
    if not isinstance(value, list) or len(value) != 2:
        return None
    x, y = (_coordinate(side) for side in value)
    return None if x is None or y is None else (x, y)


def _coordinate(value: Any) -> float | None:
    number = as_number(value)
    return None if number is None or abs(number) > MAX_COORDINATE else number


def _zipped(xs: list[Any], ys: list[Any]) -> Ring | None:
    if len(xs) != len(ys) or len(xs) < 3:
        return None
    sides = [_coordinate(side) for pair in zip(xs, ys, strict=True) for side in pair]
    return None if any(side is None for side in sides) else sides  # type: ignore[return-value]


def _columns(value: Any) -> list[Ring] | None:
    """A ring whose x and y are two lists, or the two halves of one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, list):
        return None
    if len(value) == 2 and all(isinstance(part, list) for part in value):
        ring = _zipped(*value)
    elif len(value) >= 6 and len(value) % 2 == 0:
        ring = _zipped(value[: len(value) // 2], value[len(value) // 2 :])
    else:
        ring = None
    return None if ring is None else [ring]


def _exchanged(ring: Ring) -> Ring:
    return [side for n in range(0, len(ring), 2) for side in (ring[n + 1], ring[n])]


def _box(value: list[Any]) -> Ring | None:
    """Four numbers as a box [left, top, width, height], as pycocotools reads them."""
    while len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    sides = [_coordinate(side) for side in value] if len(value) == 4 else [None]
    if any(side is None for side in sides):
        return None
    left, top, width, height = (side or 0 for side in sides)
    right, bottom = left + width, top + height
    return [left, top, right, top, right, bottom, left, bottom] if width > 0 and height > 0 else None
