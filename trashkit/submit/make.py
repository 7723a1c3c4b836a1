"""A submission from a store of probabilities, and back from a submission to what made it."""

from __future__ import annotations

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
from trashkit.submit.check import Report, check, profile_of


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
    origin = {
        "sha256": digest,
        "trashkit": __version__,
        "store": str(store.path.absolute()),
        "store_fingerprint": store.fingerprint,
        "store_manifest": store.manifest,
        "data": str(dataset.coco.path) if dataset.coco.path else None,
        "data_sha256": dataset.coco.sha256,
        "size": list(size),
    }
    with replacing(note, overwrite=True) as temporary:
        temporary.write_text(json.dumps(origin, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Made(out, len(rows), store.size, store.size != size, len(store) - len(rows), digest, report)


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
    if sha256(path) != noted:
        raise TrashkitError(f"{path} was changed after {note} was written", hint="make the submission again")
    result: dict[str, Any] = origin
    return result
