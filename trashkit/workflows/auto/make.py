"""Make the plan: read the inputs, time a few real training steps, and choose."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from trashkit.coco import read, read_dataset, write
from trashkit.errors import TrashkitError
from trashkit.images.photos import check_photos
from trashkit.progress import Log, Progress, discard, silent
from trashkit.runs.provenance import now
from trashkit.workflows.auto.budget import Task, choose
from trashkit.workflows.auto.commands import run_command
from trashkit.workflows.auto.inputs import AutoInputs, AutoRequest
from trashkit.workflows.auto.options import not_tried
from trashkit.workflows.auto.plan import Choices, Plan
from trashkit.workflows.auto.speed import Speed
from trashkit.workflows.auto.steps import all_steps
from trashkit.workflows.fix import fix_findings

STEPS_TIMED, WARM_UP = 8, 3
"""Steps that are timed, and those before that are not, see `trashkit.nn.experiments.profile`."""


def make_plan(
    request: AutoRequest,
    inputs: AutoInputs,
    *,
    started: float | None = None,
    log: Log = discard,
    progress: Progress = silent,
) -> Plan:
    """Choose how to train, by the data, the device and a few real training steps; nothing is written.

    started: `time.monotonic` at which the budget began, now by default. Raises TrashkitError for labels and photos that
    cannot be trained on, and for a budget that is too small for any recipe.
    """
    began = time.monotonic() if started is None else started
    with TemporaryDirectory(prefix="trashkit-auto-") as folder:
        data = _trainable(request, Path(folder), progress)
        labelled = len(read_dataset(data, classes=request.classes))

        def measure(recipes: Sequence[str], settings: Sequence[str], jobs: int) -> Speed:
            found = [_measure(request, data, (recipe, *settings), jobs=jobs, progress=progress) for recipe in recipes]
            seconds = sum(1 / one.rate for one in found) / len(found)  # of a photo
            return Speed(1 / seconds, max(one.start for one in found))

        def others(choices: Choices) -> float:
            drafted = Plan(request, inputs, choices, {}, "", 0.0)
            return sum(step.seconds for step in all_steps(drafted, {}) if step.name != "train")

        task = Task(
            labelled=labelled,
            extra=inputs.extra,
            deadline=began + 60 * request.minutes,
            others=others,
            gpus=0 if request.device == "cpu" else _gpus(),
            launched=bool(request.launch),
            recipes=request.recipes,
        )
        choices = choose(task, measure, log=log)
    plan = Plan(request, inputs, choices, {}, now(), time.monotonic() - began)
    return Plan(request, inputs, choices, not_tried(plan), plan.made, plan.planned)


def _gpus() -> int:
    from trashkit.nn.devices import torch_report

    return sum(found.name.startswith("cuda") for found in torch_report().devices)


def _trainable(request: AutoRequest, folder: Path, progress: Progress) -> Path:
    """The annotations as they are, if training takes them, else as the first steps will fix them, in `folder`."""
    try:
        _check(request.data, request)
        return request.data
    except TrashkitError as error:
        first = error
    coco = read(request.data)
    fixed = fix_findings(coco, unsafe=request.unsafe, images=request.images, progress=progress)
    if fixed.too_many_deletions:
        raise TrashkitError(
            f"{request.data}: {fixed.notes[0]}", hint="decide by hand first: `trashkit fix` and `trashkit review`"
        )
    path = folder / "fixed.json"
    write(fixed.coco, path)
    try:
        _check(path, request)
    except TrashkitError as error:
        if request.unsafe:
            message = error.message.replace(str(path), f"{request.data}, fixed")
            raise TrashkitError(message, hint=f"trashkit audit {request.data} --images {request.images}") from error
        raise TrashkitError(
            first.message, hint="--unsafe also applies fixes that delete what cannot be used; or correct it first"
        ) from error
    return path


def _check(path: Path, request: AutoRequest) -> None:
    dataset = read_dataset(path, classes=request.classes)
    if not dataset.annotations:
        raise TrashkitError(f"{path} has no annotations", hint="give a COCO file with annotations as --data")
    check_photos(dataset.images, request.images)


def _measure(request: AutoRequest, data: Path, recipe: tuple[str, ...], *, jobs: int, progress: Progress) -> Speed:
    """Time a few training steps, as many side by side as will be trained so. recipe: its name, then settings."""
    words = ["train", "--data", str(data), "--images", str(request.images), "--all-data", "--recipe", recipe[0]]
    words += [word for one in recipe[1:] for word in ("--set", one)]
    words += ["--classes", request.classes] if request.classes else []
    words += ["--device", request.device] if request.device != "auto" else []
    words += ["--profile", str(STEPS_TIMED)]

    def one(n: int) -> tuple[float, float]:
        began = time.monotonic()
        found = run_command(words, launch=request.launch, progress=progress if n == 0 else silent)
        took = found["images"] / found["images_per_second"] * (STEPS_TIMED + WARM_UP) / STEPS_TIMED
        return found["images_per_second"], max(0.0, time.monotonic() - began - took)

    at_once = max(1, jobs)
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(one, range(at_once)))
    gpus = _gpus() if not jobs else 1
    return Speed(sum(rate for rate, _ in found) * gpus, min(start for _, start in found))
