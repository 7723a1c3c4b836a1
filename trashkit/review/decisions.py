"""Decisions of a reviewer, as edits of rows of the source file that are appended to the edit log immediately.

Each function here returns a `Decision`, which `make` carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trashkit.edits.edit import Edit, change, decide, delete, same_value, with_fields
from trashkit.edits.edit import add as add_row
from trashkit.edits.working_copy import Place
from trashkit.errors import TrashkitError
from trashkit.review.outlines import measures, united
from trashkit.review.session import PLAIN_NOTE, ReviewSession, is_done

Decision = Callable[[ReviewSession], list[Edit]]
"""Works out the edits of one decision from the session as it is when the decision is made."""


def make(session: ReviewSession, decision: Decision) -> list[Edit]:
    """Carry out a decision: append its edits to the log, which is locked meanwhile. Returns these edits.

    All edits of one call have the same time, and `undo` removes them together.
    """
    with session.locked():
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        edits = [replace(edit, time=time) for edit in decision(session)]
        session.write(edits)
    return edits


def undo(session: ReviewSession) -> list[Edit]:
    """Remove the last decision from the log, with all its edits. Returns the removed edits."""
    with session.locked():
        edits = session.working_copy().edits
        if not edits or edits[-1].time is None:
            return []
        kept = [edit for edit in edits if edit.time != edits[-1].time]
        session.rewrite(kept)
        return [edit for edit in edits if edit.time == edits[-1].time]


def reason_for(
    session: ReviewSession, place: Place, finding: int | None = None, *, unless_fixable: bool = False
) -> str:
    """The name of the finding that a change of this row resolves; "review" if it has none.

    unless_fixable: leave out findings with a proposed fix, except those that propose a class.
    """
    mine = [n for n in session.findings_of.get(place, ()) if not unless_fixable or is_about_class(session, n)]
    if finding is not None and finding in mine:
        return session.findings[finding].name
    still_open = [n for n in mine if session.status(n) == "open"]
    return session.findings[(still_open or mine)[0]].name if mine else "review"


def is_about_class(session: ReviewSession, n: int) -> bool:
    """Whether changing the class can resolve a finding: its fix does so, or it has no fix."""
    return n not in session.fixes or any(edit.kind == "relabel" for edit in session.fixes[n].edits)


def accept(findings: Iterable[int]) -> Decision:
    """Apply the proposed fixes of these findings.

    If they include all open findings of a row, its fixes are applied together, as `trashkit fix` does, else one by one.
    The edits keep the check as their author, with the reviewer in `accepted_by`.
    Raises TrashkitError if a finding has no fix, or its row has changed since the fix was proposed.
    """
    wanted = list(dict.fromkeys(findings))

    def decision(session: ReviewSession) -> list[Edit]:
        current: dict[Place, Any] = {}
        by_row: dict[Place, list[int]] = {}
        for n in wanted:
            finding = session.findings[n]
            if not session.fixes.get(n) or finding.row is None:
                raise TrashkitError(
                    f"{finding.code} {finding.name} has no proposed fix here",
                    hint="change or delete the annotation, or reject the finding",
                )
            by_row.setdefault((finding.block, finding.row), []).append(n)
        made: list[Edit] = []
        for place, mine in by_row.items():
            still_open = {n for n in session.findings_of[place] if session.fixes.get(n) and session.status(n) == "open"}
            missing = [edit for n in mine for edit in session.fixes[n].additions if not session.is_added(edit)]
            for n in mine[:1] if still_open <= set(mine) else mine:
                fix = session.fixes[n]
                made += _rebased(session, fix.row_edits if still_open <= set(mine) else fix.edits, current)
            for edit in missing:
                made.append(_with_id(edit, session.fresh_id(made)))
        return [replace(edit, accepted_by=(session.reviewer,)) for edit in made]

    return decision


def accept_all(findings: Iterable[int]) -> Decision:
    """As `accept`, row by row, skipping rows that have changed since their fix was proposed."""
    wanted = list(findings)

    def decision(session: ReviewSession) -> list[Edit]:
        by_row: dict[tuple[str, int | None], list[int]] = {}
        for n in wanted:
            by_row.setdefault((session.findings[n].block, session.findings[n].row), []).append(n)
        made: list[Edit] = []
        for mine in by_row.values():
            try:
                made += accept(mine)(session)
            except TrashkitError:
                continue
        return made

    return decision


def _with_id(edit: Edit, number: int) -> Edit:
    return replace(edit, id=number, after={**edit.after, "id": number})


def _rebased(session: ReviewSession, edits: Sequence[Edit], current: dict[Place, Any]) -> list[Edit]:
    """Edits adapted to rows that earlier edits have changed. Edits whose result is there already are left out.

    current: rows as `made` edits leave them; updated.
    """
    made: list[Edit] = []
    for edit in edits:
        assert edit.row is not None
        place = (edit.block, edit.row)
        now = current[place] if place in current else session.record(*place)
        if now is None or is_done(now, edit):
            continue
        on_top = None if same_value(now, session.coco.record(*place)) else now
        if edit.kind == "delete":
            keep = _Why(edit.reason, edit.author, edit.note, edit.related)
            made.append(_deletion(session, edit.row, on_top, keep))
            current[place] = None
            continue
        if not _fits(now, edit):
            raise TrashkitError(
                f"{edit.place} was changed since the fix of {edit.author} was proposed",
                hint="undo the other change first, or edit the outline by hand",
            )
        gone = [key for key in edit.before if key not in edit.after]
        rebased = change(
            session.coco,
            *place,
            edit.after,
            reason=edit.reason,
            author=edit.author,
            current=on_top,
            kind=edit.kind,
            remove=gone,
            note=edit.note,
            related=edit.related,
        )
        made.append(rebased)
        current[place] = with_fields(now, edit.before, edit.after)
    return made


def _fits(now: Any, edit: Edit) -> bool:
    """Whether the fields that an edit replaces still have the values that it expects."""
    return isinstance(now, dict) and all(
        (key in now) == (key in edit.before) and (key not in now or same_value(now[key], edit.before[key]))
        for key in {**edit.before, **edit.after}
    )


def reject(findings: Iterable[int], why: str) -> Decision:
    """Reject findings, so that they are not fixed. why: the reason, kept as the note."""
    wanted = list(findings)

    def decision(session: ReviewSession) -> list[Edit]:
        made = []
        for n in wanted:
            finding = session.row_finding(n)
            several = len(session.siblings(n)) > 1
            note = f"{finding.message}: {why}".rstrip(": ") if several else why
            made.append(
                decide(session.coco, "reject", *finding.place, reason=finding.code, author=session.reviewer, note=note)
            )
        return made

    return decision


def relabel(rows: Iterable[int], category_id: Any, *, finding: int | None = None, note: str = "") -> Decision:
    """Give annotations another category. Those that have it already are left out.

    A finding whose proposed fix does not change the class stays open.
    """
    wanted = list(rows)

    def decision(session: ReviewSession) -> list[Edit]:
        if category_id not in session.category_names:
            raise TrashkitError(f"there is no category {category_id!r}", hint="choose a category of the file")
        return [
            _change(session, row, {"category_id": category_id}, finding, note, unless_fixable=True)
            for row in wanted
            if not same_value(_current_record(session, row).get("category_id"), category_id)
        ]

    return decision


def remove(rows: Iterable[int], *, finding: int | None = None, note: str = "", related: Sequence[int] = ()) -> Decision:
    """Delete annotations."""
    wanted = list(rows)

    def decision(session: ReviewSession) -> list[Edit]:
        made = []
        for row in wanted:
            if session.record("annotations", row) is None:
                raise TrashkitError(f"annotations[{row}] was deleted in this review", hint="undo that first")
            reason, now = reason_for(session, ("annotations", row), finding), session.current("annotations", row)
            made.append(_deletion(session, row, now, _Why(reason, session.reviewer, note, tuple(related))))
        return made

    return decision


class _Why(NamedTuple):
    """Metadata of an edit."""

    reason: str
    author: str
    note: str
    related: tuple[int, ...]


def _deletion(session: ReviewSession, row: int, current: Any, why: _Why) -> Edit:
    return delete(
        session.coco,
        "annotations",
        row,
        reason=why.reason,
        author=why.author,
        current=current,
        note=why.note,
        related=why.related,
    )


def merge(rows: Iterable[int], *, finding: int | None = None, note: str = "") -> Decision:
    """Merge annotations of one image: the first gets the union of their shapes, and the others are deleted.

    The first keeps its class and id. Its `area` and `bbox` are updated if it has them.
    """
    wanted = list(dict.fromkeys(rows))

    def decision(session: ReviewSession) -> list[Edit]:
        records = [_current_record(session, row) for row in wanted]
        image_rows = {session.image_of(record) for record in records}
        size = session.image_size(next(iter(image_rows), None))
        if len(wanted) < 2 or len(image_rows) > 1 or size is None:
            raise TrashkitError("merging needs two or more annotations of one image", hint="select all of them")
        first, others = wanted[0], tuple(wanted[1:])
        shape = united([record.get("segmentation") for record in records], size)
        after = _with_measures(records[0], shape, size)
        edit = _change(session, first, after, finding, note)
        gone = remove(others, finding=finding, note=note or f"merged into annotations[{first}]", related=(first,))
        return [replace(edit, kind="merge", related=others), *gone(session)]

    return decision


def reshape(row: int, segmentation: Any, *, finding: int | None = None, note: str = "") -> Decision:
    """Give an annotation another shape, and update its `area` and `bbox` if it has them."""

    def decision(session: ReviewSession) -> list[Edit]:
        record = _current_record(session, row)
        size = session.image_size(session.image_of(record))
        if size is None:
            raise TrashkitError(f"annotations[{row}] has no image of a known size", hint="fix its image first")
        return [_change(session, row, _with_measures(record, segmentation, size), finding, note)]

    return decision


def add(image_row: int, category_id: Any, segmentation: Any, *, note: str = "") -> Decision:
    """Add an annotation to an image, with an id above all others."""

    def decision(session: ReviewSession) -> list[Edit]:
        size, image = session.image_size(image_row), session.image_records[image_row]
        if size is None:
            raise TrashkitError(f"images[{image_row}] has no usable size", hint="fix the image first")
        area, box = measures(segmentation, size)
        record = {
            "id": session.fresh_id(),
            "image_id": image["id"],
            "category_id": category_id,
            "segmentation": segmentation,
            "area": area,
            "bbox": box,
            "iscrowd": 0,
        }
        return [add_row(session.coco, "annotations", record, reason="review", author=session.reviewer, note=note)]

    return decision


def unusable(image_rows: Iterable[int], why: str) -> Decision:
    """Mark images as unusable; nothing in the file changes. why: the reason, kept as the note."""
    rows = list(image_rows)
    return lambda session: [
        decide(session.coco, "unusable", "images", row, reason="unusable-image", author=session.reviewer, note=why)
        for row in rows
    ]


def note(places: Iterable[Place], text: str) -> Decision:
    """Leave a note on rows. Raises TrashkitError if it is empty."""
    wanted = list(places)
    if not text.strip():
        raise TrashkitError("the note is empty", hint="type a note")
    return lambda session: [
        decide(session.coco, "note", *place, reason=PLAIN_NOTE, author=session.reviewer, note=text.strip())
        for place in wanted
    ]


def tag(places: Iterable[Place], tag: str, text: str = "") -> Decision:
    """Tag rows: a note whose reason is the tag, with an optional text. Raises TrashkitError if the tag is empty."""
    wanted, word = list(places), tag.strip()
    if not word:
        raise TrashkitError("the tag is empty", hint="type one word, such as unusual")
    return lambda session: [
        decide(session.coco, "note", *place, reason=word, author=session.reviewer, note=text.strip())
        for place in wanted
        if word not in tags_of(session, place)
    ]


def tags_of(session: ReviewSession, place: Place) -> list[str]:
    """Tags that the log has on a row."""
    notes = [edit for edit in session.edits_of(place) if edit.kind == "note"]
    return list(dict.fromkeys(edit.reason for edit in notes if edit.reason != PLAIN_NOTE))


def _current_record(session: ReviewSession, row: int) -> dict[str, Any]:
    record = session.record("annotations", row)
    if record is None:
        raise TrashkitError(f"annotations[{row}] was deleted in this review", hint="undo that first")
    if not isinstance(record, dict):
        raise TrashkitError(f"annotations[{row}] is not a JSON object", hint="delete it")
    return record


def _change(
    session: ReviewSession,
    row: int,
    after: Mapping[str, Any],
    finding: int | None,
    note: str,
    *,
    unless_fixable: bool = False,
) -> Edit:
    place = ("annotations", row)
    return change(
        session.coco,
        *place,
        after,
        reason=reason_for(session, place, finding, unless_fixable=unless_fixable),
        author=session.reviewer,
        current=session.current(*place),
        note=note,
    )


def _with_measures(record: Mapping[str, Any], segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    area, box = measures(segmentation, size)
    more = {name: value for name, value in (("area", area), ("bbox", box)) if name in record}
    return {"segmentation": segmentation, **more}
