"""Carry out a pseudo-label round: teachers predict, labels are made, students are trained.

    OUT/
      pseudo.json            the record: settings, teachers, label counts, scores of the students
      pseudo.html            the same as a page
      probabilities/         the teachers' store (one store per model and view where agreement is required)
      labels/, labels.json   the pseudo-labels, and their counts
      pseudo-labels.json     the same as COCO annotations, for viewing and correcting
      joint/, clean/ ...     one run per stage

With several folds, all but the first two are in ``fold-K/``. With ``resume`` existing files are kept, so a stopped
round continues to the same result.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.files import real_path, sha256
from trashkit.metrics.summary import finds_almost_nothing, without_background
from trashkit.nn.experiments.folds import is_main_process, wait_for_everyone
from trashkit.nn.inference.predict import device, predict_dataset
from trashkit.nn.inference.tta import views
from trashkit.nn.models.networks import load_run_model
from trashkit.nn.training.distillation import Distillation
from trashkit.nn.training.learner import start_accelerator
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.outputs import Output, write_text
from trashkit.predictions.store import Probabilities, open_store
from trashkit.progress import Log, Progress, discard, silent
from trashkit.pseudo.annotations import ANNOTATIONS, write_annotations
from trashkit.pseudo.groups import StageTraining, TeacherGroup
from trashkit.pseudo.labels import (
    LabelChange,
    LabelCounts,
    TeacherPredictions,
    compare_rounds,
    make_labels,
    training_mix,
)
from trashkit.pseudo.page import SHOWN, cards, round_page
from trashkit.pseudo.record import (
    COUNTS,
    LABELS,
    PAGE,
    PROBABILITIES,
    GroupRecord,
    RoundRecord,
    open_round,
    read_round,
    write_round,
)
from trashkit.pseudo.selection import STEPS
from trashkit.raster.label_maps import LabelMaps, is_label_maps, open_label_maps
from trashkit.readers import ContentError, read_json
from trashkit.runs.folder import is_run
from trashkit.runs.json_values import finite
from trashkit.runs.provenance import now
from trashkit.runs.run import Run
from trashkit.workflows.pseudo_plan import RoundPlan, RoundRequest


def run_round(
    plan: RoundPlan,
    *,
    resume: bool = False,
    overwrite: bool = False,
    log: Log = discard,
    progress: Progress = silent,
) -> RoundRecord | None:
    """Predict, label, train and write the record; return it (None in all processes but the first).

    resume: keep what an earlier, stopped round of the same plan has made. log: called with one line per automatic
    choice and epoch. Raises TrashkitError for an existing folder and for what `trashkit.nn.training.train` refuses.
    """
    request, out = plan.request, plan.request.out
    start_accelerator(request.device, "off")
    main = is_main_process(request.device)
    if main:
        open_round(out, plan.identity, plan.summary, resume=resume, overwrite=overwrite)
    wait_for_everyone()
    record = read_round(out)
    if record["status"] == "complete":
        log(f"{out} is already complete")
        return record if main else None
    groups, pictures = [], []
    for group, trainings in plan.work:
        predictions, counts = _labels(plan, group, main=main, progress=progress)
        wait_for_everyone()
        runs = {one.stage.name: _train(plan, group, one, counts, log=log, progress=progress) for one in trainings}
        if not main:
            continue
        home = group.folder(out)
        earlier = _earlier(group)
        changed = compare_rounds(earlier, open_label_maps(home / LABELS)) if earlier is not None else None
        groups.append((f"Fold {group.fold}" if group.name else "Labels", counts, changed))
        pictures += cards(
            predictions, request.unlabeled_images, plan.dataset.classes, counts, _steps(counts),
            selection=request.selection, title=group.name, earlier=earlier, most=max(6, SHOWN // len(plan.work)),
        )  # fmt: skip
        record.setdefault("groups", []).append(_group_record(group, home, counts, changed, runs))
    if not main:
        return None
    write_text(out / PAGE, round_page(record, groups, pictures, plan.dataset.classes), overwrite=True)
    record = {**record, "page": str(out / PAGE), "status": "complete", "finished": now()}
    write_round(out, record)
    shutil.rmtree(_cache(plan), ignore_errors=True)
    return record


def _cache(plan: RoundPlan) -> Path:
    return plan.request.out / ".cache"


def _steps(counts: LabelCounts) -> NDArray[np.int32]:
    """The thresholds as steps of certainty."""
    return np.array([STEPS + 1 if one is None else round(one * STEPS) for one in counts.thresholds], np.int32)


def _group_record(
    group: TeacherGroup, home: Path, counts: LabelCounts, changed: LabelChange | None, runs: dict[str, Run]
) -> GroupRecord:
    """The entry of a group in the record. runs: by the name of their stage."""
    return {
        "fold": group.fold,
        "folder": str(home),
        "annotations": str(home / ANNOTATIONS),
        "near_duplicates_left_out": dict(group.near),
        "labels": counts.as_json(),
        "change": changed,
        "runs": [
            {
                "stage": stage,
                "path": str(run.path),
                "miou": run.scores.get("miou"),
                "miou_without_background": finite(without_background(run.iou.values())),
                "finds_almost_nothing": finds_almost_nothing(run.iou.values()),
                "epochs": run.epochs,
                "seconds": run.manifest.get("seconds"),
            }
            for stage, run in runs.items()
        ],
    }


def _labels(
    plan: RoundPlan, group: TeacherGroup, *, main: bool, progress: Progress
) -> tuple[TeacherPredictions, LabelCounts]:
    """The teachers' predictions and the pseudo-labels made from them; existing ones are reused."""
    request, home = plan.request, group.folder(plan.request.out)
    stores = plan.stores or _predict(plan, group, home, progress)
    images = [image for image in plan.unlabeled.images if image.file_name not in group.near]
    predictions = TeacherPredictions(stores, images, plan.dataset.classes.names)
    file = home / COUNTS
    if main and not (file.is_file() and is_label_maps(home / LABELS)):
        mix = training_mix(plan.dataset, group.train, predictions.size, plan.student.data.paint_order)
        made = make_labels(
            predictions,
            home / LABELS,
            selection=request.selection,
            classes=plan.dataset.classes.names,
            mix=mix,
            manifest={"selection": asdict(request.selection), "stores": [store.fingerprint for store in stores]},
            progress=progress,
        )
        # Written last: without this file the label maps are made again.
        write_text(file, json.dumps(made.as_json(), ensure_ascii=False) + "\n", overwrite=True)
    if main and not (home / ANNOTATIONS).is_file():
        write_annotations(
            open_label_maps(home / LABELS),
            predictions,
            request.selection,
            plan.dataset,
            home / ANNOTATIONS,
            teachers=[str(path) for path in ([run.path for run in group.teachers] or request.teachers)],
            seen=group.seen,
            progress=progress,
        )
    wait_for_everyone()
    hint = "delete it, and repeat the command with --resume"
    try:
        return predictions, LabelCounts.of(read_json(file, hint=hint))
    except ContentError as error:
        raise TrashkitError(f"{file} is damaged: {error}", hint=hint) from error


def _predict(plan: RoundPlan, group: TeacherGroup, home: Path, progress: Progress) -> tuple[Probabilities, ...]:
    request = plan.request
    runs = group.teachers
    whole = home / PROBABILITIES
    jobs: list[tuple[tuple[Run, ...], str, Path]] = [(runs, request.tta, whole)]
    if request.selection.agreement:
        count = len(views(request.tta))
        jobs = [
            ((run,), f"{request.tta}:{view}", whole / f"model-{n}-view-{view}")
            for n, run in enumerate(runs)
            for view in range(count)
        ]
    for models, tta, out in jobs:
        entries = [{"run": str(real_path(run.path)), "checkpoint_sha256": sha256(run.checkpoint)} for run in models]
        predict_dataset(
            [load_run_model(run.path, device()) for run in models],
            plan.unlabeled,
            request.unlabeled_images,
            out,
            tta=tta,
            size=(request.size, request.size),
            manifest={"runs": entries},
            resume=True,
            progress=progress,
        )
    return tuple(open_store(out) for _, _, out in jobs)


def _teaching(request: RoundRequest, group: TeacherGroup, counts: LabelCounts) -> Distillation | None:
    """Soft or online targets, None for hard ones. online: at the thresholds of the teachers' labels."""
    if request.targets == "soft":
        return Distillation("soft", teachers=tuple(real_path(run.path) for run in group.teachers))
    if request.targets == "online":
        return Distillation("online", thresholds=tuple(2.0 if one is None else one for one in counts.thresholds))
    return None


def _train(
    plan: RoundPlan, group: TeacherGroup, training: StageTraining, counts: LabelCounts, *, log: Log, progress: Progress
) -> Run:
    """Train one stage; a complete run is returned unchanged."""
    request, home = plan.request, group.folder(plan.request.out)
    if is_main_process(request.device) and training.out.exists() and not is_run(training.out):
        shutil.rmtree(training.out)  # killed before the run's manifest was written
    wait_for_everyone()
    Output(training.out, overwrite=True).check()
    maps = open_label_maps(home / LABELS)
    stage = training.stage
    teaching = _teaching(request, group, counts)
    more = ExtraSource(maps, request.unlabeled_images, plan.unlabeled_content, stage.weight, stage.ramp, teaching)
    data = TrainData(
        plan.dataset, request.images, group.train, group.val, plan.content, (more,) if stage.pseudo else ()
    )
    about = {
        "kind": "pseudo",
        "command": request.command,
        "recipe": request.recipe or "teacher",
        "fold": group.fold,
        "intermediate": not training.last,
        "pseudo": {
            "round": plan.summary["round"],
            "folder": str(real_path(request.out)),
            "labels": str(real_path(home / LABELS)),
            "strategy": request.strategy,
            "stage": stage.name,
            "teachers": [str(real_path(run.path)) for run in group.teachers],
            "checkpoints": {str(real_path(run.path)): sha256(run.checkpoint) for run in group.teachers},
            "start": str(training.start) if training.start is not None else None,
            "settings": plan.student.model_dump(),
        },
    }
    return train(
        training.config,
        data,
        training.out,
        TrainOptions(device=request.device, resume=True, out_of_fold=training.last),
        about=about,
        cache=_cache(plan),
        name=" ".join(filter(None, (group.name, stage.name))),
        log=log,
        progress=progress,
    )


def _earlier(group: TeacherGroup) -> LabelMaps | None:
    """The label maps that the teachers were trained with; None in a first round."""
    labels = [str(run.manifest["pseudo"].get("labels", "")) for run in group.teachers if run.manifest.get("pseudo")]
    places = [Path(path) for path in labels if path and is_label_maps(Path(path))]
    return open_label_maps(places[0]) if places else None
