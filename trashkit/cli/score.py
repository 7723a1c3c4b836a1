"""``trashkit score``: a store, a submission or a COCO file against the truth."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, command, note, progress, show, table
from trashkit.cli.submit_form import paint_order

if TYPE_CHECKING:
    from trashkit.evaluate import Evaluation


def score(
    predicted: Annotated[
        list[Path],
        typer.Argument(
            metavar="PRED...", help="Store, submission CSV, COCO file or run folder; several cover the truth together."
        ),
    ],
    truth: Annotated[Path, typer.Option("--truth", help="COCO file with the true annotations.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Side in pixels at which images are compared.")] = 256,
    native: Annotated[bool, typer.Option("--native", help="Compare each image at its own size instead.")] = False,
    csv_size: Annotated[int, typer.Option("--csv-size", min=1, help="Side of the label maps in a CSV.")] = 256,
    order: Annotated[str, typer.Option("--order", help="Paint order: area, class, length or file.")] = "area",
    partial: Annotated[
        bool, typer.Option("--partial", help="Score the predicted images alone where some are missing.")
    ] = False,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Score predictions: mIoU in every definition, and IoU, precision and recall of each class.

    A run folder stands for its out-of-fold stores: those of all folds are scored as one.
    Images are joined by id and file name. The mIoU shown pools one confusion matrix over all images, background
    included; a class that neither side has is skipped.

    Examples:

      trashkit score runs/five-folds --truth train.json

      trashkit score submission.csv --truth test_labels.json --json

      trashkit score runs/first/oof --truth train.json --native --partial
    """
    from trashkit.coco import read_dataset
    from trashkit.evaluate import evaluate_parts, require_labels
    from trashkit.predictions import open_predictions, out_of_fold
    from trashkit.scores import SHOWN_DEFINITION, bootstrap_iou, bootstrap_miou, interval
    from trashkit.submission import Profile

    wanted = paint_order(order)
    dataset = read_dataset(truth, classes=classes)
    require_labels(dataset)
    profile = Profile(height=csv_size, width=csv_size, classes=len(dataset.classes))
    paths = [path for given in predicted for path in out_of_fold(given)]
    parts = [open_predictions(path, dataset, profile=profile, order=wanted, classes=classes) for path in paths]
    with progress() as report:
        found = evaluate_parts(
            parts, size=None if native else (size, size), order=wanted, partial=partial, progress=report
        )
    extra = sum(part.extra for part in parts)
    if found.left_out:
        note(f"{found.left_out} images of the truth have no prediction and were left out")
    if extra:
        note(f"{extra} predicted images are not in the truth and were left out")
    if len(paths) > 1:
        note(f"scored as one: {', '.join(map(str, paths))}")
    low, high = interval(bootstrap_miou(found.per_image))
    by_class = [interval(values) for values in bootstrap_iou(found.per_image).T]
    miou = found.definitions()[SHOWN_DEFINITION]
    result = {
        "miou": miou,
        "definition": SHOWN_DEFINITION,
        "interval": [low, high],
        "per_class_interval": dict(zip(found.names, by_class, strict=True)),
        **_measured(found),
        "left_out": found.left_out,
        "extra": extra,
        "predictions": paths,
        "size": "native" if native else size,
        "order": wanted,
    }
    human = [
        f"mIoU {miou:.4f} ({SHOWN_DEFINITION}; 95 % of resampled image sets: {low:.4f} to {high:.4f})",
        *_tables(found, by_class, "native size" if native else f"{size}x{size}"),
    ]
    following = "" if native else command("score", *predicted, "--truth", truth, "--native")
    show(result, json=json, human=human, next=following)


def _measured(found: Evaluation) -> dict[str, Any]:
    pooled = found.confusion

    def by_name(values: Any) -> dict[str, Any]:
        return dict(zip(found.names, values.tolist(), strict=True))

    return {
        "per_class": by_name(pooled.iou()),
        "definitions": found.definitions(),
        "precision": by_name(pooled.precision()),
        "recall": by_name(pooled.recall()),
        "pixel_accuracy": pooled.pixel_accuracy(),
        "pixels": by_name(pooled.support()),
        "images": len(found.images),
        "confusion": pooled.matrix,
    }


def _tables(found: Evaluation, intervals: list[tuple[float, float]], at: str) -> list[Any]:
    pooled = found.confusion
    iou, precision, recall = (values.tolist() for values in (pooled.iou(), pooled.precision(), pooled.recall()))
    ranges = ["–" if isnan(low) else f"{low:.3f} to {high:.3f}" for low, high in intervals]
    return [
        f"{len(found.images)} images at {at}, pixel accuracy {pooled.pixel_accuracy():.4f}",
        table(
            ["class", "IoU", "95 % of image sets", "precision", "recall"],
            list(zip(found.names, iou, ranges, precision, recall, strict=True)),
        ),
        table(["mIoU by definition", "value"], list(found.definitions().items())),
    ]
