"""Training from files to runs: what the command ``train`` does, as functions.

    inputs = read_inputs(TrainRequest(data=Path("train.json"), images=Path("photos"), out=Path("runs/first")))
    trained = train_networks(inputs, TrainOptions(device="cpu"))

Under torchrun or accelerate all processes call the same function; the main process logs and writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trashkit.errors import TrashkitError
from trashkit.outputs import Output, write_text
from trashkit.progress import Log, Progress, discard, silent
from trashkit.runs.folder import OOF
from trashkit.workflows.train_inputs import (
    TrainInputs,
    TrainRequest,
    read_extra_sets,
    read_folds,
    read_inputs,
    read_recipes,
    warn_of_leaked_labels,
)

if TYPE_CHECKING:
    from trashkit.nn.data.extra import ExtraDataset
    from trashkit.nn.experiments.folds import Job, JobPlan
    from trashkit.nn.experiments.profile import Profile
    from trashkit.nn.training.train import TrainOptions
    from trashkit.runs.run import Run

__all__ = ["TrainInputs", "TrainRequest", "plan_training", "preview_training", "profile_training", "read_inputs",
           "train_networks"]  # fmt: skip

SHEET_FORMATS = (".png", ".jpg", ".html")


@dataclass(frozen=True)
class _Work:
    """The jobs of a request and the further data sets to train on."""

    jobs: tuple[Job, ...]
    extra: tuple[ExtraDataset, ...]


def _read_work(inputs: TrainInputs, options: TrainOptions, images: Path, log: Log) -> _Work:
    from trashkit.nn.experiments.folds import is_main_process, plan_jobs

    request, dataset = inputs.request, inputs.dataset
    main = is_main_process(options.device)
    log = log if main else discard
    recipes = read_recipes(request.recipes, request.assignments, device=options.device, log=log)
    seed = next(iter(recipes.values())).seed
    folds = read_folds(dataset, request.split, request.fold, all_data=request.all_data, seed=seed, log=log)
    jobs = plan_jobs(recipes, folds, dataset, request.out or Path("run"))
    extra = read_extra_sets(request.extra, jobs, dataset, images, log=log)
    if main:
        warn_of_leaked_labels(jobs, [dataset, *(one.dataset for one in extra)], images, log=log)
    return _Work(tuple(jobs), tuple(extra))


def _refuse_to_replace_inputs(inputs: TrainInputs, work: _Work, options: TrainOptions) -> None:
    if not options.overwrite:
        return
    request = inputs.request
    files = [place for one in work.extra for place in (one.path, one.folder)]
    files += [Path(job.config.model.weights) for job in work.jobs]
    for job in work.jobs:
        Output(job.out).check_inputs([request.data, request.images, request.split, request.cache, *files])


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """The runs of a request, in the order of their jobs. joined: out-of-fold stores of all folds, one per recipe."""

    jobs: tuple[Job, ...]
    runs: tuple[Run, ...]
    joined: tuple[Path, ...]


def train_networks(
    inputs: TrainInputs, options: TrainOptions, *, log: Log = discard, progress: Progress = silent
) -> Trained:
    """Train every recipe on every fold of a request.

    Raises TrashkitError for settings, photos, weights and folders that cannot be used, before the first run starts.
    """
    from trashkit.nn.experiments.folds import train_jobs

    images, out = inputs.photo_folder(), inputs.run_folder()
    work = _read_work(inputs, options, images, log)
    _refuse_to_replace_inputs(inputs, work, options)
    request = inputs.request
    runs = train_jobs(
        work.jobs,
        inputs.dataset,
        images,
        out,
        options,
        about={"kind": "train", "command": request.command},
        at_once=request.at_once,
        cache=request.cache,
        extra=work.extra,
        log=log,
        progress=progress,
    )
    recipes = dict.fromkeys(job.recipe for job in work.jobs) if len(work.jobs) > 1 else {}
    joined = tuple(out / recipe / OOF for recipe in recipes if (out / recipe / OOF).exists())
    return Trained(work.jobs, tuple(runs), joined)


def plan_training(inputs: TrainInputs, options: TrainOptions, *, log: Log = discard) -> list[JobPlan]:
    """Check everything as `train_networks` does, and return what it would do, without writing anything."""
    from trashkit.nn.experiments.folds import dry_run

    images, out = inputs.photo_folder(), inputs.run_folder()
    work = _read_work(inputs, options, images, log)
    _refuse_to_replace_inputs(inputs, work, options)
    return dry_run(work.jobs, inputs.dataset, images, out, options)


# --- looking at it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PreviewSheet:
    """What a preview shows. files: of the pictures. photos: number of photos they are drawn from, of `all_photos`.
    shares: of all pixels by class name."""

    files: tuple[str, ...]
    photos: int
    all_photos: int
    shares: dict[str, float]


def preview_training(
    inputs: TrainInputs, options: TrainOptions, file: Path, *, log: Log = discard, progress: Progress = silent
) -> PreviewSheet:
    """Write a sheet of the first pictures that the network will see to a .png, .jpg or .html file."""
    import cv2

    from trashkit.nn.experiments.folds import extra_sources
    from trashkit.nn.experiments.preview import as_page, as_sheet, picture_shares, preview
    from trashkit.nn.training.train_data import TrainData

    images, dataset, suffix = inputs.photo_folder(), inputs.dataset, file.suffix.lower()
    work = _read_work(inputs, options, images, log)
    job = work.jobs[0]
    if suffix not in SHEET_FORMATS:
        raise TrashkitError(f"{file} has no known format", hint=f"let it end in one of {', '.join(SHEET_FORMATS)}")
    output = Output(file, overwrite=options.overwrite)
    output.check()
    output.check_inputs([images / one.file_name for one in dataset.images])
    data = TrainData(dataset, images, job.train, job.val, "", extra_sources(work.extra, job, images))
    with TemporaryDirectory() as cache:
        pictures, count = preview(job.config, data, Path(cache), progress=progress)
    few = f", drawn from {count} of {data.count} photos to train on" if count < data.count else ""
    title = f"{job.recipe}, {job.config.data.size} px, augment {job.config.data.augment}{few}"
    if suffix == ".html":
        write_text(file, as_page(pictures, dataset.classes, title), overwrite=options.overwrite)
    else:
        sheet = cv2.cvtColor(as_sheet(pictures, dataset.classes, title), cv2.COLOR_RGB2BGR)
        done, encoded = cv2.imencode(suffix, sheet)
        assert done
        with output.writing() as temporary:
            temporary.write_bytes(encoded.tobytes())
    names = tuple(one.file_name for one in pictures)
    return PreviewSheet(names, count, data.count, picture_shares(pictures, dataset.classes))


def profile_training(
    inputs: TrainInputs, options: TrainOptions, steps: int, *, log: Log = discard, progress: Progress = silent
) -> Profile:
    """Time this many training steps of the first job, and keep nothing else."""
    from trashkit.nn.data.cache import content_hash
    from trashkit.nn.experiments.folds import extra_sources
    from trashkit.nn.experiments.profile import profile
    from trashkit.nn.training.train_data import TrainData

    images, dataset = inputs.photo_folder(), inputs.dataset
    work = _read_work(inputs, options, images, log)
    job = work.jobs[0]
    with TemporaryDirectory(prefix="trashkit-profile-") as cache:
        content = content_hash(dataset, job.train, images, progress)
        data = TrainData(dataset, images, job.train, (), content, extra_sources(work.extra, job, images))
        return profile(job.config, data, options, steps=steps, cache=Path(cache), log=log, progress=progress)


def validation_counts(run: Run) -> Sequence[int]:
    """Number of validation images that show each class of a run; empty without validation."""
    from trashkit.runs.metrics import read_validation

    found = read_validation(run.path)
    counts: list[int] = (found.per_image.sum(axis=2) > 0).sum(axis=0).tolist() if found is not None else []
    return counts
