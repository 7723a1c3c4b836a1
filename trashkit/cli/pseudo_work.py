"""A round of pseudo-labelling is carried out: teachers predict, labels are made, students are trained, and all of it is
written down. Every part that is there already is kept, so that a stopped round goes on to the same result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.cli.pseudo_round import Asked, Round
from trashkit.files import refuse_existing, sha256, write_text
from trashkit.label_maps import LabelMaps, is_label_maps, open_label_maps
from trashkit.nn.folds import is_main_process, wait_for_everyone
from trashkit.nn.learner import start_accelerator
from trashkit.nn.models import load_run_model
from trashkit.nn.predict import device, predict_dataset
from trashkit.nn.record import MapData, TrainData
from trashkit.nn.teaching import Teaching
from trashkit.nn.train import train
from trashkit.nn.tta import views
from trashkit.progress import Progress
from trashkit.provenance import now
from trashkit.pseudo.annotations import ANNOTATIONS, write_annotations
from trashkit.pseudo.labels import Count, Members, change, make_labels, training_mix
from trashkit.pseudo.page import SHOWN, cards, round_page
from trashkit.pseudo.plan import Group, Step
from trashkit.pseudo.record import COUNT, LABELS, PAGE, PROBABILITIES, open_round, read_round, write_round
from trashkit.pseudo.selection import STEPS
from trashkit.run import Run
from trashkit.run_folder import is_run
from trashkit.store import Probabilities, open_store


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
        runs = [_train(found, group, step, count, say=say, progress=progress) for step in steps]
        if not main:
            continue
        home = _home(found, group)
        earlier = _earlier(group)
        changed = change(earlier, open_label_maps(home / LABELS)) if earlier is not None else None
        groups.append((f"Fold {group.fold}" if group.name else "Labels", count, changed))
        pictures += cards(
            members, asked.unlabeled_images, found.dataset.classes, count, _steps(count), selection=asked.selection,
            title=group.name, earlier=earlier, most=max(6, SHOWN // len(found.work)),
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
        "annotations": str(home / ANNOTATIONS),
        "near_duplicates_left_out": dict(group.near),
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
    images = [image for image in found.unlabeled.images if image.file_name not in group.near]
    members = Members(stores, images, found.dataset.classes.names)
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
    if main and not (home / ANNOTATIONS).is_file():
        write_annotations(
            open_label_maps(home / LABELS),
            members,
            asked.selection,
            found.dataset,
            home / ANNOTATIONS,
            teachers=[str(path) for path in ([run.path for run in group.teachers] or asked.teachers)],
            seen=group.seen,
            progress=progress,
        )
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


def _teaching(asked: Asked, group: Group, count: Count) -> Teaching | None:
    """What is taught beside the classes of the label maps. online: at the thresholds of the teachers' labels."""
    if asked.targets == "soft":
        return Teaching("soft", teachers=tuple(run.path.resolve() for run in group.teachers))
    if asked.targets == "online":
        return Teaching("online", certain=tuple(2.0 if one is None else one for one in count.thresholds))
    return None


def _train(
    found: Round, group: Group, step: Step, count: Count, *, say: Callable[[str], None], progress: Progress
) -> Run:
    """One stage; a run that is complete already comes back as it is."""
    asked, home = found.asked, _home(found, group)
    if is_main_process(asked.device) and step.out.exists() and not is_run(step.out):
        shutil.rmtree(step.out)  # a kill before the run's manifest was written
    wait_for_everyone()
    refuse_existing(step.out, overwrite=True)
    maps = open_label_maps(home / LABELS)
    stage = step.stage
    teaching = _teaching(asked, group, count)
    more = MapData(maps, asked.unlabeled_images, found.unlabeled_content, stage.weight, stage.ramp, teaching)
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
            "checkpoints": {str(run.path.resolve()): sha256(run.checkpoint) for run in group.teachers},
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


def _earlier(group: Group) -> LabelMaps | None:
    """The label maps that the teachers themselves learned from; None in a first round."""
    places = [
        Path(run.manifest["pseudo"]["labels"])
        for run in group.teachers
        if run.manifest.get("pseudo") and is_label_maps(Path(run.manifest["pseudo"]["labels"]))
    ]
    return open_label_maps(places[0]) if places else None
