"""A submission from a store of probabilities, and back from a submission to what made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit import __version__, submission
from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, replacing, sha256
from trashkit.predictions import class_lookup, match_rows
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities
from trashkit.submission import Profile
from trashkit.submit import other_forms
from trashkit.submit.check import Report, check, profile_of
from trashkit.submit.forms import Form, fitting


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
    of what made it is written next to it (``out`` + ``.json``, see `trace`).
    Raises TrashkitError for an unfinished store, for other images or classes (naming the first), and for an `out` that
    exists.
    """
    profile = profile or profile_of(dataset)
    note = _note_path(out)
    refuse_existing(out, overwrite=overwrite)
    refuse_existing(note, overwrite=overwrite)
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
        if report.failures:
            first = report.failures[0]
            raise TrashkitError(f"the submission fails its check: {first.file_name}: {first.message}", hint=first.cure)
        digest = sha256(temporary)
    _write_note(out, store, dataset, digest, size)
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
    refuse_existing(out, overwrite=overwrite)
    refuse_existing(_note_path(out), overwrite=overwrite)
    if overwrite and out.is_dir() and not _note_path(out).exists():
        # A mistyped --out must not cost a folder of photos.
        raise TrashkitError(f"{out} is a folder that no submission made, so it is kept", hint="choose another --out")
    store.require_complete()
    with replacing(out, overwrite=overwrite) as temporary:
        rows = other_forms.write(store, dataset, temporary, form, progress)
        report = other_forms.check(temporary, dataset, form, progress)
        if report.failures:
            first = report.failures[0]
            raise TrashkitError(f"the submission fails its check: {first.file_name}: {first.message}", hint=first.cure)
        digest = _digest(temporary)
    _write_note(out, store, dataset, digest, form.size)
    resampled = form.size is None or form.size != store.size
    return Made(out, rows, store.size, resampled, len(store) - len(dataset), digest, report)


def check_form(path: Path, dataset: Dataset, form: Form, *, progress: Progress = silent) -> Report:
    """Check a submission in any form, see `trashkit.submit.check`."""
    form = fitting(form, dataset)
    if form.kind == "csv":
        return check(path, dataset, profile=form.profile(dataset), progress=progress)
    return other_forms.check(path, dataset, form, progress)


def _digest(path: Path) -> str:
    """SHA-256 of a file, or over the names and hashes of a folder's files."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    text = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_note(out: Path, store: Probabilities, dataset: Dataset, digest: str, size: tuple[int, int] | None) -> None:
    """What made a submission, next to it; see `trace`."""
    origin = {
        "sha256": digest,
        "trashkit": __version__,
        "store": str(store.path.absolute()),
        "store_fingerprint": store.fingerprint,
        "store_manifest": store.manifest,
        "data": str(dataset.coco.path) if dataset.coco.path else None,
        "data_sha256": dataset.coco.sha256,
        "size": list(size) if size else None,
    }
    with replacing(_note_path(out), overwrite=True) as temporary:
        temporary.write_text(json.dumps(origin, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def trace(path: Path) -> dict[str, Any]:
    """What a submission was made from, as `make` noted it: its store, that store's manifest, data and their hashes.

    Raises TrashkitError where the note is missing, or the file was changed since.
    """
    note = _note_path(path)
    try:
        origin = json.loads(note.read_text(encoding="utf-8"))
        noted = origin["sha256"]
    except OSError as error:
        raise TrashkitError(
            f"{path} has no note of what made it: {note} is missing", hint="trashkit submit make writes one"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrashkitError(f"{note} is damaged", hint="make the submission again") from error
    if not path.exists():
        raise TrashkitError(f"there is no file {path}", hint="give a submission CSV that exists")
    if _digest(path) != noted:
        raise TrashkitError(f"{path} was changed after {note} was written", hint="make the submission again")
    result: dict[str, Any] = origin
    return result
