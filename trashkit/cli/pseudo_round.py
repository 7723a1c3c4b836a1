"""One round of pseudo-labelling from its parts: plan and labels from `trashkit.pseudo`, networks from `trashkit.nn`.

    OUT/
      pseudo.json            what was asked, who taught, what was kept, how the students score
      pseudo.html            the same to look at
      probabilities/         the teachers' store (or one store per model and view, where agreement is asked for)
      labels/, labels.json   the pseudo-labels, and their count
      joint/, clean/ ...     one run per stage

With several folds all but the first two lie below ``fold-K/``. Whatever is there already is kept by ``--resume``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, read_dataset
from trashkit.config import Recipe, TrainConfig, read_recipe, resolve
from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, sha256, write_text
from trashkit.label_maps import is_label_maps, open_label_maps
from trashkit.nn.cache import content_hash
from trashkit.nn.choices import names
from trashkit.nn.folds import is_main_process, wait_for_everyone
from trashkit.nn.learner import start_accelerator
from trashkit.nn.models import load_run_model
from trashkit.nn.predict import check_photos, device, predict_dataset
from trashkit.nn.record import MapData, TrainData
from trashkit.nn.train import train
from trashkit.nn.tta import views
from trashkit.progress import Progress
from trashkit.pseudo.guard import Photos
from trashkit.pseudo.labels import Count, Members, change, make_labels, training_mix
from trashkit.pseudo.page import SHOWN, cards, round_page
from trashkit.pseudo.plan import (
    Group,
    Step,
    check_group,
    group_teachers,
    parent_of,
    steps_of,
    store_runs,
    student_settings,
)
from trashkit.pseudo.record import (
    COUNT,
    LABELS,
    PAGE,
    PROBABILITIES,
    open_round,
    read_round,
    write_round,
)
from trashkit.pseudo.selection import STEPS, Selection
from trashkit.pseudo.stages import Stage, as_json
from trashkit.run import Run, find_runs, is_run, now, read_run
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


def look_ahead(asked: Asked) -> Round:
    """Check everything without writing: data, teachers, the student's settings, and that no label leaks."""
    views(asked.tta)
    dataset = read_dataset(asked.data, classes=asked.classes)
    unlabeled = read_dataset(asked.unlabeled, labels=False)
    for folder, images in ((asked.images, dataset.images), (asked.unlabeled_images, unlabeled.images)):
        check_photos(images, folder)
    stores, runs = _teachers(asked)
    student = _student(asked, runs)
    start = read_run(asked.start) if asked.start is not None else None
    groups = group_teachers(runs, dataset, all_data=asked.all_data, together=bool(stores))
    photos = Photos((asked.images,))
    work = []
    for group in groups:
        steps = steps_of(group, asked.stages, student, asked.out, start)
        starts = [read_run(step.start) for step in steps if step.start is not None and step.stage.start == "teacher"]
        weights = Path(student.model.weights)
        starts += [read_run(weights)] if is_run(weights) else []
        check_group(group, unlabeled.images, (asked.images, asked.unlabeled_images), starts, photos)
        work.append((group, tuple(steps)))
        _check_members(asked, group, stores)
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
    }
    parent = parent_of(runs)
    record = {
        "round": parent["round"] + 1 if parent else 1,
        "parent": parent,
        "strategy": asked.strategy,
        "teachers": [str(path) for path in (*(store.path for store in stores), *(run.path for run in runs))],
        "selection": {**asdict(asked.selection), "tta": asked.tta},
        "stages": identity["stages"],
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


def carry_out(
    found: Round, *, resume: bool, overwrite: bool, say: Callable[[str], None], progress: Progress
) -> dict[str, Any] | None:
    """Label, train and report; the record of the round comes back (None in all processes but the first)."""
    asked, out = found.asked, found.asked.out
    start_accelerator(asked.device, "off")
    main = is_main_process(asked.device)
    if main:
        open_round(out, found.identity, found.record, resume=resume, overwrite=overwrite)
    wait_for_everyone()
    record = read_round(out)
    if record["status"] == "complete":
        say(f"{out} is complete already")
        return record if main else None
    groups, pictures = [], []
    for group, steps in found.work:
        members, count = _labels(found, group, main=main, progress=progress)
        wait_for_everyone()
        runs = [_train(found, group, step, say=say, progress=progress) for step in steps]
        if not main:
            continue
        home = _home(found, group)
        changed = _change(group, home)
        groups.append((f"Fold {group.fold}" if group.name else "Labels", count, changed))
        pictures += cards(
            members, asked.unlabeled_images, found.dataset.classes, count, _steps(count), selection=asked.selection,
            title=group.name, most=max(6, SHOWN // len(found.work)),
        )  # fmt: skip
        record.setdefault("groups", []).append(_group_record(group, home, count, changed, steps, runs))
    if not main:
        return None
    write_text(out / PAGE, round_page(record, groups, pictures, found.dataset.classes), overwrite=True)
    record = {**record, "page": str(out / PAGE), "status": "complete", "finished": now()}
    write_round(out, record)
    shutil.rmtree(_cache(found), ignore_errors=True)
    return record


def _home(found: Round, group: Group) -> Path:
    return found.asked.out / group.name if group.name else found.asked.out


def _cache(found: Round) -> Path:
    return found.asked.out / ".cache"


def _steps(count: Count) -> NDArray[np.int32]:
    """The thresholds of a count as steps of certainty."""
    return np.array([STEPS + 1 if one is None else round(one * STEPS) for one in count.thresholds], np.int32)


def _group_record(
    group: Group, home: Path, count: Count, changed: dict[str, Any] | None, steps: tuple[Step, ...], runs: list[Run]
) -> dict[str, Any]:
    return {
        "fold": group.fold,
        "folder": str(home),
        "labels": count.as_json(),
        "change": changed,
        "runs": [
            {
                "stage": step.stage.name,
                "path": str(run.path),
                "miou": run.scores.get("miou"),
                "epochs": run.epochs,
                "seconds": run.manifest.get("seconds"),
            }
            for step, run in zip(steps, runs, strict=True)
        ],
    }


def _labels(found: Round, group: Group, *, main: bool, progress: Progress) -> tuple[Members, Count]:
    """The teachers' probabilities and the pseudo-labels from them; what is there already is taken."""
    asked, home = found.asked, _home(found, group)
    stores = found.stores or _predict(found, group, home, progress)
    members = Members(stores, found.unlabeled.images, found.dataset.classes.names)
    file = home / COUNT
    if main and not (file.is_file() and is_label_maps(home / LABELS)):
        mix = training_mix(found.dataset, group.train, members.size, found.student.data.paint_order)
        made = make_labels(
            members,
            home / LABELS,
            selection=asked.selection,
            classes=found.dataset.classes.names,
            mix=mix,
            manifest={"selection": asdict(asked.selection), "stores": [store.fingerprint for store in stores]},
            progress=progress,
        )
        # Only now: without this file the maps are made again.
        write_text(file, json.dumps(made.as_json(), ensure_ascii=False) + "\n", overwrite=True)
    wait_for_everyone()
    return members, Count.of(json.loads(file.read_bytes()))


def _predict(found: Round, group: Group, home: Path, progress: Progress) -> tuple[Probabilities, ...]:
    asked = found.asked
    runs = group.teachers
    whole = home / PROBABILITIES
    jobs: list[tuple[tuple[Run, ...], str, Path]] = [(runs, asked.tta, whole)]
    if asked.selection.agreement:
        count = len(views(asked.tta))
        jobs = [
            ((run,), f"{asked.tta}:{view}", whole / f"model-{n}-view-{view}")
            for n, run in enumerate(runs)
            for view in range(count)
        ]
    for models, tta, out in jobs:
        entries = [{"run": str(run.path.resolve()), "checkpoint_sha256": sha256(run.checkpoint)} for run in models]
        predict_dataset(
            [load_run_model(run.path, device()) for run in models],
            found.unlabeled,
            asked.unlabeled_images,
            out,
            tta=tta,
            size=(asked.size, asked.size),
            manifest={"runs": entries},
            resume=True,
            progress=progress,
        )
    return tuple(open_store(out) for _, _, out in jobs)


def _train(found: Round, group: Group, step: Step, *, say: Callable[[str], None], progress: Progress) -> Run:
    """One stage; a run that is complete already comes back as it is."""
    asked, home = found.asked, _home(found, group)
    if is_main_process(asked.device) and step.out.exists() and not is_run(step.out):
        shutil.rmtree(step.out)  # a kill before the run's manifest was written
    wait_for_everyone()
    refuse_existing(step.out, overwrite=True)
    maps = open_label_maps(home / LABELS)
    stage = step.stage
    more = MapData(maps, asked.unlabeled_images, found.unlabeled_content, stage.weight, stage.ramp)
    data = TrainData(
        found.dataset, asked.images, group.train, group.val, found.content, (more,) if stage.pseudo else ()
    )
    about = {
        "kind": "pseudo",
        "command": asked.command,
        "recipe": asked.recipe or "teacher",
        "fold": group.fold,
        "intermediate": not step.last,
        "pseudo": {
            "round": found.record["round"],
            "folder": str(asked.out.resolve()),
            "labels": str((home / LABELS).resolve()),
            "strategy": asked.strategy,
            "stage": stage.name,
            "teachers": [str(run.path.resolve()) for run in group.teachers],
            "start": str(step.start) if step.start is not None else None,
            "settings": found.student.model_dump(),
        },
    }
    return train(
        step.config,
        data,
        step.out,
        about=about,
        cache=_cache(found),
        device=asked.device,
        resume=True,
        what=" ".join(filter(None, (group.name, stage.name))),
        oof=step.last,
        say=say,
        progress=progress,
    )


def _change(group: Group, home: Path) -> dict[str, Any] | None:
    """What changed against the labels that the teachers themselves learned from; None in a first round."""
    earlier = [
        Path(run.manifest["pseudo"]["labels"])
        for run in group.teachers
        if run.manifest.get("pseudo") and is_label_maps(Path(run.manifest["pseudo"]["labels"]))
    ]
    return change(open_label_maps(earlier[0]), open_label_maps(home / LABELS)) if earlier else None
