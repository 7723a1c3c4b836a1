"""Submissions in other formats than the competition's CSV: written from a store or label maps, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import check_image_sizes, class_lookup, match_rows
from trashkit.predictions.store import Probabilities, resample
from trashkit.progress import Progress, silent
from trashkit.submit import coco_results, png_folder, run_lengths
from trashkit.submit.check import Findings, Report
from trashkit.submit.coco_results import Scores
from trashkit.submit.profiles import SubmissionProfile, images_by_key

LabelMap = NDArray[np.uint8]


def write(
    store: Probabilities, dataset: Dataset, out: Path, profile: SubmissionProfile, progress: Progress = silent
) -> int:
    """Write the submission of a store as `out`, which must not exist; return the number of rows or files."""
    rows = dict(zip((image.row for image in dataset.images), match_rows(store, dataset), strict=True))
    lookup = class_lookup(store.classes, dataset, str(store.path))
    position = {name: n for n, name in enumerate(store.classes)}

    def label_maps() -> Iterator[tuple[Image, LabelMap]]:
        for done, image in enumerate(dataset.images):
            yield image, lookup[store.label_map(rows[image.row], profile.size or (image.height, image.width))]
            progress("writing images", done + 1, len(rows))

    def scores(image: Image) -> Callable[[int], NDArray[np.float32]]:
        probabilities = resample(store.read(rows[image.row]), (image.height, image.width))
        return lambda index: probabilities[position[dataset.classes.names[index]]]

    return write_maps(label_maps(), out, dataset, profile, scores)


def write_maps(
    found: Iterable[tuple[Image, LabelMap]],
    out: Path,
    dataset: Dataset,
    profile: SubmissionProfile,
    scores: Scores | None = None,
) -> int:
    """Write label maps as a submission; return the number of rows or files. scores: of COCO results, 1 without."""
    keys = {image.row: key for key, image in images_by_key(dataset, profile).items()}
    keyed = ((image, keys[image.row], labels) for image, labels in found)
    if profile.kind == "png":
        return png_folder.write(keyed, out, profile)
    if profile.kind == "rle-csv":
        return run_lengths.write(keyed, out, profile, len(dataset.classes))
    return coco_results.write(keyed, out, dataset, scores)


def check(path: Path, dataset: Dataset, profile: SubmissionProfile, progress: Progress = silent) -> Report:
    """Check a submission as `trashkit.submit.check` checks a CSV.

    Raises TrashkitError only where the file or folder cannot be read at all.
    """
    check_image_sizes(dataset)
    if not path.exists() or path.is_dir() != (profile.kind == "png"):
        kind = "folder of PNG files" if profile.kind == "png" else "file"
        raise TrashkitError(f"{path} is not a {kind}", hint="give a submission of the profile's kind")
    found = Findings()
    checks = {"png": png_folder.check, "rle-csv": run_lengths.check, "coco-results": coco_results.check}
    rows = checks[profile.kind](path, dataset, profile, found, progress)
    shares = found.pixels[: len(dataset.classes)] / max(int(found.pixels.sum()), 1)
    names = dataset.classes.names
    return Report(path, rows, len(dataset), names, shares, tuple(found.failures), tuple(found.warnings))
