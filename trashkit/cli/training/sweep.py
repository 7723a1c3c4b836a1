"""``trashkit sweep``: many short trainings that look for better settings."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.options import (
    Classes,
    Data,
    Device,
    Fold,
    Images,
    Json,
    Overwrite,
    Recipe,
    Resume,
    Set,
    SplitFile,
    TrainingSeed,
)
from trashkit.cli.output import command, note, progress, show, table, unused


def sweep(
    data: Data,
    images: Images,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the study, its runs and best.toml.")
    ],
    try_: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="KEY=VALUES",
            help="Values to try for a setting: LOW..HIGH, LOW..HIGH:log, or A|B|C. Repeatable.",
        ),
    ] = None,
    space: Annotated[
        Path | None, typer.Option("--space", metavar="FILE.toml", help="The search space as a file.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Number of trials.")] = 20,
    split: SplitFile = None,
    fold: Fold = None,
    recipe: Recipe = None,
    set_: Set = None,
    seed: TrainingSeed = None,
    device: Device = "auto",
    classes: Classes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Search for better settings with many training runs on one fold; poor trials stop early.

    optuna proposes the values and stores them in study.db, so an interrupted sweep continues with --resume. All trials
    use the same seed. The best settings are written as a recipe; validate them on other folds before you trust them.

    Examples:

      trashkit sweep --data train.json --images photos --try optimiser.lr=1e-4..1e-2:log --trials 12 --out sweeps/lr

      trashkit sweep --data train.json --images photos --try "loss=ce|ce + dice" --set epochs=5 --out sweeps/loss
    """
    from trashkit.metrics.summary import NOTHING_FOUND, finds_almost_nothing, without_background
    from trashkit.workflows.sweep import SweepRequest, sweep_settings

    request = SweepRequest(
        data=data,
        images=images,
        out=out,
        split=split,
        fold=fold,
        recipe=recipe,
        assignments=(*(set_ or ()), *([f"seed={seed}"] if seed is not None else [])),
        space=space,
        tries=tuple(try_ or ()),
        trials=trials,
        device=device,
        classes=classes,
        resume=resume,
        overwrite=overwrite,
        command=shlex.join(["trashkit", *sys.argv[1:]]),
    )
    with progress() as report:
        found = sweep_settings(request, log=note, progress=report)
    others = [without_background(one.iou) for one in found.trials]
    result = [
        {
            "number": one.number,
            "state": one.state,
            "score": one.score,
            "miou_without_background": other,
            "finds_almost_nothing": finds_almost_nothing(one.iou),
            "settings": one.values,
            "path": one.folder,
        }
        for one, other in zip(found.trials, others, strict=True)
    ]
    rows = [
        [one.number, one.score, other, one.state, *(one.values.get(key) for key in found.keys)]
        for one, other in zip(found.trials, others, strict=True)
    ]
    human: list[Any] = [table(["trial", "smoothed mIoU", "without background", "state", *found.keys], rows)]
    if finds_almost_nothing(found.trials[0].iou):
        human.append(f"trial {found.trials[0].number} is the best, but {NOTHING_FOUND}")
    same: list[object] = []
    for name, value in (("--split", split), ("--fold", fold), ("--classes", classes)):
        same += [] if value is None else [name, value]
    best = unused(out.with_name(f"{out.name}-best"))
    next_ = command("train", "--data", data, "--images", images, *same, "--recipe", found.best, "--out", best)
    show({"trials": result, "best": found.best}, json=json, human=human, wrote=out, next=next_)
