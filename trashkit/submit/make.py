"""A submission from a store of probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit import submission
from trashkit.coco import Dataset
from trashkit.files import replacing, sha256
from trashkit.predictions import class_lookup, match_rows
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities
from trashkit.submission import Profile
from trashkit.submit import other_forms
from trashkit.submit.check import Report, check, profile_of
from trashkit.submit.forms import Form, fitting
from trashkit.submit.labels import refuse_failures, refuse_out
from trashkit.submit.notes import digest_of, write_note


@dataclass(frozen=True, slots=True)
class Made:
    """Result of `make`.

    size: (height, width) of the store; `resampled` where it is not the submission's. unused: images of the store that
    the data does not ask for. report: the check that the file passed.
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
    out: Path,
    *,
    profile: Profile | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Made:
    """Write the submission of a store: the most probable class of each pixel, rows named and ordered as in `dataset`.

    Images are joined by id and file name together, never by position. A store of another size than the profile's is
    resampled before the argmax (`trashkit.store.resample`). The file is checked before it gets its name, and a note
    of what made it is written next to it (``out`` + ``.json``, see `trashkit.submit.trace`).
    Raises TrashkitError for an unfinished store, for other images or classes (naming the first), and for an `out` that
    exists.
    """
    profile = profile or profile_of(dataset)
    refuse_out(out, overwrite=overwrite)
    store.require_complete()
    rows = match_rows(store, dataset)
    lookup = class_lookup(store.classes, dataset, str(store.path))
    size = (profile.height, profile.width)

    def label_maps() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for done, (image, row) in enumerate(zip(dataset.images, rows, strict=True)):
            yield image.file_name, lookup[store.label_map(row, size)]
            progress("writing rows", done + 1, len(rows))

    with replacing(out, overwrite=overwrite) as temporary:
        with temporary.open("wb", buffering=1 << 20) as file:
            submission.write_to(file, label_maps(), profile)
        report = check(temporary, dataset, profile=profile, progress=progress)
        refuse_failures(report)
        digest = sha256(temporary)
    write_note(out, dataset, digest, size, **_origin(store))
    return Made(out, len(rows), store.size, store.size != size, len(store) - len(rows), digest, report)


def make_form(
    store: Probabilities,
    dataset: Dataset,
    out: Path,
    form: Form,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Made:
    """Write the submission of a store in any form (see `trashkit.submit.forms`); otherwise as `make`.

    A form of native size takes probabilities resampled to each image's own size.
    """
    form = fitting(form, dataset)
    if form.kind == "csv":
        return make(store, dataset, out, profile=form.profile(dataset), overwrite=overwrite, progress=progress)
    refuse_out(out, overwrite=overwrite)
    store.require_complete()
    with replacing(out, overwrite=overwrite) as temporary:
        rows = other_forms.write(store, dataset, temporary, form, progress)
        report = other_forms.check(temporary, dataset, form, progress)
        refuse_failures(report)
        digest = digest_of(temporary)
    write_note(out, dataset, digest, form.size, **_origin(store))
    resampled = form.size is None or form.size != store.size
    return Made(out, rows, store.size, resampled, len(store) - len(dataset), digest, report)


def check_form(path: Path, dataset: Dataset, form: Form, *, progress: Progress = silent) -> Report:
    """Check a submission in any form, see `trashkit.submit.check`."""
    form = fitting(form, dataset)
    if form.kind == "csv":
        return check(path, dataset, profile=form.profile(dataset), progress=progress)
    return other_forms.check(path, dataset, form, progress)


def _origin(store: Probabilities) -> dict[str, Any]:
    """What the note says of a store."""
    return {
        "store": str(store.path.absolute()),
        "store_fingerprint": store.fingerprint,
        "store_manifest": dict(store.manifest),
    }
