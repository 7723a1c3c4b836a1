"""The FiftyOne data set of a review: built once, kept in step with the edit log, and found again on reopening."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fiftyone as fo
from bson import ObjectId

from trashkit.edits.edit import Edit
from trashkit.progress import Progress, silent
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.annotate_tab import collect
from trashkit.review.fiftyone_app.appearance import save_appearance
from trashkit.review.fiftyone_app.sample_documents import (
    ANNOTATIONS,
    LABEL_FIELDS,
    Document,
    DocumentIds,
    sample_document,
)
from trashkit.review.fiftyone_app.views import save_shared_view, save_views
from trashkit.review.session import ReviewSession

FORMAT = 6
"""Raised when the documents change, so that data sets of older versions are built anew."""
BATCH = 200


def dataset_name(session: ReviewSession) -> str:
    """The name of a session's data set: the same file, findings, folder and log give the same name."""
    stem = session.coco.path.stem if session.coco.path else "annotations"
    shown = "".join(one if one.isprintable() and one not in "/\\" else "_" for one in stem[:100])
    return f"trashkit-{shown}-{session.key}-{FORMAT}"


def ids_of(dataset: Any) -> DocumentIds:
    """The ids of a data set's documents."""
    return DocumentIds(dataset.name, dataset.info.get("drawn", {}))


def open_dataset(session: ReviewSession, *, progress: Progress = silent) -> tuple[Any, bool]:
    """The data set of a session, brought in step with its log, and whether it had to be built."""
    name = dataset_name(session)
    if fo.dataset_exists(name):
        dataset = fo.load_dataset(name)
        if dataset.info.get("complete"):
            # First of all, what the Annotate tab saved after the last check, in an App that was killed.
            take_over(dataset, session, dataset.info["looked"])
            with session.locked():
                changed = _decided_images(session) | set(dataset.info["touched"]) | _newly_shared(dataset, session)
                refresh(dataset, session, changed)
            _share(dataset, session)
            return dataset, False
        fo.delete_dataset(name)
    return _build(session, name, progress), True


def _build(session: ReviewSession, name: str, progress: Progress) -> Any:
    dataset = fo.Dataset(name, persistent=True)
    dataset.media_type = "image"
    _declare_fields(dataset)
    rows = [row for row, image in enumerate(session.image_records) if isinstance(image, dict)]
    ids, now = DocumentIds(name), datetime.now(UTC)
    for start in range(0, len(rows), BATCH):
        progress("filling the App", start, len(rows))
        documents = [stored_document(dataset, session, ids, row, now) for row in rows[start : start + BATCH]]
        # FiftyOne's own importer takes several times as long, since it makes an object of each label.
        private_api.insert_samples(dataset, [{**one, "created_at": now} for one in documents])
    save_views(dataset, session)
    save_appearance(dataset, session)
    dataset.info = {"complete": True, "touched": sorted(_decided_images(session)), "drawn": {}, "looked": now}
    dataset.save()
    _share(dataset, session)
    progress("filling the App", len(rows), len(rows))
    return dataset


def stored_document(dataset: Any, session: ReviewSession, ids: DocumentIds, row: int, now: datetime) -> Document:
    """The document of an image as the database stores it."""
    return private_api.sample_document(dataset, sample_document(session, ids, row, now=now), LABEL_FIELDS)


def _declare_fields(dataset: Any) -> None:
    """Declare fields with their types, which FiftyOne would otherwise infer label by label."""
    for field, kind in (
        ("row", fo.IntField),
        ("image_id", fo.StringField),
        ("file_name", fo.StringField),
        ("findings", fo.IntField),
        ("open", fo.IntField),
        ("severity", fo.StringField),
        ("worst", fo.FloatField),
        ("scores", fo.DictField),
        ("message", fo.StringField),
        ("decision", fo.StringField),
        ("group", fo.StringField),
        ("objects", fo.IntField),
        ("shared", fo.StringField),
        ("shared_order", fo.IntField),
        ("note", fo.StringField),
    ):
        dataset.add_sample_field(field, kind)
    for field in ("codes", "classes"):
        dataset.add_sample_field(field, fo.ListField, subfield=fo.StringField)
    for field in LABEL_FIELDS:
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Polylines)
        dataset.add_sample_field(f"{field}.polylines.row", fo.IntField)
        dataset.add_sample_field(f"{field}.polylines.form", fo.StringField)
    for field in ("annotation_id", "severity", "message", "fix", "decision", "note", "shared"):
        dataset.add_sample_field(f"{ANNOTATIONS}.polylines.{field}", fo.StringField)
    dataset.add_sample_field(f"{ANNOTATIONS}.polylines.codes", fo.ListField, subfield=fo.StringField)


def _newly_shared(dataset: Any, session: ReviewSession) -> set[int]:
    """Images of the cases that are shown now, or were when the data set was last open."""
    return {*dataset.info.get("shared", ()), *(case.image for case in (session.shared.cases if session.shared else ()))}


def _share(dataset: Any, session: ReviewSession) -> None:
    save_shared_view(dataset, session)
    cases = session.shared.cases if session.shared else ()
    dataset.info["shared"] = sorted({case.image for case in cases})
    dataset.save()


def _decided_images(session: ReviewSession) -> set[int]:
    """Rows of the images that an edit or decision of the log is about."""
    return session.images_of(session.working_copy().edits)


def refresh(dataset: Any, session: ReviewSession, image_rows: Iterable[int]) -> None:
    """Write images anew as the log has them now. What the App saved before must have been taken over already."""
    rows = sorted(set(image_rows))
    if not rows:
        return
    ids, now = ids_of(dataset), datetime.now(UTC)
    changes = {}
    for row in rows:
        document = stored_document(dataset, session, ids, row, now)
        changes[document.pop("_id")] = document  # fields of comparisons stay
    private_api.set_fields_and_reload(dataset, changes)
    _remember(dataset, session, looked=now)


def _remember(
    dataset: Any, session: ReviewSession, *, drawn: Mapping[str, str] | None = None, looked: datetime | None = None
) -> None:
    """Record which images the log is about, the App's own ids, and until when its changes were taken over.

    Another process may have written these meanwhile.
    """
    dataset.reload()
    if looked is not None:
        dataset.info["looked"] = looked
    dataset.info["touched"] = sorted(_decided_images(session))
    dataset.info["drawn"] = {**dataset.info.get("drawn", {}), **(drawn or {})}
    dataset.save()


def take_over(dataset: Any, session: ReviewSession, since: datetime) -> tuple[list[Edit], list[str], datetime]:
    """Write to the log what the Annotate tab has saved after `since`.

    Returns the edits, messages about what could not be taken over, and the time to give as `since` next. Outlines and
    times in the database stay as the App saved them; otherwise its next save would be refused as out of date.
    """
    edits: list[Edit] = []
    problems: list[str] = []
    with session.locked():
        fields = (ANNOTATIONS, "last_modified_at", "row", "tags")
        found = private_api.find_samples(dataset, {"last_modified_at": {"$gt": since}}, fields)
        if not found:
            return edits, problems, since
        ids = ids_of(dataset)
        drawn: dict[str, str] = {}
        rows = []
        for document in found:
            row = ids.row("image", document["_id"])
            if row is None:
                continue
            one = collect(session, ids, row, document)
            drawn |= one.drawn
            edits += one.edits
            problems += one.problems
            rows += [row] if one.edits else []
        if rows:
            _remember(dataset, session, drawn=drawn)
            _refresh_all_but_outlines(dataset, session, rows)
        newest = max(document["last_modified_at"] for document in found)
    # The newest image is checked again next time: it may be saved twice within one tick of the database's clock.
    return edits, problems, newest - timedelta(milliseconds=1)


def _refresh_all_but_outlines(dataset: Any, session: ReviewSession, rows: Iterable[int]) -> None:
    ids, now = ids_of(dataset), datetime.now(UTC)
    changes: dict[ObjectId, Document] = {}
    for row in rows:
        document = stored_document(dataset, session, ids, row, now)
        kept = {key: value for key, value in document.items() if key not in ("_id", ANNOTATIONS, "last_modified_at")}
        changes[document["_id"]] = kept
    private_api.set_fields(dataset, changes)
