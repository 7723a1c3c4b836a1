"""Score and compare prediction files against the annotations of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.leaderboard.compare import RESAMPLES, Comparison, compare, paired
from trashkit.metrics.error_kinds import NEAR, ErrorCounts, summaries
from trashkit.metrics.evaluate import Evaluation, evaluate_parts, require_labels
from trashkit.metrics.scores import DEFAULT_DEFINITION, bootstrap_iou, bootstrap_miou, interval
from trashkit.metrics.summary import finds_almost_nothing, without_background
from trashkit.predictions.reading import Predictions, open_predictions, out_of_fold
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder

WORST = 5
"""Number of images listed for each kind of errors."""


@dataclass(frozen=True)
class ScoringOptions:
    """How predictions are scored.

    size: side in pixels at which label maps are compared, None for the native size. csv_size: side of the label maps of
    a CSV. order, classes: paint order and class map of annotations. partial: whether images may lack a prediction.
    errors: whether wrong pixels are counted by kind.
    """

    size: int | None = 256
    csv_size: int = 256
    order: PaintOrder = "area"
    partial: bool = False
    classes: str | None = None
    errors: bool = False

    @property
    def shape(self) -> tuple[int, int] | None:
        """(height, width) of the label maps, None for the native size."""
        return None if self.size is None else (self.size, self.size)

    def read_truth(self, path: Path) -> Dataset:
        """Read the annotations; TrashkitError if there are none."""
        dataset = read_dataset(path, classes=self.classes)
        require_labels(dataset)
        return dataset

    def open(self, paths: Sequence[Path], dataset: Dataset) -> list[Predictions]:
        """Open prediction files for a data set."""
        layout = CsvLayout(height=self.csv_size, width=self.csv_size, classes=len(dataset.classes))
        return [
            open_predictions(path, dataset, layout=layout, order=self.order, classes=self.classes) for path in paths
        ]

    def evaluate(
        self, given: Sequence[Path], dataset: Dataset, *, progress: Progress = silent
    ) -> tuple[Evaluation, list[Predictions]]:
        """Evaluate stores, CSVs, COCO files or run folders that cover a data set together; also what was opened.

        A run folder means its out-of-fold stores: where only run folders are given, only the photos that they held out
        are evaluated. TrashkitError as in `trashkit.metrics.evaluate.evaluate_parts`.
        """
        stores = [out_of_fold(path, partial=self.partial) for path in given]
        runs = all(found != [path] for path, found in zip(given, stores, strict=True))
        parts = self.open([path for found in stores for path in found], dataset)
        found = evaluate_parts(
            parts,
            size=self.shape,
            order=self.order,
            partial=self.partial or runs,
            errors=self.errors,
            progress=progress,
        )
        return found, parts


@dataclass(frozen=True, eq=False)
class FileScores:
    """Scores of prediction files.

    files: file names of the scored images. paths: the prediction files; a run folder is replaced by its out-of-fold
    stores. extra: number of predicted images that the truth lacks. miou: by `DEFAULT_DEFINITION`. interval,
    class_intervals: 95 % of resampled image sets.
    """

    evaluation: Evaluation
    files: tuple[str, ...]
    paths: tuple[Path, ...]
    extra: int
    miou: float
    interval: tuple[float, float]
    class_intervals: tuple[tuple[float, float], ...]

    def as_json(self) -> dict[str, Any]:
        """JSON object, without the options of the scoring."""
        found = self.evaluation
        pooled = found.confusion

        def by_name(values: Any) -> dict[str, Any]:
            return dict(zip(found.names, values.tolist(), strict=True))

        return {
            "miou": self.miou,
            "miou_without_background": without_background(pooled.iou().tolist()),
            "finds_almost_nothing": finds_almost_nothing(pooled.iou().tolist()),
            "definition": DEFAULT_DEFINITION,
            "interval": list(self.interval),
            "per_class_interval": dict(zip(found.names, self.class_intervals, strict=True)),
            "per_class": by_name(pooled.iou()),
            "definitions": found.definitions(),
            "precision": by_name(pooled.precision()),
            "recall": by_name(pooled.recall()),
            "pixel_accuracy": pooled.pixel_accuracy(),
            "pixels": by_name(pooled.support()),
            "images": len(found.images),
            "confusion": pooled.matrix,
            "left_out": found.left_out,
            "extra": self.extra,
            "predictions": list(self.paths),
            **({"errors": self._errors(found.errors)} if found.errors is not None else {}),
        }

    def _errors(self, errors: ErrorCounts) -> dict[str, Any]:
        return {
            "wrong_pixels": int(errors.per_image.sum()),
            "boundary_width": NEAR,
            "kinds": {
                one.kind.replace(" ", "_"): {
                    "pixels": one.pixels,
                    "share": one.share,
                    "miou_if_fixed": one.miou,
                    "gain": one.gain,
                    "per_class": one.per_class,
                    "worst": [{"file_name": name, "pixels": pixels} for name, pixels in self.worst(number)],
                }
                for number, one in enumerate(summaries(errors, self.evaluation.confusion))
            },
        }

    def worst(self, kind: int, most: int = WORST) -> list[tuple[str, int]]:
        """File names and wrong pixels of the images with most errors of a kind; none unless errors were counted."""
        errors = self.evaluation.errors
        if errors is None:
            return []
        return [(self.files[row], int(errors.per_image[row, kind])) for row in errors.worst(kind, most)]


def score_files(
    predicted: Sequence[Path], truth: Path, options: ScoringOptions, *, progress: Progress = silent
) -> FileScores:
    """Score stores, CSVs, COCO files or run folders that cover a data set together, as `ScoringOptions.evaluate`."""
    dataset = options.read_truth(truth)
    found, parts = options.evaluate(predicted, dataset, progress=progress)
    return FileScores(
        evaluation=found,
        files=tuple(dataset.image_by_row[row].file_name for row in found.images),
        paths=tuple(part.path for part in parts),
        extra=sum(part.extra for part in parts),
        miou=found.definitions()[DEFAULT_DEFINITION],
        interval=interval(bootstrap_miou(found.per_image)),
        class_intervals=tuple(interval(values) for values in bootstrap_iou(found.per_image).T),
    )


@dataclass(frozen=True)
class FileComparison:
    """Comparison of two predictions. truth_images: images of the truth, of which both may predict only a part."""

    comparison: Comparison
    truth_images: int


def compare_files(
    first: Path,
    second: Path,
    truth: Path,
    options: ScoringOptions,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    progress: Progress = silent,
) -> FileComparison:
    """Compare two predictions (stores, CSVs, COCO files or run folders) by a paired bootstrap over images.

    See `trashkit.leaderboard.compare.compare`. TrashkitError if they have no image in common.
    """
    dataset = options.read_truth(truth)
    scored = [options.evaluate([path], dataset, progress=progress)[0] for path in (first, second)]
    matrices = paired(*scored)
    if not len(matrices[0]):
        raise TrashkitError(f"{first} and {second} have no image in common", hint="compare predictions of one data set")
    found = compare(*matrices, dataset.classes.names, resamples=resamples, seed=seed, level=level)
    return FileComparison(found, len(dataset))
