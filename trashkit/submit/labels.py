"""Read a submission of any format as label maps, image by image, and write one from label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.names import ByName
from trashkit.outputs import Output, OutputKind, check_suffix
from trashkit.predictions import submission_csv
from trashkit.predictions.reading import images_by_name
from trashkit.predictions.submission_csv import CsvLayout, Row
from trashkit.readers import open_file
from trashkit.submit import coco_results, formats, png_folder, run_lengths
from trashkit.submit.check import Report
from trashkit.submit.notes import digest_of, is_note, note_path, write_note
from trashkit.submit.profiles import SubmissionProfile, fit_profile

LabelMap = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class OpenSubmission:
    """An open submission. names: file names of its images, in its order. read: returns the label map of one."""

    path: Path
    names: tuple[str, ...]
    read: Callable[[str], LabelMap]


def index(path: Path, layout: CsvLayout) -> dict[str, Row]:
    """Return the row of each image in a CSV, by file name; TrashkitError for a wrong header or a repeated image."""
    if submission_csv.read_header(path) != layout.header:
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {layout.header}",
            hint="give a submission CSV (or its --profile); `trashkit submit check` says what is wrong with one",
        )
    rows: ByName[Row] = ByName()
    for row in submission_csv.read(path, layout, values=False):
        if row.file_name in rows:
            raise TrashkitError(
                f"{path}, line {row.line}: {row.file_name} already has a row, in line {rows[row.file_name].line}",
                hint="delete one of the two",
            )
        rows[row.file_name] = row
    return rows


@contextmanager
def open_submission(
    path: Path, layout: CsvLayout, profile: SubmissionProfile | None = None, dataset: Dataset | None = None
) -> Iterator[OpenSubmission]:
    """Open a submission: a CSV of this layout, or one of a profile, which needs `dataset`.

    Formats other than a CSV are checked first (`trashkit.submit.formats.check`). Raises TrashkitError for what fails
    there, and for rows with wrong values.
    """
    if profile is None or profile.kind == "csv":
        if profile is not None and dataset is not None:
            layout = profile.layout(dataset)
        rows = index(path, layout)
        with open_file(path) as file:

            def at(name: str) -> LabelMap:
                return submission_csv.require(submission_csv.read_at(file, rows[name], layout), path)

            yield OpenSubmission(path, tuple(rows), at)
        return
    assert dataset is not None, "profiles need the data"
    report = formats.check(path, dataset, profile)
    if report.failures:
        first = report.failures[0]
        place = f", line {first.line}" if first.line else ""
        name = f"{first.file_name}: " if first.file_name else ""
        raise TrashkitError(f"{path}{place}: {name}{first.message}", hint=first.cure)
    images = images_by_name(dataset)
    if profile.kind == "png":
        read = png_folder.read(path, images, len(dataset.classes), profile)
    else:
        read = (
            run_lengths.read(path, images, profile)
            if profile.kind == "rle-csv"
            else coco_results.read(path, images, dataset)
        )
    yield OpenSubmission(path, tuple(images), read)


def write_submission(
    found: Iterable[tuple[Image, LabelMap]],
    dataset: Dataset,
    out: Path,
    profile: SubmissionProfile,
    *,
    overwrite: bool = False,
    **origin: Any,
) -> int:
    """Write label maps as a submission, with a note that holds `origin`; return the number of rows or files.

    It is checked before it is renamed to `out`. COCO results have a score of 1. Raises TrashkitError for an existing
    `out` without `overwrite`, and for a folder that is not a submission.
    """
    profile = fit_profile(profile, dataset)
    with submission_output(out, overwrite=overwrite, kind=profile.kind).writing() as temporary:
        if profile.kind == "csv":
            with temporary.open("wb", buffering=1 << 20) as file:
                rows = ((image.file_name, labels) for image, labels in found)
                count = submission_csv.write_to(file, rows, profile.layout(dataset))
        else:
            count = formats.write_maps(found, temporary, dataset, profile)
            refuse_failures(formats.check(temporary, dataset, profile))
        digest = digest_of(temporary)
    write_note(out, dataset, digest, profile.size, **origin)
    return count


_WRITES = {
    "csv": ("a CSV file", (".csv", ".tsv", ".txt")),
    "rle-csv": ("a CSV file", (".csv", ".tsv", ".txt")),
    "coco-results": ("JSON", (".json",)),
    "png": ("a folder of PNG files", ()),
}


def submission_output(out: Path, *, overwrite: bool, kind: str = "csv") -> Output:
    """Return a submission and its note as an output. A folder without a note is kept: it may hold photos.

    kind: of the profile. Raises TrashkitError for a name whose suffix belongs to another kind of file.
    """
    check_suffix(out, *_WRITES[kind])
    note = Output(note_path(out), overwrite=overwrite, kind=OutputKind("note of a submission", is_note))
    earlier = OutputKind("submission", lambda path: path.is_file() or note_path(path).exists())
    return Output(out, overwrite=overwrite, kind=earlier, parts=(note,))


def refuse_failures(report: Report) -> None:
    """Raise TrashkitError with the first failure of a check, if there is one."""
    if report.failures:
        first = report.failures[0]
        raise TrashkitError(f"the submission is invalid: {first.file_name}: {first.message}", hint=first.cure)
