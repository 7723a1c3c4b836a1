"""What a training reads: annotations, recipes, folds and further data sets. Importing this does not load torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError, naming_errors
from trashkit.files import real_path
from trashkit.progress import Log, discard
from trashkit.runs.folder import SETTINGS, is_run
from trashkit.runs.run import find_runs

if TYPE_CHECKING:
    from trashkit.nn.data.extra import ExtraDataset
    from trashkit.nn.experiments.folds import Job
    from trashkit.settings.training import TrainConfig

Folds = dict[int | None, tuple[list[Any], list[Any]]]
"""Fold number (None for a holdout or all images) -> image ids to train on and to validate on."""

HOLDOUT = 0.2
HOLDOUT_TRIALS = 20_000_000
"""Limit of the search for a single holdout: a few seconds; more gains nothing."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What to train, in terms of files and settings; how to train is `trashkit.nn.training.train.TrainOptions`.

    data: COCO file with annotations. images: folder of the photos. out: run folder, or folder of several runs. split,
    fold: a split file, and a fold number or "all"; by default a fifth of the images is held out. all_data: train on all
    images without validation. recipes: names or TOML files; one is chosen by default. assignments: settings such as
    "epochs=5". classes: see `read_dataset`. extra: further data sets, "OTHER.json:IMAGES_DIR[:WEIGHT]". cache: folder
    for decoded photos that is kept. at_once: number of runs to train in parallel. command: for the manifest.

    To add something that a training reads, add a field here and use it in this file or in `training.py`, and declare it
    in `trashkit/cli/training/train.py`.
    """

    data: Path
    images: Path | None = None
    out: Path | None = None
    split: Path | None = None
    fold: str | None = None
    all_data: bool = False
    recipes: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    classes: str | None = None
    extra: tuple[str, ...] = ()
    cache: Path | None = None
    at_once: int | Literal["auto"] = "auto"
    command: str = ""


@dataclass(frozen=True)
class TrainInputs:
    """A checked request and its annotations."""

    request: TrainRequest
    dataset: Dataset

    def photo_folder(self) -> Path:
        """The folder of the photos. Raises TrashkitError if it is not given or does not exist."""
        images = self.request.images
        if images is None:
            raise TrashkitError("training needs --images", hint="--images is the folder of the photos")
        if not images.is_dir():
            problem = "is a file" if images.exists() else "does not exist"
            raise TrashkitError(f"the photo folder {images} {problem}", hint="check --images")
        return images

    def run_folder(self) -> Path:
        """The folder to write. Raises TrashkitError if it is not given."""
        if self.request.out is None:
            raise TrashkitError("training needs --out", hint="--out is the run folder to write")
        return self.request.out


def read_inputs(request: TrainRequest, *, device: str = "auto") -> TrainInputs:
    """Check a request and read its annotations, before anything heavy is loaded.

    device: ``auto`` or ``cpu``. Raises TrashkitError for contradictions, an unusable cache folder, and annotations that
    cannot be used.
    """
    if request.all_data and (request.split is not None or request.fold is not None):
        raise TrashkitError(
            "--all-data leaves no images to validate on", hint="leave out either --all-data, or --split and --fold"
        )
    check_device(device)
    check_fold(request.data, request.split, request.fold)
    cache = request.cache
    if cache is not None:
        if cache.exists() and not cache.is_dir():
            raise TrashkitError(f"{cache} is a file", hint="--cache takes the name of a folder")
        if is_run(cache) or (request.out is not None and real_path(cache) == real_path(request.out)):
            raise TrashkitError(f"{cache} is a run folder, not a cache", hint="choose another --cache")
    return TrainInputs(request, read_dataset(request.data, classes=request.classes))


def check_device(device: str) -> None:
    """Raise TrashkitError unless the device is ``auto`` or ``cpu``."""
    if device not in ("auto", "cpu"):
        raise TrashkitError(f'there is no device "{device}"', hint="choose auto or cpu")


def check_fold(data: Path, split: Path | None, fold: str | None) -> None:
    """Raise TrashkitError for a fold without a split."""
    if fold is not None and split is None:
        raise TrashkitError("--fold needs --split", hint=f"trashkit split {data} --out split.json makes one")


# --- settings --------------------------------------------------------------------------------------------------------


def read_recipes(
    recipes: Sequence[str], assignments: Sequence[str], *, device: str = "auto", log: Log = discard
) -> dict[str, TrainConfig]:
    """Resolved settings by recipe name. Without recipes one is chosen for the device, and logged.

    Raises TrashkitError for unknown recipes and settings, wrong values, and two recipes of the same name.
    """
    from trashkit.nn.devices import torch_report
    from trashkit.nn.training.choices import setting_choices
    from trashkit.settings.training import read_recipe, resolve

    if not recipes:
        gpu = device != "cpu" and any(found.name.startswith("cuda") for found in torch_report().devices)
        recipes = ["fpn-efficientnetv2-l" if gpu else "cpu-small"]
        log(f"recipe {recipes[0]}: {'there is a GPU' if gpu else 'made for CPUs'}; see `trashkit recipes list`")
    found: dict[str, TrainConfig] = {}
    choices = setting_choices()
    for name in recipes:
        recipe = read_recipe(name)
        if recipe.name in found:
            raise TrashkitError(f'two recipes are called "{recipe.name}"', hint="give each once, or rename a file")
        with naming_errors(recipe.name if len(recipes) > 1 else ""):
            found[recipe.name] = resolve(recipe, assignments, choices=choices)
    return found


def recipe_of_run(out: Path | None, log: Log = discard) -> list[str]:
    """The settings file of a run, or of the best run below a folder, as a list of recipes; empty without one."""
    if out is None or not out.is_dir():
        return []
    for run in find_runs(out):
        if (run.path / SETTINGS).is_file():
            log(f"settings of {run.path}")
            return [str(run.path / SETTINGS)]
    return []


# --- folds -----------------------------------------------------------------------------------------------------------


def read_folds(
    dataset: Dataset,
    split: Path | None = None,
    fold: str | None = None,
    *,
    all_data: bool = False,
    seed: int = 0,
    log: Log = discard,
) -> Folds:
    """Image ids to train on and to validate on, by fold.

    fold: a number or "all"; 0 by default. Without a split a stratified fifth is held out, drawn with `seed`. all_data:
    all images, none to validate on. Raises TrashkitError for a split that does not fit and a fold that it lacks.
    """
    if all_data:
        return {None: ([image.id for image in dataset.images], [])}
    if split is None:
        return _holdout(dataset, seed, log)
    from trashkit.split.files import read_split

    folds = read_split(split, dataset).folds
    if fold is None and len(folds) > 1:
        log(f"fold 0 of {len(folds)}, as --fold was not given; --fold all trains all of them")
    numbers = range(len(folds)) if fold == "all" else [_fold_number(fold or "0", len(folds), split)]
    return {number: (list(folds[number].train), list(folds[number].val)) for number in numbers}


def _fold_number(text: str, count: int, split: Path) -> int:
    if not text.isdecimal() or int(text) >= count:
        raise TrashkitError(f'{split} has no fold "{text}"', hint=f"give --fold 0 to {count - 1}, or all")
    return int(text)


def _holdout(dataset: Dataset, seed: int, log: Log) -> Folds:
    from trashkit.split.make import make_split

    too_few = TrashkitError(
        f"{len(dataset)} images are too few to hold out {HOLDOUT:.0%} of them",
        hint="--all-data trains without validation; a --split defines what is held out",
    )
    if len(dataset) < 2:
        raise too_few
    made = make_split(dataset, holdout=HOLDOUT, seed=seed, trials=HOLDOUT_TRIALS)
    if any(found.interrupted for found in made.searches):
        raise KeyboardInterrupt
    fold = made.split.folds[0]
    if not fold.val:
        raise too_few
    log(
        f"validation {len(fold.val)} of {len(dataset)} images: without --split, {HOLDOUT:.0%} are held out, "
        f"stratified, with seed {seed}"
    )
    return {None: (list(fold.train), list(fold.val))}


# --- further data sets -----------------------------------------------------------------------------------------------


def read_extra_sets(
    extra: Sequence[str], jobs: Sequence[Job], dataset: Dataset, images: Path, *, log: Log = discard
) -> list[ExtraDataset]:
    """Further data sets to train on, with one logged line about each. images: folder of the photos of `dataset`."""
    from trashkit.nn.data.extra import read_extra
    from trashkit.nn.experiments.folds import extra_sources

    found = [read_extra(text, dataset.classes) for text in extra]
    for one in found:
        fewest = min(sum(len(source.maps) for source in extra_sources([one], job, images)) for job in jobs)
        clauses = [f"{fewest} more images to train on, weight {one.weight:g}"]
        if unlabelled := len(one.dataset.images) - len(one):
            clauses.append(f"{unlabelled} without annotations left out")
        if validated := len(one) - fewest:
            clauses.append(f"{'up to ' if len(jobs) > 1 else ''}{validated} validation photos left out")
        if one.left_out:
            clauses.append(f"ignored classes, which the training data lacks: {', '.join(one.left_out)}")
        log(f"{one.path}: {'; '.join(clauses)}")
    return found


def warn_of_leaked_labels(jobs: Sequence[Job], datasets: Sequence[Dataset], images: Path, *, log: Log) -> None:
    """Log a warning if models that made some of the labels were trained on validation images."""
    from trashkit.pseudo.leak_guard import list_names, seen_by_labelers

    names = list(dict.fromkeys(image.file_name for job in jobs for image in job.val))
    known = {name: None for one in datasets for name in seen_by_labelers(one.coco, images, names)}
    if known:
        log(
            f"warning: models that made some of these labels were trained on {len(known)} validation images, so "
            f"validation scores are too high: {list_names(list(known))}"
        )
