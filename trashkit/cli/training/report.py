"""``trashkit report``: the page of a run, and of runs against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.options import Classes, Json, MovedData, MovedImages, Overwrite
from trashkit.cli.output import note, progress, show, table
from trashkit.cli.training.finished import nothing_found


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders; the report is about the first, compared with the others."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="Page to write; default: RUN/report.html.")
    ] = None,
    data: MovedData = None,
    images: MovedImages = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a run's HTML report: curves, scores per class, confusion, calibration, best and worst photos.

    Training writes the same page after every epoch. Further runs are compared with the first on the same validation
    images; a single run is compared with the runs next to it. For a folder of `trashkit auto`, its own page is
    rewritten.

    Examples:

      trashkit report runs/first

      trashkit report runs/copy-paste runs/plain --out compared.html
    """
    from trashkit.metrics.summary import finds_almost_nothing, without_background
    from trashkit.workflows.auto.plan import has_plan

    if len(runs) == 1 and out is None and has_plan(runs[0]):
        _report_auto(runs[0], json=json)
        return
    from trashkit.workflows.run_report import report_runs

    with progress() as tell:
        found = report_runs(
            runs, out=out, data=data, images=images, classes=classes, overwrite=overwrite, log=note, progress=tell
        )
    first = found.run
    result = {
        "path": found.path,
        "run": first.path,
        "status": first.status,
        "miou": first.miou,
        "miou_without_background": without_background(first.iou.values()),
        "finds_almost_nothing": finds_almost_nothing(first.iou.values()),
        "checkpoint": first.checkpoint.stem,
        "compared_with": [other.path for other in found.others],
        "photos": found.with_photos,
    }
    shown = (first, *found.others)
    rows = [[run.path, run.state, run.miou, without_background(run.iou.values()), run.epochs] for run in shown]
    columns = ["run", "status", "validation mIoU", "without background", "epochs"]
    human: list[Any] = [table(columns, rows), *nothing_found(shown)]
    show(result, json=json, human=human, wrote=found.path)


def _report_auto(folder: Path, *, json: bool) -> None:
    from trashkit.workflows.auto.page import write_auto_page

    with progress() as tell:
        found = write_auto_page(folder, progress=tell)
    low, high = found.interval
    human = (
        f"mIoU {found.miou_in_truth:.3f} out of fold over the classes in the truth (95 % {low:.3f} to {high:.3f}), "
        f"{found.miou_without_background:.3f} without background"
    )
    show(vars(found), json=json, human=human, wrote=found.path)
