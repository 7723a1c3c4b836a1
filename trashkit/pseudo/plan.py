"""Who teaches whom: teachers grouped by what they were validated on, each group with its student and its guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trashkit.coco import Dataset, Image
from trashkit.coco.origin import labels_of_models, photos_seen
from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.pseudo.guard import Photos, Seen, check, files_of, named, same_pictures, seen_by
from trashkit.pseudo.stages import Stage, stage_config
from trashkit.run import Run, read_run
from trashkit.store import Probabilities


@dataclass(frozen=True)
class Group:
    """Teachers that were validated on the same images, and the images that their student learns and is validated on.

    name: of its folder, empty where there is one group alone. fold: number of the fold, None where there are no folds.
    near: unlabelled images that are left out here, with the validation images that show the same picture. seen: images
    whose labels reached the teachers, file names by key.
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
        """Said in sentences: which part this is about."""
        return f" of fold {self.fold}" if self.fold is not None else ""


def store_runs(stores: Sequence[Probabilities], *, unknown_allowed: bool) -> list[Run]:
    """The runs that stores of probabilities come from, through any ensembles.

    Raises TrashkitError where a store does not name its runs (unless that is allowed), a run is gone, or its weights
    are others by now.
    """
    found: dict[Path, Run] = {}

    def walk(manifest: Mapping[str, Any], store: Probabilities) -> None:
        if "sources" in manifest:
            for source in manifest["sources"]:
                walk(source, store)
        elif manifest.get("runs") and all(entry.get("run") for entry in manifest["runs"]):
            for entry in manifest["runs"]:
                run = read_run(Path(entry["run"]))
                if sha256(run.checkpoint) != entry.get("checkpoint_sha256"):
                    raise TrashkitError(
                        f"{run.path} has other weights by now than those that {store.path} was predicted with",
                        hint="predict again",
                    )
                found[run.path.resolve()] = run
        elif not unknown_allowed:
            raise TrashkitError(
                f"{store.path} does not say which runs it comes from, so nobody can tell whether they saw the "
                "validation images",
                hint="add --all-data for a student without validation, or give runs as the teacher",
            )

    for store in stores:
        walk(store.manifest, store)
    return list(found.values())


def group_teachers(runs: Sequence[Run], dataset: Dataset, *, all_data: bool, together: bool = False) -> list[Group]:
    """Teachers by fold: those validated on the same images make the labels of one student, validated there too.

    all_data: one student of all teachers, without validation. together: the teachers' labels are one already (a store).
    Raises TrashkitError for an unfinished run, other classes, and validation images that the annotations lack.
    """
    for run in runs:
        _check_run(run, dataset)
    if all_data:
        return [Group("", None, tuple(runs), dataset.images, ())]
    parts: dict[frozenset[str], list[Run]] = {}
    for run in runs:
        key = frozenset(files_of(run, "validation"))
        parts.setdefault(next(iter(parts), key) if together else key, []).append(run)
    groups = []
    for n, (names, teachers) in enumerate(sorted(parts.items(), key=lambda item: _order(item[1]))):
        val = tuple(image for image in dataset.images if image.file_name in names)
        if len(val) < len(names):
            lacking = names - {image.file_name for image in val}
            raise TrashkitError(
                f"{teachers[0].path} was validated on {len(lacking)} images that --data lacks: {named(lacking)}",
                hint="give the file that the teacher was trained with, or add --all-data",
            )
        train = tuple(image for image in dataset.images if image.file_name not in names)
        fold = teachers[0].manifest.get("fold")
        name = "" if len(parts) == 1 else f"fold-{fold if fold is not None else n}"
        groups.append(Group(name, fold, tuple(teachers), train, val))
    if len({group.name for group in groups}) < len(groups):
        groups = [
            Group(f"part-{n}", group.fold, group.teachers, group.train, group.val) for n, group in enumerate(groups)
        ]
    return groups


def _order(teachers: Sequence[Run]) -> tuple[int, str]:
    fold = teachers[0].manifest.get("fold")
    return (fold if isinstance(fold, int) else -1, str(teachers[0].path))


def _check_run(run: Run, dataset: Dataset) -> None:
    if run.status != "complete":
        raise TrashkitError(f"{run.path} is not trained to its end", hint="repeat its command line with --resume")
    if run.spec.class_names != dataset.classes.names:
        raise TrashkitError(
            f"{run.path} knows the classes {', '.join(run.spec.class_names)}, the annotations have "
            f"{', '.join(dataset.classes.names)}",
            hint="choose the same with --classes",
        )


def check_group(
    group: Group,
    dataset: Dataset,
    unlabeled: Sequence[Image],
    folders: tuple[Path, Path],
    *,
    starts: Sequence[Run],
    photos: Photos,
) -> Group:
    """Let no label leak, see `trashkit.pseudo.guard.check`; the group comes back with what its teachers have `seen`.

    dataset: the annotated images, some of whose labels models may have made. folders: of the annotated and of the
    unlabelled photos. starts: runs that weights are taken from, beside the teachers.
    """
    annotated = [image.file_name for image in group.train]
    # A store whose models nobody knows may have seen all of them.
    stranger = [] if group.teachers else [("a model of unknown history", Seen(photos.keys(folders[0], annotated), {}))]
    people = {run.path.resolve(): run for run in (*group.teachers, *starts)}
    known = [(str(run.path), seen_by(run, photos)) for run in people.values()]
    earlier = photos_seen(labels_of_models(dataset.coco))
    makers = [("the model that made labels in --data", Seen(earlier, {}))] if earlier else []
    check(
        photos.keys(folders[1], [image.file_name for image in unlabeled]),
        photos.keys(folders[0], [image.file_name for image in group.val]),
        [*stranger, *known, *makers],
        where=group.where,
    )
    teachers = [*stranger, *known[: len({run.path.resolve() for run in group.teachers})]]
    return replace(group, seen={key: name for _, seen in teachers for key, name in seen.labels.items()})


def without_near(
    groups: Sequence[Group], unlabeled: Sequence[Image], folders: tuple[Path, Path], photos: Photos
) -> list[Group]:
    """The groups with the unlabelled images named in `near` that show the same picture as one of their validation
    images, by `trashkit.pseudo.guard.same_pictures`. folders: of the annotated and of the unlabelled photos.

    Raises TrashkitError where a group would have no image left to label.
    """
    made = []
    places = {image.file_name: photos.place(folders[1], image.file_name) for image in unlabeled}
    there = {name: path for name, path in places.items() if path is not None}
    for group in groups:
        if not group.val:
            made.append(group)
            continue
        wanted = {image.file_name: photos.place(folders[0], image.file_name) for image in group.val}
        validation = {name: path for name, path in wanted.items() if path is not None}
        near = same_pictures(photos, there, validation)
        if len(near) == len(places):
            raise TrashkitError(
                f"every unlabelled image shows the same picture as a validation image{group.where}: {named(near)}",
                hint="give other images as --unlabeled, or add --near-duplicates keep",
            )
        made.append(replace(group, near=near))
    return made


def refuse_near(groups: Sequence[Group]) -> None:
    """Raise TrashkitError, naming them, where unlabelled images show the same picture as validation images."""
    for group in groups:
        if group.near:
            pairs = [f"{name} (as {', '.join(same)})" for name, same in group.near.items()]
            raise TrashkitError(
                f"{len(pairs)} unlabelled images show the same picture as validation images{group.where}: "
                f"{named(pairs)}",
                hint="take them out of --unlabeled, or leave out --near-duplicates refuse",
            )


def start_of(group: Group, student: TrainConfig, given: Run | None) -> Run:
    """The trained model that a student continues: the one given, else the best teacher with the student's network.

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
            f"no teacher{group.where} has the student's network ({wanted[0]} with {wanted[1]}), to go on from",
            hint="name a trained run with --start, or leave out --recipe",
        )
    return max(fitting, key=lambda run: (run.miou if run.miou == run.miou else -1.0, str(run.path)))


def student_settings(teacher: Run) -> TrainConfig:
    """The settings that a teacher was asked for, without what its stage changed: a student like it."""
    about = teacher.manifest.get("pseudo") or {}
    return TrainConfig.model_validate(about.get("settings") or teacher.manifest["identity"]["settings"])


@dataclass(frozen=True)
class Step:
    """One training of one group: its stage, settings, folder and, where it continues a model, that model's folder."""

    stage: Stage
    config: TrainConfig
    out: Path
    start: Path | None
    last: bool


def steps_of(group: Group, stages: Sequence[Stage], student: TrainConfig, out: Path, start: Run | None) -> list[Step]:
    """The trainings of a group in their order, below `out`. start: see `start_of`; needed where a stage asks for it."""
    home = out / group.name if group.name else out
    made: list[Step] = []
    for n, stage in enumerate(stages):
        source: Path | None = None
        if stage.start == "teacher":
            source = start_of(group, student, start).path.resolve()
        elif stage.start != "recipe":
            source = (home / stage.start).resolve()
        config = stage_config(stage, student, str(source) if source is not None else None)
        made.append(Step(stage, config, home / stage.name, source, n == len(stages) - 1))
    return made


def parent_of(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The earlier round that the teachers come from (its folder and number); None for a first round."""
    rounds = [run.manifest["pseudo"] for run in runs if run.manifest.get("pseudo")]
    if not rounds:
        return None
    latest = max(rounds, key=lambda about: int(about["round"]))
    return {"folder": latest["folder"], "round": int(latest["round"])}
