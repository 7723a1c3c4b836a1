"""The FiftyOne data set of a review: built once, kept in step with the edit log, found again when it is reopened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fiftyone as fo
from fiftyone import ViewField
from fiftyone.core.fields import ObjectId
from pymongo import UpdateOne

from trashkit.coco.edit import Edit
from trashkit.progress import Progress, silent
from trashkit.report.overlay import shown_color
from trashkit.review.annotate import collect
from trashkit.review.documents import ANNOTATIONS, ORIGINAL, PROPOSED, Document, Ids, sample
from trashkit.review.room import Room, badness

FORMAT = 5
"""Raised when the documents change, so that data sets of older versions are built anew."""
BATCH = 200
PANEL, LOOKS, WORKSPACE = "review_panel", "looks_panel", "review"
WORST_FIRST, STILL_OPEN, SHARED = "all findings, worst first", "still open", "shared cases"
CLASSES_WITH_VIEWS = 80


def name_of(room: Room) -> str:
    """The name of a room's data set: the same file, findings, folder and log give the same."""
    stem = room.coco.path.stem if room.coco.path else "annotations"
    return f"trashkit-{stem}-{room.key}-{FORMAT}"


def ids_of(dataset: Any) -> Ids:
    """The ids of a data set's documents."""
    return Ids(dataset.name, dataset.info.get("drawn", {}))


def open_board(room: Room, *, progress: Progress = silent) -> tuple[Any, bool]:
    """The data set of a room, brought in step with its log, and whether it had to be built. Needs the database."""
    name = name_of(room)
    if fo.dataset_exists(name):
        dataset = fo.load_dataset(name)
        if dataset.info.get("complete"):
            # What the Annotate tab saved after the last look, in an App that was killed, comes before anything else.
            take_over(dataset, room, dataset.info["looked"])
            with room.locked():
                refresh(dataset, room, _touched(room) | set(dataset.info["touched"]) | _newly_shared(dataset, room))
            _share(dataset, room)
            return dataset, False
        fo.delete_dataset(name)
    return _build(room, name, progress), True


def _build(room: Room, name: str, progress: Progress) -> Any:
    dataset = fo.Dataset(name, persistent=True)
    dataset.media_type = "image"
    _declare(dataset)
    rows = [row for row, image in enumerate(room.images_rows) if isinstance(image, dict)]
    ids, now = Ids(name), datetime.now(UTC)
    for start in range(0, len(rows), BATCH):
        progress("filling the App", start, len(rows))
        documents = [stored(dataset, sample(room, ids, row, now=now)) for row in rows[start : start + BATCH]]
        # The importer of FiftyOne takes several times as long: it makes an object of each label.
        dataset._sample_collection.insert_many([{**one, "created_at": now} for one in documents])
    _views(dataset, room)
    _looks(dataset, room)
    dataset.info = {"complete": True, "touched": sorted(_touched(room)), "drawn": {}, "looked": now}
    dataset.save()
    _share(dataset, room)
    progress("filling the App", len(rows), len(rows))
    return dataset


def stored(dataset: Any, document: Document) -> Document:
    """A document as the database holds it: ids are its own, and it names its data set."""
    made = {key: value for key, value in document.items() if value is not None}
    made["_id"] = ObjectId(document["_id"])
    made["_dataset_id"] = dataset._doc.id
    for field in (ANNOTATIONS, PROPOSED, ORIGINAL):
        labels = [{**one, "_id": ObjectId(one["_id"])} for one in document[field]["polylines"]]
        made[field] = {"_cls": "Polylines", "polylines": labels}
    return made


def _declare(dataset: Any) -> None:
    """The fields, with their types, which FiftyOne would otherwise find out label by label."""
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
    texts = ("annotation_id", "severity", "message", "fix", "decision", "note", "shared")
    for field in (ANNOTATIONS, PROPOSED, ORIGINAL):
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Polylines)
        dataset.add_sample_field(f"{field}.polylines.row", fo.IntField)
        dataset.add_sample_field(f"{field}.polylines.form", fo.StringField)
    for text in texts:
        dataset.add_sample_field(f"{ANNOTATIONS}.polylines.{text}", fo.StringField)
    dataset.add_sample_field(f"{ANNOTATIONS}.polylines.codes", fo.ListField, subfield=fo.StringField)


def _views(dataset: Any, room: Room) -> None:
    """Saved views, worst first: all, those still open, one for each code and one for each class with findings."""
    found = ViewField("findings") > 0
    worst = dataset.match(found).sort_by("worst", reverse=True)
    dataset.save_view(WORST_FIRST, worst)
    dataset.save_view(STILL_OPEN, dataset.match(ViewField("open") > 0).sort_by("worst", reverse=True))
    dataset.save_view("with a note", dataset.match(ViewField("note") != ""))
    groups = dataset.match(ViewField("group") != "").sort_by("group")
    if groups.count():
        dataset.save_view("duplicates side by side", groups, description="images that are alike, group by group")
    counts: Counter[tuple[str, str]] = Counter()
    classes: Counter[str] = Counter()
    on_images: set[str] = set()
    for n in sorted(room.order, key=lambda n: badness(room.findings[n])):
        finding = room.findings[n]
        counts[finding.code, finding.name] += 1
        if finding.block == ANNOTATIONS and finding.row is not None:
            classes[room.class_name(room.coco.record(ANNOTATIONS, finding.row))] += 1
        else:
            on_images.add(finding.code)
    for (code, name), number in counts.items():
        view = dataset.match(ViewField("codes").contains(code)).sort_by(ViewField(f"scores.{code}"), reverse=True)
        if code not in on_images:
            view = view.filter_labels(ANNOTATIONS, ViewField("codes").contains(code))
        dataset.save_view(f"{code} {name}", view, description=f"{number} findings, worst first")
    for name, number in classes.most_common(CLASSES_WITH_VIEWS):
        mine = (ViewField("label") == name) & (ViewField("codes").length() > 0)
        view = dataset.match(found).sort_by("worst", reverse=True).filter_labels(ANNOTATIONS, mine)
        dataset.save_view(f"class {name}", view, description=f"{number} findings, worst first")


def _looks(dataset: Any, room: Room) -> None:
    """Official colours, what is shown at first, and what the Annotate tab offers."""
    values = [{"value": name, "color": _hex(shown_color(color))} for name, color in room.colors.items()]
    by_class = {"fieldColor": "#4a90d9", "colorByAttribute": "label", "valueColors": values}
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="value",
        opacity=0.35,
        fields=[
            {"path": ANNOTATIONS, **by_class},
            {"path": PROPOSED, "fieldColor": "#00c853", "colorByAttribute": "form", "valueColors": _one("#00c853")},
            {"path": ORIGINAL, "fieldColor": "#e53935", "colorByAttribute": "form", "valueColors": _one("#e53935")},
        ],
    )
    schema = dataset.generate_label_schemas(ANNOTATIONS, scan_samples=False)
    schema["classes"] = list(room.names.values())
    dataset.set_label_schemas({ANNOTATIONS: {**schema, "component": "dropdown"}})
    dataset.activate_label_schemas([ANNOTATIONS])
    # The review's panel stands beside the pictures from the start.
    panels = (fo.Panel(type="Samples", pinned=True), fo.Panel(type=PANEL))
    columns = [fo.Space(children=[one], active_child=one.component_id) for one in panels]
    columns[1].children.append(fo.Panel(type=LOOKS))
    beside = fo.Space(orientation="horizontal", children=columns, sizes=[0.62, 0.38])
    dataset.save_workspace(WORKSPACE, beside)
    dataset.save()


def _newly_shared(dataset: Any, room: Room) -> set[int]:
    """Images of cases that are shown now, or were when the data set was open last."""
    return {*dataset.info.get("shared", ()), *(case.image for case in (room.shared.cases if room.shared else ()))}


def _share(dataset: Any, room: Room) -> None:
    """The view of a team mate's cases, in their order, and none where there are none."""
    cases = room.shared.cases if room.shared else ()
    if room.shared is not None:
        view = dataset.match(ViewField("shared") != "").exists("shared").sort_by("shared_order")
        by = f" (by {room.shared.by})" if room.shared.by else ""
        dataset.save_view(SHARED, view, description=room.shared.title + by, overwrite=True)
    elif SHARED in dataset.list_saved_views():
        dataset.delete_saved_view(SHARED)
    dataset.info["shared"] = sorted({case.image for case in cases})
    dataset.save()


def _one(color: str) -> list[dict[str, str]]:
    return [{"value": form, "color": color} for form in ("polygon", "rle", "damaged", "box")]


def _hex(color: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in color)


def _touched(room: Room) -> set[int]:
    """Rows of images that the log says something about."""
    standing = room.standing()
    rows: set[int] = set()
    for block, row in standing.of:
        if block == "images":
            rows.add(row)
        elif block == ANNOTATIONS:
            image = room.image_of(room.coco.record(block, row))
            rows |= {image} if image is not None else set()
    images = (room.image_of(edit.after) for edit in standing.added if edit.block == ANNOTATIONS)
    return rows | {image for image in images if image is not None}


def refresh(dataset: Any, room: Room, image_rows: Iterable[int]) -> None:
    """Write images anew as the log has them now; what the App saved before must have been taken over."""
    rows = sorted(set(image_rows))
    if not rows:
        return
    ids, now = ids_of(dataset), datetime.now(UTC)
    keys = [ObjectId(ids.of("image", row)) for row in rows]
    changes = []
    for row, key in zip(rows, keys, strict=True):
        document = stored(dataset, sample(room, ids, row, now=now))
        document.pop("_id")
        changes.append(UpdateOne({"_id": key}, {"$set": document}))  # fields of comparisons stay
    dataset._bulk_write(changes, ids=[str(key) for key in keys])
    _remember(dataset, room, looked=now)


def _remember(
    dataset: Any, room: Room, *, drawn: Mapping[str, str] | None = None, looked: datetime | None = None
) -> None:
    """Keep which images the log touches, the App's own ids, and up to when its changes were taken over.

    Another process may have written them meanwhile.
    """
    dataset.reload()
    if looked is not None:
        dataset.info["looked"] = looked
    dataset.info["touched"] = sorted(_touched(room))
    dataset.info["drawn"] = {**dataset.info.get("drawn", {}), **(drawn or {})}
    dataset.save()


def take_over(dataset: Any, room: Room, since: datetime) -> tuple[list[Edit], list[str], datetime]:
    """Write to the log what the Annotate tab has saved after `since`.

    Returns the edits, what could not be taken over, and the time to give as `since` next. Outlines and times in the
    database stay as the App saved them, or its next save would be refused as out of date.
    """
    edits: list[Edit] = []
    problems: list[str] = []
    with room.locked():
        fields = {ANNOTATIONS: 1, "last_modified_at": 1, "row": 1, "tags": 1}
        found = list(dataset._sample_collection.find({"last_modified_at": {"$gt": since}}, fields))
        if not found:
            return edits, problems, since
        ids = ids_of(dataset)
        drawn: dict[str, str] = {}
        rows = []
        for document in found:
            row = ids.row("image", document["_id"])
            if row is None:
                continue
            one = collect(room, ids, row, document)
            drawn |= one.drawn
            edits += one.edits
            problems += one.problems
            rows += [row] if one.edits else []
        if rows:
            _remember(dataset, room, drawn=drawn)
            _restate(dataset, room, rows)
        newest = max(document["last_modified_at"] for document in found)
    # The newest image is looked at again next time: it may be saved twice within one tick of the database's clock.
    return edits, problems, newest - timedelta(milliseconds=1)


def _restate(dataset: Any, room: Room, rows: Iterable[int]) -> None:
    """Bring all but the outlines of images in step with the log, without touching their time."""
    ids, now = ids_of(dataset), datetime.now(UTC)
    for row in rows:
        document = stored(dataset, sample(room, ids, row, now=now))
        kept = {key: value for key, value in document.items() if key not in ("_id", ANNOTATIONS, "last_modified_at")}
        dataset._sample_collection.update_one({"_id": document["_id"]}, {"$set": kept})
