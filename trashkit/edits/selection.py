"""Select some edits of a log: which of them are independent, and which depend on edits that are not selected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trashkit.edits.apply import select
from trashkit.edits.edit import KINDS, Edit, same_value
from trashkit.errors import TrashkitError

NAMED = 10
"""Most edits that a message names; the others are counted."""
_MISSING = object()
Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Selection:
    """Independent edits, and dependent ones with the edits that each of them needs."""

    edits: list[Edit]
    dependent: list[tuple[Edit, list[Edit]]] = field(default_factory=list)


def separate(log: Sequence[Edit], chosen: Collection[Edit] | Sequence[Edit]) -> Selection:
    """Split `chosen`, edits of `log` (the same objects), by whether they depend on edits that were not chosen.

    An edit depends on an earlier edit of its row that was not chosen, if that one changes a field that it replaces, so
    that the field would not have the `before` value. Edits that need a dependent edit are dependent too. A deletion is
    never dependent: it deletes the row as the chosen edits leave it. The order is kept.
    """
    wanted = {id(edit) for edit in chosen}
    origin: dict[Key, Any] = {}
    now: dict[Key, Any] = {}
    left_out: dict[Key, list[Edit]] = {}
    choice = Selection([])
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
    """Values before and after by place and field, for edits that change a row of the file."""
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
    """A message which edits need which others: at most NAMED of them, and how many more there are."""
    named = []
    for edit, needed in dependent[:NAMED]:
        others = ", ".join(dict.fromkeys(f"{one.author} ({one.reason})" for one in needed))
        named.append(f"{edit.place} by {edit.author} ({edit.reason}) needs {others}")
    more = f"; and {len(dependent) - NAMED} more" if len(dependent) > NAMED else ""
    return "; ".join(named) + more


def independent(log: Sequence[Edit], chosen: Sequence[Edit], *, skip_dependent: bool = False) -> Selection:
    """As `separate`, but dependent edits are an error unless `skip_dependent`.

    Raises TrashkitError that names the first NAMED of them and the authors to add.
    """
    choice = separate(log, chosen)
    if choice.dependent and not skip_dependent:
        authors = dict.fromkeys(one.author for _, needed in choice.dependent for one in needed)
        raise TrashkitError(
            f"{len(choice.dependent)} of the {len(chosen)} selected edits depend on edits that are not selected: "
            + describe_dependent(choice.dependent),
            hint="select those too ("
            + " ".join(f"--author {author}" for author in authors)
            + "), or add --skip-dependent to apply the others; with --json it lists all skipped edits",
        )
    return choice


def select_known(
    log: Sequence[Edit],
    *,
    reasons: Collection[str] = (),
    authors: Collection[str] = (),
    kinds: Collection[str] = (),
    name: str = "the log",
    required: bool = False,
) -> list[Edit]:
    """As `trashkit.edits.apply.select`, but raises TrashkitError for reasons and authors that no edit has.

    Also for unknown kinds and, with `required`, if no edit is selected from a log that has some. name: of the log, for
    messages.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise TrashkitError(f'there is no kind of edit "{kind}"', hint=f"choose from: {', '.join(KINDS)}")
    for what, wanted, there in (
        ("reason", reasons, dict.fromkeys(edit.reason for edit in log)),
        ("author", authors, dict.fromkeys(name for edit in log for name in (edit.author, *edit.accepted_by))),
    ):
        for one in wanted:
            if one not in there:
                known = ", ".join(sorted(there)) or "none: the log is empty"
                raise TrashkitError(f'{name} has no edit with the {what} "{one}"', hint=f"its {what}s are: {known}")
    selected = select(log, reasons=reasons, authors=authors, kinds=kinds)
    if required and log and not selected:
        known = ", ".join(dict.fromkeys(f"{edit.kind} by {edit.author} ({edit.reason})" for edit in log))
        raise TrashkitError(f"no edit of {name} is selected by these options", hint=f"it has: {known}")
    return selected
