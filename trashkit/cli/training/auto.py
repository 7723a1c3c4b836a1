"""``trashkit auto``: from labelled photos to a checked submission, overlays and a page, within a time budget."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.options import Classes, Config, Device, Extra, Json, OptionalImages, Overwrite, Resume
from trashkit.cli.output import command, console, progress, show, table
from trashkit.cli.project import NONE
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.workflows.auto.inputs import AutoRequest
    from trashkit.workflows.auto.plan import Plan, Step
    from trashkit.workflows.auto.run import AutoResult

OUT = Path("runs/auto")
MINUTES = 45.0


def auto(
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="ANN.json", help="COCO file with the labels of your photos.")
    ] = None,
    images: OptionalImages = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="TEST.json", help="COCO file that lists photos without labels, in --images."),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            "--photos",
            metavar="DIR",
            help="Folder of photos without labels, if no file lists them; default: those of --images that --data "
            "does not list.",
        ),
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            "--sample", metavar="SAMPLE.csv", help="Sample submission; with it, a submission for --test is made."
        ),
    ] = None,
    extra: Extra = None,
    groups: Annotated[
        list[str] | None,
        typer.Option("--groups", metavar="RULE", help="Photos that stay in one fold, as in `split`. Repeatable."),
    ] = None,
    classes: Classes = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help=f"Folder for all results; default: {OUT}.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0, max=100_000, help=f"Time budget for everything; default: {MINUTES:g}."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe", metavar="NAME|FILE.toml", help="Recipe to use instead of the one in the plan. Repeatable."
        ),
    ] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Also apply unsafe fixes, as `fix --unsafe` does.")] = False,
    launch: Annotated[
        str | None,
        typer.Option(
            "--launch",
            metavar="COMMAND",
            help="Command that starts trainings and predictions on several GPUs or machines, such as "
            '"accelerate launch".',
        ),
    ] = None,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and every command, and write nothing.")] = (
        False
    ),
    config: Config = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Do the whole job: audit, fix, split, train, try what may help, predict, draw, and write a page about it.

    A plan comes first: recipe, size, folds and epochs are chosen from the data, the device and a few timed training
    steps, each with its reason and the time it will take. Every step is a command that you can type yourself.
    Optional steps are taken only if they gain more than noise on photos that had no part in choosing them.

    An interrupted run continues with --resume and reaches the same result. New photos without labels only have to be
    predicted; new labels need new folds and networks, and earlier results are kept.

    Examples:

      trashkit auto --data train.json --images photos --dry-run

      trashkit auto --data train.json --images photos --test test.json --sample sample_submission.csv

      trashkit auto --data train.json --images photos --extra bags.json:street:0.5 --minutes 90

      trashkit auto --resume
    """
    started = time.monotonic()
    if os.environ.get("RANK") is not None or os.environ.get("ACCELERATE_USE_FSDP") is not None:
        raise TrashkitError(
            "trashkit auto starts trainings itself, and is not started by accelerate or torchrun",
            hint='trashkit auto --launch "accelerate launch"',
        )
    from trashkit.workflows.auto.opening import open_plan
    from trashkit.workflows.auto.run import run_plan

    lines = console(stderr=json)

    def log(text: str) -> None:
        lines.print(text, soft_wrap=True)

    given: dict[str, Any] = {
        "data": data,
        "images": images,
        "test": test,
        "photos": photos,
        "sample": sample,
        "extra": tuple(extra or ()),
        "groups": tuple(groups or ()),
        "classes": classes,
        "minutes": minutes,
        "recipes": tuple(recipe or ()),
        "unsafe": unsafe or None,
        "launch": launch,
        "device": device if device != "auto" else None,
        "project": _project(config),
    }
    request = _request(out or OUT, given, resume=resume)
    with progress() as report:
        plan = open_plan(
            request, resume=resume, overwrite=overwrite, dry_run=dry_run, started=started, log=log, progress=report
        )
        _tell(plan, log=log, commands=dry_run)
        if dry_run:
            _show_dry(plan, json=json)
            return
        result = run_plan(plan, log=log, progress=report)
    _show(result, json=json)


def _request(out: Path, given: dict[str, Any], *, resume: bool) -> AutoRequest:
    from trashkit.workflows.auto.inputs import AutoRequest
    from trashkit.workflows.auto.opening import request_to_resume
    from trashkit.workflows.auto.plan import has_plan

    if resume and has_plan(out):
        return request_to_resume(out, given)
    missing = [f"--{name}" for name in ("data", "images") if given[name] is None]
    if missing:
        raise TrashkitError(
            f"{' and '.join(missing)} missing",
            hint="trashkit auto --data ANN.json --images DIR, or `trashkit init` once, which writes a project file",
        )
    chosen = {name: value for name, value in given.items() if value is not None}
    return AutoRequest(out=out, **{"minutes": MINUTES, **chosen})


def _project(config: Path | None) -> str | None:
    """The project file; "none" where the steps would find one that this command does not use."""
    from trashkit.settings.project import find_project

    if config is not None:
        return str(config)
    return NONE if find_project() is not None else None


# --- telling the plan and the result ---------------------------------------------------------------------------------


def _tell(plan: Plan, *, log: Any, commands: bool) -> None:
    from trashkit.workflows.auto.options import OPTIONS
    from trashkit.workflows.auto.record import Record, decided_options
    from trashkit.workflows.auto.run import in_words
    from trashkit.workflows.auto.steps import all_steps

    inputs, choices, record = plan.inputs, plan.choices, Record(plan.out).steps
    extra = f", {inputs.extra} of other data sets" if inputs.extra else ""
    photos = f"{inputs.labelled} labelled photos{extra}, {inputs.unlabelled} to predict"
    log(f"Plan: {photos}, {plan.request.minutes:g} minutes")
    log(table(["choice", "value", "why"], [[one.what, one.value, one.why] for one in choices.reasons]))
    steps = all_steps(plan, decided_options(record))
    if commands:
        log("Commands; those after an optional step are shown as if no optional step was taken:")
        for step in steps:
            log(f"$ {step.typed(plan.request.launch)}")
    rows = [[one.name, one.why, "done" if one.name in record else in_words(one.seconds)] for one in steps]
    log(table(["step", "what for", "expected"], rows))
    titles = ", ".join(option.title.lower() for option in OPTIONS if option.name not in plan.skipped)
    log(f"Optional steps, taken only if they gain more than noise: {titles}")
    left = sum(step.seconds for step in steps if step.name not in record)
    planning = "" if record else f", after {in_words(plan.planned)} for this plan"
    log(f"about {in_words(left)} left{planning}; results in {plan.out}")


def _steps_json(plan: Plan, steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    return [step.as_json(plan.request.launch) for step in steps]


def _show_dry(plan: Plan, *, json: bool) -> None:
    from trashkit.workflows.auto.steps import all_steps

    result = {
        "out": plan.out,
        "choices": {**vars(plan.choices), "reasons": [vars(one) for one in plan.choices.reasons]},
        "skipped": plan.skipped,
        "steps": _steps_json(plan, all_steps(plan, {})),
    }
    words = [word for word in sys.argv[1:] if word != "--dry-run"]
    show(result, json=json, human="nothing was done or written (--dry-run)", next=command(*words))


def _show(done: AutoResult, *, json: bool) -> None:
    from trashkit.workflows.auto.run import in_words

    page = done.record["page"]["result"]
    submission = done.plan.out / "submission.csv"
    has_submission = "submit" in done.record
    result = {
        "out": done.plan.out,
        "page": done.plan.out / "index.html",
        "submission": submission if has_submission else None,
        "overlays": done.plan.out / "overlays" if "overlays" in done.record else None,
        **page,
        "taken": {name: value for name, value in done.decided.items() if value is not None},
        "tried": {
            name.removeprefix("decided: "): entry["result"]
            for name, entry in done.record.items()
            if name.startswith("decided: ")
        },
        "steps": [
            {**step, "expected": step["seconds"], "seconds": done.record[step["name"]]["seconds"]}
            for step in _steps_json(done.plan, done.steps)
        ],
        "seconds": done.seconds,
    }
    low, high = page["interval"]
    human = [
        f"mIoU {page['miou_in_truth']:.3f} out of fold over the classes in the truth (95 % {low:.3f} to {high:.3f}), "
        f"{page['miou_without_background']:.3f} without background",
        f"done in {in_words(done.seconds)}",
    ]
    show(result, json=json, human=human, wrote=done.plan.out / "index.html", next=_next(done, submission))


def _next(done: AutoResult, submission: Path) -> str:
    from trashkit.workflows.auto.options import predictions
    from trashkit.workflows.auto.steps import labelled_photos

    plan = done.plan
    if "submit" in done.record:
        taken = {name: value for name, value in done.decided.items() if value is not None}
        oof = predictions(plan, labelled_photos(plan), taken).paths[0]
        return command("leaderboard", "add", submission, "--name", plan.out.name, "--oof", oof, "--data", plan.fixed)
    if "overlays" in done.record:
        return command("review", plan.fixed, "--images", plan.request.images, "--edits", plan.out / "review.jsonl")
    network = plan.networks(plan.choices.recipes[0])
    return command("predict", network, plan.request.images, "--overlay", plan.out / "overlays")
