"""``trashkit train``: one or several networks from annotated photos."""

from __future__ import annotations

import json as _json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trashkit.cli.output import Classes, Json, Overwrite, Resume, command, note, progress, show, table, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trashkit.coco import Dataset
    from trashkit.nn.extra import ExtraSet
    from trashkit.nn.folds import Job, Plan
    from trashkit.run import Run


def train(
    data: Annotated[Path, typer.Option("--data", metavar="ANN.json", help="COCO file with annotations.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Folder that its file names start from.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder to write.")] = None,
    split: Annotated[
        Path | None, typer.Option("--split", metavar="SPLIT.json", help="Split to take folds from.")
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", metavar="K|all", help="Which fold of the split to validate on; 0 by default."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", metavar="NAME|FILE.toml", help="Settings to start from; several train several runs."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as epochs=5.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="RUN|FILE", help="Weights to start from; the same as --set model.weights."),
    ] = None,
    all_data: Annotated[bool, typer.Option("--all-data", help="Train on all images, without validation.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The same as --set seed=N.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu", help="cpu leaves a GPU alone.")] = "auto",
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            envvar="ACCELERATE_USE_FSDP",  # what accelerate launch --use_fsdp sets
            help="Spread one network over all processes of torchrun or accelerate (FSDP).",
        ),
    ] = False,
    jobs_at_once: Annotated[
        str, typer.Option("--jobs", metavar="auto|N", help="Runs to train at a time; auto: one on each GPU.")
    ] = "auto",
    track: Annotated[
        list[str] | None,
        typer.Option("--track", metavar="NAME", help="tensorboard (where installed), wandb, mlflow ... or none."),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            "--extra", metavar="JSON:DIR[:WEIGHT]", help="Another data set to train on beside, classes aligned by name."
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Keep decoded photos here for later runs.")
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", metavar="FILE.png|html", help="Draw what the network will see, and stop."),
    ] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Say which settings the data asks for, and why, and stop.")
    ] = False,
    batch_size: Annotated[
        str | None, typer.Option("--batch-size", metavar="auto|N", help="The same as --set data.batch_size=N.")
    ] = None,
    profile: Annotated[
        int | None, typer.Option("--profile", metavar="N", min=1, help="Time N steps and say where it goes.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be done, stop.")] = False,
    classes: Classes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train segmentation networks on annotated photos.

    Settings come from the defaults, then the recipe, then --set. Without --split a fifth of the images is held out.
    One run is written to RUN, several to RUN/RECIPE/fold-K; each has its weights, metrics, manifest and, for its
    validation images, out-of-fold probabilities. A run that was stopped or killed goes on with --resume to the same
    result. Many GPUs and machines: accelerate launch -m trashkit train ..., or torchrun.

    Examples:

      trashkit train --data train.json --images photos --out runs/first

      trashkit train --data train.json --images photos --split split.json --fold all --out runs/folds

      trashkit train --data train.json --images photos --recipe tiny --set epochs=5 --set data.size=128 --out runs/quick

      trashkit train --data train.json --images photos --set data.copy_paste.p=0.5 --preview sheet.png

      trashkit train --data train.json --images photos --suggest
    """
    from trashkit.cli.train_plan import read_folds, read_recipes, refuse_contradictions, say_nothing
    from trashkit.coco import read_dataset

    if all_data and (split is not None or fold is not None):
        raise TrashkitError("--all-data leaves nothing to validate on", hint="leave out --split and --fold, or it")
    refuse_contradictions(data, split, fold, device=device, resume=resume, overwrite=overwrite)
    instead = _instead({"--preview": preview, "--suggest": suggest, "--profile": profile, "--dry-run": dry_run})
    at_once = _at_once(jobs_at_once)
    several = len(recipe or []) > 1 or fold == "all"  # their folders lie in --out
    _check_places(out, cache, new=not (several or resume or instead), overwrite=overwrite)
    assignments = _assignments(set_, init=init, seed=seed, batch_size=batch_size)
    # Cheap mistakes are found before anything heavy is loaded.
    dataset = read_dataset(data, classes=classes)
    if suggest:
        from trashkit.cli.train_look import own_recipe, show_suggestions

        chosen = recipe or own_recipe(out, note)
        config = next(iter(read_recipes(chosen, assignments, device, note).values()))
        typed = [("--split", split), ("--fold", fold), *(("--set", one) for one in assignments)]
        given = [word for pair in typed if pair[1] is not None for word in pair]
        show_suggestions(config, chosen[0] if chosen else None, dataset, images, out, given=given, json=json)
        return
    images = _needed(images, out, elsewhere=preview is not None or profile is not None)

    from trashkit.nn.folds import is_main_process, look_ahead, plan_jobs, train_jobs
    from trashkit.nn.follow import tracker_names

    trackers = tracker_names(track or ["auto"])
    say = note if is_main_process(device) else say_nothing
    recipes = read_recipes(recipe, assignments, device, say)
    seed_of_all = next(iter(recipes.values())).seed
    folds = read_folds(dataset, split, fold, all_data=all_data, seed=seed_of_all, say=say)
    jobs = plan_jobs(recipes, folds, dataset, out or Path("run"))
    beside = _extra(extra or [], jobs, dataset, images, say)
    if is_main_process(device):
        _warn_of_makers(jobs, [dataset, *(one.dataset for one in beside)], images)
    if preview is not None:
        from trashkit.cli.train_look import show_preview

        if not is_main_process(device):  # of torchrun's processes one draws
            return
        show_preview(jobs[0], dataset, images, beside, preview, overwrite=overwrite, json=json)
        return
    if profile is not None:
        from trashkit.cli.train_profile import show_profile

        show_profile(jobs[0], dataset, images, beside, profile, device=device, shard=shard, json=json)
        return
    assert out is not None  # asked for above
    if overwrite:
        _keep_inputs(jobs, beside, [data, images, split, cache])
    if dry_run:
        plans = look_ahead(jobs, dataset, images, out, device=device, resume=resume, overwrite=overwrite)
        if is_main_process(device):
            _show_plans(plans, json=json)
        return
    about = {"kind": "train", "command": shlex.join(["trashkit", *sys.argv[1:]])}
    with progress() as report:
        runs = train_jobs(
            jobs, dataset, images, out, about=about, device=device, shard=shard, resume=resume,
            overwrite=overwrite, at_once=at_once, trackers=trackers, extra=beside, kept=cache, say=note,
            progress=report,
        )  # fmt: skip
    if is_main_process(device):
        _show_runs(jobs, runs, dataset, images, out, json=json)


def _instead(asked: Mapping[str, object]) -> str:
    """What is asked for instead of training, empty for nothing."""
    given = [name for name, value in asked.items() if value is not None and value is not False]
    if len(given) > 1:
        raise TrashkitError(f"{' and '.join(given)} are each instead of training", hint="give one of them")
    return given[0] if given else ""


def _check_places(out: Path | None, cache: Path | None, *, new: bool, overwrite: bool) -> None:
    """Refuse folders that cannot be used, before anything slow. new: `out` is for one run that begins."""
    from trashkit.run_folder import is_run, refuse_folder

    if out is not None and new:
        refuse_folder(out, overwrite=overwrite)
    if cache is None:
        return
    if cache.exists() and not cache.is_dir():
        raise TrashkitError(f"{cache} is a file", hint="--cache takes the name of a folder")
    if is_run(cache) or (out is not None and cache.resolve() == out.resolve()):
        raise TrashkitError(f"{cache} is for a run, not for decoded photos", hint="choose another --cache")


def _keep_inputs(jobs: Sequence[Job], beside: Sequence[ExtraSet], inputs: Sequence[Path | None]) -> None:
    """Refuse a run that would replace what any run is made from."""
    from trashkit.files import refuse_inputs

    places = [place for one in beside for place in (one.path, one.folder)]
    places += [Path(job.config.model.weights) for job in jobs]
    for job in jobs:
        refuse_inputs(job.out, [*inputs, *places])


def _assignments(set_: list[str] | None, *, init: Path | None, seed: int | None, batch_size: str | None) -> list[str]:
    """All settings that the command line changes."""
    own = {"model.weights": init and _json.dumps(str(init)), "seed": seed, "data.batch_size": batch_size}
    typed = {"model.weights": "--init", "seed": "--seed", "data.batch_size": "--batch-size"}
    for assignment in set_ or []:
        key = assignment.partition("=")[0].strip()
        if own.get(key) is not None:
            raise TrashkitError(f"{typed[key]} and --set {assignment} are the same setting", hint="give one of them")
    return [*(set_ or []), *(f"{name}={value}" for name, value in own.items() if value is not None)]


def _needed(images: Path | None, out: Path | None, *, elsewhere: bool) -> Path:
    """The folder of the photos. elsewhere: nothing is written into a run folder."""
    if images is None or (out is None and not elsewhere):
        missing = "--images" if images is None else "--out"
        hint = "--images names the folder of the photos, --out the run to write"
        raise TrashkitError(f"training needs {missing}", hint=hint)
    if not images.is_dir():
        what = "is a file" if images.exists() else "does not exist"
        raise TrashkitError(f"the photo folder {images} {what}", hint="check --images")
    return images


def _extra(
    given: list[str], jobs: Sequence[Job], dataset: Dataset, images: Path, say: Callable[[str], None]
) -> list[ExtraSet]:
    """Other data sets to train on, and a line about each."""
    from trashkit.nn.extra import read_extra
    from trashkit.nn.folds import beside

    found = [read_extra(text, dataset.classes) for text in given]
    for one in found:
        fewest = min(sum(len(part.maps) for part in beside([one], job, images)) for job in jobs)
        clauses = [f"{fewest} more images to train on, weight {one.weight:g}"]
        if unlabelled := len(one.dataset.images) - len(one):
            clauses.append(f"{unlabelled} without annotations left out")
        if known := len(one) - fewest:
            clauses.append(f"{'up to ' if len(jobs) > 1 else ''}{known} validation photos left out")
        if one.left_out:
            clauses.append(f"ignored, as the training data lacks them: {', '.join(one.left_out)}")
        say(f"{one.path}: {'; '.join(clauses)}")
    return found


def _warn_of_makers(jobs: Sequence[Job], sources: Sequence[Dataset], images: Path) -> None:
    """Say which validation images were seen by models that made some of the labels to train on."""
    from trashkit.pseudo.guard import known_to_makers, named

    names = list(dict.fromkeys(image.file_name for job in jobs for image in job.val))
    known = {name: None for one in sources for name in known_to_makers(one.coco, images, names)}
    if known:
        warn(
            f"models that made some of these labels were trained on {len(known)} validation images, so validation "
            f"scores are too good: {named(list(known))}"
        )


def _at_once(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise TrashkitError(f'--jobs is "{text}"', hint="give a number of runs to train at a time, or auto")
    return int(text)


def _show_plans(plans: list[Plan], *, json: bool) -> None:
    from trashkit.config import to_toml

    result: list[dict[str, Any]] = [
        {
            "out": plan.job.out,
            "recipe": plan.job.recipe,
            "fold": plan.job.fold,
            "training_images": len(plan.job.train),
            "validation_images": len(plan.job.val),
            "parameters": plan.parameters,
            "memory": plan.memory,
            "settings": plan.config.model_dump(),
            "choices": [str(choice) for choice in plan.choices],
            "remarks": list(plan.remarks),
        }
        for plan in plans
    ]
    human: list[Any] = [
        table(
            ["run", "recipe", "fold", "train", "validate", "parameters", "memory"],
            [
                [
                    r["out"],
                    r["recipe"],
                    r["fold"],
                    r["training_images"],
                    r["validation_images"],
                    r["parameters"],
                    f"{r['memory'] / 1e9:.1f} GB",
                ]
                for r in result
            ],
        )
    ]
    for plan in {plan.job.recipe: plan for plan in plans}.values():
        human += [
            f"{plan.job.recipe}:",
            to_toml(plan.config),
            *(f"  {line}" for line in (*plan.choices, *plan.remarks)),
        ]
    show({"runs": result}, json=json, human=[*human, "nothing was trained or written (--dry-run)"])


def _show_runs(jobs: list[Job], runs: list[Run], dataset: Dataset, images: Path, out: Path, *, json: bool) -> None:
    from trashkit.run import read_validation

    result = [
        {
            "path": run.path,
            "recipe": job.recipe,
            "fold": job.fold,
            "miou": run.miou,
            "scores": run.scores,
            "epochs": run.epochs,
            "seconds": run.manifest.get("seconds"),
            "checkpoint": run.checkpoint.stem,
            "choice": run.manifest.get("choice"),
        }
        for job, run in zip(jobs, runs, strict=True)
    ]
    rows = [
        [r["path"], r["recipe"], r["fold"], r["miou"], r["checkpoint"], r["epochs"], f"{r['seconds']:.0f} s"]
        for r in result
    ]
    columns = ["run", "recipe", "fold", "validation mIoU", "checkpoint used", "epochs", "time"]
    human: list[Any] = [table(columns, rows)]
    if len(runs) == 1 and runs[0].scores:
        seen = read_validation(runs[0].path)
        counts = (seen.per_image.sum(axis=2) > 0).sum(axis=0).tolist() if seen else []
        scored = list(runs[0].scores["iou"].items())
        body = [[name, value, counts[n] if n < len(counts) else None] for n, (name, value) in enumerate(scored)]
        human.append(table(["class", "IoU", "validation images"], body))
    joined = [out / job.recipe / "oof" for job in jobs if len(jobs) > 1 and (out / job.recipe / "oof").exists()]
    if joined:
        next_ = command("score", joined[0], "--truth", dataset.coco.path)
    else:
        photo = (jobs[0].val or jobs[0].train)[0]
        next_ = command("predict", runs[0].path, images / photo.file_name, "--overlay", runs[0].path / "overlays")
    show({"runs": result}, json=json, human=human, wrote=out, next=next_)
