"""Edits as text: the old and new values of a row."""

from __future__ import annotations

import json
from typing import Any

from trashkit.coco.dataset import is_number
from trashkit.edits.edit import Edit

WIDTH = 100


def describe(edit: Edit) -> list[str]:
    """An edit in a few lines: its place and reason, then ``-`` and ``+`` lines with each field's old and new value."""
    note = f": {edit.note}" if edit.note else ""
    lines = [f"{edit.place} {edit.kind} by {edit.by} ({edit.reason}){note}"]
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
            lines.append("  the row is rewritten with the same values")
    else:
        sign, record = ("-", edit.before) if edit.after is None else ("+", edit.after)
        fields = record.items() if isinstance(record, dict) else [("", record)]
        lines += [f"  {sign} {key}: {shown(value)}" for key, value in fields]
    return lines


def brief(edit: Edit) -> str:
    """An edit in a few words: its kind, its new values where they are short, and who made it."""
    values = ""
    if not edit.is_decision and edit.row is not None and isinstance(edit.after, dict):
        scalars = {key: value for key, value in edit.after.items() if not isinstance(value, list | dict)}
        values = ", ".join(f"{key} {shown(value)}" for key, value in scalars.items())
    return f"{edit.kind}{f' ({values})' if values else ''} by {edit.by}"


def shown(value: Any, other: Any = None) -> str:
    """A value in one line; polygons as their sizes and, if `other` is given, the vertices that are not in it."""
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
        text += f", {len(own)} of them changed: {some}{' …' * (len(own) > 4)}"
    return text


def _points(rings: list[list[Any]]) -> list[tuple[float, float]]:
    numbers = [[v for v in ring if is_number(v)] for ring in rings]
    return [point for ring in numbers for point in zip(ring[0::2], ring[1::2], strict=False)]
