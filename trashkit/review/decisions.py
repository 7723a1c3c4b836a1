"""What a reviewer can decide, each as edits about rows of the source file that go to the log at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trashkit.coco.edit import Edit, change, decide, delete, same_value, with_fields
from trashkit.coco.edit import add as add_row
from trashkit.errors import TrashkitError
from trashkit.review.outlines import measures, united
from trashkit.review.room import PLAIN_NOTE, Place, Room, is_done

Deciding = Callable[[Room], list[Edit]]


def make(room: Room, deciding: Deciding) -> list[Edit]:
    """Work out edits and append them to the log, with nobody else writing meanwhile. Returns what was written.

    All edits of one call carry the same time, and `undo` takes them back together.
    """
    with room.locked():
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        edits = [replace(edit, time=time) for edit in deciding(room)]
        room.write(edits)
    return edits


def undo(room: Room) -> list[Edit]:
    """Take the last decision of this log back, with all that was written along with it. Returns what was taken back."""
    with room.locked():
        edits = room.standing().edits
        if not edits or edits[-1].time is None:
            return []
        kept = [edit for edit in edits if edit.time != edits[-1].time]
        room.rewrite(kept)
        return [edit for edit in edits if edit.time == edits[-1].time]


def reason_for(room: Room, place: Place, finding: int | None = None, *, unless_fixable: bool = False) -> str:
    """The name of the finding that a change of this row answers; "review" where it has none.

    unless_fixable: findings with a proposed fix are not answered, but for those that propose a class themselves.
    """
    mine = [n for n in room.findings_of.get(place, ()) if not unless_fixable or is_about_class(room, n)]
    if finding is not None and finding in mine:
        return room.findings[finding].name
    still_open = [n for n in mine if room.status(n) == "open"]
    return room.findings[(still_open or mine)[0]].name if mine else "review"


def is_about_class(room: Room, n: int) -> bool:
    """Whether another class can answer a finding: its fix changes the class, or it has none."""
    return n not in room.fixes or any(edit.kind == "relabel" for edit in room.fixes[n].alone)


def accept(findings: Iterable[int]) -> Deciding:
    """Make the proposed fixes of these findings. TrashkitError where one has none, or its row has changed since.

    All findings of a row that are still open are fixed in one go, as `trashkit fix` would; some of them one by one.
    """
    wanted = list(dict.fromkeys(findings))

    def deciding(room: Room) -> list[Edit]:
        current: dict[Place, Any] = {}
        by_row: dict[Place, list[int]] = {}
        for n in wanted:
            finding = room.findings[n]
            if not room.fixes.get(n) or finding.row is None:
                raise TrashkitError(
                    f"{finding.code} {finding.name} has no proposed fix here",
                    hint="change or delete the annotation, or reject the finding",
                )
            by_row.setdefault((finding.block, finding.row), []).append(n)
        made: list[Edit] = []
        for place, mine in by_row.items():
            still_open = {n for n in room.findings_of[place] if room.fixes.get(n) and room.status(n) == "open"}
            missing = [edit for n in mine for edit in room.fixes[n].added if not room.is_added(edit)]
            for n in mine[:1] if still_open <= set(mine) else mine:
                fix = room.fixes[n]
                made += _rebased(room, fix.together if still_open <= set(mine) else fix.alone, current)
            for edit in missing:
                made.append(_with_id(edit, room.fresh_id(made)))
        return made

    return deciding


def accept_all(findings: Iterable[int]) -> Deciding:
    """As `accept`, row by row; rows that were changed since their fix was proposed are left as they are."""
    wanted = list(findings)

    def deciding(room: Room) -> list[Edit]:
        by_row: dict[tuple[str, int | None], list[int]] = {}
        for n in wanted:
            by_row.setdefault((room.findings[n].block, room.findings[n].row), []).append(n)
        made: list[Edit] = []
        for mine in by_row.values():
            try:
                made += accept(mine)(room)
            except TrashkitError:
                continue
        return made

    return deciding


def _with_id(edit: Edit, number: int) -> Edit:
    return replace(edit, id=number, after={**edit.after, "id": number})


def _rebased(room: Room, edits: Sequence[Edit], current: dict[Place, Any]) -> list[Edit]:
    """Edits on top of what earlier ones did to their rows; those already done are left out."""
    made: list[Edit] = []
    for edit in edits:
        assert edit.row is not None
        place = (edit.block, edit.row)
        now = current[place] if place in current else room.record(*place)
        if now is None or is_done(now, edit):
            continue
        on_top = None if same_value(now, room.coco.record(*place)) else now
        if edit.kind == "delete":
            keep = _Why(edit.reason, edit.author, edit.note, edit.related)
            made.append(_deletion(room, edit.row, on_top, keep))
            current[place] = None
            continue
        if not _fits(now, edit):
            raise TrashkitError(
                f"{edit.place} was changed since the fix of {edit.author} was proposed",
                hint="undo the other change first, or change the outline by hand",
            )
        gone = [key for key in edit.before if key not in edit.after]
        rebased = change(
            room.coco,
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
    """Whether the fields that an edit replaces still have the values it found."""
    return isinstance(now, dict) and all(
        (key in now) == (key in edit.before) and (key not in now or same_value(now[key], edit.before[key]))
        for key in {**edit.before, **edit.after}
    )


def reject(findings: Iterable[int], why: str) -> Deciding:
    """The findings are not to be fixed; `why` is kept as the note."""
    wanted = list(findings)

    def deciding(room: Room) -> list[Edit]:
        made = []
        for n in wanted:
            finding = room.findings[n]
            assert finding.row is not None
            place = (finding.block, finding.row)
            several = len(room.siblings(n)) > 1
            note = f"{finding.message}: {why}".rstrip(": ") if several else why
            made.append(decide(room.coco, "reject", *place, reason=finding.code, author=room.reviewer, note=note))
        return made

    return deciding


def relabel(rows: Iterable[int], category_id: Any, *, finding: int | None = None, note: str = "") -> Deciding:
    """Give annotations another category. Those that have it already are left out.

    A finding with a proposed fix is about something else than the class, and stays open.
    """
    wanted = list(rows)

    def deciding(room: Room) -> list[Edit]:
        if category_id not in room.names:
            raise TrashkitError(f"there is no category {category_id!r}", hint="choose one of the file's categories")
        return [
            _change(room, row, {"category_id": category_id}, finding, note, unless_fixable=True)
            for row in wanted
            if not same_value(_standing_record(room, row).get("category_id"), category_id)
        ]

    return deciding


def remove(rows: Iterable[int], *, finding: int | None = None, note: str = "", related: Sequence[int] = ()) -> Deciding:
    """Delete annotations."""
    wanted = list(rows)

    def deciding(room: Room) -> list[Edit]:
        made = []
        for row in wanted:
            if room.record("annotations", row) is None:
                raise TrashkitError(f"annotations[{row}] was deleted in this review", hint="undo that first")
            reason, now = reason_for(room, ("annotations", row), finding), room.current("annotations", row)
            made.append(_deletion(room, row, now, _Why(reason, room.reviewer, note, tuple(related))))
        return made

    return deciding


class _Why(NamedTuple):
    reason: str
    author: str
    note: str
    related: tuple[int, ...]


def _deletion(room: Room, row: int, current: Any, why: _Why) -> Edit:
    return delete(
        room.coco,
        "annotations",
        row,
        reason=why.reason,
        author=why.author,
        current=current,
        note=why.note,
        related=why.related,
    )


def merge(rows: Iterable[int], *, finding: int | None = None, note: str = "") -> Deciding:
    """Join annotations of one image: the first takes in the shapes of the others, which are deleted.

    Its class stays, and `area` and `bbox` are measured anew where it has them.
    """
    wanted = list(dict.fromkeys(rows))

    def deciding(room: Room) -> list[Edit]:
        records = [_standing_record(room, row) for row in wanted]
        image_rows = {room.image_of(record) for record in records}
        size = room.size(next(iter(image_rows), None))
        if len(wanted) < 2 or len(image_rows) > 1 or size is None:
            raise TrashkitError("merging takes two or more annotations of one image", hint="select them all")
        first, others = wanted[0], tuple(wanted[1:])
        shape = united([record.get("segmentation") for record in records], size)
        after = _with_measures(records[0], shape, size)
        edit = _change(room, first, after, finding, note)
        gone = remove(others, finding=finding, note=note or f"merged into annotations[{first}]", related=(first,))
        return [replace(edit, kind="merge", related=others), *gone(room)]

    return deciding


def reshape(row: int, segmentation: Any, *, finding: int | None = None, note: str = "") -> Deciding:
    """Give an annotation another shape; `area` and `bbox` follow where the row has them."""

    def deciding(room: Room) -> list[Edit]:
        record = _standing_record(room, row)
        size = room.size(room.image_of(record))
        if size is None:
            raise TrashkitError(f"annotations[{row}] has no image of a known size", hint="correct its image first")
        return [_change(room, row, _with_measures(record, segmentation, size), finding, note)]

    return deciding


def add(image_row: int, category_id: Any, segmentation: Any, *, note: str = "") -> Deciding:
    """A new annotation of an image, with an id above all others."""

    def deciding(room: Room) -> list[Edit]:
        size, image = room.size(image_row), room.images_rows[image_row]
        if size is None:
            raise TrashkitError(f"images[{image_row}] has no usable size", hint="correct the image first")
        area, box = measures(segmentation, size)
        record = {
            "id": room.fresh_id(),
            "image_id": image["id"],
            "category_id": category_id,
            "segmentation": segmentation,
            "area": area,
            "bbox": box,
            "iscrowd": 0,
        }
        return [add_row(room.coco, "annotations", record, reason="review", author=room.reviewer, note=note)]

    return deciding


def unusable(image_rows: Iterable[int], why: str) -> Deciding:
    """Images that should not be used; nothing in the file changes."""
    rows = list(image_rows)
    return lambda room: [
        decide(room.coco, "unusable", "images", row, reason="unusable-image", author=room.reviewer, note=why)
        for row in rows
    ]


def note(places: Iterable[Place], text: str) -> Deciding:
    """A note on rows."""
    wanted = list(places)
    if not text.strip():
        raise TrashkitError("the note is empty", hint="write what there is to say")
    return lambda room: [
        decide(room.coco, "note", *place, reason=PLAIN_NOTE, author=room.reviewer, note=text.strip())
        for place in wanted
    ]


def tag(places: Iterable[Place], tag: str, text: str = "") -> Deciding:
    """A tag on rows, with a note if there is one: a note whose reason is the tag."""
    wanted, word = list(places), tag.strip()
    if not word:
        raise TrashkitError("the tag is empty", hint="write one word, such as unusual")
    return lambda room: [
        decide(room.coco, "note", *place, reason=word, author=room.reviewer, note=text.strip())
        for place in wanted
        if word not in tags_of(room, place)
    ]


def tags_of(room: Room, place: Place) -> list[str]:
    """Tags that the log leaves on a row."""
    notes = [edit for edit in room.standing().of.get(place, ()) if edit.kind == "note"]
    return list(dict.fromkeys(edit.reason for edit in notes if edit.reason != PLAIN_NOTE))


def _standing_record(room: Room, row: int) -> dict[str, Any]:
    record = room.record("annotations", row)
    if record is None:
        raise TrashkitError(f"annotations[{row}] was deleted in this review", hint="undo that first")
    if not isinstance(record, dict):
        raise TrashkitError(f"annotations[{row}] is no object", hint="delete it")
    return record


def _change(
    room: Room, row: int, after: Mapping[str, Any], finding: int | None, note: str, *, unless_fixable: bool = False
) -> Edit:
    place = ("annotations", row)
    return change(
        room.coco,
        *place,
        after,
        reason=reason_for(room, place, finding, unless_fixable=unless_fixable),
        author=room.reviewer,
        current=room.current(*place),
        note=note,
    )


def _with_measures(record: Mapping[str, Any], segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    area, box = measures(segmentation, size)
    more = {name: value for name, value in (("area", area), ("bbox", box)) if name in record}
    return {"segmentation": segmentation, **more}
