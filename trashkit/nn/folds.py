"""Several runs from one command: recipes times folds, their folders, and the out-of-fold store of all folds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator, PartialState

from trashkit.coco import Dataset, Image
from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError, told_of
from trashkit.nn.batch_fit import beyond
from trashkit.nn.cache import content_hash
from trashkit.nn.choices import Choice, automatic, check_settings, without_effect
from trashkit.nn.devices import on_cpu
from trashkit.nn.extra import ExtraSet, hashes_of
from trashkit.nn.follow import AfterEpoch
from trashkit.nn.learner import start_accelerator
from trashkit.nn.models import build, check_fit
from trashkit.nn.predict import check_photos
from trashkit.nn.record import MapData, TrainData, run_spec
from trashkit.nn.spread import Task, train_tasks
from trashkit.nn.weights import SOURCES
from trashkit.progress import Progress, silent
from trashkit.run import Run
from trashkit.run_folder import OOF, is_run, refuse_folder
from trashkit.store import Probabilities, create_store, open_store

Ids = Sequence[Any]


@dataclass(frozen=True)
class Job:
    """One run to train: settings under the name of their recipe, the fold (None where there are no folds), the images
    to train and to validate on, and its folder."""

    recipe: str
    config: TrainConfig
    fold: int | None
    train: tuple[Image, ...]
    val: tuple[Image, ...]
    out: Path

    @property
    def name(self) -> str:
        """What it is called in progress and in lines about it."""
        return self.recipe if self.fold is None else f"{self.recipe} fold {self.fold}"


def plan_jobs(
    recipes: Mapping[str, TrainConfig],
    folds: Mapping[int | None, tuple[Ids, Ids]],
    dataset: Dataset,
    out: Path,
) -> list[Job]:
    """All runs of a command: `out` itself for one, ``out/RECIPE/fold-K`` for several recipes or folds.

    folds: number (None for a holdout or all images) -> image ids to train on and to validate on.
    Raises TrashkitError for an id that the data set lacks, a fold without images to train on, and images in both parts.
    """
    many = len(recipes) > 1 or len(folds) > 1
    jobs = []
    for recipe, config in recipes.items():
        for fold, (train_ids, val_ids) in folds.items():
            place = out / recipe / (f"fold-{fold}" if fold is not None else "run") if many else out
            parts = [_images(dataset, ids) for ids in (train_ids, val_ids)]
            both = {image.row for image in parts[0]} & {image.row for image in parts[1]}
            if both or not parts[0]:
                problem = f"{len(both)} images are in both parts" if both else "there is no image to train on"
                raise TrashkitError(f"fold {fold}: {problem}", hint="trashkit split check SPLIT.json --data ANN.json")
            jobs.append(Job(recipe, config, fold, parts[0], parts[1], place))
    return jobs


def _images(dataset: Dataset, ids: Ids) -> tuple[Image, ...]:
    unknown = [image_id for image_id in ids if image_id not in dataset.image_by_id]
    if unknown:
        raise TrashkitError(
            f"the split names image id {unknown[0]!r}, which {dataset.coco.path} lacks ({len(unknown)} such ids)",
            hint="make the split from the same annotation file",
        )
    # In file order, so that the order of ids in a split changes nothing.
    return tuple(sorted((dataset.image_by_id[image_id] for image_id in ids), key=lambda image: image.row))


@dataclass(frozen=True)
class Plan:
    """What a job would do: settings with nothing left to choose, what was chosen, the network's parameters, and the
    bytes of memory that training it takes about. remarks: a line for each thing that is probably not meant."""

    job: Job
    config: TrainConfig
    choices: tuple[Choice, ...]
    parameters: int
    memory: int
    remarks: tuple[str, ...]


def look_ahead(
    jobs: Sequence[Job],
    dataset: Dataset,
    folder: Path,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
) -> list[Plan]:
    """Check settings, labels, photos' headers, networks and folders without training or writing anything."""
    _refuse(jobs, out, resume=resume, overwrite=overwrite)
    _refuse_unlabelled(jobs, dataset)
    engine = start_accelerator(device, "off")
    check_photos(_used(jobs), folder)
    return [_plan(job, dataset, engine, several=_several(jobs), fetch=False) for job in jobs]


def _several(jobs: Sequence[Job]) -> bool:
    return len({job.recipe for job in jobs}) > 1


def _plan(job: Job, dataset: Dataset, engine: Accelerator, *, several: bool, fetch: bool) -> Plan:
    """several: recipes, so that mistakes say of which. fetch: weights from the hub, too; local ones are read always.

    Raises TrashkitError for settings that cannot be, and for a network that cannot be trained with them.
    """
    processes = engine.num_processes
    with told_of(job.recipe if several else ""):
        config, choices = automatic(job.config, device=engine.device, processes=processes, images=len(job.train))
        check_settings(config, dataset.classes.names)
        spec = run_spec(config, dataset)
        fit = check_fit(spec, min(int(config.data.batch_size), len(job.train)))
        if config.model.weights not in SOURCES or (fetch and config.model.weights == "hub"):
            build(spec, config.model.weights)  # they are found missing or wrong now
    memory = fit.memory(half=config.amp in ("bf16", "fp16"))
    remarks = without_effect(config, validated=bool(job.val))
    if job.config.data.batch_size != "auto" and (text := beyond(memory, engine.device)):
        remarks.append(text)  # auto is made smaller until it fits
    return Plan(job, config, tuple(choices), fit.parameters, memory, tuple(remarks))


def _check_networks(jobs: Sequence[Job], dataset: Dataset, engine: Accelerator, say: Callable[[str], None]) -> None:
    """Refuse a network that cannot be trained before any other is, and say what each needs."""
    of_recipe = {job.recipe: job for job in jobs}
    for job in of_recipe.values():
        plan = _plan(job, dataset, engine, several=len(of_recipe) > 1, fetch=len(of_recipe) > 1)
        config = plan.config
        say(
            f"{job.recipe}: {config.model.architecture} over {config.model.encoder}, "
            f"{plan.parameters / 1e6:.1f} million parameters, "
            f"about {plan.memory / 1e9:.1f} GB at batch size {config.data.batch_size}"
        )
        for remark in plan.remarks:
            say(f"{job.recipe}: {remark}")


def _refuse_unlabelled(jobs: Sequence[Job], dataset: Dataset) -> None:
    for job in jobs:
        if not any(dataset.annotations_of(image.row) for image in job.train):
            raise TrashkitError(
                f"none of the {len(job.train)} images to train on has an annotation",
                hint="name a COCO file with labels by --data; test.json has none",
            )


def _used(jobs: Sequence[Job]) -> list[Image]:
    rows = {image.row: image for job in jobs for image in (*job.train, *job.val)}
    return [rows[row] for row in sorted(rows)]


def train_jobs(
    jobs: Sequence[Job],
    dataset: Dataset,
    folder: Path,
    out: Path,
    *,
    about: Mapping[str, Any],
    device: str = "auto",
    shard: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    at_once: int | Literal["auto"] = 1,
    trackers: Sequence[str] = (),
    after_epoch: AfterEpoch | None = None,
    extra: Sequence[ExtraSet] = (),
    kept: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> list[Run]:
    """Train all jobs, and join the out-of-fold stores of each recipe with several folds.

    at_once: how many jobs train at a time, each in a process of its own; ``auto``: one on each GPU, where there are
    several of both. shard: as in `train`. trackers: see `trashkit.nn.follow`. after_epoch: as in `train`, only with one
    at a time. Finished runs are passed over with `resume`. Decoded photos lie beside `out` while training lasts, and
    stay there after Ctrl-C or a kill for the resumed run; `kept` is a folder for them that stays, for later commands.
    extra: data sets to train on beside, without photos that a job validates on.
    """
    engine = start_accelerator(device, "off")
    main = engine.is_main_process
    if not main:
        progress = silent
    _refuse(jobs, out, resume=resume, overwrite=overwrite)
    engine.wait_for_everyone()
    _refuse_unlabelled(jobs, dataset)
    images = _used(jobs)
    check_photos(images, folder)
    _check_networks(jobs, dataset, engine, say if main else lambda _: None)
    content = content_hash(dataset, images, folder, progress)
    cache = kept or out.parent / f".{out.name}.cache"
    was_there = cache.exists()  # another command may be using it
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    several = (min(gpus, len(jobs)) if at_once == "auto" else at_once) if engine.num_processes == 1 else 1
    try:
        tasks = [
            Task(
                job.config,
                TrainData(dataset, folder, job.train, job.val, content, beside(extra, job, folder)),
                job.out,
                {**about, "recipe": job.recipe, "fold": job.fold},
                cache,
                device,
                job.name,
                shard,
                tuple(trackers),
                after_epoch,
            )
            for job in jobs
        ]
        done = train_tasks(
            tasks, at_once=several, gpus=gpus, resume=resume, overwrite=overwrite, say=say, progress=progress
        )
        if main:
            _join_recipes(jobs, dataset, out, resume=resume, overwrite=overwrite)
    except TrashkitError:
        if main and kept is None and not was_there:
            shutil.rmtree(cache, ignore_errors=True)
        raise
    engine.wait_for_everyone()
    if main and kept is None:
        shutil.rmtree(cache, ignore_errors=True)
    return done


def beside(extra: Sequence[ExtraSet], job: Job, folder: Path) -> tuple[MapData, ...]:
    """Other data sets for a job, without any photo that it validates on."""
    if not extra:
        return ()
    validated = frozenset(hashes_of(job.val, folder))
    own = [one.without(validated) for one in extra]
    return tuple(MapData(one, one.folder, one.fingerprint, one.weight) for one in own if len(one))


def _refuse(jobs: Sequence[Job], out: Path, *, resume: bool, overwrite: bool) -> None:
    """Find a folder in the way of any job before the first one is trained."""
    if jobs[0].out != out and is_run(out):
        raise TrashkitError(f"{out} is a run, and cannot hold several", hint="choose another --out")
    for job in jobs:
        if not (resume and job.out.is_dir()):
            refuse_folder(job.out, overwrite=overwrite)


def _join_recipes(jobs: Sequence[Job], dataset: Dataset, out: Path, *, resume: bool, overwrite: bool) -> None:
    for recipe in dict.fromkeys(job.recipe for job in jobs):
        stores = [job.out / OOF for job in jobs if job.recipe == recipe and job.fold is not None and job.val]
        if len(stores) > 1:
            join_stores(stores, dataset, out / recipe / OOF, resume=resume, overwrite=overwrite)


def join_stores(
    stores: Sequence[Path], dataset: Dataset, out: Path, *, resume: bool = False, overwrite: bool = False
) -> None:
    """One store with every image that any of the stores has, in the data set's order; the mean where several have it.

    All must have the same classes and size. With `resume` an unfinished `out` of the same stores is continued.
    """
    opened = [open_store(path) for path in stores]
    holders: dict[Any, list[tuple[Probabilities, int]]] = {}
    for store in opened:
        for row, image_id in enumerate(store.image_ids):
            holders.setdefault(image_id, []).append((store, row))
    images = [image for image in dataset.images if image.id in holders]
    with create_store(
        out,
        image_ids=[image.id for image in images],
        file_names=[image.file_name for image in images],
        native_sizes=[(image.height, image.width) for image in images],
        classes=opened[0].classes,
        size=opened[0].size,
        dtype=opened[0].dtype,
        manifest={
            "kind": "out-of-fold",
            "stores": [store.fingerprint for store in opened],
            "sources": [store.manifest for store in opened],
        },
        resume=resume and out.exists(),
        overwrite=overwrite,
    ) as writer:
        for row in np.flatnonzero(~writer.done).tolist():
            values = [store.read(n) for store, n in holders[images[row].id]]
            writer.write(row, np.mean(values, axis=0, dtype=np.float32))


def is_main_process(device: str = "auto") -> bool:
    """Whether this process is the one that speaks, of those that train together on ``auto`` or ``cpu``."""
    return bool(PartialState(cpu=on_cpu(device)).is_main_process)


def wait_for_everyone() -> None:
    """Let all processes that train together come to this line before any goes on."""
    PartialState().wait_for_everyone()
