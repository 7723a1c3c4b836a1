"""Changes made in the App's Annotate tab, which saves by itself, found by comparing with what was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from trashkit.edits.edit import Edit, same_value
from trashkit.edits.working_copy import Place
from trashkit.errors import TrashkitError
from trashkit.review.decisions import Decision, add, make, relabel, remove, reshape, tag
from trashkit.review.fiftyone_app.sample_documents import ANNOTATIONS, Document, DocumentIds, sample_document
from trashkit.review.outlines import measures, outline, reshaped
from trashkit.review.session import ReviewSession

NOTE = "in the Annotate tab"


@dataclass
class Collected:
    """Changes found on one image.

    edits: what went to the log. drawn: the App's ids of new labels, by the id of the annotation that each became.
    problems: messages about what could not be taken over.
    """

    edits: list[Edit] = field(default_factory=list)
    drawn: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def collect(session: ReviewSession, ids: DocumentIds, image_row: int, stored: Document) -> Collected:
    """Write to the log how an image's document differs from it: classes, shapes, deletions, new outlines and tags.

    stored: the image's document as the database has it now. An edit of a row that directly follows another of the same
    kind made here replaces it, so that dragging a vertex around leaves one edit. The caller must hold the session's
    lock from before it read `stored`.
    """
    found = Collected()
    expected = sample_document(session, ids, image_row, now=datetime.now(UTC))
    loaded = {one["_id"]: one for one in expected[ANNOTATIONS]["polylines"]}
    now = {str(one["_id"]): one for one in (stored.get(ANNOTATIONS) or {}).get("polylines") or []}
    for key, label in loaded.items():
        row = ids.row(ANNOTATIONS, key)
        if row is not None:
            _collect_annotation(session, row, label, now.get(key), found)
            _collect_tags(session, (ANNOTATIONS, row), label, now.get(key), found)
        else:
            _collect_added(session, ids, label, now.get(key), found)
    for key, label in now.items():
        if key not in loaded:
            _collect_drawn(session, image_row, label, found)
    _collect_tags(session, ("images", image_row), expected, stored, found)
    return found


def _collect_tags(
    session: ReviewSession, place: Place, loaded: Document, now: Mapping[str, Any] | None, found: Collected
) -> None:
    """Tags added and removed with the App's own button. Tags of findings cannot be removed."""
    if now is None or "tags" not in now:
        return
    tags = now["tags"] or []
    for word in [one for one in tags if one not in loaded["tags"]]:
        _write(session, tag([place], str(word)), found)
    removed = set(loaded["tags"]) - set(tags)
    edits = session.working_copy().edits
    undone = [e for e in edits if (e.kind, e.block, e.row) == ("note", *place) and e.reason in removed]
    if undone:
        session.rewrite([edit for edit in edits if edit not in undone])
        found.edits += undone


def _category_id(session: ReviewSession, label: Mapping[str, Any]) -> Any:
    """The category id of a label's class; None if the file has no category of that name."""
    return next((key for key, name in session.category_names.items() if name == label.get("label")), None)


def _write(session: ReviewSession, decision: Decision, found: Collected) -> list[Edit]:
    try:
        edits = make(session, decision)
    except TrashkitError as error:
        found.problems.append(error.message)
        return []
    found.edits += edits
    return edits


def _collect_annotation(
    session: ReviewSession, row: int, loaded: Document, now: Mapping[str, Any] | None, found: Collected
) -> None:
    """A changed or deleted annotation of the file."""
    if now is None:
        _write(session, remove([row], note=NOTE), found)
        return
    if now.get("label") != loaded["label"]:
        category_id = _category_id(session, now)
        if category_id is None:
            found.problems.append(f"annotations[{row}]: there is no category named {now.get('label')!r}")
        else:
            _undo_last(session, row, "relabel")
            _write(session, relabel([row], category_id, note=NOTE), found)
    record = session.record(ANNOTATIONS, row)
    size = session.image_size(session.image_of(record))
    if size is None or now.get("points") == loaded["points"]:
        return
    # Compare with the outline before a run of edits, so that a vertex dragged away and back has its old numbers.
    undone = _undo_last(session, row, "reshape")
    record = session.record(ANNOTATIONS, row)
    segmentation = reshaped(record, outline(record, size), now.get("points") or [], size)
    if segmentation is not None:
        _write(session, reshape(row, segmentation, note=NOTE), found)
    elif undone is not None:
        found.edits.append(undone)


def _undo_last(session: ReviewSession, row: int, kind: str) -> Edit | None:
    """Remove the log's last edit if it is of this row and kind and was made in the Annotate tab, too."""
    edits = session.working_copy().edits
    last = edits[-1] if edits else None
    if last is None or (last.block, last.row, last.kind, last.note) != (ANNOTATIONS, row, kind, NOTE):
        return None
    session.rewrite(edits[:-1])
    return last


def _collect_drawn(session: ReviewSession, image_row: int, label: Mapping[str, Any], found: Collected) -> None:
    """A label drawn in the App: an annotation, once it has a class and three corners."""
    size, category_id = session.image_size(image_row), _category_id(session, label)
    rings = [ring for ring in label.get("points") or [] if len(ring) >= 3]
    if size is None or category_id is None or not rings:
        return
    segmentation = reshaped({}, outline(None, None), rings, size)
    for edit in _write(session, add(image_row, category_id, segmentation, note=NOTE), found):
        found.drawn[str(edit.after["id"])] = str(label["_id"])


def _collect_added(
    session: ReviewSession, ids: DocumentIds, loaded: Document, now: Mapping[str, Any] | None, found: Collected
) -> None:
    """A label of an annotation that the review added: its one edit is rewritten, or removed from the log."""
    rows = session.working_copy()
    added = enumerate(rows.added)
    edit = next((e for n, e in added if e.block == ANNOTATIONS and ids.of_added(n, e.after) == loaded["_id"]), None)
    if edit is None:
        return
    if now is None:
        session.rewrite([one for one in rows.edits if one is not edit])
        found.edits.append(edit)
        return
    record = dict(edit.after)
    size = session.image_size(session.image_of(record))
    category_id = _category_id(session, now)
    if category_id is not None:
        record["category_id"] = category_id
    segmentation = reshaped(record, outline(record, size), now.get("points") or [], size) if size else None
    if segmentation is not None and size is not None:
        record["segmentation"] = segmentation
        record["area"], record["bbox"] = measures(segmentation, size)
    if not same_value(record, edit.after):
        changed = replace(edit, after=record)
        session.rewrite([changed if one is edit else one for one in rows.edits])
        found.edits.append(changed)
