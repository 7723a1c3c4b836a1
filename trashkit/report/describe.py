"""Single photos for people: a picture with coloured regions and a legend, and COCO annotations of what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import photos
from trashkit.coco import ClassMap
from trashkit.errors import TrashkitError
from trashkit.files import real_path, replacing
from trashkit.masks import resize_nearest
from trashkit.progress import Progress, silent
from trashkit.report.overlay import class_shares, overlay, with_legend
from trashkit.report.regions import drop_small, regions

Pixels = NDArray[np.uint8]
Predict = Callable[[Pixels], tuple[Pixels, NDArray[np.float32]]]
"""From a photo RGB uint8 [H, W, 3] to its label map uint8 [H, W] and confidence float32 [H, W]."""

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Described:
    """What was found in one photo: where it came from, where its overlay lies, and each class's share of the pixels."""

    photo: Path
    overlay: Path
    shares: dict[str, float]


@dataclass(frozen=True)
class Unreadable:
    """A photo that was left out, and why."""

    photo: Path
    reason: str


def photos_in(paths: Sequence[Path], *, but: Path | None = None) -> list[Path]:
    """Photos named one by one, and those that lie in named folders or below them, sorted within each.

    What is hidden (a leading dot) is passed over, and so is the folder `but`. TrashkitError for a folder without
    photos.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                item
                for item in path.rglob("*")
                if item.suffix.lower() in PHOTO_SUFFIXES
                and not _hidden(item.relative_to(path))
                and item.is_file()
                and (but is None or real_path(but) not in real_path(item).parents)
            )
            if not inside:
                raise TrashkitError(
                    f"no photo lies in {path} or in its folders",
                    hint=f"name a folder of photos ({', '.join(sorted(PHOTO_SUFFIXES))})",
                )
            found += inside
        else:
            found.append(path)
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def describe(
    predict: Predict,
    classes: ClassMap,
    paths: Sequence[Path],
    out: Path,
    *,
    label_maps: bool = False,
    smallest: float = 0.0005,
    longest: int = 2048,
    overwrite: bool = False,
    progress: Progress = silent,
) -> tuple[list[Described], list[Unreadable]]:
    """Predict photos of any size; write ``NAME.overlay.jpg`` for each and one ``annotations.json`` into `out`.

    predict: gives the label map and confidence of a photo. classes: what its values mean. label_maps: also write
    ``NAME.labels.png``, one byte per pixel, the class index.
    smallest: regions below this share of the photo's pixels are dropped. longest: overlays are made smaller so that no
    side is longer, in pixels; annotations are always in the photo's own pixels, upright as EXIF says.
    Photos that cannot be read are left out and come back with the reason: one broken picture of a long day must not
    cost the others. TrashkitError, and nothing written, where that is all of them.
    """
    names = _overlay_names(paths)
    with replacing(
        out, overwrite=overwrite, ours=r".*\.labels\.png|annotations\.json", mark=r".*\.overlay\.jpg"
    ) as folder:
        folder.mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        described: list[Described] = []
        unreadable: list[Unreadable] = []
        for n, (path, name) in enumerate(zip(paths, names, strict=True)):
            progress("photos", n, len(paths))
            try:
                photo = photos.read_photo(path)
            except TrashkitError as error:
                unreadable.append(Unreadable(path, error.message))
                continue
            height, width = photo.shape[:2]
            label_map, confidence = predict(photo)
            label_map = drop_small(label_map, round(smallest * label_map.size))
            number = len(images) + 1
            images.append({"id": number, "file_name": path.name, "width": width, "height": height})
            for found in regions(label_map, confidence, {index: index for index in range(1, len(classes))}):
                annotations.append({"id": len(annotations) + 1, "image_id": number, **found})
            _draw(photo, label_map, classes, folder / name, longest)
            if label_maps:
                _write_labels(folder / name.replace(".overlay.jpg", ".labels.png"), label_map)
            shares = {classes.names[index]: round(share, 4) for index, share in class_shares(label_map, classes)}
            described.append(Described(path, out / name, shares))
        if not described:
            more = "" if len(paths) == 1 else f", and none of the other {len(paths) - 1} can be read either"
            raise TrashkitError(unreadable[0].reason + more, hint="name photos that can be read")
        categories = [
            {"id": index, "name": name, "supercategory": name} for index, name in enumerate(classes.names) if index
        ]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    progress("photos", len(paths), len(paths))
    return described, unreadable


def _write_labels(path: Path, label_map: Pixels) -> None:
    if not cv2.imwrite(str(path), label_map):
        raise TrashkitError(f"{path} could not be written", hint="check the disk")


def _overlay_names(paths: Sequence[Path]) -> list[str]:
    """File names of the overlays; photos of one name from several folders are numbered."""
    names: list[str] = []
    for path in paths:
        name, n = f"{path.stem}.overlay.jpg", 1
        while name in names:
            n += 1
            name = f"{path.stem}-{n}.overlay.jpg"
        names.append(name)
    return names


def _draw(photo: Pixels, label_map: Pixels, classes: ClassMap, path: Path, longest: int) -> None:
    shares = class_shares(label_map, classes)
    scale = longest / max(photo.shape[:2])
    if scale < 1:
        size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
        photo = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        label_map = resize_nearest(label_map, (size[1], size[0]))
    picture = with_legend(overlay(photo, label_map, classes), classes, shares)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]):
        raise TrashkitError(f"{path} could not be written", hint="check the disk")
