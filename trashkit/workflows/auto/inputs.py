"""What `trashkit auto` starts from: the request, and hashes of all files that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trashkit.coco import Coco, read
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.images.photos import photo_path
from trashkit.progress import Progress, silent
from trashkit.report.photo_overlays import find_photos
from trashkit.settings.extra_sets import split_extra
from trashkit.workflows.project.derived import sources_of

Role = Literal["labels", "unlabelled", "sample"]
"""labels: annotations, their photos and further data sets. unlabelled: what is predicted. sample: the submission's."""


@dataclass(frozen=True, kw_only=True)
class AutoRequest:
    """What is wanted, in terms of files and options.

    data: COCO file with annotations. images: folder of its photos and those of `test`. test: COCO file of photos
    without labels. photos: folder of photos without labels; without `test` and `photos`, the photos of `images` that
    `data` does not list. sample: sample submission. classes, groups: as `read_dataset` and `split --groups` take them.
    extra: further data sets, "OTHER.json:IMAGES_DIR[:WEIGHT]". minutes: the budget. recipes: instead of those chosen.
    unsafe: apply unsafe fixes, too. launch: what starts trainings and predictions, such as "accelerate launch".
    device: ``auto`` or ``cpu``. project: project file, whose audit settings are used; "none" where there is one that is
    not used.
    """

    data: Path
    images: Path
    out: Path
    test: Path | None = None
    photos: Path | None = None
    sample: Path | None = None
    classes: str | None = None
    groups: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    minutes: float = 45.0
    recipes: tuple[str, ...] = ()
    unsafe: bool = False
    launch: str = ""
    device: str = "auto"
    project: str | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON form, without the output folder, which may be moved."""
        values = {name: value for name, value in vars(self).items() if name != "out"}
        return {
            name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def of(cls, value: Mapping[str, Any], out: Path) -> AutoRequest:
        """The request in this JSON form."""
        paths = ("data", "images", "test", "photos", "sample")
        found: dict[str, Any] = {}
        for name, given in value.items():
            made = Path(given) if name in paths and given is not None else given
            found[name] = tuple(made) if isinstance(made, list) else made
        return cls(out=out, **found)

    @property
    def unlabelled_folder(self) -> Path:
        """Folder of the photos to predict."""
        return self.photos or self.images


MOST_PIXELS = 1e9
"""Images that claim to have more pixels are left out of the average size."""


@dataclass(frozen=True)
class AutoInputs:
    """Hashes of the files of a request.

    roles: one hash for each role, "" where there is nothing. photos: hash of each labelled photo by file name.
    labelled, unlabelled, extra: numbers of photos. missing: labelled photos that do not exist. megapixels: of a
    labelled photo, on average, as the annotations say.
    """

    roles: Mapping[str, str]
    photos: Mapping[str, str]
    labelled: int
    unlabelled: int
    extra: int
    missing: tuple[str, ...] = field(default=())
    megapixels: float = 0.25

    def as_json(self) -> dict[str, Any]:
        """JSON form."""
        return {**vars(self), "missing": list(self.missing)}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> AutoInputs:
        """The inputs in this JSON form."""
        return cls(**{**value, "missing": tuple(value["missing"])})


def read_auto_inputs(request: AutoRequest, *, progress: Progress = silent) -> AutoInputs:
    """Hash all files of a request. Raises TrashkitError for files and folders that do not exist or cannot be read."""
    for option, folder in (("--images", request.images), ("--photos", request.photos)):
        if folder is not None and not folder.is_dir():
            problem = "is a file" if folder.exists() else "does not exist"
            raise TrashkitError(f"the photo folder {folder} {problem}", hint=f"check {option}")
    coco = read(request.data)
    names = _file_names(coco)
    if not names:
        raise TrashkitError(f"{request.data} lists no photos", hint="give a COCO file with annotations as --data")
    photos, missing = _hashes(names, request.images, progress)
    further = [_extra_hash(text) for text in request.extra]
    labels = _digest(
        [coco.sha256, *(f"{name} {photos[name]}" for name in sorted(photos)), *(one for one, _ in further)]
    )
    others = _unlabelled(request, names)
    found, _ = _hashes(others, request.unlabelled_folder, progress)
    listed = sha256(request.test) if request.test is not None else ""
    unlabelled = _digest([listed, *(f"{name} {found[name]}" for name in sorted(found))]) if others else ""
    sample = sha256(request.sample) if request.sample is not None else ""
    roles = {"labels": labels, "unlabelled": unlabelled, "sample": sample}
    return AutoInputs(
        roles,
        photos,
        labelled=len(names),
        unlabelled=len(others),
        extra=sum(count for _, count in further),
        missing=tuple(missing),
        megapixels=_megapixels(coco),
    )


def _megapixels(coco: Coco) -> float:
    """Average size of a photo by width and height, 1 where none is stated; only expected times depend on it."""
    areas = []
    for one in coco.records("images"):
        width, height = (one.get("width"), one.get("height")) if isinstance(one, dict) else (None, None)
        if isinstance(width, int | float) and isinstance(height, int | float) and 0 < width * height < MOST_PIXELS:
            areas.append(width * height)
    return round(sum(areas) / len(areas) / 1e6, 3) if areas else 1.0


def _file_names(coco: Coco) -> list[str]:
    records = [one.get("file_name") for one in coco.records("images") if isinstance(one, dict)]
    return [name for name in records if isinstance(name, str) and name]


def _unlabelled(request: AutoRequest, labelled: Sequence[str]) -> list[str]:
    """File names of the photos to predict."""
    if request.test is not None:
        names = _file_names(read(request.test))
        if not names:
            raise TrashkitError(f"{request.test} lists no photos", hint="leave out --test")
        return names
    folder = request.unlabelled_folder
    known = set(labelled) if request.photos is None else set()
    return [name for name in find_photos([folder], but=request.out).names if name not in known]


def photos_not_listed(request: AutoRequest) -> int:
    """Number of photos in `images` that came after `trashkit init` listed those without labels in `test`."""
    if request.test is None or sources_of(test := read(request.test)) != []:
        return 0
    known = {*_file_names(read(request.data)), *_file_names(test)}
    return sum(name not in known for name in find_photos([request.images], but=request.out).names)


def _hashes(names: Sequence[str], folder: Path, progress: Progress) -> tuple[dict[str, str], list[str]]:
    """Half a SHA-256 of each photo that exists, and the names of the others."""
    found: dict[str, str] = {}
    missing: list[str] = []
    for n, name in enumerate(names):
        try:
            found[name] = sha256(photo_path(folder, name))[:32]
        except (OSError, TrashkitError):
            missing.append(name)
        progress("reading photos", n + 1, len(names))
    return found, missing


def _extra_hash(text: str) -> tuple[str, int]:
    """Hash of a further data set, its photos included, and the number of its photos."""
    path, folder, weight = split_extra(text)
    names = _file_names(read(path))
    found, _ = _hashes(names, folder, silent)
    return _digest([sha256(path), str(weight), *(f"{name} {found[name]}" for name in sorted(found))]), len(names)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
