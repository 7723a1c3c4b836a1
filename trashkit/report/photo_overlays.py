"""Predict single photos: an overlay with coloured regions and a legend for each, and COCO annotations for all."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap
from trashkit.errors import TrashkitError
from trashkit.files import real_path, without_suffix
from trashkit.images import photos
from trashkit.outputs import Output, folder_kind
from trashkit.progress import Progress, silent
from trashkit.raster.masks import resize_nearest
from trashkit.report.overlay import class_shares, overlay, with_legend
from trashkit.report.regions import drop_small, regions
from trashkit.report.sheets import MARK as SHEETS_MARK
from trashkit.runs.folder import MANIFEST, is_run

Pixels = NDArray[np.uint8]
Predict = Callable[[Pixels], tuple[Pixels, NDArray[np.float32]]]
"""From a photo RGB uint8 [H, W, 3] to its label map uint8 [H, W] and confidence float32 [H, W]."""

Shares = Sequence[tuple[int, float]]
"""Class index and share of the photo's pixels, largest first."""

OVERLAY = r".*\.overlay\.jpg"
OVERLAYS = folder_kind("folder of overlays", marker=OVERLAY, files=r".*\.labels\.png|annotations\.json")


@dataclass(frozen=True)
class PhotoOverlay:
    """One predicted photo: its path and name, the path of its overlay, and the share of its pixels by class."""

    photo: Path
    name: str
    overlay: Path
    shares: dict[str, float]


@dataclass(frozen=True)
class SkippedPhoto:
    """A photo that could not be read, the reason, and what to do about it."""

    photo: Path
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class FoundPhotos:
    """Photos to predict.

    paths: their paths. names: for each its name in ``annotations.json`` and of its overlay, with "/": relative to the
    folder that was given, or the file name; all different. others: how many other files the folders hold, by suffix.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    others: Mapping[str, int]


def photos_in(paths: Sequence[Path], *, but: Path | None = None) -> list[Path]:
    """The paths of `find_photos`."""
    return list(find_photos(paths, but=but).paths)


def find_photos(paths: Sequence[Path], *, but: Path | None = None) -> FoundPhotos:
    """Find the given photos, and all photos in the given folders and their subfolders, sorted within each folder.

    Hidden files and folders (a leading dot), results in subfolders (see `holds_results`) and the folder `but` are
    skipped; a photo that is given twice counts once.
    Where two photos would have one name, as x.jpg in two given folders, all names are relative to the folder that
    holds everything. TrashkitError for a folder without photos.
    """
    found: dict[Path, tuple[Path, str]] = {}
    others: Counter[str] = Counter()
    for path in paths:
        if not path.is_dir():
            found.setdefault(_absolute(path), (path, path.name))
            continue
        inside = _files_below(path, but)
        pictures = [item for item in inside if item.suffix.lower() in photos.SUFFIXES]
        if not pictures:
            raise TrashkitError(
                f"there are no photos in {path} or its subfolders",
                hint=f"give a folder of photos ({', '.join(sorted(photos.SUFFIXES))})",
            )
        others.update(item.suffix.lower() for item in inside if item.suffix.lower() not in photos.SUFFIXES)
        for item in pictures:
            found.setdefault(_absolute(item), (item, item.relative_to(path).as_posix()))
    names = [name for _, name in found.values()]
    if len(set(names)) < len(names):
        top = os.path.commonpath([path.parent for path in found])
        names = [path.relative_to(top).as_posix() for path in found]
    return FoundPhotos(tuple(path for path, _ in found.values()), tuple(names), others)


def _files_below(folder: Path, but: Path | None) -> list[Path]:
    left_out = real_path(but) if but is not None else None
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        place = Path(parent)
        real = real_path(place)
        if (place != folder and holds_results(place, names)) or left_out in (real, *real.parents):
            folders[:] = []
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [place / name for name in names if not name.startswith(".") and (place / name).is_file()]
    return sorted(found)


def holds_results(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder holds results of trashkit, the pictures in which are not photos: a run, overlays or sheets.

    names: of the files in it.
    """
    return (
        SHEETS_MARK in names
        or (MANIFEST in names and is_run(folder))
        or any(re.fullmatch(OVERLAY, name) for name in names)
    )


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


@dataclass(frozen=True)
class CheckedPhotos:
    """What `check_headers` found. found: what may be photos. skipped: what cannot be read. all: paths of both."""

    found: FoundPhotos
    skipped: tuple[SkippedPhoto, ...]
    all: tuple[Path, ...]

    def in_order(self, damaged: Sequence[SkippedPhoto]) -> tuple[SkippedPhoto, ...]:
        """All that is skipped, in the order in which it was given; damaged: what was found later."""
        place = {path: n for n, path in enumerate(self.all)}
        return tuple(sorted((*self.skipped, *damaged), key=lambda one: place[one.photo]))


def check_headers(found: FoundPhotos) -> CheckedPhotos:
    """Read the header of each photo. TrashkitError if none can be read."""
    kept: list[tuple[Path, str]] = []
    skipped: list[SkippedPhoto] = []
    for path, name in zip(found.paths, found.names, strict=True):
        try:
            photos.photo_info(path)
            kept.append((path, name))
        except TrashkitError as error:
            skipped.append(SkippedPhoto(path, error.message, error.hint))
    if not kept:
        raise _none_readable(skipped)
    left = FoundPhotos(tuple(path for path, _ in kept), tuple(name for _, name in kept), found.others)
    return CheckedPhotos(left, tuple(skipped), found.paths)


def _none_readable(skipped: Sequence[SkippedPhoto]) -> TrashkitError:
    first = skipped[0]
    more = "" if len(skipped) == 1 else f", and none of the other {len(skipped) - 1} can be read either"
    needs = "install" in first.hint
    return TrashkitError(first.reason + more, hint=first.hint if needs else "give photos that can be read")


def count_skipped(checked: CheckedPhotos) -> list[str]:
    """Lines that say how many files are skipped for which reason, most first."""
    reasons = Counter((_without_path(one), one.hint if "install" in one.hint else "") for one in checked.skipped)
    others = Counter(checked.found.others)
    lines = []
    for (reason, hint), count in reasons.most_common():
        what = "1 photo is skipped: it" if count == 1 else f"{count} photos are skipped: each"
        lines.append(f"{what} {reason}{f' ({hint})' if hint else ''}")
    if others:
        kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in others.most_common(5))
        count = others.total()
        lines.append(f"{count} other file{'s are' if count > 1 else ' is'} skipped, by suffix: {kinds}")
    return lines


def _without_path(one: SkippedPhoto) -> str:
    reason = one.reason.removeprefix("the photo ").removeprefix(str(one.photo)).strip()
    return reason.replace(str(one.photo), "").strip()


def write_overlays(
    predict: Predict,
    classes: ClassMap,
    found: FoundPhotos,
    out: Path,
    *,
    label_maps: bool = False,
    smallest: float = 0.0005,
    longest: int = 2048,
    overwrite: bool = False,
    progress: Progress = silent,
) -> tuple[list[PhotoOverlay], list[SkippedPhoto]]:
    """Predict photos of any size; write ``NAME.overlay.jpg`` for each and one ``annotations.json`` into `out`.

    predict: returns label map and confidence of a photo. classes: of the label map's values. found: the photos; their
    names, folders included, are those of the overlays and of images in ``annotations.json``. label_maps: also write
    ``NAME.labels.png``, one byte per pixel, the class index.
    smallest: regions below this share of the photo's pixels are dropped. longest: overlays are downscaled so that no
    side is longer, in pixels; annotations are always in the photo's own pixels, after EXIF rotation.
    Photos that cannot be read are skipped and returned with the reason, so that one broken file does not stop the
    others. TrashkitError, with nothing written, if no photo can be read.
    """
    paths, names = found.paths, _overlay_names(found.names)
    with Output(out, overwrite=overwrite, kind=OVERLAYS).writing() as folder:
        folder.mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        overlays: list[PhotoOverlay] = []
        skipped: list[SkippedPhoto] = []
        for n, (path, file_name, name) in enumerate(zip(paths, found.names, names, strict=True)):
            progress("photos", n, len(paths))
            try:
                photo = photos.read_photo(path)
            except TrashkitError as error:
                skipped.append(SkippedPhoto(path, error.message, error.hint))
                continue
            height, width = photo.shape[:2]
            label_map, confidence = predict(photo)
            label_map = drop_small(label_map, round(smallest * label_map.size))
            number = len(images) + 1
            images.append({"id": number, "file_name": file_name, "width": width, "height": height})
            for region in regions(label_map, confidence, {index: index for index in range(1, len(classes))}):
                annotations.append({"id": len(annotations) + 1, "image_id": number, **region})
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # Rounded once, so that the legend, tables and JSON show the same numbers.
            shares = [(index, round(share, 4)) for index, share in class_shares(label_map, classes)]
            _draw(photo, label_map, classes, shares, folder / name, longest=longest)
            if label_maps:
                _write_labels(folder / name.replace(".overlay.jpg", ".labels.png"), label_map)
            by_name = {classes.names[index]: share for index, share in shares}
            overlays.append(PhotoOverlay(path, file_name, out / name, by_name))
        if not overlays:
            raise _none_readable(skipped)
        categories = [
            {"id": index, "name": name, "supercategory": name} for index, name in enumerate(classes.names) if index
        ]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    progress("photos", len(paths), len(paths))
    return overlays, skipped


def _write_labels(path: Path, label_map: Pixels) -> None:
    if not cv2.imwrite(str(path), label_map):
        raise TrashkitError(f"{path} could not be written", hint="check the disk")


def _overlay_names(names: Sequence[str]) -> list[str]:
    """Names of the overlays, folders included; photos that differ only in suffix or case are numbered."""
    made: list[str] = []
    taken: set[str] = set()
    for given in names:
        stem, n = without_suffix(given).as_posix(), 1
        name = f"{stem}.overlay.jpg"
        while name.casefold() in taken:
            n += 1
            name = f"{stem}-{n}.overlay.jpg"
        taken.add(name.casefold())
        made.append(name)
    return made


def _draw(photo: Pixels, label_map: Pixels, classes: ClassMap, shares: Shares, path: Path, *, longest: int) -> None:
    scale = longest / max(photo.shape[:2])
    if scale < 1:
        size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
        photo = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        label_map = resize_nearest(label_map, (size[1], size[0]))
    picture = with_legend(overlay(photo, label_map, classes), classes, shares)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]):
        raise TrashkitError(f"{path} could not be written", hint="check the disk")
