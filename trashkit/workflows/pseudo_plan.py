"""Plan a pseudo-label round: check data, teachers and settings, and list the trainings, without writing anything.

`trashkit.workflows.pseudo_round` carries a plan out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.files import real_path, sha256
from trashkit.nn.data.cache import content_hash
from trashkit.nn.inference.predict import check_photos
from trashkit.nn.inference.tta import views
from trashkit.nn.training.choices import setting_choices
from trashkit.predictions.store import Probabilities, is_store, open_store
from trashkit.progress import Progress, silent
from trashkit.pseudo.groups import (
    StageTraining,
    TeacherGroup,
    check_group,
    group_teachers,
    leave_out_near_duplicates,
    parent_round,
    refuse_near_duplicates,
    runs_of_stores,
    stage_trainings,
    student_settings,
)
from trashkit.pseudo.leak_guard import PhotoIndex
from trashkit.pseudo.record import RoundSummary
from trashkit.pseudo.selection import Selection
from trashkit.pseudo.strategies import Stage, as_json
from trashkit.runs.folder import is_run
from trashkit.runs.run import Run, read_run, require_runs
from trashkit.settings.training import Recipe, TrainConfig, identity_settings, read_recipe, resolve


@dataclass(frozen=True)
class RoundRequest:
    """What a pseudo-label round is made from.

    teachers: run folders, folders of fold runs, or probability stores. data, images: annotations and their photos.
    unlabeled, unlabeled_images: COCO file of the images to label, and their photos. out: folder of the round.
    strategy, stages: its name, and its stages as `trashkit.pseudo.strategies.stages` gives them. selection: which
    pixels are kept. tta: test-time augmentation of the teachers. size: side of the label maps in pixels.
    recipe, assignments: settings of the student; the teacher's without a recipe. start: run that ``finetune``
    continues. all_data: one student of all teachers, without validation. targets: ``hard``, ``soft`` or ``online``.
    near_duplicates: what becomes of unlabelled images that are near-duplicates of validation images: ``leave-out``,
    ``refuse`` or ``keep``. command: recorded in the runs.
    """

    teachers: tuple[Path, ...]
    data: Path
    images: Path
    unlabeled: Path
    unlabeled_images: Path
    out: Path
    strategy: str
    stages: tuple[Stage, ...]
    selection: Selection
    tta: str = "none"
    size: int = 256
    recipe: str | None = None
    assignments: tuple[str, ...] = ()
    start: Path | None = None
    all_data: bool = False
    classes: str | None = None
    device: str = "auto"
    command: str = ""
    targets: str = "hard"
    near_duplicates: str = "leave-out"


@dataclass(frozen=True)
class RoundPlan:
    """A checked round: its data, its teacher groups with their trainings, and what its record will hold.

    identity: everything that decides the result; a resumed round must have an equal one. content, unlabeled_content:
    hashes of the annotated and of the unlabelled images.
    """

    request: RoundRequest
    dataset: Dataset
    unlabeled: Dataset
    stores: tuple[Probabilities, ...]
    work: tuple[tuple[TeacherGroup, tuple[StageTraining, ...]], ...]
    student: TrainConfig
    identity: dict[str, Any]
    summary: RoundSummary
    content: str
    unlabeled_content: str


def plan_round(request: RoundRequest, *, progress: Progress = silent) -> RoundPlan:
    """Check a round without writing anything: data, photos, teachers, the student's settings, and that no label leaks.

    Raises TrashkitError for the first thing that is wrong, naming images where labels would leak.
    """
    views(request.tta)
    dataset = read_dataset(request.data, classes=request.classes)
    unlabeled = read_dataset(request.unlabeled, labels=False)
    for folder, images in ((request.images, dataset.images), (request.unlabeled_images, unlabeled.images)):
        check_photos(images, folder)
    stores, runs = _teachers(request)
    student = _student(request, runs)
    _check_targets(request, student, runs)
    work = _group_work(
        request, dataset=dataset, unlabeled=unlabeled, stores=stores, runs=runs, student=student, progress=progress
    )
    content = content_hash(dataset, dataset.images, request.images)
    unlabeled_content = content_hash(unlabeled, unlabeled.images, request.unlabeled_images)
    near = {group.name: sorted(group.near) for group, _ in work if group.near}
    stages = [as_json(stage) for stage in request.stages]
    identity = {
        "strategy": request.strategy,
        "stages": stages,
        "selection": asdict(request.selection),
        "tta": request.tta,
        "size": request.size,
        "all_data": request.all_data,
        "settings": identity_settings(student),
        "teachers": {str(real_path(run.path)): sha256(run.checkpoint) for run in runs},
        "stores": {str(real_path(store.path)): store.fingerprint for store in stores},
        "start": str(real_path(request.start)) if request.start is not None else None,
        "annotated": content,
        "unlabelled": unlabeled_content,
        **({"targets": request.targets} if request.targets != "hard" else {}),
        **({"near_duplicates_left_out": near} if near else {}),
    }
    parent = parent_round(runs)
    summary: RoundSummary = {
        "round": parent["round"] + 1 if parent else 1,
        "parent": parent,
        "strategy": request.strategy,
        "teachers": [str(path) for path in (*(store.path for store in stores), *(run.path for run in runs))],
        "selection": {**asdict(request.selection), "tta": request.tta},
        "stages": stages,
        "targets": request.targets,
        "command": request.command,
        "data": str(real_path(request.data)),
        "unlabeled": str(real_path(request.unlabeled)),
    }
    return RoundPlan(request, dataset, unlabeled, stores, work, student, identity, summary, content, unlabeled_content)


def _group_work(
    request: RoundRequest,
    *,
    dataset: Dataset,
    unlabeled: Dataset,
    stores: tuple[Probabilities, ...],
    runs: list[Run],
    student: TrainConfig,
    progress: Progress,
) -> tuple[tuple[TeacherGroup, tuple[StageTraining, ...]], ...]:
    """The teacher groups, checked for leaks, each with its trainings."""
    start = read_run(request.start) if request.start is not None else None
    photos = PhotoIndex((request.images,), progress)
    folders = (request.images, request.unlabeled_images)
    groups, trainings = [], []
    for group in group_teachers(runs, dataset, all_data=request.all_data, together=bool(stores)):
        steps = stage_trainings(group, request.stages, student, request.out, start)
        starts = [read_run(step.start) for step in steps if step.start is not None and step.stage.start == "teacher"]
        weights = Path(student.model.weights)
        starts += [read_run(weights)] if is_run(weights) else []
        _check_members(request, group, stores)
        groups.append(check_group(group, dataset, unlabeled.images, folders, starts=starts, photos=photos))
        trainings.append(tuple(steps))
    if request.near_duplicates != "keep":
        groups = leave_out_near_duplicates(groups, unlabeled.images, folders, photos)
        if request.near_duplicates == "refuse":
            refuse_near_duplicates(groups)
    return tuple(zip(groups, trainings, strict=True))


def _teachers(request: RoundRequest) -> tuple[tuple[Probabilities, ...], list[Run]]:
    """The stores among the teachers, and the runs that are teachers or predicted those stores."""
    stores = tuple(open_store(path) for path in request.teachers if is_store(path))
    if stores and len(stores) < len(request.teachers):
        raise TrashkitError("teachers are either runs or stores, not both", hint="predict stores from the runs first")
    for store in stores:
        store.require_complete()
    if stores:
        return stores, runs_of_stores(stores, unknown_allowed=request.all_data)
    runs: list[Run] = []
    for path in request.teachers:
        found = require_runs(path) if path.is_dir() else []
        runs += found or [read_run(path)]
    return (), runs


def _student(request: RoundRequest, runs: list[Run]) -> TrainConfig:
    """The student's settings: a recipe's, else its teacher's, with the assignments applied."""
    if request.recipe is not None:
        recipe = read_recipe(request.recipe)
    elif runs:
        recipe = Recipe("teacher", "", "", "", student_settings(runs[0]).model_dump(), "")
    else:
        raise TrashkitError(
            "the stores do not name a run whose settings the student could take", hint="choose them with --recipe"
        )
    return resolve(recipe, request.assignments, choices=setting_choices())


def _check_members(request: RoundRequest, group: TeacherGroup, stores: tuple[Probabilities, ...]) -> None:
    members = len(stores) or len(group.teachers) * len(views(request.tta))
    if request.selection.agreement and members < 2:
        raise TrashkitError(
            f"agreement needs several models or views, but there is only one{group.where}",
            hint="add --tta flip, or another teacher",
        )


def _check_targets(request: RoundRequest, student: TrainConfig, runs: list[Run]) -> None:
    if request.targets == "soft" and not runs:
        raise TrashkitError(
            "soft targets are predicted by the teachers during training, but these stores do not name their runs",
            hint="give runs as teachers, or leave out --targets soft",
        )
    if request.targets == "online" and not student.ema:
        raise TrashkitError(
            "--targets online needs the moving average of the student's weights, which is off",
            hint="add --set ema=0.99",
        )
    if request.targets == "online" and request.selection.measure != "confidence":
        raise TrashkitError(
            f"--targets online measures certainty by confidence, not by {request.selection.measure}",
            hint="leave out --measure",
        )
