"""The leak guard: who has seen which image's label, and what must not go on.

A photo is known by its bytes (SHA-256), not by its id or name: ids of two files say nothing about each other, and the
same photo may lie in two folders. What a model has seen is handed down: to the models that continue it, and to those
that learn from labels it made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trashkit.coco import read
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.photos import photo_path
from trashkit.run import Run, is_run, read_run

SHOWN = 5


@dataclass
class Photos:
    """Photos by their bytes. folders: where else to look for a photo whose recorded folder is gone."""

    folders: tuple[Path, ...] = ()
    _digests: dict[Path, str] = field(default_factory=dict)

    def key(self, folder: Path, file_name: str) -> str:
        """SHA-256 of the photo's bytes; ``name:`` and its file name where it is nowhere to be found."""
        for place in (folder, *self.folders):
            path = photo_path(place, file_name)
            if path not in self._digests and path.is_file():
                self._digests[path] = sha256(path)
            if path in self._digests:
                return self._digests[path]
        return f"name:{file_name}"

    def keys(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """File name by key."""
        return {self.key(folder, name): name for name in names}


@dataclass(frozen=True)
class Seen:
    """Images whose labels reached a model, and those that it was validated on: file names by key (`Photos.key`)."""

    labels: Mapping[str, str]
    validation: Mapping[str, str]


def seen_by(run: Run, photos: Photos) -> Seen:
    """What a run has seen, the runs included that it starts from and whose pseudo-labels it learned.

    Raises TrashkitError where a manifest or an ancestor is missing, since then nobody can know.
    """
    labels: dict[str, str] = {}
    found: dict[Path, dict[str, str]] = {}
    _collect(run, photos, found)
    for names in found.values():
        labels.update(names)
    folder = Path(str(run.manifest.get("inputs", {}).get("images", ".")))
    return Seen(labels, photos.keys(folder, files_of(run, "validation")))


def _collect(run: Run, photos: Photos, found: dict[Path, dict[str, str]]) -> None:
    place = run.path.resolve()
    if place in found:
        return
    inputs = run.manifest.get("inputs", {})
    found[place] = photos.keys(Path(str(inputs.get("images", "."))), files_of(run, "training"))
    for path in _ancestors(run):
        if not is_run(path):
            raise TrashkitError(
                f"{run.path} comes from {path}, which is no run any more, so nobody can tell what it has seen",
                hint="put that run back, or train another teacher",
            )
        _collect(read_run(path), photos, found)


def _ancestors(run: Run) -> list[Path]:
    """Runs whose weights or labels went into a run. Weights files that no run made count as nobody's."""
    weights = Path(str(run.manifest.get("identity", {}).get("settings", {}).get("model", {}).get("weights", "auto")))
    about = run.manifest.get("pseudo") or {}
    starts = [weights] if is_run(weights) or about.get("start") == str(weights) else []
    if weights.suffix == ".safetensors" and is_run(weights.parent.parent):
        starts = [weights.parent.parent]
    return [*starts, *(Path(str(path)) for path in about.get("teachers", []))]


def files_of(run: Run, part: str) -> list[str]:
    """File names of a run's ``training`` or ``validation`` images.

    Runs of earlier versions named ids alone; their annotation file is asked then. Raises TrashkitError without either.
    """
    inputs = run.manifest.get("inputs", {})
    if f"{part}_files" in inputs:
        return [str(name) for name in inputs[f"{part}_files"]]
    ids = run.manifest.get("identity", {}).get(f"{part} images")
    path = Path(str(inputs.get("data", "")))
    if ids is None or not path.is_file() or sha256(path) != inputs.get("data_sha256"):
        raise TrashkitError(
            f"{run.path} does not say which images it was trained on, and {path} is not the file that it was trained "
            "with any more",
            hint="put that file back, or train the teacher again",
        )
    names = {record["id"]: record["file_name"] for record in read(path).records("images")}
    return [str(names[image_id]) for image_id in ids]


def named(names: Collection[str]) -> str:
    """Some file names, the first few of a long list."""
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


def check(
    unlabeled: Mapping[str, str],
    validation: Mapping[str, str],
    teachers: Sequence[tuple[str, Seen]],
    *,
    where: str = "",
) -> None:
    """Refuse, naming the images, whatever would let a label leak; the arguments hold file names by key.

    unlabeled: images to make pseudo-labels for. validation: images that the student is validated on. teachers: name and
    knowledge of every model that makes labels or lends its weights. where: said of the fold, as in " of fold 2".
    Raises TrashkitError.
    """
    both = unlabeled.keys() & validation.keys()
    if both:
        raise TrashkitError(
            f"{len(both)} validation images{where} are among the unlabelled ones and would enter training: "
            f"{named([unlabeled[key] for key in both])}",
            hint="take them out of --unlabeled, or out of the validation part",
        )
    for name, seen in teachers:
        known = unlabeled.keys() & seen.labels.keys()
        if known:
            raise TrashkitError(
                f"{name} has seen the labels of {len(known)} of the images to label: "
                f"{named([unlabeled[key] for key in known])}",
                hint="take them out of --unlabeled, or use a teacher that was not trained on them",
            )
        leaked = validation.keys() & seen.labels.keys()
        if leaked:
            raise TrashkitError(
                f"{name} was trained on {len(leaked)} validation images{where}, and its labels would bring them into "
                f"training: {named([validation[key] for key in leaked])}",
                hint="use models of the same fold alone, or --all-data for a student without validation",
            )
