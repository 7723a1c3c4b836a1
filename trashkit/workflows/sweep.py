"""Hyperparameter search from files: what the command ``sweep`` does, as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.progress import Log, Progress, discard, silent
from trashkit.settings.training import TrainConfig, identity_settings
from trashkit.workflows.train_inputs import check_device, check_fold, read_folds, read_recipes

if TYPE_CHECKING:
    from trashkit.nn.experiments.sweep import Trial
    from trashkit.runs.metrics import EpochRow
    from trashkit.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What to search.

    data, images, split, fold, classes: as in `TrainRequest`; a sweep uses one fold. recipe, assignments: fixed
    settings. space, tries: the search space, see `trashkit.nn.experiments.search_space.read_space`. out: folder of the
    study. command: for the manifests.
    """

    data: Path
    images: Path
    out: Path
    split: Path | None = None
    fold: str | None = None
    recipe: str | None = None
    assignments: tuple[str, ...] = ()
    space: Path | None = None
    tries: tuple[str, ...] = ()
    trials: int = 20
    device: str = "auto"
    classes: str | None = None
    resume: bool = False
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True)
class SweepResult:
    """All trials, best first. keys: the settings that were searched. best: recipe with the best settings."""

    trials: tuple[Trial, ...]
    keys: tuple[str, ...]
    best: Path


def sweep_settings(request: SweepRequest, *, log: Log = discard, progress: Progress = silent) -> SweepResult:
    """Search settings by short trainings on one fold. Raises TrashkitError for mistakes, before anything is trained."""
    check_device(request.device)
    check_fold(request.data, request.split, request.fold)
    if request.fold == "all":
        raise TrashkitError("a sweep compares trials on one fold", hint="give --fold K")
    if not request.images.is_dir():
        raise TrashkitError(f"the photo folder {request.images} does not exist", hint="check --images")
    dataset = read_dataset(request.data, classes=request.classes)

    from trashkit.nn.experiments.folds import plan_jobs, train_jobs
    from trashkit.nn.experiments.search_space import read_space
    from trashkit.nn.experiments.sweep import BEST, sweep
    from trashkit.nn.training.choices import check_settings
    from trashkit.nn.training.tracking import tracker_names
    from trashkit.nn.training.train import TrainOptions

    space = read_space(request.space, request.tries)
    recipes = [request.recipe] if request.recipe else []
    fixed = request.assignments
    base = next(iter(read_recipes(recipes, fixed, device=request.device, log=log).values()))
    folds = read_folds(dataset, request.split, request.fold, seed=base.seed, log=log)
    options = TrainOptions(device=request.device, resume=True, trackers=tuple(tracker_names(["auto"])))

    def resolve(assignments: Sequence[str]) -> TrainConfig:
        config = next(iter(read_recipes(recipes, [*fixed, *assignments], device=request.device).values()))
        check_settings(config, dataset.classes.names)
        return config

    def train_one(
        config: TrainConfig, place: Path, name: str, after_epoch: Callable[[Sequence[EpochRow]], None]
    ) -> Run:
        (job,) = plan_jobs({name: config}, folds, dataset, place)
        about = {"kind": "trial", "command": request.command}
        return train_jobs(
            [job], dataset, request.images, place, options, about=about, after_epoch=after_epoch, log=log,
            progress=progress,
        )[0]  # fmt: skip

    validation = [str(image_id) for _, val in folds.values() for image_id in val]
    identity = {"data": dataset.coco.sha256, "settings": identity_settings(base), "validation images": validation}
    found = sweep(
        space,
        resolve,
        train_one,
        request.out,
        trials=request.trials,
        identity=identity,
        seed=base.seed,
        resume=request.resume,
        overwrite=request.overwrite,
        log=log,
    )
    return SweepResult(tuple(found), tuple(space), request.out / BEST)
