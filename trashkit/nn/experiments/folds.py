"""Several runs from one command: recipes times folds, and the out-of-fold store of all folds."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, PartialState

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError, naming_errors
from trashkit.nn.data.cache import content_hash
from trashkit.nn.data.extra import ExtraDataset, hashes_of
from trashkit.nn.devices import on_cpu
from trashkit.nn.experiments.launcher import TrainTask, run_tasks
from trashkit.nn.experiments.out_of_fold import join_stores
from trashkit.nn.inference.predict import check_photos
from trashkit.nn.models.networks import build, measure_network, untrained_network
from trashkit.nn.models.weights import SOURCES
from trashkit.nn.training.batch_size import memory_warning
from trashkit.nn.training.choices import Choice, check_settings, ineffective_settings, resolve_automatic
from trashkit.nn.training.expected_time import step_seconds, training_seconds
from trashkit.nn.training.learner import start_accelerator
from trashkit.nn.training.record import run_spec
from trashkit.nn.training.tracking import AfterEpoch
from trashkit.nn.training.train import DEFAULTS, TrainOptions
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.outputs import Output
from trashkit.progress import Log, Progress, discard, silent
from trashkit.runs.folder import OOF, RUN_FOLDER, is_run
from trashkit.runs.run import Run
from trashkit.settings.training import TrainConfig

Ids = Sequence[Any]
Folds = Mapping[int | None, tuple[Ids, Ids]]
"""Fold number (None for a holdout or all images) -> image ids to train on and to validate on."""


@dataclass(frozen=True)
class Job:
    """One run to train.

    recipe: name of the recipe that the settings come from. fold: None without folds. train, val: images in file order.
    out: run folder.
    """

    recipe: str
    config: TrainConfig
    fold: int | None
    train: tuple[Image, ...]
    val: tuple[Image, ...]
    out: Path

    @property
    def name(self) -> str:
        """Its name in progress and log lines."""
        return self.recipe if self.fold is None else f"{self.recipe} fold {self.fold}"


# --- planning --------------------------------------------------------------------------------------------------------


def plan_jobs(recipes: Mapping[str, TrainConfig], folds: Folds, dataset: Dataset, out: Path) -> list[Job]:
    """All runs of a command: one in `out` itself, several in ``out/RECIPE/fold-K``.

    Raises TrashkitError for an id that the data set lacks, a fold without images to train on, and images in both parts.
    """
    several = len(recipes) > 1 or len(folds) > 1
    jobs = []
    for recipe, config in recipes.items():
        for fold, (train_ids, val_ids) in folds.items():
            place = out / recipe / (f"fold-{fold}" if fold is not None else "run") if several else out
            train, val = (_images(dataset, ids) for ids in (train_ids, val_ids))
            both = {image.row for image in train} & {image.row for image in val}
            if both or not train:
                problem = f"{len(both)} images are in both parts" if both else "there is no image to train on"
                raise TrashkitError(f"fold {fold}: {problem}", hint="trashkit split check SPLIT.json --data ANN.json")
            jobs.append(Job(recipe, config, fold, train, val, place))
    return jobs


def _images(dataset: Dataset, ids: Ids) -> tuple[Image, ...]:
    unknown = [image_id for image_id in ids if image_id not in dataset.image_by_id]
    if unknown:
        raise TrashkitError(
            f"the split names image id {unknown[0]!r}, which {dataset.coco.path} lacks ({len(unknown)} such ids)",
            hint="make the split from the same annotation file",
        )
    # In file order, so that the order of ids in a split makes no difference.
    return tuple(sorted((dataset.image_by_id[image_id] for image_id in ids), key=lambda image: image.row))


@dataclass(frozen=True)
class JobPlan:
    """What a job would do.

    config: settings with every ``auto`` resolved, by these choices. parameters: of the network. memory: bytes that
    training needs, approximately. seconds: that all epochs take, from the time of one step; None if unknown.
    warnings: one line for each setting that is probably a mistake.
    """

    job: Job
    config: TrainConfig
    choices: tuple[Choice, ...]
    parameters: int
    memory: int
    seconds: float | None
    warnings: tuple[str, ...]


def dry_run(
    jobs: Sequence[Job], dataset: Dataset, folder: Path, out: Path, options: TrainOptions = DEFAULTS
) -> list[JobPlan]:
    """Check settings, labels, headers of photos, networks and folders, without training or writing anything.

    folder: of the photos. Raises TrashkitError for whatever would stop `train_jobs` before it trains.
    """
    _check_folders(jobs, out, options)
    _check_labels(jobs, dataset)
    accelerator = start_accelerator(options.device, "off")
    check_photos(_images_of(jobs), folder)
    several = _several_recipes(jobs)
    return [_plan(job, dataset, accelerator, several=several, download=False, timed=True) for job in jobs]


def _plan(
    job: Job, dataset: Dataset, accelerator: Accelerator, *, several: bool, download: bool, timed: bool
) -> JobPlan:
    """several: mistakes name the recipe. download: load weights from the hub, too; local ones are always loaded. timed:
    run a step, and tell how long all take.

    Raises TrashkitError for invalid settings, and for a network that cannot be trained with them.
    """
    with naming_errors(job.recipe if several else ""):
        config, choices = resolve_automatic(
            job.config, device=accelerator.device, processes=accelerator.num_processes, images=len(job.train)
        )
        check_settings(config, dataset.classes.names)
        spec = run_spec(config, dataset)
        fit = measure_network(spec, min(int(config.data.batch_size), len(job.train)))
        if config.model.weights not in SOURCES or (download and config.model.weights == "hub"):
            build(spec, config.model.weights)  # finds missing and wrong weights now
    memory = fit.memory(half=config.amp in ("bf16", "fp16"))
    warnings = ineffective_settings(config, validated=bool(job.val))
    # An automatic batch size is reduced until it fits.
    if job.config.data.batch_size != "auto" and (text := memory_warning(memory, accelerator.device)):
        warnings.append(text)
    seconds = None
    if timed:
        step = step_seconds(untrained_network(spec), config, accelerator, len(job.train))
        counts = {"train": len(job.train), "val": len(job.val), "processes": accelerator.num_processes}
        seconds = None if step is None else training_seconds(step, config, **counts)
    return JobPlan(job, config, tuple(choices), fit.parameters, memory, seconds, tuple(warnings))


def extra_sources(extra: Sequence[ExtraDataset], job: Job, folder: Path) -> tuple[ExtraSource, ...]:
    """Other data sets as sources for a job, without the photos that it validates on. folder: of the job's photos."""
    if not extra:
        return ()
    validated = frozenset(hashes_of(job.val, folder))
    remaining = [one.without(validated) for one in extra]
    return tuple(ExtraSource(one, one.folder, one.fingerprint, one.weight) for one in remaining if len(one))


# --- training --------------------------------------------------------------------------------------------------------


def train_jobs(
    jobs: Sequence[Job],
    dataset: Dataset,
    folder: Path,
    out: Path,
    options: TrainOptions = DEFAULTS,
    *,
    about: Mapping[str, Any],
    at_once: int | Literal["auto"] = 1,
    cache: Path | None = None,
    extra: Sequence[ExtraDataset] = (),
    after_epoch: AfterEpoch | None = None,
    log: Log = discard,
    progress: Progress = silent,
) -> list[Run]:
    """Train all jobs, and join the out-of-fold stores of each recipe with several folds.

    folder: of the photos. about: entries for the manifests. at_once: number of jobs to train in parallel, each in its
    own process; ``auto``: one per GPU if there are several of both. cache: folder for decoded photos that is kept for
    later commands; by default they are kept next to `out` until training is complete. extra: data sets to train on in
    addition. after_epoch: as in `train`, only with one job at a time. With ``options.resume``, complete runs are
    skipped. Raises TrashkitError as `dry_run` does, before the first job is trained, and as `train` does.
    """
    accelerator = start_accelerator(options.device, "off")
    main = accelerator.is_main_process
    progress = progress if main else silent
    _check_folders(jobs, out, options)
    accelerator.wait_for_everyone()
    _check_labels(jobs, dataset)
    images = _images_of(jobs)
    check_photos(images, folder)
    _check_networks(jobs, dataset, accelerator, log if main else discard)
    content = content_hash(dataset, images, folder, progress)
    place = cache or out.parent / f".{out.name}.cache"
    existed = place.exists()  # another command may be using it
    gpus = 0 if options.device == "cpu" else torch.cuda.device_count()
    parallel = (min(gpus, len(jobs)) if at_once == "auto" else at_once) if accelerator.num_processes == 1 else 1
    tasks = [
        TrainTask(
            config=job.config,
            data=TrainData(dataset, folder, job.train, job.val, content, extra_sources(extra, job, folder)),
            out=job.out,
            options=options,
            cache=place,
            about={**about, "recipe": job.recipe, "fold": job.fold},
            name=job.name,
            after_epoch=after_epoch,
        )
        for job in jobs
    ]
    try:
        done = run_tasks(tasks, at_once=parallel, gpus=gpus, log=log, progress=progress)
        if main:
            _join_recipes(jobs, dataset, out, options)
    except TrashkitError:
        if main and cache is None and not existed:
            shutil.rmtree(place, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if main and cache is None:
        shutil.rmtree(place, ignore_errors=True)
    return done


def _check_folders(jobs: Sequence[Job], out: Path, options: TrainOptions) -> None:
    """Refuse folders that exist before the first job is trained."""
    if jobs[0].out != out and is_run(out):
        raise TrashkitError(f"{out} is a single run, so it cannot contain several", hint="choose another --out")
    for job in jobs:
        if not (options.resume and job.out.is_dir()):
            Output(job.out, overwrite=options.overwrite, kind=RUN_FOLDER).check()


def _check_labels(jobs: Sequence[Job], dataset: Dataset) -> None:
    for job in jobs:
        if not any(dataset.annotations_of(image.row) for image in job.train):
            raise TrashkitError(
                f"none of the {len(job.train)} images to train on has an annotation",
                hint="give a COCO file with labels as --data; test.json has none",
            )


def _check_networks(jobs: Sequence[Job], dataset: Dataset, accelerator: Accelerator, log: Log) -> None:
    """Refuse a network that cannot be trained before any other is, and log the size of each."""
    of_recipe = {job.recipe: job for job in jobs}
    for job in of_recipe.values():
        plan = _plan(job, dataset, accelerator, several=len(of_recipe) > 1, download=len(of_recipe) > 1, timed=False)
        config = plan.config
        log(
            f"{job.recipe}: {config.model.architecture} with {config.model.encoder}, "
            f"{plan.parameters / 1e6:.1f} million parameters, "
            f"about {plan.memory / 1e9:.1f} GB at batch size {config.data.batch_size}"
        )
        for warning in plan.warnings:
            log(f"{job.recipe}: {warning}")


def _several_recipes(jobs: Sequence[Job]) -> bool:
    return len({job.recipe for job in jobs}) > 1


def _images_of(jobs: Sequence[Job]) -> list[Image]:
    rows = {image.row: image for job in jobs for image in (*job.train, *job.val)}
    return [rows[row] for row in sorted(rows)]


def _join_recipes(jobs: Sequence[Job], dataset: Dataset, out: Path, options: TrainOptions) -> None:
    for recipe in dict.fromkeys(job.recipe for job in jobs):
        stores = [job.out / OOF for job in jobs if job.recipe == recipe and job.fold is not None and job.val]
        if len(stores) > 1:
            place = out / recipe / OOF
            join_stores(stores, dataset, place, resume=options.resume, overwrite=options.overwrite)


# --- processes -------------------------------------------------------------------------------------------------------


def is_main_process(device: str = "auto") -> bool:
    """Whether this is the process that prints and writes, of those that train together. device: ``auto`` or ``cpu``."""
    return bool(PartialState(cpu=on_cpu(device)).is_main_process)


def wait_for_everyone() -> None:
    """Block until all processes that train together have reached this line."""
    PartialState().wait_for_everyone()
