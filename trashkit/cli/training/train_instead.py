"""What ``trashkit train`` shows instead of training: suggestions, a preview, a profile, or a plan."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import command, note, progress, show, table, unused

if TYPE_CHECKING:
    from trashkit.nn.training.train import TrainOptions
    from trashkit.workflows.train_inputs import TrainInputs


def show_suggestions(inputs: TrainInputs, *, device: str, json: bool) -> None:
    """Show suggested settings and the command line to try the first of them."""
    from trashkit.nn.experiments.suggest import merged_settings
    from trashkit.workflows.suggestions import suggest_settings

    with progress() as report:
        found = suggest_settings(inputs, device=device, log=note, progress=report)
    result = {
        "recipe": found.recipe,
        "suggestions": [
            {"topic": one.topic, "reason": one.reason, "set": list(one.settings), "instead": one.instead}
            for one in found.suggestions
        ],
        "together": merged_settings(found.suggestions),
    }
    rows: list[list[str]] = []
    for one in found.suggestions:
        types = [f"--set {shlex.quote(setting)}" for setting in one.settings] + ([one.instead] if one.instead else [])
        rows += [[one.topic if not n else "", one.reason if not n else "", text] for n, text in enumerate(types)]
    empty = "nothing stands out in this data set"
    human: list[Any] = [table(["what", "why", "to type"], rows)] if rows else [empty]
    request = inputs.request
    arguments: list[Any] = ["--data", inputs.dataset.coco.path, "--images", request.images]
    arguments += ["--recipe", found.recipe] if found.recipe else []
    arguments += ["--split", request.split] if request.split is not None else []
    arguments += ["--fold", request.fold] if request.fold is not None else []
    first = next((one.settings for one in found.suggestions if one.settings), ())
    if first:
        human.append("These are guesses from counts: try them one at a time, on the same folds.")
    for setting in (*request.assignments, *first):
        arguments += ["--set", setting]
    for extra in request.extra:
        arguments += ["--extra", extra]
    arguments += ["--classes", request.classes] if request.classes else []
    following = command("train", *arguments, "--out", request.out or unused("runs/first"))
    show(result, json=json, human=human, next=following if request.images is not None else "")


def show_preview(inputs: TrainInputs, options: TrainOptions, file: Path, *, json: bool) -> None:
    """Write a preview sheet."""
    from trashkit.workflows.training import preview_training

    with progress() as report:
        found = preview_training(inputs, options, file, log=note, progress=report)
    few = f", drawn from {found.photos} of {found.all_photos} photos to train on"
    human = (
        f"{len(found.files)} pictures as the network sees them, next to their label maps; ignored parts are hatched"
        f"{few if found.photos < found.all_photos else ''}"
    )
    result = {"pictures": list(found.files), "photos": found.photos, "shares": found.shares}
    show(result, json=json, human=human, wrote=file)


def show_profile(inputs: TrainInputs, options: TrainOptions, steps: int, *, main: bool, json: bool) -> None:
    """Time this many steps and show the share of each phase."""
    from trashkit.workflows.training import profile_training

    with progress() as report:
        found = profile_training(inputs, options, steps, log=note, progress=report)
    if not main:
        return
    rate = found.images / found.total
    result = {
        "steps": found.steps,
        "images": found.images,
        "seconds": found.seconds,
        "images_per_second": rate,
        "peak_memory": found.memory,
    }
    rows = [
        [phase, f"{1000 * seconds / found.steps:.2f}", f"{seconds / found.total:.1%}"]
        for phase, seconds in found.seconds.items()
    ]
    closing = f"{rate:.1f} images/s over {found.steps} steps"
    if found.memory is not None:
        closing += f", at most {found.memory / 2**30:.2f} GiB on the GPU"
    human: list[Any] = [
        table(["phase", "ms per step", "share"], rows),
        closing,
        "nothing was trained or written (--profile)",
    ]
    show(result, json=json, human=human)


def _time(seconds: float | None) -> str:
    from trashkit.progress import time_text

    return "unknown" if seconds is None else time_text(seconds)


def show_plan(inputs: TrainInputs, options: TrainOptions, *, main: bool, json: bool) -> None:
    """Show what a training would do."""
    from trashkit.settings.training import to_toml
    from trashkit.workflows.training import plan_training

    plans = plan_training(inputs, options, log=note)
    if not main:
        return
    result: list[dict[str, Any]] = [
        {
            "out": plan.job.out,
            "recipe": plan.job.recipe,
            "fold": plan.job.fold,
            "training_images": len(plan.job.train),
            "validation_images": len(plan.job.val),
            "parameters": plan.parameters,
            "memory": plan.memory,
            "expected_seconds": plan.seconds,
            "settings": plan.config.model_dump(),
            "choices": [str(choice) for choice in plan.choices],
            "remarks": list(plan.warnings),
        }
        for plan in plans
    ]
    keys = ("out", "recipe", "fold", "training_images", "validation_images", "parameters")
    rows = [[*(r[key] for key in keys), f"{r['memory'] / 1e9:.1f} GB", _time(r["expected_seconds"])] for r in result]
    columns = ["run", "recipe", "fold", "train", "validate", "parameters", "memory", "time"]
    human: list[Any] = [table(columns, rows)]
    known = [plan.seconds for plan in plans if plan.seconds is not None]
    if len(known) == len(plans):
        human.append(f"about {_time(sum(known))} in all, one run after the other, from the time of one step")
    for plan in {plan.job.recipe: plan for plan in plans}.values():
        human += [
            f"{plan.job.recipe}:",
            *to_toml(plan.config).rstrip().split("\n"),
            *(f"  {line}" for line in (*plan.choices, *plan.warnings)),
        ]
    human.append("nothing was trained or written (--dry-run)")
    words = [word for word in shlex.split(inputs.request.command)[1:] if word != "--dry-run"]
    show({"runs": result}, json=json, human=human, next=command(*words))
