"""One round of pseudo-labelling from its parts: plan and labels from `trashkit.pseudo`, networks from `trashkit.nn`.

    OUT/
      pseudo.json            what was asked, who taught, what was kept, how the students score
      pseudo.html            the same to look at
      probabilities/         the teachers' store (or one store per model and view, where agreement is asked for)
      labels/, labels.json   the pseudo-labels, and their count
      pseudo-labels.json     the same as COCO annotations, to look at and to correct
      joint/, clean/ ...     one run per stage

With several folds all but the first two lie below ``fold-K/``. Whatever is there already is kept by ``--resume``.
Here is what is asked and checked; `trashkit.cli.pseudo_work` does it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trashkit.coco import Dataset, read_dataset
from trashkit.config import Recipe, TrainConfig, read_recipe, resolve
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.nn.cache import content_hash
from trashkit.nn.choices import names
from trashkit.nn.predict import check_photos
from trashkit.nn.tta import views
from trashkit.progress import Progress, silent
from trashkit.pseudo.guard import Photos
from trashkit.pseudo.plan import (
    Group,
    Step,
    check_group,
    group_teachers,
    parent_of,
    refuse_near,
    steps_of,
    store_runs,
    student_settings,
    without_near,
)
from trashkit.pseudo.selection import Selection
from trashkit.pseudo.stages import Stage, as_json
from trashkit.run import Run, find_runs, read_run
from trashkit.run_folder import is_run
from trashkit.store import Probabilities, is_store, open_store


@dataclass(frozen=True)
class Asked:
    """The command line."""

    teachers: tuple[Path, ...]
    data: Path
    images: Path
    unlabeled: Path
    unlabeled_images: Path
    out: Path
    strategy: str
    stages: tuple[Stage, ...]
    selection: Selection
    tta: str
    size: int
    recipe: str | None
    assignments: tuple[str, ...]
    start: Path | None
    all_data: bool
    classes: str | None
    device: str
    command: str
    targets: str = "hard"
    near: str = "leave-out"


@dataclass(frozen=True)
class Round:
    """A round that was checked: what it works on, its groups with their trainings, and what its record will say."""

    asked: Asked
    dataset: Dataset
    unlabeled: Dataset
    stores: tuple[Probabilities, ...]
    work: tuple[tuple[Group, tuple[Step, ...]], ...]
    student: TrainConfig
    identity: dict[str, Any]
    record: dict[str, Any]
    content: str
    unlabeled_content: str


def look_ahead(asked: Asked, *, progress: Progress = silent) -> Round:
    """Check everything without writing: data, teachers, the student's settings, and that no label leaks."""
    views(asked.tta)
    dataset = read_dataset(asked.data, classes=asked.classes)
    unlabeled = read_dataset(asked.unlabeled, labels=False)
    for folder, images in ((asked.images, dataset.images), (asked.unlabeled_images, unlabeled.images)):
        check_photos(images, folder)
    stores, runs = _teachers(asked)
    student = _student(asked, runs)
    start = read_run(asked.start) if asked.start is not None else None
    _check_targets(asked, student, runs)
    groups = group_teachers(runs, dataset, all_data=asked.all_data, together=bool(stores))
    photos = Photos((asked.images,), progress)
    folders = (asked.images, asked.unlabeled_images)
    work = []
    for group in groups:
        steps = steps_of(group, asked.stages, student, asked.out, start)
        starts = [read_run(step.start) for step in steps if step.start is not None and step.stage.start == "teacher"]
        weights = Path(student.model.weights)
        starts += [read_run(weights)] if is_run(weights) else []
        _check_members(asked, group, stores)
        work.append(
            (check_group(group, dataset, unlabeled.images, folders, starts=starts, photos=photos), tuple(steps))
        )
    if asked.near != "keep":
        clean = without_near([group for group, _ in work], unlabeled.images, folders, photos)
        work = [(group, steps) for group, (_, steps) in zip(clean, work, strict=True)]
        if asked.near == "refuse":
            refuse_near(clean)
    near = {group.name: sorted(group.near) for group, _ in work if group.near}
    content = content_hash(dataset, dataset.images, asked.images)
    unlabeled_content = content_hash(unlabeled, unlabeled.images, asked.unlabeled_images)
    identity = {
        "strategy": asked.strategy,
        "stages": [as_json(stage) for stage in asked.stages],
        "selection": asdict(asked.selection),
        "tta": asked.tta,
        "size": asked.size,
        "all_data": asked.all_data,
        "settings": student.model_dump(),
        "teachers": {str(run.path.resolve()): sha256(run.checkpoint) for run in runs},
        "stores": {str(store.path.resolve()): store.fingerprint for store in stores},
        "start": str(asked.start.resolve()) if asked.start is not None else None,
        "annotated": content,
        "unlabelled": unlabeled_content,
        **({"targets": asked.targets} if asked.targets != "hard" else {}),
        **({"near_duplicates_left_out": near} if near else {}),
    }
    parent = parent_of(runs)
    record = {
        "round": parent["round"] + 1 if parent else 1,
        "parent": parent,
        "strategy": asked.strategy,
        "teachers": [str(path) for path in (*(store.path for store in stores), *(run.path for run in runs))],
        "selection": {**asdict(asked.selection), "tta": asked.tta},
        "stages": identity["stages"],
        "targets": asked.targets,
        "command": asked.command,
        "data": str(asked.data.resolve()),
        "unlabeled": str(asked.unlabeled.resolve()),
    }
    return Round(asked, dataset, unlabeled, stores, tuple(work), student, identity, record, content, unlabeled_content)


def _teachers(asked: Asked) -> tuple[tuple[Probabilities, ...], list[Run]]:
    """Stores of labels, and the runs that they or the teachers are."""
    stores = tuple(open_store(path) for path in asked.teachers if is_store(path))
    if stores and len(stores) < len(asked.teachers):
        raise TrashkitError("runs and stores together cannot teach", hint="give either, or predict the runs first")
    if stores:
        return stores, store_runs(stores, unknown_allowed=asked.all_data)
    runs: list[Run] = []
    for path in asked.teachers:
        found = find_runs(path) if path.is_dir() else []
        runs += found or [read_run(path)]
    return (), runs


def _student(asked: Asked, runs: list[Run]) -> TrainConfig:
    """The student's settings: those of a recipe, else of its teacher, with --set."""
    if asked.recipe is not None:
        recipe = read_recipe(asked.recipe)
    elif runs:
        recipe = Recipe("teacher", "", "", "", student_settings(runs[0]).model_dump(), "")
    else:
        raise TrashkitError("the stores name no run that a student could be like", hint="choose one with --recipe")
    return resolve(recipe, asked.assignments, choices=names())


def _check_members(asked: Asked, group: Group, stores: tuple[Probabilities, ...]) -> None:
    members = len(stores) or len(group.teachers) * len(views(asked.tta))
    if asked.selection.agreement and members < 2:
        raise TrashkitError(
            f"agreement needs several models or views, and there is one{group.where}",
            hint="add --tta flip, or another teacher",
        )


def _check_targets(asked: Asked, student: TrainConfig, runs: list[Run]) -> None:
    if asked.targets == "soft" and not runs:
        raise TrashkitError(
            "soft targets are made by networks while the student learns, and these stores name none",
            hint="give runs as teachers, or leave out --targets soft",
        )
    if asked.targets == "online" and not student.ema:
        raise TrashkitError(
            "with --targets online the moving average of the student's weights is its teacher, and it is off",
            hint="add --set ema=0.99",
        )
    if asked.targets == "online" and asked.selection.measure != "confidence":
        raise TrashkitError(
            f"with --targets online certainty is a probability, not {asked.selection.measure}",
            hint="leave out --measure",
        )
