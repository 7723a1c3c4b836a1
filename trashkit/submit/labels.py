"""A submission in any form as label maps: read image by image, and written from label maps."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from trashkit import submission
from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, replacing
from trashkit.masks import dataset_label_map
from trashkit.photos import photo_path
from trashkit.predictions import images_by_name, results_as_dataset
from trashkit.submission import Profile, Row
from trashkit.submit import other_forms
from trashkit.submit.check import Report
from trashkit.submit.forms import Form, fitting
from trashkit.submit.notes import digest_of, is_note, note_path, write_note

LabelMap = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Labels:
    """An open submission. names: file names of its images, in its order. read: the label map uint8 [H, W] of one."""

    path: Path
    names: tuple[str, ...]
    read: Callable[[str], LabelMap]


def index(path: Path, profile: Profile) -> dict[str, Row]:
    """Where each image's row lies in a CSV, by file name; TrashkitError for another header or an image twice."""
    if submission.read_header(path) != profile.header:
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {profile.header}",
            hint="give a submission CSV (or its --profile); `trashkit submit check` says what is wrong with one",
        )
    rows: dict[str, Row] = {}
    for row in submission.read(path, profile, values=False):
        if row.file_name in rows:
            raise TrashkitError(
                f"{path}, line {row.line}: {row.file_name} has a row already, in line {rows[row.file_name].line}",
                hint="delete one of the two",
            )
        rows[row.file_name] = row
    return rows


@contextmanager
def open_labels(
    path: Path, profile: Profile, form: Form | None = None, dataset: Dataset | None = None
) -> Iterator[Labels]:
    """Open a submission: a CSV of this profile, or any form, which needs to know the images (`dataset`).

    A form other than a CSV is checked whole first (see `trashkit.submit.other_forms.check`). Raises TrashkitError for
    what fails there, for rows whose values are wrong, and for a file of another form.
    """
    if form is None or form.kind == "csv":
        if form is not None and dataset is not None:
            profile = form.profile(dataset)
        rows = index(path, profile)
        with path.open("rb") as file:

            def at(name: str) -> LabelMap:
                return submission.require(submission.read_at(file, rows[name], profile), path)

            yield Labels(path, tuple(rows), at)
        return
    assert dataset is not None, "the command line asks for --data"
    report = other_forms.check(path, dataset, form)
    if report.failures:
        first = report.failures[0]
        place = f", line {first.line}" if first.line else ""
        name = f"{first.file_name}: " if first.file_name else ""
        raise TrashkitError(f"{path}{place}: {name}{first.message}", hint=first.cure)
    images = images_by_name(dataset)
    if form.kind == "png":
        read = _pngs(path, images, len(dataset.classes), form)
    else:
        read = _runs(path, images, form) if form.kind == "rle-csv" else _results(path, images, dataset)
    yield Labels(path, tuple(images), read)


def _pngs(path: Path, images: Mapping[str, Image], classes: int, form: Form) -> Callable[[str], LabelMap]:
    table = np.zeros(256, np.uint8)
    values = form.values or tuple(range(classes))
    table[list(values)] = np.arange(len(values))

    def read(name: str) -> LabelMap:
        with Pillow.open(photo_path(path, f"{other_forms.image_key(images[name], form)}{form.suffix}")) as opened:
            return table[np.array(opened, np.uint8)]

    return read


def _runs(path: Path, images: Mapping[str, Image], form: Form) -> Callable[[str], LabelMap]:
    found: dict[str, list[tuple[int, str]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for fields in filter(None, reader):
            key, number = (fields[0], fields[1]) if len(fields) == 3 else fields[0].rpartition("_")[::2]
            found.setdefault(key, []).append((int(number), fields[-1]))

    def read(name: str) -> LabelMap:
        image = images[name]
        size = form.size or (image.height, image.width)
        labels = np.zeros(size, np.uint8)
        for number, text in found.get(other_forms.image_key(image, form), ()):
            labels[other_forms.decode_runs(text, *size, columns=form.pixel_order == "columns")] = number
        return labels

    return read


def _results(path: Path, images: Mapping[str, Image], dataset: Dataset) -> Callable[[str], LabelMap]:
    theirs = results_as_dataset(path, dataset)

    def read(name: str) -> LabelMap:
        return dataset_label_map(theirs, images[name].row, order="file")

    return read


def write_labels(
    found: Iterable[tuple[Image, LabelMap]],
    dataset: Dataset,
    out: Path,
    form: Form,
    *,
    overwrite: bool = False,
    **origin: Any,
) -> int:
    """Write label maps as a submission in any form, with its note (entries: `origin`); returns the rows or files.

    Checked before it gets its name. COCO results have a score of 1, since a label map is certain. Raises TrashkitError
    for an `out` that exists, or that is a folder which no submission made.
    """
    form = fitting(form, dataset)
    refuse_out(out, overwrite=overwrite)
    with replacing(out, overwrite=overwrite) as temporary:
        if form.kind == "csv":
            with temporary.open("wb", buffering=1 << 20) as file:
                rows = ((image.file_name, labels) for image, labels in found)
                count = submission.write_to(file, rows, form.profile(dataset))
        else:
            count = other_forms.write_maps(found, temporary, dataset, form)
            refuse_failures(other_forms.check(temporary, dataset, form))
        digest = digest_of(temporary)
    write_note(out, dataset, digest, form.size, **origin)
    return count


def refuse_out(out: Path, *, overwrite: bool) -> None:
    """TrashkitError unless a submission and its note may be written here."""
    refuse_existing(out, overwrite=overwrite)
    note = note_path(out)
    if note.exists() and not is_note(note):
        raise TrashkitError(f"{note}, where the note of {out} would lie, is another file", hint="choose another --out")
    refuse_existing(note, overwrite=overwrite)
    if overwrite and out.is_dir() and not note.exists():
        # A mistyped --out must not cost a folder of photos.
        raise TrashkitError(f"{out} is a folder that no submission made, so it is kept", hint="choose another --out")


def refuse_failures(report: Report) -> None:
    """TrashkitError with the first failure of a check, if there is one."""
    if report.failures:
        first = report.failures[0]
        raise TrashkitError(f"the submission fails its check: {first.file_name}: {first.message}", hint=first.cure)
