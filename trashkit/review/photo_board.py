"""Photos in the App: colour statistics, a test set beside the images under review, and what both share."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone import ViewField
from fiftyone.core.fields import ObjectId
from pymongo import UpdateOne

from trashkit.progress import Progress, silent
from trashkit.review.board import BATCH, ids_of, stored
from trashkit.review.documents import Document, photo_of, plain_sample
from trashkit.review.photo_facts import alike, measure
from trashkit.review.room import Room

STATISTICS = ("brightness", "contrast", "saturation")
LEAKS, ALIKE = "leaks: alike in both files", "alike: side by side"


def add_photos(dataset: Any, room: Room, test: Room | None = None, *, progress: Progress = silent) -> list[str]:
    """Add a test set's images, if one is given, and what photos show, unless this was done before.

    Fields: the file that an image is from, brightness, contrast and saturation, and with a test set the group of
    photos that are alike, found in both files together. Returns what there is to say, as sentences.
    """
    stamp = _stamp(room, test)
    if dataset.info.get("photos") != stamp:
        _declare(dataset)
        dataset._sample_collection.delete_many({"of_test": True})
        if test is not None:
            _add_test(dataset, test, progress)
        _measure(dataset, room, test, progress)
        dataset.reload()
        _views(dataset, test)
        dataset.info["photos"] = stamp
        dataset.save()
    return _said(dataset, test)


def _stamp(room: Room, test: Room | None) -> str:
    """Changes when the photos or the files that name them do."""
    digest = hashlib.sha256()
    for one in (room, test):
        if one is not None:
            digest.update(f"{one.coco.sha256} {one.images}".encode())
            for row in range(len(one.images_rows)):
                path = Path(photo_of(one, row))
                digest.update(str(path.stat().st_mtime_ns if path.is_file() else 0).encode())
    return digest.hexdigest()


def _declare(dataset: Any) -> None:
    for field, kind in (("file", fo.StringField), ("alike", fo.StringField), ("of_test", fo.BooleanField)):
        dataset.add_sample_field(field, kind)
    for field in STATISTICS:
        dataset.add_sample_field(field, fo.FloatField)


def _add_test(dataset: Any, test: Room, progress: Progress) -> None:
    ids, now = ids_of(dataset), datetime.now(UTC)
    rows = [row for row, image in enumerate(test.images_rows) if isinstance(image, dict)]
    for start in range(0, len(rows), BATCH):
        progress("filling the App", start, len(rows))
        documents = [stored(dataset, plain_sample(test, ids, row, now=now)) for row in rows[start : start + BATCH]]
        dataset._sample_collection.insert_many([{**one, "created_at": now, "of_test": True} for one in documents])


def _measure(dataset: Any, room: Room, test: Room | None, progress: Progress) -> None:
    names = file_names(room, test)
    places = [
        (ids_kind, one, row, name)
        for ids_kind, one, name in (("image", room, names[0]), ("test", test, names[-1]))
        if one is not None
        for row, image in enumerate(one.images_rows)
        if isinstance(image, dict)
    ]
    facts = measure([Path(photo_of(one, row)) for _, one, row, _ in places], looks=test is not None, progress=progress)
    groups = alike(facts, progress=progress) if test is not None else [None] * len(facts)
    members: dict[int, set[str]] = {}
    for group, (_, _, _, name) in zip(groups, places, strict=True):
        if group is not None:
            members.setdefault(group, set()).add(name)
    ids, changes = ids_of(dataset), []
    for fact, group, (kind, _, row, name) in zip(facts, groups, places, strict=True):
        fields: Document = {"file": name, "alike": _group(group, members)}
        fields |= {field: None if fact is None else round(getattr(fact, field), 2) for field in STATISTICS}
        changes.append(UpdateOne({"_id": ObjectId(ids.of(kind, row))}, {"$set": fields}))
    if changes:
        dataset._sample_collection.bulk_write(changes)


def _group(group: int | None, members: dict[int, set[str]]) -> str:
    if group is None:
        return ""
    return f"{'leak' if len(members[group]) > 1 else 'group'} {group:05}"


def file_names(room: Room, test: Room | None) -> list[str]:
    """What the field `file` says of images under review, and of those of the test set."""
    paths = [one.coco.path or Path("annotations.json") for one in (room, test) if one is not None]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _views(dataset: Any, test: Room | None) -> None:
    def save(name: str, view: Any, what: str) -> None:
        if view.count():
            dataset.save_view(name, view, description=what, overwrite=True)
        elif name in dataset.list_saved_views():
            dataset.delete_saved_view(name)

    for field, first, last in (
        ("brightness", "darkest", "brightest"),
        ("saturation", "palest", "most colourful"),
        ("contrast", "flattest", ""),
    ):
        there = dataset.exists(field)
        save(f"look: {first} first", there.sort_by(field), f"{field} of the photo, 0 to 255")
        if last:
            save(f"look: {last} first", there.sort_by(field, reverse=True), f"{field} of the photo, 0 to 255")
    save("look: most objects first", dataset.match(ViewField("objects") > 0).sort_by("objects", reverse=True), "")
    save("look: without objects", dataset.match(ViewField("objects") == 0), "")
    leaks = dataset.match(ViewField("alike").starts_with("leak")).sort_by("alike")
    save(LEAKS, leaks, "photos of one scene that are in both files, group by group")
    groups = dataset.match(ViewField("alike") != "").exists("alike").sort_by("alike")
    save(ALIKE, groups, "photos of one scene, group by group")
    save("test set", dataset.match(ViewField("of_test") == True), str(test.coco.path) if test else "")  # noqa: E712


def _said(dataset: Any, test: Room | None) -> list[str]:
    if test is None:
        return []
    groups = [value for value in dataset.distinct("alike") if value]
    leaks = sum(value.startswith("leak") for value in groups)
    if not groups:
        return ["no photos are alike, within a file or across both"]
    view = LEAKS if leaks else ALIKE
    return [f'{len(groups)} groups of photos are alike, {leaks} of them across both files: see the view "{view}"']
