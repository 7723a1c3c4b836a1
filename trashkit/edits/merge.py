"""Merge two people's edit logs, and list their conflicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trashkit.edits.conflicts import REFERENCES, Conflict, conflicts, identity, new_id
from trashkit.edits.edit import Edit, canonical
from trashkit.edits.working_copy import Place
from trashkit.errors import TrashkitError


def merge_logs(
    one: Sequence[Edit], other: Sequence[Edit], *, names: Mapping[str, str] | None = None
) -> tuple[list[Edit], list[Conflict]]:
    """The merged log, and the conflicts, for which it has the first log's edits (see `left_out`).

    Equal edits are kept once, with everybody who made or accepted them; changes of different fields of one row are
    combined. Which edits contradict each other is in the table `trashkit.edits.conflicts.TABLE`. names: names of checks
    by code, by which edits of people say which finding they resolve. Raises TrashkitError if the logs are about
    different files.
    """
    sources = {edit.source for edit in (*one, *other)}
    if len(sources) > 1:
        raise TrashkitError(
            "the logs are about different files: " + ", ".join(sorted(source[:12] for source in sources)),
            hint="apply one of them, and make the other again for the result with `trashkit edits diff`",
        )
    found = conflicts(one, other, names or {})
    dropped = {id(edit) for edit in left_out(other, found)}
    other = [edit for edit in other if id(edit) not in dropped]
    merged = _with_agreement(one, other)
    mine, theirs = _by_row(one), _by_row(other)
    seen, added = {_key(edit) for edit in one}, {identity(edit) for edit in one if edit.row is None}
    for place, edits in theirs.items():
        kept = _new_to(mine.get(place, []), edits)
        if kept and mine.get(place) and any(edit.before_text for edit in kept):
            merged = _keep_text(merged, place, next(edit.before_text for edit in kept if edit.before_text))
            kept = [replace(edit, before_text=None) for edit in kept]
        merged += [edit for edit in kept if _key(edit) not in seen and identity(edit) not in added]
    return merged, found


def left_out(other: Sequence[Edit], found: Sequence[Conflict]) -> list[Edit]:
    """The edits of the second log that a merged log lacks because of conflicts.

    Other changes of the same row go with a change; rows that are merged go together; and whatever refers to an added or
    renumbered row goes with it. Decisions go only if they are in conflict themselves.
    """
    gone = {id(conflict.other) for conflict in found}
    while True:
        before = len(gone)
        rows: set[Place] = set()
        ids: set[tuple[str, str]] = set()
        for edit in other:
            if id(edit) in gone and not edit.is_decision:
                if edit.row is not None:
                    rows |= {(edit.block, row) for row in _rows(edit)}
                if edit.block in REFERENCES.values() and new_id(edit) is not None:
                    ids.add((edit.block, canonical(new_id(edit))))
        for edit in other:
            if edit.is_decision:
                continue
            own = {(edit.block, row) for row in _rows(edit)} if edit.row is not None else set()
            if not rows.isdisjoint(own) or _refers(edit, ids):
                gone.add(id(edit))
        if len(gone) == before:
            return [edit for edit in other if id(edit) in gone]


def _rows(edit: Edit) -> tuple[int, ...]:
    assert edit.row is not None
    return (edit.row, *edit.related) if edit.kind == "merge" else (edit.row,)


def _refers(edit: Edit, ids: set[tuple[str, str]]) -> bool:
    if not ids or not isinstance(edit.after, dict):
        return False
    return any(key in edit.after and (block, canonical(edit.after[key])) in ids for key, block in REFERENCES.items())


def _with_agreement(one: Sequence[Edit], other: Sequence[Edit]) -> list[Edit]:
    """The first log's edits, accepted also by the people whose log has the same edit."""
    people: dict[tuple[Any, ...], dict[str, None]] = {}
    for edit in other:
        people.setdefault((*identity(edit), edit.is_decision and edit.note), {}).update(dict.fromkeys(edit.people))
    agreed = []
    for edit in one:
        more = [
            name for name in people.get((*identity(edit), edit.is_decision and edit.note), ()) if name != edit.author
        ]
        names = tuple(dict.fromkeys((*edit.accepted_by, *more)))
        agreed.append(replace(edit, accepted_by=names) if names != edit.accepted_by else edit)
    return agreed


def _key(edit: Edit) -> tuple[Any, ...]:
    return edit.kind, edit.block, edit.row, edit.reason, canonical(edit.before), canonical(edit.after), edit.note


def _by_row(edits: Sequence[Edit]) -> dict[tuple[str, Any], list[Edit]]:
    """Edits by their subject: a row, or the id of a row to add."""
    found: dict[tuple[str, Any], list[Edit]] = {}
    for edit in edits:
        about = (
            edit.row if edit.row is not None else ("added", canonical(edit.id if edit.id is not None else edit.after))
        )
        found.setdefault((edit.block, about), []).append(edit)
    return found


def _net(edits: Sequence[Edit]) -> dict[str, Any] | None:
    """Final values of the fields that edits of one row change (removed: an empty tuple); None if it is deleted."""
    values: dict[str, Any] = {}
    for edit in edits:
        if edit.kind == "delete":
            return None
        if not edit.is_decision and edit.row is not None:
            values |= {key: edit.after.get(key, ()) for key in {**edit.before, **edit.after}}
    return values


def _new_to(mine: Sequence[Edit], theirs: Sequence[Edit]) -> list[Edit]:
    """The second log's edits of one row without the changes that the first has too."""
    changes = [edit for edit in mine if not edit.is_decision]
    if not changes:
        return list(theirs)
    decisions = [edit for edit in theirs if edit.is_decision]
    done = _net(changes)
    if done is None or changes[0].row is None:
        return decisions
    kept = []
    for edit in theirs:
        if edit.is_decision:
            continue
        before = {key: value for key, value in edit.before.items() if key not in done}
        after = {key: value for key, value in edit.after.items() if key not in done}
        if before or after:
            kept.append(replace(edit, before=before, after=after))
    return kept + decisions


def _keep_text(merged: Sequence[Edit], place: tuple[str, Any], text: str | None) -> list[Edit]:
    """Move the row's exact source text to the first edit that changes it, so that inverting restores it."""
    kept = list(merged)
    for n, edit in enumerate(kept):
        if (edit.block, edit.row) == place and not edit.is_decision:
            kept[n] = edit if edit.before_text else replace(edit, before_text=text)
            break
    return kept
