"""Two people's edit logs made one, with what they disagree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trashkit.coco.edit import Edit, canonical, same_value
from trashkit.errors import TrashkitError


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two logs that want different things of one row."""

    one: Edit
    other: Edit
    message: str


def merge_logs(one: Sequence[Edit], other: Sequence[Edit]) -> tuple[list[Edit], list[Conflict]]:
    """One log of two people's, and what they disagree on, where the first log's edits stand.

    What both did alike is kept once; different fields of one row both count. Conflicts: different values for one field,
    a row that one deletes and the other changes, added rows of the same id that differ, and a fix that one rejects and
    the other has. Raises TrashkitError where the logs are about different files.
    """
    sources = {edit.source for edit in (*one, *other)}
    if len(sources) > 1:
        raise TrashkitError(
            "the logs are about different files: " + ", ".join(sorted(source[:12] for source in sources)),
            hint="apply one of them, and make the other for its result with `trashkit edits diff`",
        )
    mine, theirs = _by_row(one), _by_row(other)
    merged, conflicts = list(one), []
    seen = {_key(edit) for edit in one}
    for place, edits in theirs.items():
        disputed = _dispute(mine.get(place, []), edits)
        if disputed:
            conflicts.append(disputed)
            continue
        kept = _new_to(mine.get(place, []), edits)
        if kept and mine.get(place) and any(edit.before_text for edit in kept):
            merged = _keep_text(merged, place, next(edit.before_text for edit in kept if edit.before_text))
            kept = [replace(edit, before_text=None) for edit in kept]
        merged += [edit for edit in kept if _key(edit) not in seen]
    return merged, conflicts


def _key(edit: Edit) -> tuple[Any, ...]:
    return edit.kind, edit.block, edit.row, edit.reason, canonical([edit.before, edit.after]), edit.note


def _by_row(edits: Sequence[Edit]) -> dict[tuple[str, Any], list[Edit]]:
    """Edits by what they are about: a row, or the id of a row to add."""
    found: dict[tuple[str, Any], list[Edit]] = {}
    for edit in edits:
        about = (
            edit.row if edit.row is not None else ("added", canonical(edit.id if edit.id is not None else edit.after))
        )
        found.setdefault((edit.block, about), []).append(edit)
    return found


def _net(edits: Sequence[Edit]) -> dict[str, Any] | None:
    """Final values of the fields that edits of one row change (absent: an empty tuple); None where it is deleted."""
    values: dict[str, Any] = {}
    for edit in edits:
        if edit.kind == "delete":
            return None
        if not edit.is_decision and edit.row is not None:
            values |= {key: edit.after.get(key, ()) for key in {**edit.before, **edit.after}}
    return values


def _dispute(mine: Sequence[Edit], theirs: Sequence[Edit]) -> Conflict | None:
    """What two lists of edits about one row disagree on, if they do."""
    changes, others = [[e for e in edits if not e.is_decision] for edits in (mine, theirs)]
    for rejected, made in ((mine, others), (theirs, changes)):
        for edit in rejected:
            fix = next((fix for fix in made if edit.kind == "reject" and edit.reason in (fix.author, fix.reason)), None)
            if fix is not None:
                pair = (edit, fix) if rejected is mine else (fix, edit)
                return Conflict(*pair, f"{edit.place}: one rejects the fix of {edit.reason} that the other makes")
    reason = _difference(changes, others) if changes and others else ""
    return Conflict(changes[-1], others[-1], reason) if reason else None


def _difference(changes: Sequence[Edit], others: Sequence[Edit]) -> str:
    """Why two lists of changes of one row cannot both be done; empty if they can."""
    first, second = changes[-1], others[-1]
    if first.row is None:
        same = same_value(first.after, second.after)
        return "" if same else f"{first.block}: two different rows with id {first.id!r} are added"
    net, net_other = _net(changes), _net(others)
    if net is None or net_other is None:
        return "" if net is net_other else f"{first.place}: one deletes it, the other changes it"
    shared = (key for key in net if key in net_other and not same_value(net[key], net_other[key]))
    return next((f'{first.place}: two values for "{key}"' for key in shared), "")


def _new_to(mine: Sequence[Edit], theirs: Sequence[Edit]) -> list[Edit]:
    """The second log's edits of one row without what the first does already."""
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
    """The row's exact source text moves to the first edit that changes it, so that inverting gives it back."""
    kept = list(merged)
    for n, edit in enumerate(kept):
        if (edit.block, edit.row) == place and not edit.is_decision:
            kept[n] = edit if edit.before_text else replace(edit, before_text=text)
            break
    return kept
