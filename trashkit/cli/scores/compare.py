"""``trashkit compare``: compare two predictions, with intervals and by class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.options import Classes, CsvSize, Json, Level, PaintOrder, Seed, Size, Truth
from trashkit.cli.output import command, note, progress, show, table
from trashkit.cli.scores.compare_several import show_choice
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.leaderboard.compare import ClassChange, Comparison


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Probability store, submission CSV, COCO file or run folder.")
    ],
    second: Annotated[
        list[Path],
        typer.Argument(metavar="B...", help="Another prediction of the same images; with --split also several."),
    ],
    truth: Truth,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            "-S",
            metavar="SPLIT.json",
            help="Choose the best B on all folds but one, and judge it on that one, in turn.",
        ),
    ] = None,
    size: Size = 256,
    csv_size: CsvSize = 256,
    order: PaintOrder = "area",
    partial: Annotated[
        bool, typer.Option("--partial", help="Compare on the images that both predict, if some are missing.")
    ] = False,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Number of bootstrap resamples.")] = 1000,
    level: Level = 0.95,
    seed: Seed = 0,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Test whether one prediction is better than another, by a paired bootstrap over images.

    A run folder means its out-of-fold predictions. Both predictions are scored on the same resampled images, so
    small but consistent differences show, and "no evidence" is reported where there is none.

    With --split, the best of several B is chosen on other images than those that it is judged on, since the best of
    many looks better than it is. mIoU then covers only the classes in the truth.

    Examples:

      trashkit compare runs/plain runs/copy-paste --data train.json

      trashkit compare runs/a/oof power-1 power-2 power-3 --data train.json --split split.json

      trashkit compare before.csv after.csv --data test_labels.json --json
    """
    from trashkit.workflows.score import ScoringOptions, compare_files

    options = ScoringOptions(size=size, csv_size=csv_size, order=order, partial=partial, classes=classes)
    if split is not None:
        show_choice(first, second, truth, split, options, seed=seed, json=json)
        return
    if len(second) > 1:
        raise TrashkitError(
            f"{len(second)} predictions to compare with {first}",
            hint="compare two, or add --split SPLIT.json, which chooses the best honestly",
        )
    with progress() as report:
        done = compare_files(
            first, second[0], truth, options, resamples=resamples, seed=seed, level=level, progress=report
        )
    found = done.comparison
    if found.images < done.truth_images:
        note(f"compared on {found.images} of {done.truth_images} images of the truth, those that both predict")
    same: list[object] = ["--partial"] if partial else []
    for name, value, usual in (("--size", size, 256), ("--csv-size", csv_size, 256), ("--order", order, "area")):
        same += [name, value] if value != usual else []
    same += ["--classes", classes] if classes else []
    better = second[0] if found.difference > 0 else first
    show(
        _as_json(found, first, second[0]),
        json=json,
        human=_human(found, first, second[0]),
        next=command("score", better, "--data", truth, *same),
    )


def _as_json(found: Comparison, first: Path, second: Path) -> dict[str, Any]:
    return {
        "a": _scores(first, found.first, found.first_iou),
        "b": _scores(second, found.second, found.second_iou),
        "difference": found.difference,
        "interval": [found.low, found.high],
        "level": found.level,
        "probability_b_better": found.probability,
        "evidence": found.evidence,
        "verdict": found.conclusion,
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


def _scores(path: Path, miou: float, iou: tuple[float, ...]) -> dict[str, Any]:
    from trashkit.metrics.summary import finds_almost_nothing, without_background

    return {
        "path": path,
        "miou": miou,
        "miou_without_background": without_background(iou),
        "finds_almost_nothing": finds_almost_nothing(iou),
    }


def _change_cells(change: ClassChange) -> tuple[str, ...]:
    """Difference, interval, part of mIoU and evidence of a class; dashes for undefined values."""
    part, evidence = f"{change.contribution:+.4f}", "yes" if change.evidence else "no"
    if math.isnan(change.first) and math.isnan(change.second):
        return ("–",) * 4
    if math.isnan(change.difference):
        return "–", "–", part, evidence
    return f"{change.difference:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}", part, evidence


def _human(found: Comparison, first: Path, second: Path) -> list[Any]:
    from trashkit.metrics.summary import miou_text

    rows = [
        (
            change.name,
            change.first,
            change.second,
            *_change_cells(change),
        )
        for change in found.classes
    ]
    columns = ["class", "IoU of A", "IoU of B", "B - A", f"{found.level:.0%} interval", "part of mIoU", "evidence"]
    return [
        f"A {first}: mIoU {miou_text(found.first, found.first_iou, digits=4)}",
        f"B {second}: mIoU {miou_text(found.second, found.second_iou, digits=4)}",
        f"B - A = {found.difference:+.4f} ({found.level:.0%} interval {found.low:+.4f} to {found.high:+.4f}), "
        f"B is better in {found.probability:.1%} of {found.resamples} resampled sets of {found.images} images",
        found.conclusion,
        table(columns, rows),
    ]
