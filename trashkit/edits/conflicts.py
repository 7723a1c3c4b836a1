"""Which edits of two logs about one file cannot both be applied: one table over all pairs of kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

from trashkit.coco.dataset import is_valid_id
from trashkit.edits.edit import KINDS, Edit, canonical, same_value
from trashkit.edits.working_copy import Place

REFERENCES = {"image_id": "images", "category_id": "categories"}
"""Fields of rows that refer to a row of another block by its id."""
_GONE: Any = ()
"""The value of a field that an edit removes."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Edits of two logs that contradict each other. reason: a clause such as 'two values for "category_id"'."""

    one: Edit
    other: Edit
    reason: str

    @property
    def message(self) -> str:
        """The row and why the edits contradict each other."""
        return f"{self.one.place if self.one.row is not None else self.other.place}: {self.reason}"


class LogView:
    """What the edits of one log lead to.

    edits: without changes of rows that are deleted later, and without rejected fixes that are applied later. live: for
    each change of a row, by `id`, the fields whose final value is its own. merges: the row that absorbs a row, by row.
    names: names of checks by code.
    """

    def __init__(self, edits: Sequence[Edit], names: Mapping[str, str]) -> None:
        self.names = names
        self.same = {identity(edit) for edit in edits}
        self.live: dict[int, dict[str, Any]] = {}
        self.merges: dict[Place, Place] = {}
        self.edits: list[Edit] = []
        later: dict[Place, list[Edit]] = defaultdict(list)
        taken: dict[Place, set[str]] = defaultdict(set)
        for edit in reversed(edits):
            if edit.row is not None:
                place = (edit.block, edit.row)
                done = later[place]
                if (done and done[0].kind == "delete" and not edit.is_decision) or (
                    edit.kind == "reject" and any(one.kind == "delete" or is_about(edit, one, names) for one in done)
                ):
                    continue
                if not edit.is_decision:
                    done.append(edit)
                    values = _values(edit)
                    self.live[id(edit)] = {key: value for key, value in values.items() if key not in taken[place]}
                    taken[place] |= values.keys()
                if edit.kind == "merge":
                    self.merges |= {(edit.block, row): place for row in (edit.row, *edit.related)}
            self.edits.append(edit)
        self.edits.reverse()

    def subject(self, edit: Edit) -> Any:
        """The row that an edit is about; for rows that are merged, the row that absorbs them."""
        if edit.row is None:
            return id(edit)
        place = (edit.block, edit.row)
        return place if edit.is_decision else self.merges.get(place, place)

    def reference(self, edit: Edit, key: str) -> Any:
        """The id of another row that an edit finally gives to a field; None if it gives none."""
        fields = self.live.get(id(edit), {}) if edit.row is not None else edit.after
        value = fields.get(key) if isinstance(fields, dict) else None
        return value if is_valid_id(value) else None


def _values(edit: Edit) -> dict[str, Any]:
    if not isinstance(edit.before, dict) or not isinstance(edit.after, dict):
        return {}
    return {key: edit.after.get(key, _GONE) for key in {**edit.before, **edit.after}}


def identity(edit: Edit) -> tuple[Any, ...]:
    """Equal for edits that decide the same, whoever made them and why.

    Added annotations may differ in their id; images and categories may not, since other rows refer to them.
    """
    after = edit.after if edit.block in REFERENCES.values() else _without_id(edit)
    about = edit.reason if edit.is_decision else ""
    return edit.kind, edit.block, edit.row, about, canonical(after), tuple(sorted(edit.related))


def _without_id(edit: Edit) -> Any:
    """The fields of an added row without its id; for other edits, `after`."""
    if edit.kind != "add" or not isinstance(edit.after, dict):
        return edit.after
    return {key: value for key, value in edit.after.items() if key != "id"}


def is_about(rejection: Edit, edit: Edit, names: Mapping[str, str]) -> bool:
    """Whether an edit fixes the finding that `rejection` rejects: its author or reason is the check's code or name."""
    return not {rejection.reason, names.get(rejection.reason, rejection.reason)}.isdisjoint((edit.author, edit.reason))


# ruff: noqa: ARG001  all rules have the same arguments
Rule = Callable[[Edit, Edit, LogView, LogView], str]
"""A clause that says why an edit of one log and an edit of the other cannot both be applied, or an empty text."""


def both_stand(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """Nothing that these edits say or do contradicts each other."""
    return ""


def other_values(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """The edits give a field of one row different final values, or give two rows the same id."""
    if (one.block, one.row) != (other.block, other.row):
        return _same_new_id(one, other)
    first, second = mine.live.get(id(one), {}), theirs.live.get(id(other), {})
    differing = (key for key in first if key in second and not _equal(first[key], second[key]))
    return next((f'two values for "{key}"' for key in differing), "")


def _equal(one: Any, other: Any) -> bool:
    return one is other if one is _GONE or other is _GONE else same_value(one, other)


def _same_new_id(one: Edit, other: Edit) -> str:
    first, second = new_id(one), new_id(other)
    if one.block == other.block and first is not None and second is not None and same_value(first, second):
        return f"two rows get the id {first!r}"
    return ""


def dangling(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """The edits of one row have different values, or one takes away the id that the other refers to."""
    return other_values(one, other, mine, theirs) or _lost(one, other, theirs) or _lost(other, one, mine)


def _lost(gone: Edit, referring: Edit, view: LogView) -> str:
    lost = lost_id(gone)
    for key, block in REFERENCES.items():
        value = view.reference(referring, key)
        if block == gone.block and value is not None and lost is not None and same_value(value, lost):
            return f"one refers to {block} id {value!r}, which the other takes away"
    return ""


def row_is_deleted(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """One deletes the row that the other edits or vouches for, or that the other refers to."""
    if (one.block, one.row) == (other.block, other.row):
        kept = one if other.kind == "delete" else other
        return f"one deletes it, the other {'rejects the finding ' + kept.reason if kept.is_decision else 'changes it'}"
    return _lost(one, other, theirs) or _lost(other, one, mine)


def member_is_deleted(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """One deletes a row whose shape the other merges with others."""
    merged, deleted = (one, other) if one.kind == "merge" else (other, one)
    if merged.block == deleted.block and deleted.row in merged.related:
        return f"one deletes {deleted.place}, the other merges its shape into {merged.place}"
    return row_is_deleted(one, other, mine, theirs)


def other_members(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """The edits merge different groups that share a row."""
    if one.block == other.block and not {one.row, *one.related}.isdisjoint({other.row, *other.related}):
        return "" if identity(one) == identity(other) else "they merge different annotations"
    return ""


def fix_is_rejected(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """One rejects the fix of a finding that the other applies."""
    rejection, fix = (one, other) if one.kind == "reject" else (other, one)
    same_place = (rejection.block, rejection.row) == (fix.block, fix.row) or _adds_for(rejection, fix)
    if same_place and is_about(rejection, fix, mine.names):
        return f"one rejects the fix of {rejection.reason} that the other applies"
    return ""


def _adds_for(rejection: Edit, edit: Edit) -> bool:
    """Whether an edit adds an annotation to the image that a rejection is about."""
    image = edit.after.get("image_id") if edit.kind == "add" and isinstance(edit.after, dict) else None
    return rejection.block == "images" and image is not None and same_value(image, rejection.id)


def other_row_of_that_id(one: Edit, other: Edit, mine: LogView, theirs: LogView) -> str:
    """The edits add different rows with the same id, or one refers to an id that the other takes away."""
    if one.kind == other.kind == "add":
        if one.block == other.block and same_value(one.after, other.after):
            return ""
        if _same_new_id(one, other):
            return f"two different rows with id {new_id(one)!r} are added"
        referred_to = one.block == other.block and one.block in REFERENCES.values()
        if referred_to and same_value(_without_id(one), _without_id(other)):
            return f"the same row is added with the ids {new_id(one)!r} and {new_id(other)!r}"
    return _same_new_id(one, other) or _lost(one, other, theirs) or _lost(other, one, mine)


def _table() -> dict[tuple[str, str], Rule]:
    changes = ("relabel", "reshape", "renumber", "change", "merge")
    rules: dict[tuple[str, str], Rule] = {}

    def put(rule: Rule, first: str, *others: str) -> None:
        for other in others:
            rules[first, other] = rules[other, first] = rule

    # Decisions change nothing, so they contradict only edits that do what they reject. An image that must not be used
    # may have its annotations corrected all the same.
    put(both_stand, "note", *KINDS)
    put(both_stand, "unusable", *KINDS)
    put(both_stand, "reject", "reject")
    put(fix_is_rejected, "reject", "add", *changes)
    put(row_is_deleted, "reject", "delete")
    for one, other in combinations_with_replacement(changes, 2):
        put(dangling, one, other)
    put(other_members, "merge", "merge")
    put(row_is_deleted, "delete", "add", "relabel", "reshape", "renumber", "change")
    put(member_is_deleted, "delete", "merge")
    put(both_stand, "delete", "delete")
    put(other_row_of_that_id, "add", "add", *changes)
    return rules


TABLE: Mapping[tuple[str, str], Rule] = _table()
"""The rule of each pair of kinds, in both orders."""


# ------------------------------------------------------------ which pairs to look at
def new_id(edit: Edit) -> Any:
    """The id that an edit gives to a row; None if it gives none."""
    has = isinstance(edit.after, dict) and "id" in edit.after and edit.kind != "delete"
    return edit.after["id"] if has and is_valid_id(edit.after["id"]) else None


def lost_id(edit: Edit) -> Any:
    """The id that a row no longer has after an edit, which deletes or renumbers it; None if there is none."""
    if edit.row is None or edit.is_decision or not isinstance(edit.before, dict):
        return None
    value = edit.before.get("id")
    return value if is_valid_id(value) else None


Topic = tuple[Any, ...]
_BOTH, _LEFT, _RIGHT = 0, 1, 2


def _topics(edit: Edit) -> Iterator[tuple[Topic, int]]:
    """What an edit is about. Two edits meet on a topic, unless both are on its left or both on its right side."""
    if edit.row is not None:
        for row in (edit.row, *edit.related) if edit.kind == "merge" else (edit.row,):
            yield ("row", edit.block, row), _BOTH
    if (given := new_id(edit)) is not None:
        yield ("new id", edit.block, canonical(given)), _BOTH
    if edit.block in REFERENCES.values():
        if (lost := lost_id(edit)) is not None:
            yield ("reference", edit.block, canonical(lost)), _LEFT
        if edit.kind == "add":
            yield ("content", edit.block, canonical(_without_id(edit))), _BOTH
    if not edit.is_decision and isinstance(edit.after, dict):
        for key, block in REFERENCES.items():
            if key in edit.after and is_valid_id(edit.after[key]):
                yield ("reference", block, canonical(edit.after[key])), _RIGHT
                if edit.kind == "add":
                    yield ("addition", block, canonical(edit.after[key])), _RIGHT
    if edit.kind == "reject" and edit.block == "images" and is_valid_id(edit.id):
        yield ("addition", "images", canonical(edit.id)), _LEFT


def conflicts(one: Sequence[Edit], other: Sequence[Edit], names: Mapping[str, str]) -> list[Conflict]:
    """All conflicts between two logs, in the order of the first; see `TABLE`.

    Edits that both logs have do not contradict each other. Of several edits of a row that contradict the same row for
    the same reason, and of a merge and the deletions that belong to it, the first is named.
    """
    mine, theirs = LogView(one, names), LogView(other, names)
    meeting: dict[Topic, list[tuple[Edit, int]]] = defaultdict(list)
    for edit in theirs.edits:
        for topic, side in _topics(edit):
            meeting[topic].append((edit, side))
    found: dict[tuple[Any, ...], Conflict] = {}
    for edit in mine.edits:
        for topic, side in _topics(edit):
            for against, side_of_other in meeting.get(topic, ()):
                if side and side == side_of_other:
                    continue
                reason = TABLE[edit.kind, against.kind](edit, against, mine, theirs)
                if not reason or (identity(edit) in theirs.same and identity(against) in mine.same):
                    continue
                first, second = mine.subject(edit), theirs.subject(against)
                merges = first in mine.merges.values() or second in theirs.merges.values()
                found.setdefault((first, second, "" if merges else reason), Conflict(edit, against, reason))
    return list(found.values())
