"""``trashkit soup``: the weights of several runs averaged into one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trashkit.cli.options import Classes, Device, Json, MovedData, MovedImages, OutRun, Overwrite
from trashkit.cli.output import command, note, progress, show, table


def soup(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Finished runs of the same network and fold.")
    ],
    out: OutRun,
    method: Annotated[
        Literal["greedy", "uniform"],
        typer.Option(
            "--method",
            help="Keep the runs that improve validation (greedy), or average all (uniform).",
        ),
    ] = "greedy",
    data: MovedData = None,
    images: MovedImages = None,
    device: Device = "auto",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Average the weights of runs into one network, which is as fast as a single run.

    The best run comes first; another is kept only where the average with it scores at least as well on the validation
    images. This works for runs that started from the same weights, such as several seeds or settings of one recipe.

    Examples:

      trashkit soup runs/plain runs/copy-paste --out runs/soup

      trashkit soup runs/folds/cpu-small/fold-* --method uniform --out runs/mean
    """
    from trashkit.metrics.summary import miou_text, without_background
    from trashkit.nn.experiments.soup import make_soup

    about = {"command": shlex.join(["trashkit", *sys.argv[1:]])}
    with progress() as report:
        made = make_soup(
            runs, out, data=data, images=images, classes=classes, method=method, about=about, device=device,
            overwrite=overwrite, log=note, progress=report,
        )  # fmt: skip
    ingredients = made.manifest["ingredients"]
    result = {
        "path": made.path,
        "miou": made.miou,
        "miou_without_background": without_background(made.iou.values()),
        "choice": made.manifest.get("choice"),
        "ingredients": ingredients,
    }
    rows: list[list[Any]] = [
        [one["run"], one["miou"], one["miou_without_background"], "taken" if one["taken"] else "left out"]
        for one in ingredients
    ]
    rows.append([made.path, made.miou, result["miou_without_background"], "soup"])
    human: list[Any] = [
        table(["ingredient", "validation mIoU", "without background", ""], rows),
        f"{made.path}: validation mIoU {miou_text(made.miou, made.iou.values(), digits=4)}",
    ]
    show(result, json=json, human=human, wrote=out, next=command("report", made.path, runs[0]))
