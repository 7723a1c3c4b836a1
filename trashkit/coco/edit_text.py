"""Edits as people read them: what a row had, what it gets."""

from __future__ import annotations

import json
from typing import Any

from trashkit.coco.edit import Edit

WIDTH = 100


def describe(edit: Edit) -> list[str]:
    """An edit in a few lines: its place and reason, then one line per field with ``-`` before and ``+`` after."""
    note = f": {edit.note}" if edit.note else ""
    lines = [f"{edit.place} {edit.kind} by {edit.author} ({edit.reason}){note}"]
    if edit.is_decision:
        return lines
    if edit.before is not None and edit.after is not None:
        for key in {**edit.before, **edit.after}:
            old, new = edit.before.get(key), edit.after.get(key)
            if key in edit.before:
                lines.append(f"  - {key}: {shown(old, new)}")
            if key in edit.after:
                lines.append(f"  + {key}: {shown(new, old)}")
        if not edit.before and not edit.after:
            lines.append("  the row is written anew with the same values")
    else:
        sign, record = ("-", edit.before) if edit.after is None else ("+", edit.after)
        fields = record.items() if isinstance(record, dict) else [("", record)]
        lines += [f"  {sign} {key}: {shown(value)}" for key, value in fields]
    return lines


def shown(value: Any, other: Any = None) -> str:
    """A value in one line; polygons with their sizes and, next to another, the vertices that differ."""
    if isinstance(value, list) and value and all(isinstance(ring, list) for ring in value):
        return _rings(value, other)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _rings(rings: list[list[Any]], other: Any) -> str:
    corners = sum(len(ring) // 2 for ring in rings)
    text = f"{len(rings)} ring{'s' * (len(rings) > 1)}, {corners} vertices"
    theirs = set(_points(other)) if isinstance(other, list) and all(isinstance(r, list) for r in other) else set()
    own = [point for point in _points(rings) if point not in theirs]
    if theirs and own:
        some = " ".join(f"({x:g}, {y:g})" for x, y in own[:4])
        text += f", {len(own)} of them only here: {some}{' …' * (len(own) > 4)}"
    return text


def _points(rings: list[list[Any]]) -> list[tuple[float, float]]:
    numbers = [[v for v in ring if isinstance(v, int | float)] for ring in rings]
    return [point for ring in numbers for point in zip(ring[0::2], ring[1::2], strict=False)]
