"""The HTML page of the difference between two submissions: classes, and the images that changed most."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap, Dataset, Image
from trashkit.images.photos import photo_path, read_photo
from trashkit.predictions.reading import images_by_name
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Progress, silent
from trashkit.report.html import Card, Html, figure, gallery, heading, join, matrix, page, paragraph, picture, table
from trashkit.report.overlay import overlay, side_by_side
from trashkit.submit.compare import Difference
from trashkit.submit.labels import open_submission
from trashkit.submit.profiles import SubmissionProfile

Pixels = NDArray[np.uint8]

SHOWN = 40
_CHANGED = np.array([255, 40, 220], np.uint8)


def class_rows(found: Difference, names: tuple[str, ...]) -> list[list[object]]:
    """Rows (class, pixels in A, in B, their difference, in both, IoU of A with B), None where it is in neither."""
    before, after, both = found.matrix.sum(axis=1), found.matrix.sum(axis=0), np.diag(found.matrix)
    union = before + after - both
    return [
        [name, int(b), int(a), int(a - b), int(same), float(same / whole) if whole else None]
        for name, b, a, same, whole in zip(names, before, after, both, union, strict=True)
    ]


CLASS_COLUMNS = ("class", "pixels in A", "pixels in B", "difference", "in both", "IoU of A and B")


def diff_page(
    first: Path,
    second: Path,
    found: Difference,
    dataset: Dataset,
    *,
    layout: CsvLayout,
    profile: SubmissionProfile | None = None,
    images: Path | None = None,
    most: int = SHOWN,
    progress: Progress = silent,
) -> str:
    """The page of what `trashkit.submit.compare.diff` found, with pictures of the `most` changed images.

    images: folder of the photos; without it regions are drawn on grey. Raises TrashkitError for a photo that cannot be
    read.
    """
    names = dataset.classes.names
    shares = found.matrix / np.maximum(found.matrix.sum(axis=1, keepdims=True), 1)
    pieces: list[Html] = [
        paragraph(f"A: {first}", css="note"),
        paragraph(f"B: {second}", css="note"),
        paragraph(f"{found.changed:,} pixels ({found.share:.2%}) differ in {len(found.images)} images.", css="lead"),
        heading("Classes"),
        table(CLASS_COLUMNS, class_rows(found, names)),
        matrix("Of each class in A (rows), the share that is each class in B", shares, names, names),
        heading("Images with the largest changes"),
        paragraph("From left to right: A, B, and in pink the pixels that differ.", css="note"),
    ]
    for path, only in ((first, found.only_a), (second, found.only_b)):
        if only:
            pieces.insert(3, paragraph(f"{len(only)} images are only in {path}, first {only[0]}.", css="note"))
    known = images_by_name(dataset)
    chosen = [(name, changed) for name, changed in found.images[:most] if changed]
    cards: list[Card] = []
    with (
        open_submission(first, layout, profile, dataset) as one,
        open_submission(second, layout, profile, dataset) as other,
    ):
        for done, (name, changed) in enumerate(chosen):
            before, after = one.read(name), other.read(name)
            photo = _photo(images, known.get(name), (before.shape[0], before.shape[1]))
            moves = _largest_changes(before, after, dataset.classes)
            shown = drawn(photo, before, after, dataset.classes)
            body = [
                figure(f"{changed / found.pixels[name]:.1%} of its pixels differ", picture(shown, alt=name)),
                paragraph(moves),
            ]
            cards.append(Card(name, join(body), {"largest change": moves.split(":")[0]}))
            progress("drawing pictures", done + 1, len(chosen))
    pieces.append(gallery(cards) if cards else paragraph("Nothing differs."))
    return page("Two submissions", pieces)


def _photo(folder: Path | None, image: Image | None, size: tuple[int, int]) -> Pixels:
    """The photo at (height, width), grey without a folder."""
    if folder is None or image is None:
        return np.full((*size, 3), 96, np.uint8)
    whole = read_photo(photo_path(folder, image.file_name), (image.width, image.height))
    return np.asarray(cv2.resize(whole, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def drawn(photo: Pixels, before: Pixels, after: Pixels, classes: ClassMap) -> Pixels:
    """Both label maps on the photo, and the photo with the pixels that differ in pink; RGB side by side."""
    marked = photo // 2
    marked[before != after] = _CHANGED
    return side_by_side([overlay(photo, before, classes), overlay(photo, after, classes), marked])


def _largest_changes(before: Pixels, after: Pixels, classes: ClassMap) -> str:
    """Describe the three largest changes of class, the largest first."""
    differs = before != after
    pairs, counts = np.unique(before[differs].astype(np.int64) * 256 + after[differs], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    return "; ".join(
        f"{classes.names[pairs[n] // 256]} to {classes.names[pairs[n] % 256]}: {counts[n]:,} pixels" for n in order
    )
