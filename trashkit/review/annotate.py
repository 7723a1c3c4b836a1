"""Changes made in the App's Annotate tab, which saves by itself: found by comparing with what was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from trashkit.coco.edit import Edit, same_value
from trashkit.errors import TrashkitError
from trashkit.review.decisions import Deciding, add, make, relabel, remove, reshape, tag
from trashkit.review.documents import ANNOTATIONS, Document, Ids, sample
from trashkit.review.outlines import measures, outline, reshaped
from trashkit.review.room import Room

NOTE = "in the Annotate tab"


@dataclass
class Collected:
    """What was found on one image.

    edits: what went to the log. drawn: the App's ids of new labels by the id of the annotation they became. problems:
    what could not be taken over, for people to read.
    """

    edits: list[Edit] = field(default_factory=list)
    drawn: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def collect(room: Room, ids: Ids, image_row: int, stored: Document) -> Collected:
    """Take over what the document of an image says otherwise than the log; what nobody touched stays as it is.

    stored: the image's document as the database has it now. Classes, shapes, deletions and new outlines count. An edit
    of a row that follows right after another one of this kind takes its place, so that dragging a vertex about leaves
    one edit. The caller holds the room's lock from before it read `stored`.
    """
    found = Collected()
    expected = sample(room, ids, image_row, now=datetime.now(UTC))
    loaded = {one["_id"]: one for one in expected[ANNOTATIONS]["polylines"]}
    now = {str(one["_id"]): one for one in (stored.get(ANNOTATIONS) or {}).get("polylines") or []}
    for key, label in loaded.items():
        row = ids.row(ANNOTATIONS, key)
        if row is not None:
            _row(room, row, label, now.get(key), found)
            _tags(room, (ANNOTATIONS, row), label, now.get(key), found)
        else:
            _added(room, ids, label, now.get(key), found)
    for key, label in now.items():
        if key not in loaded:
            _drawn(room, image_row, label, found)
    _tags(room, ("images", image_row), expected, stored, found)
    return found


def _tags(
    room: Room, place: tuple[str, int], loaded: Document, now: Mapping[str, Any] | None, found: Collected
) -> None:
    """Tags given and taken away with the App's own button; those of findings cannot be taken away."""
    if now is None or "tags" not in now:
        return
    tags = now["tags"] or []
    for word in [one for one in tags if one not in loaded["tags"]]:
        _try(room, tag([place], str(word)), found)
    gone = set(loaded["tags"]) - set(tags)
    edits = room.standing().edits
    taken = [e for e in edits if (e.kind, e.block, e.row) == ("note", *place) and e.reason in gone]
    if taken:
        room.rewrite([edit for edit in edits if edit not in taken])
        found.edits += taken


def _category(room: Room, label: Mapping[str, Any]) -> Any:
    """The category of a label's class; None where the file has none of that name."""
    return next((key for key, name in room.names.items() if name == label.get("label")), None)


def _try(room: Room, deciding: Deciding, found: Collected) -> list[Edit]:
    try:
        edits = make(room, deciding)
    except TrashkitError as error:
        found.problems.append(error.message)
        return []
    found.edits += edits
    return edits


def _row(room: Room, row: int, loaded: Document, now: Mapping[str, Any] | None, found: Collected) -> None:
    if now is None:
        _try(room, remove([row], note=NOTE), found)
        return
    if now.get("label") != loaded["label"]:
        category = _category(room, now)
        if category is None:
            found.problems.append(f"annotations[{row}]: no category is named {now.get('label')!r}")
        else:
            _undo_last(room, row, "relabel")
            _try(room, relabel([row], category, note=NOTE), found)
    record = room.record(ANNOTATIONS, row)
    size = room.size(room.image_of(record))
    if size is None or now.get("points") == loaded["points"]:
        return
    # Against the outline before a run of edits, so that a vertex dragged there and back has its old numbers.
    base = _undo_last(room, row, "reshape")
    record = room.record(ANNOTATIONS, row)
    segmentation = reshaped(record, outline(record, size), now.get("points") or [], size)
    if segmentation is not None:
        _try(room, reshape(row, segmentation, note=NOTE), found)
    elif base is not None:
        found.edits.append(base)


def _undo_last(room: Room, row: int, kind: str) -> Edit | None:
    """Take the log's last edit away if it is of this row and kind and was made in the Annotate tab too."""
    edits = room.standing().edits
    last = edits[-1] if edits else None
    if last is None or (last.block, last.row, last.kind, last.note) != (ANNOTATIONS, row, kind, NOTE):
        return None
    room.rewrite(edits[:-1])
    return last


def _drawn(room: Room, image_row: int, label: Mapping[str, Any], found: Collected) -> None:
    """A label that the App made: an annotation, once it has a class and three corners."""
    size, category = room.size(image_row), _category(room, label)
    rings = [ring for ring in label.get("points") or [] if len(ring) >= 3]
    if size is None or category is None or not rings:
        return
    segmentation = reshaped({}, outline(None, None), rings, size)
    for edit in _try(room, add(image_row, category, segmentation, note=NOTE), found):
        found.drawn[str(edit.after["id"])] = str(label["_id"])


def _added(room: Room, ids: Ids, loaded: Document, now: Mapping[str, Any] | None, found: Collected) -> None:
    """A label of an added row: its one edit is written anew."""
    standing = room.standing()
    edits = [edit for edit in standing.edits if edit.row is None and edit.block == ANNOTATIONS]
    edit = next(
        (e for n, e in enumerate(standing.added) if e in edits and ids.added(n, e.after) == loaded["_id"]), None
    )
    if edit is None:
        return
    if now is None:
        room.rewrite([one for one in standing.edits if one is not edit])
        found.edits.append(edit)
        return
    record = dict(edit.after)
    size = room.size(room.image_of(record))
    category = _category(room, now)
    if category is not None:
        record["category_id"] = category
    segmentation = reshaped(record, outline(record, size), now.get("points") or [], size) if size else None
    if segmentation is not None and size is not None:
        record["segmentation"] = segmentation
        record["area"], record["bbox"] = measures(segmentation, size)
    if not same_value(record, edit.after):
        changed = replace(edit, after=record)
        room.rewrite([changed if one is edit else one for one in standing.edits])
        found.edits.append(changed)
