"""The leak guard: which labels have reached which model, so that no validation label enters training.

Photos are identified by their decoded pixels, not by id, name or bytes: ids of two files are unrelated, and the same
photo may be in two folders or be saved again without loss. The labels that a model has seen are inherited by models
that continue it, and by models that learn from labels it made, also where these went through a COCO file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Coco, read
from trashkit.coco.model_labels import labels_of_models, photos_seen
from trashkit.errors import TrashkitError
from trashkit.files import real_path, sha256
from trashkit.images import near_duplicates
from trashkit.images.photos import photo_path, read_photo, thumbnail
from trashkit.progress import Progress, silent
from trashkit.runs.folder import is_run
from trashkit.runs.run import Run, read_run

SHOWN = 5


@dataclass
class PhotoIndex:
    """Photos by their pixels. folders: where to look for a photo whose recorded folder is missing."""

    folders: tuple[Path, ...] = ()
    progress: Progress = silent
    _digests: dict[Path, str] = field(default_factory=dict)
    _features: dict[Path, near_duplicates.PhotoFeatures | None] = field(default_factory=dict)

    def place(self, folder: Path, file_name: str) -> Path | None:
        """Return the path of a photo; None where it is not found."""
        paths = (photo_path(place, file_name) for place in (folder, *self.folders))
        return next((path for path in paths if path in self._digests or path.is_file()), None)

    def key(self, folder: Path, file_name: str) -> str:
        """Return a hash of the photo's size and decoded pixels; ``name:`` and its file name where it is not found.

        Copies with other bytes have the same key as long as no pixel changed: other metadata, appended bytes, a PNG
        made from a JPEG. A photo that cannot be decoded is identified by its bytes.
        """
        path = self.place(folder, file_name)
        if path is None:
            return f"name:{file_name}"
        if path not in self._digests:
            self._digests[path] = _digest(path)
        return self._digests[path]

    def keys(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """Return file names by key."""
        wanted = list(names)
        places = (self.place(folder, name) for name in wanted)
        paths = list(dict.fromkeys(path for path in places if path is not None and path not in self._digests))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for n, (path, digest) in enumerate(zip(paths, pool.map(_digest, paths), strict=True)):
                self._digests[path] = digest
                self.progress("hashing photos", n + 1, len(paths))
        return {self.key(folder, name): name for name in wanted}

    def features(self, paths: Iterable[Path]) -> list[near_duplicates.PhotoFeatures | None]:
        """Return what near-duplicates are found by, for each photo; None where it cannot be decoded."""
        wanted = list(paths)
        new = list(dict.fromkeys(path for path in wanted if path not in self._features))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for n, (path, found) in enumerate(zip(new, pool.map(_features_of, new), strict=True)):
                self._features[path] = found
                self.progress("looking for near-duplicates", n + 1, len(new))
        return [self._features[path] for path in wanted]


def _digest(path: Path) -> str:
    try:
        photo = read_photo(path)
    except TrashkitError:
        return f"bytes:{sha256(path)}"
    found = hashlib.sha256(repr(photo.shape).encode())
    found.update(np.ascontiguousarray(photo).data)
    return found.hexdigest()[:40]


def near_duplicates_of(
    photos: PhotoIndex, unlabeled: Mapping[str, Path], validation: Mapping[str, Path]
) -> dict[str, list[str]]:
    """Return unlabelled photos that are near-duplicates of validation photos (`trashkit.images.near_duplicates`).

    Both mappings hold paths by file name; the result holds validation file names by unlabelled one. Photos that cannot
    be decoded are near-duplicates of none.
    """
    features = photos.features([*unlabeled.values(), *validation.values()])
    names = [*unlabeled, *validation]
    known = [n for n, one in enumerate(features) if one is not None]
    groups = near_duplicates.near_duplicate_groups([one for one in features if one is not None])
    alike: dict[int, list[str]] = {}
    for n, group in zip(known, groups.tolist(), strict=True):
        if n >= len(unlabeled):
            alike.setdefault(group, []).append(names[n])
    return {
        names[n]: alike[group]
        for n, group in zip(known, groups.tolist(), strict=True)
        if n < len(unlabeled) and group in alike
    }


def seen_by_labelers(coco: Coco, folder: Path, file_names: Iterable[str]) -> list[str]:
    """Return those of the images `file_names` whose labels reached a model that made labels in `coco`.

    folder: of the photos. Empty where people made all labels, or where no model is recorded.
    """
    seen = photos_seen(labels_of_models(coco))
    if not seen:
        return []
    return [name for key, name in PhotoIndex().keys(folder, file_names).items() if key in seen]


def _features_of(path: Path) -> near_duplicates.PhotoFeatures | None:
    try:
        return near_duplicates.photo_features(thumbnail(path, near_duplicates.LONGEST_SIDE))
    except TrashkitError:
        return None


@dataclass(frozen=True)
class ModelHistory:
    """Images whose labels reached a model, and its validation images: file names by key (`PhotoIndex.key`)."""

    labels: Mapping[str, str]
    validation: Mapping[str, str]


def history_of(run: Run, photos: PhotoIndex) -> ModelHistory:
    """Return the labels that a run has seen, with those of the runs it starts from or whose pseudo-labels it learned.

    Raises TrashkitError where a manifest or an ancestor is missing, since its labels are unknown then.
    """
    labels: dict[str, str] = {}
    found: dict[Path, dict[str, str]] = {}
    _collect(run, photos, found)
    for names in found.values():
        labels.update(names)
    folder = Path(str(run.manifest.get("inputs", {}).get("images", ".")))
    return ModelHistory(labels, photos.keys(folder, files_of(run, "validation")))


def _collect(run: Run, photos: PhotoIndex, found: dict[Path, dict[str, str]]) -> None:
    place = real_path(run.path)
    if place in found:
        return
    inputs = run.manifest.get("inputs", {})
    found[place] = photos.keys(Path(str(inputs.get("images", "."))), files_of(run, "training"))
    found[place] |= photos_seen(inputs.get("labels_of_models") or [])
    if not run.manifest.get("pseudo"):  # other training sets; the label maps of a round are not labels by people
        for other in inputs.get("label_maps") or []:
            found[place] |= photos.keys(Path(str(other.get("images", "."))), map(str, other.get("files") or []))
    for path in _ancestors(run):
        if not is_run(path):
            raise TrashkitError(
                f"{run.path} comes from {path}, which is no longer a run folder, so its training images are unknown",
                hint="restore that run, or train another teacher",
            )
        _collect(read_run(path), photos, found)


def _ancestors(run: Run) -> list[Path]:
    """Return the runs whose weights or labels went into a run; weights files that no run made have none."""
    weights = Path(str(run.manifest.get("identity", {}).get("settings", {}).get("model", {}).get("weights", "auto")))
    about = run.manifest.get("pseudo") or {}
    starts = [weights] if is_run(weights) or about.get("start") == str(weights) else []
    if weights.suffix == ".safetensors" and is_run(weights.parent.parent):
        starts = [weights.parent.parent]
    return [*starts, *(Path(str(path)) for path in about.get("teachers", []))]


def files_of(run: Run, part: str) -> list[str]:
    """Return the file names of a run's ``training`` or ``validation`` images.

    Runs of earlier versions recorded ids only, which their annotation file resolves. Raises TrashkitError where that
    file is missing or has changed.
    """
    inputs: Mapping[str, Any] = run.inputs
    identity: Mapping[str, Any] = run.identity
    if f"{part}_files" in inputs:
        return [str(name) for name in inputs[f"{part}_files"]]
    ids = identity.get(f"{part} images")
    path = Path(str(inputs.get("data", "")))
    if ids is None or not path.is_file() or sha256(path) != inputs.get("data_sha256"):
        raise TrashkitError(
            f"{run.path} does not name its training images, and {path} has changed since or is missing",
            hint="restore that file, or train the teacher again",
        )
    names = {record["id"]: record["file_name"] for record in read(path).records("images")}
    return [str(names[image_id]) for image_id in ids]


def list_names(names: Collection[str]) -> str:
    """Return file names as text, only the first few of a long list."""
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


def check_leaks(
    unlabeled: Mapping[str, str],
    validation: Mapping[str, str],
    models: Sequence[tuple[str, ModelHistory]],
    *,
    where: str = "",
) -> None:
    """Raise TrashkitError, naming the images, where a validation label would leak into training.

    unlabeled: images to make pseudo-labels for. validation: validation images of the student. Both hold file names by
    key. models: name and history of every model that makes labels or whose weights are used. where: the fold for
    messages, as in " of fold 2".
    """
    both = unlabeled.keys() & validation.keys()
    if both:
        raise TrashkitError(
            f"{len(both)} validation images{where} are among the unlabelled images and would enter training: "
            f"{list_names([unlabeled[key] for key in both])}",
            hint="remove them from --unlabeled, or from the validation images",
        )
    for name, history in models:
        known = unlabeled.keys() & history.labels.keys()
        if known:
            raise TrashkitError(
                f"{name} has seen the labels of {len(known)} of the images to label: "
                f"{list_names([unlabeled[key] for key in known])}",
                hint="remove them from --unlabeled, or use a teacher that was not trained on them",
            )
        leaked = validation.keys() & history.labels.keys()
        if leaked:
            raise TrashkitError(
                f"{name} was trained on {len(leaked)} validation images{where}, and its labels would leak them into "
                f"training: {list_names([validation[key] for key in leaked])}",
                hint="use models of the same fold only, or --all-data for a student without validation",
            )
