"""Which teachers label for which student: teachers grouped by their validation images, with each group's trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from trashkit.coco import Dataset, Image
from trashkit.coco.model_labels import labels_of_models, photos_seen
from trashkit.errors import TrashkitError
from trashkit.files import real_path, sha256
from trashkit.predictions.header import entries
from trashkit.predictions.store import Probabilities
from trashkit.pseudo.leak_guard import (
    ModelHistory,
    PhotoIndex,
    check_leaks,
    files_of,
    history_of,
    list_names,
    near_duplicates_of,
)
from trashkit.pseudo.strategies import Stage
from trashkit.runs.run import Run, read_run
from trashkit.settings.training import TrainConfig, recorded_settings


@dataclass(frozen=True)
class TeacherGroup:
    """Teachers that were validated on the same images, and what their student trains and is validated on.

    name: of the group's folder, empty where there is one group only. fold: its number, None where there are no folds.
    near: unlabelled images that are left out, with the validation images that they are near-duplicates of. seen: images
    whose labels reached the teachers, file names by key (`trashkit.pseudo.leak_guard.PhotoIndex.key`).
    """

    name: str
    fold: int | None
    teachers: tuple[Run, ...]
    train: tuple[Image, ...]
    val: tuple[Image, ...]
    near: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The fold for messages, as in " of fold 2"; empty where there are no folds."""
        return f" of fold {self.fold}" if self.fold is not None else ""

    def folder(self, out: Path) -> Path:
        """The folder of the group in the folder of the round."""
        return out / self.name if self.name else out


def runs_of_stores(stores: Sequence[Probabilities], *, unknown_allowed: bool) -> list[Run]:
    """Return the runs that predicted the stores, through any ensembles.

    Raises TrashkitError where a store does not name its runs (unless `unknown_allowed`), where a run is missing, and
    where its weights have changed since.
    """
    found: dict[Path, Run] = {}

    def walk(manifest: Mapping[str, Any], store: Probabilities) -> None:
        sources, named = entries(manifest, "sources"), entries(manifest, "runs")
        if sources and len(sources) == len(manifest["sources"]):
            for source in sources:
                walk(source, store)
        elif named and len(named) == len(manifest["runs"]) and all(isinstance(one.get("run"), str) for one in named):
            for entry in named:
                run = read_run(Path(entry["run"]))
                if sha256(run.checkpoint) != entry.get("checkpoint_sha256"):
                    raise TrashkitError(
                        f"the weights of {run.path} have changed since {store.path} was predicted",
                        hint="predict again",
                    )
                found[real_path(run.path)] = run
        elif not unknown_allowed:
            raise TrashkitError(
                f"{store.path} does not name the runs that predicted it, so it is unknown whether they were trained on "
                "the validation images",
                hint="add --all-data for a student without validation, or give runs as teachers",
            )

    for store in stores:
        walk(store.manifest, store)
    return list(found.values())


def group_teachers(
    runs: Sequence[Run], dataset: Dataset, *, all_data: bool, together: bool = False
) -> list[TeacherGroup]:
    """Group teachers by their validation images: each group labels for one student, which is validated on them too.

    all_data: one student of all teachers, without validation. together: one group, since the labels come from a store.
    Raises TrashkitError for an unfinished run, for other classes, and for validation images missing from `dataset`.
    """
    for run in runs:
        _check_run(run, dataset)
    if all_data:
        return [TeacherGroup("", None, tuple(runs), dataset.images, ())]
    by_validation: dict[frozenset[str], list[Run]] = {}
    for run in runs:
        key = frozenset(files_of(run, "validation"))
        by_validation.setdefault(next(iter(by_validation), key) if together else key, []).append(run)
    groups = []
    for n, (names, teachers) in enumerate(sorted(by_validation.items(), key=lambda item: _order(item[1]))):
        val = tuple(image for image in dataset.images if image.file_name in names)
        if len(val) < len(names):
            missing = names - {image.file_name for image in val}
            raise TrashkitError(
                f"{teachers[0].path} was validated on {len(missing)} images that --data lacks: {list_names(missing)}",
                hint="give the file that the teacher was trained with, or add --all-data",
            )
        train = tuple(image for image in dataset.images if image.file_name not in names)
        fold = teachers[0].manifest.get("fold")
        name = "" if len(by_validation) == 1 else f"fold-{fold if fold is not None else n}"
        groups.append(TeacherGroup(name, fold, tuple(teachers), train, val))
    if len({group.name for group in groups}) < len(groups):
        groups = [replace(group, name=f"part-{n}") for n, group in enumerate(groups)]
    return groups


def _order(teachers: Sequence[Run]) -> tuple[int, str]:
    fold = teachers[0].manifest.get("fold")
    return (fold if isinstance(fold, int) else -1, str(teachers[0].path))


def _check_run(run: Run, dataset: Dataset) -> None:
    if run.status != "complete":
        raise TrashkitError(f"{run.path} is not fully trained", hint="repeat its command with --resume")
    if run.spec.class_names != dataset.classes.names:
        raise TrashkitError(
            f"{run.path} has the classes {', '.join(run.spec.class_names)}, the annotations "
            f"{', '.join(dataset.classes.names)}",
            hint="choose the same with --classes",
        )


def check_group(
    group: TeacherGroup,
    dataset: Dataset,
    unlabeled: Sequence[Image],
    folders: tuple[Path, Path],
    *,
    starts: Sequence[Run],
    photos: PhotoIndex,
) -> TeacherGroup:
    """Check that no label leaks (`trashkit.pseudo.leak_guard.check_leaks`); return the group with `seen` filled in.

    dataset: the annotated images, some of whose labels models may have made. folders: of the annotated and of the
    unlabelled photos. starts: further runs that weights are taken from.
    """
    annotated = [image.file_name for image in group.train]
    # The models of a store without runs may have seen all labels.
    unknown = (
        [] if group.teachers else [("a model of unknown history", ModelHistory(photos.keys(folders[0], annotated), {}))]
    )
    runs = {real_path(run.path): run for run in (*group.teachers, *starts)}
    known = [(str(run.path), history_of(run, photos)) for run in runs.values()]
    earlier = photos_seen(labels_of_models(dataset.coco))
    labelers = [("the model that made labels in --data", ModelHistory(earlier, {}))] if earlier else []
    check_leaks(
        photos.keys(folders[1], [image.file_name for image in unlabeled]),
        photos.keys(folders[0], [image.file_name for image in group.val]),
        [*unknown, *known, *labelers],
        where=group.where,
    )
    teachers = [*unknown, *known[: len({real_path(run.path) for run in group.teachers})]]
    return replace(group, seen={key: name for _, seen in teachers for key, name in seen.labels.items()})


def leave_out_near_duplicates(
    groups: Sequence[TeacherGroup], unlabeled: Sequence[Image], folders: tuple[Path, Path], photos: PhotoIndex
) -> list[TeacherGroup]:
    """Return the groups with `near` filled in: unlabelled images that are near-duplicates of a validation image.

    folders: of the annotated and of the unlabelled photos. Raises TrashkitError where a group has no image left to
    label.
    """
    found = []
    places = {image.file_name: photos.place(folders[1], image.file_name) for image in unlabeled}
    candidates = {name: path for name, path in places.items() if path is not None}
    for group in groups:
        if not group.val:
            found.append(group)
            continue
        wanted = {image.file_name: photos.place(folders[0], image.file_name) for image in group.val}
        validation = {name: path for name, path in wanted.items() if path is not None}
        near = near_duplicates_of(photos, candidates, validation)
        if len(near) == len(places):
            raise TrashkitError(
                f"every unlabelled image is a near-duplicate of a validation image{group.where}: {list_names(near)}",
                hint="give other images with --unlabeled, or add --near-duplicates keep",
            )
        found.append(replace(group, near=near))
    return found


def refuse_near_duplicates(groups: Sequence[TeacherGroup]) -> None:
    """Raise TrashkitError, with their names, where unlabelled images are near-duplicates of validation images."""
    for group in groups:
        if group.near:
            pairs = [f"{name} (as {', '.join(same)})" for name, same in group.near.items()]
            raise TrashkitError(
                f"{len(pairs)} unlabelled images are near-duplicates of validation images{group.where}: "
                f"{list_names(pairs)}",
                hint="remove them from --unlabeled, or leave out --near-duplicates refuse",
            )


def start_of(group: TeacherGroup, student: TrainConfig, given: Run | None) -> Run:
    """Return the trained model that a student continues: the given one, else the best teacher with its network.

    Raises TrashkitError where there is none.
    """
    wanted = (student.model.architecture, student.model.encoder, dict(student.model.options))
    fitting = [
        run
        for run in ((given,) if given is not None else group.teachers)
        if (run.spec.architecture, run.spec.encoder, dict(run.spec.options)) == wanted
    ]
    if not fitting:
        raise TrashkitError(
            f"no teacher{group.where} has the student's network ({wanted[0]} with {wanted[1]}) to continue from",
            hint="name a trained run with --start, or leave out --recipe",
        )
    return max(fitting, key=lambda run: (run.miou if run.miou == run.miou else -1.0, str(run.path)))


def student_settings(teacher: Run) -> TrainConfig:
    """Return the settings that a teacher was trained with, without the changes of its stage."""
    about = teacher.manifest.get("pseudo") or {}
    return recorded_settings(about.get("settings") or teacher.identity.get("settings"), teacher.path)


def stage_config(stage: Stage, student: TrainConfig, start: str | None) -> TrainConfig:
    """Return the settings of one stage. start: run folder or file with the weights; None for the student's own."""
    lr = student.optimiser.lr * stage.rate
    changes: dict[str, Any] = {
        "epochs": max(1, round(student.epochs * stage.epochs)),
        "optimiser": student.optimiser.model_copy(update={"lr": lr}),
    }
    if start is not None:
        changes["model"] = student.model.model_copy(update={"weights": start})
    return student.model_copy(update=changes)


@dataclass(frozen=True)
class StageTraining:
    """One training of one group.

    start: folder of the run that it continues, None for the student's own weights. last: whether it is the group's
    last stage, whose run is the result.
    """

    stage: Stage
    config: TrainConfig
    out: Path
    start: Path | None
    last: bool


def stage_trainings(
    group: TeacherGroup, stages: Sequence[Stage], student: TrainConfig, out: Path, start: Run | None
) -> list[StageTraining]:
    """Return the trainings of a group in their order, in folders below `out`. start: see `start_of`."""
    home = group.folder(out)
    found: list[StageTraining] = []
    for n, stage in enumerate(stages):
        source: Path | None = None
        if stage.start == "teacher":
            source = real_path(start_of(group, student, start).path)
        elif stage.start != "recipe":
            source = real_path(home / stage.start)
        config = stage_config(stage, student, str(source) if source is not None else None)
        found.append(StageTraining(stage, config, home / stage.name, source, n == len(stages) - 1))
    return found


class ParentRound(TypedDict):
    """The earlier round that the teachers come from: its folder and number."""

    folder: str
    round: int


def parent_round(runs: Sequence[Run]) -> ParentRound | None:
    """Return the latest round that the teachers come from; None for a first round."""
    rounds = [run.manifest["pseudo"] for run in runs if run.manifest.get("pseudo")]
    if not rounds:
        return None
    latest = max(rounds, key=lambda about: int(about.get("round", 0)))
    return {"folder": str(latest.get("folder", "")), "round": int(latest.get("round", 0))}
