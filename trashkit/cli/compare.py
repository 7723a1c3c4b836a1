"""``trashkit compare``: is B better than A, how surely, and which classes made it so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, command, note, progress, show, table
from trashkit.cli.submit_form import paint_order

if TYPE_CHECKING:
    from trashkit.evaluate import Evaluation
    from trashkit.leaderboard.compare import ClassChange, Comparison


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Store, submission CSV, COCO file or run folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another prediction of the same images.")],
    truth: Annotated[Path, typer.Option("--truth", help="COCO file with the true annotations.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Side in pixels at which images are compared.")] = 256,
    csv_size: Annotated[int, typer.Option("--csv-size", min=1, help="Side of the label maps in a CSV.")] = 256,
    order: Annotated[str, typer.Option("--order", help="Paint order: area, class, length or file.")] = "area",
    partial: Annotated[
        bool, typer.Option("--partial", help="Compare on the images that both predict, where some are missing.")
    ] = False,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Sets of images to draw.")] = 1000,
    level: Annotated[float, typer.Option("--level", min=0.5, max=0.999, help="Level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws.")] = 0,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Compare two predictions by a paired bootstrap over images: the difference in mIoU, with what can be said of it.

    A run folder stands for its out-of-fold stores. Both are scored on the same resampled sets of images, so small
    differences show where they are consistent, and "no evidence" is said where they are not.

    Examples:

      trashkit compare runs/plain runs/copy-paste --truth train.json

      trashkit compare before.csv after.csv --truth test_labels.json --json
    """
    from trashkit.coco import read_dataset
    from trashkit.errors import TrashkitError
    from trashkit.evaluate import evaluate_parts, require_labels
    from trashkit.leaderboard.compare import compare as compare_matrices
    from trashkit.leaderboard.compare import paired
    from trashkit.predictions import open_predictions, out_of_fold
    from trashkit.submission import Profile

    wanted = paint_order(order)
    dataset = read_dataset(truth, classes=classes)
    require_labels(dataset)
    profile = Profile(height=csv_size, width=csv_size, classes=len(dataset.classes))
    scored: list[Evaluation] = []
    for path in (first, second):
        parts = [
            open_predictions(part, dataset, profile=profile, order=wanted, classes=classes)
            for part in out_of_fold(path)
        ]
        with progress() as report:
            scored.append(evaluate_parts(parts, size=(size, size), order=wanted, partial=partial, progress=report))
    matrices = paired(*scored)
    if not len(matrices[0]):
        raise TrashkitError(f"{first} and {second} have no image in common", hint="compare predictions of one data set")
    if len(matrices[0]) < len(dataset):
        note(f"compared on {len(matrices[0])} of {len(dataset)} images of the truth, those that both predict")
    found = compare_matrices(*matrices, dataset.classes.names, resamples=resamples, seed=seed, level=level)
    better = second if found.difference > 0 else first
    show(
        _plain(found, first, second),
        json=json,
        human=_human(found, first, second),
        next=command("score", better, "--truth", truth),
    )


def _plain(found: Comparison, first: Path, second: Path) -> dict[str, Any]:
    return {
        "a": {"path": first, "miou": found.first},
        "b": {"path": second, "miou": found.second},
        "difference": found.difference,
        "interval": [found.low, found.high],
        "level": found.level,
        "probability_b_better": found.probability,
        "evidence": found.evidence,
        "verdict": found.verdict,
        "classes": [
            {
                "name": change.name,
                "a": change.first,
                "b": change.second,
                "difference": change.difference,
                "interval": [change.low, change.high],
                "contribution": change.contribution,
                "evidence": change.evidence,
            }
            for change in found.classes
        ],
        "images": found.images,
        "resamples": found.resamples,
    }


def _moved(change: ClassChange) -> tuple[str, ...]:
    """Difference, interval, part of mIoU and evidence of a class; dashes for what there is none of."""
    part, evidence = f"{change.contribution:+.4f}", "yes" if change.evidence else "no"
    if math.isnan(change.first) and math.isnan(change.second):
        return ("–",) * 4
    if math.isnan(change.difference):
        return "–", "–", part, evidence
    return f"{change.difference:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}", part, evidence


def _human(found: Comparison, first: Path, second: Path) -> list[Any]:
    rows = [
        (
            change.name,
            change.first,
            change.second,
            *_moved(change),
        )
        for change in found.classes
    ]
    columns = ["class", "IoU of A", "IoU of B", "B - A", f"{found.level:.0%} interval", "part of mIoU", "evidence"]
    return [
        f"A {first}: mIoU {found.first:.4f}",
        f"B {second}: mIoU {found.second:.4f}",
        f"B - A = {found.difference:+.4f} ({found.level:.0%} interval {found.low:+.4f} to {found.high:+.4f}), "
        f"B is better in {found.probability:.1%} of {found.resamples} resampled sets of {found.images} images",
        found.verdict,
        table(columns, rows),
    ]
