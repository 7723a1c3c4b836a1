"""Photos for the page of a run: best, worst, and for each class those with most false negatives and positives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_path, read_photo
from trashkit.metrics.error_kinds import ErrorCounts, error_kinds
from trashkit.metrics.scores import Matrix, confusion, per_image_miou
from trashkit.predictions.reading import check_native_sizes
from trashkit.predictions.store import Probabilities
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder, dataset_label_map
from trashkit.report.calibration import Calibration
from trashkit.report.html import Card, Html, figure, join, picture
from trashkit.report.overlay import overlay

EACH = 6
"""Number of photos for each kind and class."""
SHOWN = 240
"""Longest side in pixels of a picture on the page."""


@dataclass(frozen=True, eq=False)
class StoreScores:
    """Confusion matrices int64 [N, C, C], one per row of a store; the calibration and wrong pixels of all of them."""

    per_image: Matrix
    calibration: Calibration
    errors: ErrorCounts


def score_store(
    store: Probabilities, dataset: Dataset, order: PaintOrder = "area", progress: Progress = silent
) -> StoreScores:
    """Score every image of a store at the store's size. Raises TrashkitError if the data set lacks one."""
    missing = [image_id for image_id in store.image_ids if image_id not in dataset.image_by_id]
    if missing:
        raise TrashkitError(
            f"{dataset.coco.path} lacks {len(missing)} of the run's validation images, such as id {missing[0]!r}",
            hint="give the annotations that the run was trained on as --data",
        )
    if tuple(store.classes) != tuple(dataset.classes.names):
        raise TrashkitError(
            f"{store.path} has the classes {', '.join(store.classes)}, {dataset.coco.path} has "
            f"{', '.join(dataset.classes.names)}",
            hint="give the annotations and --classes that the run was trained on",
        )
    check_native_sizes(store, [(dataset.image_by_id[one], row) for row, one in enumerate(store.image_ids)])
    store.require_complete()
    total, found, wrong = Calibration.empty(), [], []
    for row, image_id in enumerate(store.image_ids):
        values = store.read(row)
        truth = dataset_label_map(dataset, dataset.image_by_id[image_id].row, order=order, size=store.size)
        # label_map breaks ties the same way everywhere
        guess = store.label_map(row)
        found.append(confusion(truth, guess, len(dataset.classes)))
        wrong.append(error_kinds(truth, guess, len(dataset.classes)))
        total = total + Calibration.of(values, truth)
        progress("scoring photos", row + 1, len(store))
    pooled, per_image = np.sum(wrong, axis=0), np.stack([kinds.sum(axis=(1, 2)) for kinds in wrong])
    return StoreScores(np.stack(found), total, ErrorCounts(pooled, per_image))


MIN_ERROR_SHARE = 0.0005
"""Photos with a smaller share of wrong pixels are not shown."""


@dataclass(frozen=True, slots=True)
class SelectedPhoto:
    """A photo to show. row: in the store. kind: "best", "worst", "missed" or "false positive". name: of the class, or
    empty."""

    row: int
    kind: str
    name: str
    note: str


def select_photos(per_image: Matrix, names: Sequence[str], each: int = EACH) -> list[SelectedPhoto]:
    """The photos to show: by their mIoU, and for each class but background by missed and false positive pixels.

    per_image: confusion matrices int64 [N, C, C], rows truth, columns prediction.
    """
    scores = per_image_miou(per_image)
    known = [int(row) for row in np.argsort(scores, kind="stable") if not np.isnan(scores[row])]
    worst = known[: min(each, -(-len(known) // 2))]
    best = known[::-1][: min(each, len(known) - len(worst))]  # no photo is in both
    found = [SelectedPhoto(row, "worst", "", f"mIoU {scores[row]:.3f}") for row in worst]
    found += [SelectedPhoto(row, "best", "", f"mIoU {scores[row]:.3f}") for row in best]
    hits = np.diagonal(per_image, axis1=1, axis2=2)
    wrong = {"missed": per_image.sum(axis=2) - hits, "false positive": per_image.sum(axis=1) - hits}
    for index in range(1, len(names)):
        for kind, pixels in wrong.items():
            order = np.argsort(-pixels[:, index], kind="stable")[:each]
            found += [
                SelectedPhoto(int(row), kind, names[index], _note(per_image[row], names, index, kind))
                for row in order
                if pixels[row, index] > MIN_ERROR_SHARE * per_image[row].sum()
            ]
    return found


def _note(matrix: NDArray[np.int64], names: Sequence[str], index: int, kind: str) -> str:
    line = (matrix[index] if kind == "missed" else matrix[:, index]).copy()
    line[index] = 0
    other = int(line.argmax())
    share = line.sum() / matrix.sum()
    word = "predicted as" if kind == "missed" else "where the truth is"
    return f"{share:.1%} of the pixels, mostly {word} {names[other]}"


def cards(
    selected: Sequence[SelectedPhoto],
    store: Probabilities,
    dataset: Dataset,
    folder: Path,
    *,
    order: PaintOrder = "area",
    progress: Progress = silent,
) -> list[Card]:
    """A card for each photo, which shows it with the truth and with the prediction. Each photo is drawn once."""
    drawn: dict[int, Html] = {}
    made = []
    for n, one in enumerate(selected):
        if one.row not in drawn:
            drawn[one.row] = _pair(one.row, store, dataset, folder, order)
        title = f"{one.kind}: {one.name}" if one.name else one.kind
        body = join([drawn[one.row], Html("<p>"), f"{store.file_names[one.row]}: {one.note}", Html("</p>")])
        made.append(Card(title, body, {"what": one.kind, "class": one.name or "the whole photo"}))
        progress("drawing photos", n + 1, len(selected))
    return made


def _pair(row: int, store: Probabilities, dataset: Dataset, folder: Path, order: PaintOrder) -> Html:
    image = dataset.image_by_id[store.image_ids[row]]
    photo = read_photo(photo_path(folder, image.file_name), (image.width, image.height))
    scale = min(1.0, SHOWN / max(photo.shape[:2]))
    size = (max(1, round(photo.shape[0] * scale)), max(1, round(photo.shape[1] * scale)))
    shown = _small(photo, size)
    truth = dataset_label_map(dataset, image.row, order=order, size=size)
    guess = store.label_map(row, size)
    parts = [
        figure(name, picture(overlay(shown, labels, dataset.classes), alt=name, quality=75))
        for name, labels in (("truth", truth), ("prediction", guess))
    ]
    return Html(f'<div class="pair">{join(parts)}</div>')


def _small(photo: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(photo, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
