"""``trashkit train``: one or several networks from annotated photos."""

from __future__ import annotations

import json as _json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trashkit.cli.options import (
    AllData,
    Classes,
    Data,
    Device,
    DryRun,
    Extra,
    Json,
    OptionalImages,
    OptionalOutRun,
    Overwrite,
    Resume,
    Set,
    SplitFile,
    TrainingSeed,
)
from trashkit.cli.output import command, note, progress, show, table, unused
from trashkit.cli.training.finished import nothing_found
from trashkit.cli.training.train_instead import show_plan, show_preview, show_profile, show_suggestions
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trashkit.nn.training.train import TrainOptions
    from trashkit.workflows.train_inputs import TrainInputs


def train(
    data: Data,
    images: OptionalImages = None,
    out: OptionalOutRun = None,
    split: SplitFile = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", metavar="K|all", help="Fold of the split to validate on, or all; default: 0."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE.toml",
            help="Recipe or settings file to start from; repeat it to train several runs.",
        ),
    ] = None,
    set_: Set = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="RUN|FILE", help="Checkpoint to start from; same as --set model.weights."),
    ] = None,
    all_data: AllData = False,
    seed: TrainingSeed = None,
    device: Device = "auto",
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            envvar="ACCELERATE_USE_FSDP",  # what accelerate launch --use_fsdp sets
            help="Shard one network over all processes of torchrun or accelerate (FSDP).",
        ),
    ] = False,
    jobs_at_once: Annotated[
        str, typer.Option("--jobs", metavar="auto|N", help="Runs to train in parallel; auto: one per GPU.")
    ] = "auto",
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            metavar="NAME",
            help="Tracker: tensorboard (default if installed), wandb, mlflow, ... or none. Repeatable.",
        ),
    ] = None,
    extra: Extra = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Cache of decoded photos, shared by later runs.")
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="FILE.png|html", help="Draw the augmented training batches instead of training."
        ),
    ] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Suggest settings for this data, with reasons, instead of training.")
    ] = False,
    batch_size: Annotated[
        str | None, typer.Option("--batch-size", metavar="auto|N", help="Same as --set data.batch_size=N.")
    ] = None,
    profile: Annotated[
        int | None,
        typer.Option(
            "--profile",
            metavar="N",
            min=1,
            help="Time N training steps and show where the time goes, instead of training.",
        ),
    ] = None,
    dry_run: DryRun = False,
    classes: Classes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train segmentation networks.

    Settings come from the defaults, then the recipe, then --set. Without --split a fifth of the images is held out. One
    run is written to RUN, several to RUN/RECIPE/fold-K; each has weights, metrics, a manifest, and out-of-fold
    probabilities for its validation images. An interrupted run continues with --resume and reaches the same result. For
    several GPUs or machines use accelerate launch -m trashkit train ..., or torchrun.

    Examples:

      trashkit train --data train.json --images photos --out runs/first

      trashkit train --data train.json --images photos --split split.json --fold all --out runs/folds

      trashkit train --data train.json --images photos --recipe tiny --set epochs=5 --set data.size=128 --out runs/quick

      trashkit train --data train.json --images photos --set data.copy_paste.p=0.5 --preview sheet.png

      trashkit train --data train.json --images photos --suggest
    """
    from trashkit.outputs import Output
    from trashkit.runs.folder import RUN_FOLDER
    from trashkit.workflows.train_inputs import TrainRequest, read_inputs

    check_one_instead({"--preview": preview, "--suggest": suggest, "--profile": profile, "--dry-run": dry_run})
    assignments = setting_assignments(set_, init=init, seed=seed, batch_size=batch_size)
    request = TrainRequest(
        data=data,
        images=images,
        out=out,
        split=split,
        fold=fold,
        all_data=all_data,
        recipes=tuple(recipe or ()),
        assignments=tuple(assignments),
        classes=classes,
        extra=tuple(extra or ()),
        cache=cache,
        at_once=runs_at_once(jobs_at_once),
        command=shlex.join(["trashkit", *sys.argv[1:]]),
    )
    instead = suggest or dry_run or preview is not None or profile is not None
    several = len(request.recipes) > 1 or fold == "all"  # folders below --out
    if out is not None and not (several or resume or instead):
        Output(out, overwrite=overwrite, kind=RUN_FOLDER).check()
    inputs = read_inputs(request, device=device)
    if suggest:
        show_suggestions(inputs, device=device, json=json)
        return
    inputs.photo_folder()
    if preview is None and profile is None:
        inputs.run_folder()

    # Loads torch, so only after the mistakes that are found without it.
    from trashkit.nn.experiments.folds import is_main_process
    from trashkit.nn.training.tracking import tracker_names
    from trashkit.nn.training.train import TrainOptions

    options = TrainOptions(
        device=device,
        fsdp=shard,
        resume=resume,
        overwrite=overwrite,
        trackers=tuple(tracker_names(track or ["auto"])),
    )
    main = is_main_process(device)  # of the processes of torchrun, one shows results
    if preview is not None:
        if main:
            show_preview(inputs, options, preview, json=json)
    elif profile is not None:
        show_profile(inputs, options, profile, main=main, json=json)
    elif dry_run:
        show_plan(inputs, options, main=main, json=json)
    else:
        show_training(inputs, options, main=main, json=json)


def show_training(inputs: TrainInputs, options: TrainOptions, *, main: bool, json: bool) -> None:
    """Train, and show the runs."""
    from trashkit.metrics.summary import finds_almost_nothing, without_background
    from trashkit.workflows.training import train_networks, validation_counts

    with progress() as report:
        trained = train_networks(inputs, options, log=note, progress=report)
    if not main:
        return
    runs = trained.runs
    result = [
        {
            "path": run.path,
            "recipe": job.recipe,
            "fold": job.fold,
            "miou": run.miou,
            "miou_without_background": without_background(run.iou.values()),
            "finds_almost_nothing": finds_almost_nothing(run.iou.values()),
            "scores": run.scores,
            "epochs": run.epochs,
            "seconds": run.manifest.get("seconds"),
            "checkpoint": run.checkpoint.stem,
            "choice": run.manifest.get("choice"),
        }
        for job, run in zip(trained.jobs, runs, strict=True)
    ]
    rows = [
        [r["path"], r["recipe"], r["fold"], r["miou"], r["miou_without_background"], r["checkpoint"], r["epochs"],
         f"{r['seconds']:.0f} s"]
        for r in result
    ]  # fmt: skip
    columns = ["run", "recipe", "fold", "validation mIoU", "without background", "checkpoint used", "epochs", "time"]
    human: list[Any] = [table(columns, rows), *nothing_found(runs)]
    if len(runs) == 1 and runs[0].scores:
        counts = validation_counts(runs[0])
        iou = list(runs[0].scores["iou"].items())
        body = [[name, value, counts[n] if n < len(counts) else None] for n, (name, value) in enumerate(iou)]
        human.append(table(["class", "IoU", "validation images"], body))
    if trained.joined:
        same = ("--classes", inputs.request.classes) if inputs.request.classes else ()
        next_ = command("score", trained.joined[0], "--data", inputs.dataset.coco.path, *same)
    else:
        photo = (trained.jobs[0].val or trained.jobs[0].train)[0]
        place = inputs.photo_folder() / photo.file_name
        next_ = command("predict", runs[0].path, place, "--overlay", unused(runs[0].path / "overlays"))
    show({"runs": result}, json=json, human=human, wrote=inputs.request.out, next=next_)


def check_one_instead(given: Mapping[str, object]) -> None:
    """Raise TrashkitError if several of the options that replace training are given."""
    names = [name for name, value in given.items() if value is not None and value is not False]
    if len(names) > 1:
        raise TrashkitError(f"{' and '.join(names)} cannot be combined", hint="give one of them")


def setting_assignments(
    set_: list[str] | None, *, init: Path | None, seed: int | None, batch_size: str | None
) -> list[str]:
    """All settings that the command line changes, as ``KEY=VALUE``."""
    values = {"model.weights": init and _json.dumps(str(init)), "seed": seed, "data.batch_size": batch_size}
    options = {"model.weights": "--init", "seed": "--seed", "data.batch_size": "--batch-size"}
    for assignment in set_ or []:
        key = assignment.partition("=")[0].strip()
        if values.get(key) is not None:
            raise TrashkitError(f"{options[key]} and --set {assignment} are the same setting", hint="give one of them")
    return [*(set_ or []), *(f"{name}={value}" for name, value in values.items() if value is not None)]


def runs_at_once(text: str) -> int | Literal["auto"]:
    """The value of --jobs."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise TrashkitError(f'--jobs is "{text}"', hint="give a number of runs to train at a time, or auto")
    return int(text)
