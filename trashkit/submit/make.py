"""Write the submission of a probability store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.files import sha256
from trashkit.predictions import submission_csv
from trashkit.predictions.reading import class_lookup, match_rows
from trashkit.predictions.store import Probabilities
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Progress, silent
from trashkit.submit import formats
from trashkit.submit.check import Report, check, layout_for
from trashkit.submit.labels import refuse_failures, submission_output
from trashkit.submit.notes import digest_of, write_note
from trashkit.submit.profiles import SubmissionProfile, fit_profile


@dataclass(frozen=True, slots=True)
class WrittenSubmission:
    """Result of `make`.

    size: (height, width) of the store; `resampled` where the submission has another. unused: images of the store that
    are not in the data. report: the check that the file passed.
    """

    path: Path
    rows: int
    size: tuple[int, int]
    resampled: bool
    unused: int
    sha256: str
    report: Report


def make(
    store: Probabilities,
    dataset: Dataset,
    out: str | Path,
    *,
    layout: CsvLayout | None = None,
    train: Dataset | None = None,
    against: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> WrittenSubmission:
    """Write the submission of a store: the most probable class of each pixel, rows named and ordered as in `dataset`.

    Images are joined by id and file name together, never by position. A store of another size than the profile's is
    resampled before the argmax (`trashkit.predictions.store.resample`). The file is checked before it gets its name,
    with `train` and `against` as `trashkit.submit.check` takes them, and a note of what made it is written next to it
    (``out`` + ``.json``, see `trashkit.submit.trace`).
    Raises TrashkitError for an unfinished store, for other images or classes (naming the first), and for an `out` that
    exists.
    """
    out = Path(out)
    layout = layout or layout_for(dataset)
    output = submission_output(out, overwrite=overwrite)
    output.check()
    store.require_complete()
    rows = match_rows(store, dataset)
    lookup = class_lookup(store.classes, dataset, str(store.path))
    size = (layout.height, layout.width)

    def label_maps() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for done, (image, row) in enumerate(zip(dataset.images, rows, strict=True)):
            yield image.file_name, lookup[store.label_map(row, size)]
            progress("writing rows", done + 1, len(rows))

    with output.writing() as temporary:
        with temporary.open("wb", buffering=1 << 20) as file:
            submission_csv.write_to(file, label_maps(), layout)
        report = check(temporary, dataset, layout=layout, train=train, against=against, progress=progress)
        refuse_failures(report)
        digest = sha256(temporary)
    write_note(out, dataset, digest, size, **_origin(store))
    return WrittenSubmission(out, len(rows), store.size, store.size != size, len(store) - len(rows), digest, report)


def make_with_profile(
    store: Probabilities,
    dataset: Dataset,
    out: Path,
    profile: SubmissionProfile,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> WrittenSubmission:
    """Write the submission of a store in the format of a profile (`trashkit.submit.profiles`); otherwise as `make`.

    For native size, probabilities are resampled to each image's own size.
    """
    profile = fit_profile(profile, dataset)
    if profile.kind == "csv":
        return make(store, dataset, out, layout=profile.layout(dataset), overwrite=overwrite, progress=progress)
    output = submission_output(out, overwrite=overwrite, kind=profile.kind)
    output.check()
    store.require_complete()
    with output.writing() as temporary:
        rows = formats.write(store, dataset, temporary, profile, progress)
        report = formats.check(temporary, dataset, profile, progress)
        refuse_failures(report)
        digest = digest_of(temporary)
    write_note(out, dataset, digest, profile.size, **_origin(store))
    resampled = profile.size is None or profile.size != store.size
    return WrittenSubmission(out, rows, store.size, resampled, len(store) - len(dataset), digest, report)


def check_with_profile(
    path: Path, dataset: Dataset, profile: SubmissionProfile, *, progress: Progress = silent
) -> Report:
    """Check a submission in the format of a profile, see `trashkit.submit.check`."""
    profile = fit_profile(profile, dataset)
    if profile.kind == "csv":
        return check(path, dataset, layout=profile.layout(dataset), progress=progress)
    return formats.check(path, dataset, profile, progress)


def _origin(store: Probabilities) -> dict[str, Any]:
    """The entries of the note about a store."""
    return {
        "store": str(store.path.absolute()),
        "store_fingerprint": store.fingerprint,
        "store_manifest": dict(store.manifest),
    }
