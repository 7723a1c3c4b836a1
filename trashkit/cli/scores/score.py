"""``trashkit score``: score predictions against annotations."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.options import Classes, CsvSize, Json, PaintOrder, Size, Truth
from trashkit.cli.output import command, note, progress, project_knows, show, table, unused

if TYPE_CHECKING:
    from trashkit.workflows.score import FileScores


def score(
    predicted: Annotated[
        list[Path],
        typer.Argument(
            metavar="PRED...",
            help="Probability store, submission CSV, COCO file or run folder; several together cover the annotations.",
        ),
    ],
    truth: Truth,
    size: Size = 256,
    native: Annotated[bool, typer.Option("--native", help="Compare each image at its native size instead.")] = False,
    csv_size: CsvSize = 256,
    order: PaintOrder = "area",
    partial: Annotated[
        bool, typer.Option("--partial", help="Score only the predicted images, if some are missing.")
    ] = False,
    errors: Annotated[
        bool, typer.Option("--errors", help="Also say what is wrong with the wrong pixels, and what each kind costs.")
    ] = False,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Score predictions: mIoU by every common definition, and IoU, precision and recall of each class.

    A run folder means its out-of-fold stores: the held-out photos of all its folds are scored together.
    Images are matched by id and file name. The mIoU shown pools one confusion matrix over all images, background
    included; a class that is in neither truth nor prediction is skipped.

    With --errors, each wrong pixel is a missed object, an invented object, a wrong class, or a boundary (the predicted
    class is right within 2 % of the picture's diagonal). For each kind: the mIoU without it, its classes, and the
    photos with most of it.

    Examples:

      trashkit score runs/five-folds --data train.json

      trashkit score runs/five-folds --data train.json --errors

      trashkit score submission.csv --data test_labels.json --json

      trashkit score runs/first/oof --data train.json --native --partial
    """
    from trashkit.metrics.scores import DEFAULT_DEFINITION
    from trashkit.metrics.summary import miou_text
    from trashkit.workflows.score import ScoringOptions, score_files

    options = ScoringOptions(
        size=None if native else size, csv_size=csv_size, order=order, partial=partial, classes=classes, errors=errors
    )
    with progress() as report:
        found = score_files(predicted, truth, options, progress=report)
    if found.evaluation.left_out:
        note(f"{found.evaluation.left_out} images of the truth have no prediction and were left out")
    if found.extra:
        note(f"{found.extra} predicted images are not in the truth and were left out")
    if len(found.paths) > 1:
        note(f"scored together: {', '.join(map(str, found.paths))}")
    low, high = found.interval
    iou = found.evaluation.confusion.iou().tolist()
    human = [
        f"mIoU {found.miou:.4f} ({DEFAULT_DEFINITION}; 95 % of resampled image sets: {low:.4f} to {high:.4f})",
        f"mIoU {miou_text(found.miou, iou, digits=4)}",
        *_tables(found, "native size" if native else f"{size}x{size}"),
        *_errors(found),
    ]
    show(
        {**found.as_json(), "size": "native" if native else size, "order": order},
        json=json,
        human=human,
        next=_next(predicted),
    )


def _next(predicted: list[Path]) -> str:
    """In a project with a test set: predict it with the run that was scored."""
    from trashkit.predictions.store import is_store
    from trashkit.runs.folder import OOF

    if len(predicted) != 1 or not predicted[0].is_dir() or not (project_knows("test") and project_knows("images")):
        return ""
    run = predicted[0]
    if is_store(run):
        if run.name != OOF:
            return ""
        run = run.parent
    return command("predict", run, "--data", "TEST.json", "--images", "DIR", "--out", unused(run / "test"))


def _errors(scores: FileScores) -> list[Any]:
    from trashkit.metrics.error_kinds import summaries

    found = scores.evaluation
    if found.errors is None:
        return []
    kinds = summaries(found.errors, found.confusion)
    wrong = max(1, sum(one.pixels for one in kinds))
    classes = [name for name in found.names if any(one.per_class[name] for one in kinds)]
    worst = [", ".join(name for name, _ in scores.worst(number, 3)) for number in range(len(kinds))]
    return [
        f"{wrong / max(1, found.confusion.matrix.sum()):.1%} of all pixels are wrong",
        table(
            ["error", "share of wrong pixels", "mIoU if fixed", "gain", "worst images"],
            [
                [one.kind, f"{one.share:.1%}", one.miou, f"{one.gain:+.4f}", names or "–"]
                for one, names in zip(kinds, worst, strict=True)
            ],
        ),
        table(
            ["share of wrong pixels", *(one.kind for one in kinds)],
            [[name, *(f"{one.per_class[name] / wrong:.1%}" for one in kinds)] for name in classes],
        ),
    ]


def _tables(scores: FileScores, at: str) -> list[Any]:
    found = scores.evaluation
    pooled = found.confusion
    iou, precision, recall = (values.tolist() for values in (pooled.iou(), pooled.precision(), pooled.recall()))
    ranges = ["–" if isnan(low) else f"{low:.3f} to {high:.3f}" for low, high in scores.class_intervals]
    return [
        f"{len(found.images)} images at {at}, pixel accuracy {pooled.pixel_accuracy():.4f}",
        table(
            ["class", "IoU", "95 % of image sets", "precision", "recall"],
            list(zip(found.names, iou, ranges, precision, recall, strict=True)),
        ),
        table(["mIoU by definition", "value"], list(found.definitions().items())),
    ]
