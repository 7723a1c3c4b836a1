"""Some edits of a log without the others: which of them stand alone, and which build on edits that are left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trashkit.coco.edit import Edit, same_value
from trashkit.errors import TrashkitError

NAMED = 10
"""Edits that one message names; the others are counted."""
_MISSING = object()
Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Choice:
    """Edits that apply without the rest of their log, and those that do not, each with the edits that it needs."""

    edits: list[Edit]
    dependent: list[tuple[Edit, list[Edit]]] = field(default_factory=list)


def separate(log: Sequence[Edit], chosen: Collection[Edit] | Sequence[Edit]) -> Choice:
    """Split `chosen`, edits of `log` (the same objects), by whether they need edits of the log that were not chosen.

    An edit needs an earlier one of its row that was left out when that one wrote a field that it replaces, and the
    field would not have the value that it found. What needs a dependent edit is dependent too. A deletion needs none:
    it takes the row as the chosen edits leave it. The order stays.
    """
    wanted = {id(edit) for edit in chosen}
    origin: dict[Key, Any] = {}
    now: dict[Key, Any] = {}
    left_out: dict[Key, list[Edit]] = {}
    choice = Choice([])
    for edit in log:
        fields = _fields(edit)
        for key, (before, _) in fields.items():
            origin.setdefault(key, before)
        if id(edit) in wanted:
            other = [key for key, (before, _) in fields.items() if not _same(now.get(key, origin[key]), before)]
            if edit.kind == "delete":
                values = {key[3]: now.get(key, origin[key]) for key in fields}
                kept = {name: value for name, value in values.items() if value is not _MISSING}
                choice.edits.append(replace(edit, before=kept, before_text=None) if other else edit)
                continue
            needed = {id(one): one for key in other for one in left_out.get(key, ())}
            if not needed:
                choice.edits.append(edit)
                now |= {key: after for key, (_, after) in fields.items()}
                continue
            choice.dependent.append((edit, list(needed.values())))
        for key in fields:
            left_out.setdefault(key, []).append(edit)
    return choice


def _fields(edit: Edit) -> dict[Key, tuple[Any, Any]]:
    """Values before and after by place and field, of edits that change a row which the file has."""
    if edit.is_decision or edit.row is None or not isinstance(edit.before, dict):
        return {}
    after = edit.after if isinstance(edit.after, dict) else {}
    return {
        (edit.source, edit.block, edit.row, name): (edit.before.get(name, _MISSING), after.get(name, _MISSING))
        for name in {**edit.before, **after}
    }


def _same(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING:
        return one is other
    return same_value(one, other)


def describe_dependent(dependent: Sequence[tuple[Edit, list[Edit]]]) -> str:
    """Which edits need which others, in words: NAMED of them, and how many more there are."""
    named = []
    for edit, needed in dependent[:NAMED]:
        others = ", ".join(dict.fromkeys(f"{one.author} ({one.reason})" for one in needed))
        named.append(f"{edit.place} by {edit.author} ({edit.reason}) needs {others}")
    more = f"; and {len(dependent) - NAMED} more" if len(dependent) > NAMED else ""
    return "; ".join(named) + more


def independent(log: Sequence[Edit], chosen: Sequence[Edit], *, skip_dependent: bool = False) -> Choice:
    """`separate`, where dependent edits are an error unless they are to be skipped.

    Raises TrashkitError naming the first NAMED of them and the authors to add.
    """
    choice = separate(log, chosen)
    if choice.dependent and not skip_dependent:
        authors = dict.fromkeys(one.author for _, needed in choice.dependent for one in needed)
        raise TrashkitError(
            f"{len(choice.dependent)} of the {len(chosen)} edits chosen build on edits that are left out: "
            + describe_dependent(choice.dependent),
            hint="choose those too ("
            + " ".join(f"--author {author}" for author in authors)
            + "), or add --skip-dependent to apply the others; with --json that lists all that were skipped",
        )
    return choice
