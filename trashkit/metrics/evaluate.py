"""Evaluate predictions of any format against annotations: a confusion matrix for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.metrics.error_kinds import KINDS, ErrorCounts, error_kinds
from trashkit.metrics.scores import Confusion, confusion
from trashkit.predictions.reading import Predictions
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder, dataset_label_map


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of `evaluate`.

    images: rows of the scored images in the truth, in its order. per_image: int64 [N, C, C], their confusion matrices.
    size: (height, width) of scoring, None for native. left_out: number of images of the truth without prediction.
    errors: what is wrong with the wrong pixels, if asked for.
    """

    names: tuple[str, ...]
    images: tuple[int, ...]
    per_image: NDArray[np.int64]
    size: tuple[int, int] | None
    left_out: int
    errors: ErrorCounts | None = None

    @property
    def confusion(self) -> Confusion:
        """Confusion matrix pooled over all images."""
        return Confusion(self.per_image.sum(axis=0), self.names)

    def definitions(self) -> dict[str, float]:
        """MIoU by every definition, see `trashkit.metrics.scores.DEFINITIONS`."""
        return self.confusion.definitions(self.per_image)


def evaluate(
    predictions: Predictions,
    *,
    size: tuple[int, int] | None = (256, 256),
    order: PaintOrder = "area",
    partial: bool = False,
    errors: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Score predictions against the annotations of the data set that they were opened for.

    size: (height, width), or None for each image's native size. Truth is rasterised at native size in paint `order` and
    then sampled with ``cv2.INTER_NEAREST``; predictions are resized as in `Predictions.label_maps`. Predicted images
    that the truth lacks are left out. errors: also count wrong pixels by kind, see `trashkit.metrics.error_kinds`.
    Raises TrashkitError, naming the first, if images of the truth have no prediction, unless `partial`.
    """
    truth = predictions.dataset
    present = set(predictions.images)
    lacking = [image.file_name for image in truth.images if image.row not in present]
    if lacking and not partial:
        raise TrashkitError(
            f"{predictions.path} lacks {len(lacking)} of {len(truth)} images of the truth, first {lacking[0]}",
            hint="predict them too, or add --partial to score only the others",
        )
    classes = len(truth.classes)
    found: dict[int, NDArray[np.int64]] = {}
    wrong = np.zeros((len(KINDS), classes, classes), np.int64)
    kinds: dict[int, NDArray[np.int64]] = {}
    for row, label_map in predictions.label_maps(size):
        true_map = dataset_label_map(truth, row, order=order, size=size)
        try:
            found[row] = confusion(true_map, label_map, classes)
        except TrashkitError as error:
            name = truth.image_by_row[row].file_name
            raise TrashkitError(f"{predictions.path}, {name}: {error.message}", hint=error.hint) from error
        if errors:
            counts = error_kinds(true_map, label_map, classes)
            wrong += counts
            kinds[row] = counts.sum(axis=(1, 2))
        progress("scoring", len(found), len(present))
    rows = tuple(sorted(found))
    counted = ErrorCounts(wrong, np.stack([kinds[row] for row in rows])) if errors else None
    return Evaluation(truth.classes.names, rows, np.stack([found[row] for row in rows]), size, len(lacking), counted)


def evaluate_parts(
    parts: Sequence[Predictions],
    *,
    size: tuple[int, int] | None = (256, 256),
    order: PaintOrder = "area",
    partial: bool = False,
    errors: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Score predictions that cover a data set together, such as the out-of-fold stores of all folds.

    Arguments and errors as in `evaluate`; all parts are opened for the same data. TrashkitError for an image that two
    parts predict.
    """
    if len(parts) == 1:
        return evaluate(parts[0], size=size, order=order, partial=partial, errors=errors, progress=progress)
    truth = parts[0].dataset
    owner: dict[int, Predictions] = {}
    for part in parts:
        for row in part.images:
            if row in owner:
                name = truth.image_by_row[row].file_name
                raise TrashkitError(
                    f"{owner[row].path} and {part.path} both predict {name}",
                    hint="parts that are scored together must not overlap; average stores with trashkit ensemble",
                )
            owner[row] = part
    lacking = [image.file_name for image in truth.images if image.row not in owner]
    if lacking and not partial:
        raise TrashkitError(
            f"{len(parts)} predictions together lack {len(lacking)} of {len(truth)} images of the truth, "
            f"first {lacking[0]}",
            hint="predict them too, or add --partial to score only the others",
        )
    found = [evaluate(part, size=size, order=order, partial=True, errors=errors, progress=progress) for part in parts]
    rows = np.concatenate([part.images for part in found])
    sorting = np.argsort(rows)
    per_image = np.concatenate([part.per_image for part in found])[sorting]
    counts = [part.errors for part in found if part.errors is not None]
    counted = None
    if counts:
        per_kind = np.concatenate([one.per_image for one in counts])[sorting]
        counted = ErrorCounts(np.sum([one.pooled for one in counts], axis=0), per_kind)
    return Evaluation(truth.classes.names, tuple(rows[sorting].tolist()), per_image, size, len(lacking), counted)


def require_labels(dataset: Dataset) -> None:
    """Raise TrashkitError for a data set without annotations, such as a test file given as truth."""
    if not dataset.annotations:
        raise TrashkitError(
            f"{dataset.coco.path or 'the truth'} has no annotations, so there is nothing to score against",
            hint="give annotations as --data",
        )
