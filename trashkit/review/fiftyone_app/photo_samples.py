"""Photo statistics in the App, and a test set next to the images under review, with the photos that both share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import fiftyone as fo
from bson import ObjectId
from fiftyone import ViewField

from trashkit.files import is_file
from trashkit.progress import Progress, silent
from trashkit.review.app_text import as_stored
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.dataset_sync import BATCH, ids_of
from trashkit.review.fiftyone_app.sample_documents import LABEL_FIELDS, Document, test_set_document
from trashkit.review.photo_statistics import near_duplicate_groups, photo_statistics
from trashkit.review.session import ReviewSession

STATISTICS = ("brightness", "contrast", "saturation")
LEAKS, DUPLICATES = "leaks: alike in both files", "alike: side by side"
"""Saved views."""


class PhotoSample(NamedTuple):
    """A photo of the data set. kind: of its id, "image" or "test". file: the annotation file that it is from."""

    kind: str
    row: int
    file: str
    path: Path


def add_photos(
    dataset: Any, session: ReviewSession, test: ReviewSession | None = None, *, progress: Progress = silent
) -> list[str]:
    """Add photo statistics and, if given, a test set's images, unless this was done before.

    Fields: `file`, the file that an image is from; brightness, contrast and saturation; and with a test set `alike`,
    the group of near-duplicates, searched in both files together. Returns sentences about the near-duplicates.
    """
    stamp = _stamp(session, test)
    if dataset.info.get("photos") != stamp:
        _declare_fields(dataset)
        private_api.delete_samples(dataset, {"of_test": True})
        if test is not None:
            _add_test_set(dataset, test, progress)
        _add_statistics(dataset, session, test, progress)
        dataset.reload()
        _save_views(dataset, test)
        dataset.info["photos"] = stamp
        dataset.save()
    return _duplicate_report(dataset) if test is not None else []


def _stamp(session: ReviewSession, test: ReviewSession | None) -> str:
    """Changes when the photos or the files that name them do."""
    digest = hashlib.sha256()
    for one in (session, test):
        if one is not None:
            digest.update(f"{one.coco.sha256} {one.images}".encode(errors="surrogatepass"))
            for row in range(len(one.image_records)):
                path = one.photo_path(row)
                digest.update(str(path.stat().st_mtime_ns if is_file(path) else 0).encode())
    return digest.hexdigest()


def _declare_fields(dataset: Any) -> None:
    for field, kind in (("file", fo.StringField), ("alike", fo.StringField), ("of_test", fo.BooleanField)):
        dataset.add_sample_field(field, kind)
    for field in STATISTICS:
        dataset.add_sample_field(field, fo.FloatField)


def _add_test_set(dataset: Any, test: ReviewSession, progress: Progress) -> None:
    ids, now = ids_of(dataset), datetime.now(UTC)
    rows = [row for row, image in enumerate(test.image_records) if isinstance(image, dict)]
    for start in range(0, len(rows), BATCH):
        progress("filling the App", start, len(rows))
        documents = [
            private_api.sample_document(dataset, test_set_document(test, ids, row, now=now), LABEL_FIELDS)
            for row in rows[start : start + BATCH]
        ]
        private_api.insert_samples(dataset, [{**one, "created_at": now, "of_test": True} for one in documents])


def _add_statistics(dataset: Any, session: ReviewSession, test: ReviewSession | None, progress: Progress) -> None:
    samples = list(_photo_samples(session, test))
    paths = [sample.path for sample in samples]
    statistics = photo_statistics(paths, features=test is not None, progress=progress)
    groups: list[int | None] = [None] * len(samples)
    if test is not None:
        groups = near_duplicate_groups(statistics, progress=progress)
    files_of: dict[int, set[str]] = {}
    for sample, group in zip(samples, groups, strict=True):
        if group is not None:
            files_of.setdefault(group, set()).add(sample.file)
    ids = ids_of(dataset)
    changes: dict[ObjectId, Document] = {}
    for sample, group, one in zip(samples, groups, statistics, strict=True):
        fields: Document = {"file": sample.file, "alike": _group_name(group, files_of)}
        fields |= {name: None if one is None else round(getattr(one.colors, name), 2) for name in STATISTICS}
        changes[ObjectId(ids.of(sample.kind, sample.row))] = fields
    private_api.set_fields(dataset, changes)


def _photo_samples(session: ReviewSession, test: ReviewSession | None) -> Iterator[PhotoSample]:
    names = file_names(session, test)
    for kind, one, file in (("image", session, names[0]), ("test", test, names[-1])):
        for row, image in enumerate(one.image_records if one is not None else ()):
            if one is not None and isinstance(image, dict):
                yield PhotoSample(kind, row, file, one.photo_path(row))


def _group_name(group: int | None, files_of: dict[int, set[str]]) -> str:
    """The value of the field `alike`: leaks are groups with photos of both files."""
    if group is None:
        return ""
    return f"{'leak' if len(files_of[group]) > 1 else 'group'} {group:05}"


def file_names(session: ReviewSession, test: ReviewSession | None) -> list[str]:
    """Values of the field `file` for images under review and for those of the test set."""
    paths = [one.coco.path or Path("annotations.json") for one in (session, test) if one is not None]
    names = [path.name for path in paths]
    return [as_stored(name) for name in (names if len(set(names)) == len(names) else map(str, paths))]


def _save_views(dataset: Any, test: ReviewSession | None) -> None:
    def save(name: str, view: Any, description: str) -> None:
        if view.count():
            dataset.save_view(name, view, description=description, overwrite=True)
        elif name in dataset.list_saved_views():
            dataset.delete_saved_view(name)

    for name in dataset.list_saved_views():
        if name.startswith("look: "):  # as earlier versions named them
            dataset.delete_saved_view(name)
    for field, lowest, highest in (
        ("brightness", "darkest", "brightest"),
        ("saturation", "palest", "most colourful"),
        ("contrast", "flattest", ""),
    ):
        known = dataset.exists(field)
        save(f"photos: {lowest} first", known.sort_by(field), f"{field} of the photo, 0 to 255")
        if highest:
            save(f"photos: {highest} first", known.sort_by(field, reverse=True), f"{field} of the photo, 0 to 255")
    save("photos: most objects first", dataset.match(ViewField("objects") > 0).sort_by("objects", reverse=True), "")
    save("photos: without objects", dataset.match(ViewField("objects") == 0), "")
    leaks = dataset.match(ViewField("alike").starts_with("leak")).sort_by("alike")
    save(LEAKS, leaks, "near-duplicate photos that are in both files, group by group")
    groups = dataset.match(ViewField("alike") != "").exists("alike").sort_by("alike")
    save(DUPLICATES, groups, "near-duplicate photos, group by group")
    save("test set", dataset.match(ViewField("of_test") == True), as_stored(str(test.coco.path)) if test else "")  # noqa: E712


def _duplicate_report(dataset: Any) -> list[str]:
    groups = [value for value in dataset.distinct("alike") if value]
    leaks = sum(value.startswith("leak") for value in groups)
    if not groups:
        return ["no near-duplicate photos, within a file or across both"]
    view = LEAKS if leaks else DUPLICATES
    return [f'{len(groups)} groups of near-duplicate photos, {leaks} of them across both files: see the view "{view}"']
