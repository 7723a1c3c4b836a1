"""The leak guard: who has seen which image's label, and what must not go on.

A photo is known by its decoded pixels, not by its id, name or bytes: ids of two files say nothing about each other, the
same photo may lie in two folders, and may be saved again without loss. What a model has seen is handed down: to the
models that continue it, and to those that learn from labels it made, also where these went through a COCO file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trashkit import near_duplicates
from trashkit.coco import Coco, read
from trashkit.coco.origin import labels_of_models, photos_seen
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.photos import photo_path, read_photo, thumbnail
from trashkit.progress import Progress, silent
from trashkit.run import Run, read_run
from trashkit.run_folder import is_run

SHOWN = 5


@dataclass
class Photos:
    """Photos by their pixels. folders: where else to look for a photo whose recorded folder is gone."""

    folders: tuple[Path, ...] = ()
    progress: Progress = silent
    _digests: dict[Path, str] = field(default_factory=dict)
    _looks: dict[Path, near_duplicates.Look | None] = field(default_factory=dict)

    def place(self, folder: Path, file_name: str) -> Path | None:
        """Where a photo lies; None where it is nowhere to be found."""
        paths = (photo_path(place, file_name) for place in (folder, *self.folders))
        return next((path for path in paths if path in self._digests or path.is_file()), None)

    def key(self, folder: Path, file_name: str) -> str:
        """Hash of the photo's size and decoded pixels; ``name:`` and its file name where it is nowhere to be found.

        Copies in other bytes have the same key as long as no pixel changed: other metadata, appended bytes, a PNG made
        of a JPEG. A photo that cannot be decoded is known by its bytes.
        """
        path = self.place(folder, file_name)
        if path is None:
            return f"name:{file_name}"
        if path not in self._digests:
            self._digests[path] = _digest(path)
        return self._digests[path]

    def keys(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """File name by key."""
        wanted = list(names)
        places = (self.place(folder, name) for name in wanted)
        paths = list(dict.fromkeys(path for path in places if path is not None and path not in self._digests))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for n, (path, digest) in enumerate(zip(paths, pool.map(_digest, paths), strict=True)):
                self._digests[path] = digest
                self.progress("knowing photos by their pixels", n + 1, len(paths))
        return {self.key(folder, name): name for name in wanted}

    def looks(self, paths: Iterable[Path]) -> list[near_duplicates.Look | None]:
        """What near-duplicates are found by, of each photo; None where it cannot be decoded."""
        wanted = list(paths)
        new = list(dict.fromkeys(path for path in wanted if path not in self._looks))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for n, (path, look) in enumerate(zip(new, pool.map(_look, new), strict=True)):
                self._looks[path] = look
                self.progress("looking for near-duplicates", n + 1, len(new))
        return [self._looks[path] for path in wanted]


def _digest(path: Path) -> str:
    try:
        photo = read_photo(path)
    except TrashkitError:
        return f"bytes:{sha256(path)}"
    found = hashlib.sha256(repr(photo.shape).encode())
    found.update(np.ascontiguousarray(photo).data)
    return found.hexdigest()[:40]


def same_pictures(
    photos: Photos, unlabeled: Mapping[str, Path], validation: Mapping[str, Path]
) -> dict[str, list[str]]:
    """Unlabelled photos that show the same picture as validation photos (`trashkit.near_duplicates`): recompressed,
    scaled, a little moved or relit. Both mappings hold paths by file name; the answer holds validation file names by
    unlabelled one. Photos that cannot be decoded are like none.
    """
    looks = photos.looks([*unlabeled.values(), *validation.values()])
    names = [*unlabeled, *validation]
    known = [n for n, look in enumerate(looks) if look is not None]
    groups = near_duplicates.near_groups([look for look in looks if look is not None])
    alike: dict[int, list[str]] = {}
    for n, group in zip(known, groups.tolist(), strict=True):
        if n >= len(unlabeled):
            alike.setdefault(group, []).append(names[n])
    return {
        names[n]: alike[group]
        for n, group in zip(known, groups.tolist(), strict=True)
        if n < len(unlabeled) and group in alike
    }


def known_to_makers(coco: Coco, folder: Path, file_names: Iterable[str]) -> list[str]:
    """Of these images, such as those to validate on, the ones whose labels reached a model that made labels in `coco`.

    folder: of the photos. Empty where people made all labels, or where nobody wrote down that models did.
    """
    seen = photos_seen(labels_of_models(coco))
    if not seen:
        return []
    return [name for key, name in Photos().keys(folder, file_names).items() if key in seen]


def _look(path: Path) -> near_duplicates.Look | None:
    try:
        return near_duplicates.look(thumbnail(path, near_duplicates.LONGEST))
    except TrashkitError:
        return None


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
    found[place] |= photos_seen(inputs.get("labels_of_models") or [])
    if not run.manifest.get("pseudo"):  # other data sets trained on; label maps of a round are no labels of people
        for other in inputs.get("label_maps") or []:
            found[place] |= photos.keys(Path(str(other.get("images", "."))), map(str, other.get("files") or []))
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
