"""``trashkit score``: a store, a submission or a COCO file against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, command, note, progress, show, table
from trashkit.cli.submit import paint_order


def score(
    predicted: Annotated[Path, typer.Argument(metavar="PRED", help="Store, submission CSV or COCO file.")],
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

    Images are joined by id and file name. The mIoU shown pools one confusion matrix over all images, background
    included; a class that neither side has is skipped.

    Examples:

      trashkit score runs/first/oof --truth train.json

      trashkit score submission.csv --truth test_labels.json --json

      trashkit score runs/first/oof --truth train.json --native --partial
    """
    from trashkit.coco import read_dataset
    from trashkit.evaluate import evaluate, require_labels
    from trashkit.predictions import open_predictions
    from trashkit.scores import SHOWN_DEFINITION, bootstrap_miou, interval
    from trashkit.submission import Profile

    wanted = paint_order(order)
    dataset = read_dataset(truth, classes=classes)
    require_labels(dataset)
    profile = Profile(height=csv_size, width=csv_size, classes=len(dataset.classes))
    opened = open_predictions(predicted, dataset, profile=profile, order=wanted, classes=classes)
    with progress() as report:
        found = evaluate(opened, size=None if native else (size, size), order=wanted, partial=partial, progress=report)
    pooled = found.confusion
    names = found.names
    low, high = interval(bootstrap_miou(found.per_image))
    measured = {"iou": pooled.iou(), "precision": pooled.precision(), "recall": pooled.recall()}
    columns = {key: dict(zip(names, values.tolist(), strict=True)) for key, values in measured.items()}
    definitions = found.definitions()
    miou = definitions[SHOWN_DEFINITION]
    result = {
        "miou": miou,
        "definition": SHOWN_DEFINITION,
        "interval": [low, high],
        "per_class": columns["iou"],
        "definitions": definitions,
        "precision": columns["precision"],
        "recall": columns["recall"],
        "pixel_accuracy": pooled.pixel_accuracy(),
        "pixels": dict(zip(names, pooled.support(), strict=True)),
        "images": len(found.images),
        "left_out": found.left_out,
        "extra": opened.extra,
        "size": "native" if native else size,
        "order": wanted,
        "confusion": pooled.matrix,
    }
    if found.left_out:
        note(f"{found.left_out} images of the truth have no prediction and were left out")
    if opened.extra:
        note(f"{opened.extra} predicted images are not in the truth and were left out")
    at = "native size" if native else f"{size}x{size}"
    human: list[Any] = [
        f"mIoU {miou:.4f} ({SHOWN_DEFINITION}; 95 % of resampled image sets: {low:.4f} to {high:.4f})",
        f"{len(found.images)} images at {at}, pixel accuracy {pooled.pixel_accuracy():.4f}",
        table(["class", *columns], [(name, *(part[name] for part in columns.values())) for name in names]),
        table(["mIoU by definition", "value"], list(definitions.items())),
    ]
    following = "" if native else command("score", predicted, "--truth", truth, "--native")
    show(result, json=json, human=human, next=following)
