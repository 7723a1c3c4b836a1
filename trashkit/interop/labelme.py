"""labelme: one JSON file beside each photo.

Polygons keep their coordinates; the parts of one annotation share a ``group_id``; what has holes becomes a shape of
type "mask" (a PNG of its box), which labelme has since version 5.3. What it cannot hold: annotation ids (kept in
``description``), and an order of overlaps other than that of the list.

Format: https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Image, Segmentation
from trashkit.errors import TrashkitError
from trashkit.interop.draft import Draft, Imported, number, whole
from trashkit.interop.folders import (
    by_base,
    class_names,
    files_in,
    named_photo,
    read_json,
    shown_size,
    stems,
    suffix_of,
)
from trashkit.interop.job import Job
from trashkit.interop.shapes import Shape, as_mask, crop_of
from trashkit.masks import mask, rle_from_mask
from trashkit.progress import Progress, silent

_MAX_MASK_TEXT = 200_000_000


def write(job: Job, out: Path) -> None:
    """Write ``PART/NAME.json`` and the photo beside it, and ``labels.txt`` for ``labelme --labels``."""
    names = stems(job.images)
    for part, image in job.each():
        target = out / part / f"{names[image.row]}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        photo = target.with_suffix(suffix_of(image))
        shapes = []
        for group, shape in enumerate(job.drawn(image, held), start=1):
            shapes += _shapes(shape, group, image, job.dataset.classes.names[shape.class_index])
        value: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": photo.name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        target.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        job.photo(image, photo)
    labels = ["__ignore__", "_background_", *job.class_names]
    (out / "labels.txt").write_text("".join(f"{name}\n" for name in labels), encoding="utf-8")


def held(segmentation: Segmentation, image: Image) -> list[Segmentation]:
    """Polygons as they are; RLEs as the mask of their pixels, left out where they cover none."""
    if isinstance(segmentation, list):
        return [segmentation]
    whole_mask = as_mask(segmentation, image.height, image.width)
    return [whole_mask] if mask(whole_mask, image.height, image.width).any() else []


def _shapes(shape: Shape, group: int, image: Image, label: str) -> list[dict[str, Any]]:
    common = {"label": label, "group_id": group, "description": "", "flags": {}}
    if isinstance(shape.segmentation, list):
        return [
            {
                **common,
                "points": [list(point) for point in zip(ring[0::2], ring[1::2], strict=True)],
                "shape_type": "polygon",
                "mask": None,
            }
            for ring in shape.segmentation
        ]
    found = crop_of(mask(shape.segmentation, image.height, image.width))
    assert found is not None, "held leaves out what covers nothing"
    left, top, crop = found
    data = base64.b64encode(cv2.imencode(".png", crop.astype(np.uint8) * 255)[1].tobytes()).decode()
    corners = [[left, top], [left + crop.shape[1] - 1, top + crop.shape[0] - 1]]
    return [{**common, "points": corners, "shape_type": "mask", "mask": data}]


def read(
    source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read the JSON files of a folder; photos are looked for in `images`, or in the folder itself.

    Polygons of one label and ``group_id`` become one annotation. Rectangles, circles and masks are taken; points and
    lines are left out and counted. Raises TrashkitError naming the file for anything that labelme does not write.
    """
    given = class_names(names, source, "labels.txt") or ()
    draft = Draft([name for name in given[1:] if name not in ("_background_", "__ignore__")])
    folder = images or source
    known = by_base(folder)
    files = files_in(source, [".json"])
    for done, relative in enumerate(files):
        path = source / relative
        value = read_json(path)
        if not isinstance(value, dict) or not isinstance(value.get("shapes"), list):
            raise TrashkitError(f"{path} is no labelme file: it has no list shapes", hint="move it out of the folder")
        written = value.get("imagePath")
        if not isinstance(written, str):
            raise TrashkitError(f"{path} has no imagePath", hint="open and save it in labelme")
        name = _photo_name(written, relative, folder, known)
        width, height = _size(value, path, folder / name)
        image = draft.image(name, width, height)
        _read_shapes(value["shapes"], image, path, draft)
        progress("reading labels", done + 1, len(files))
    return draft.finish(folder)


def _photo_name(written: str, relative: PurePosixPath, folder: Path, known: dict[str, list[PurePosixPath]]) -> str:
    """The photo's name: beside the JSON file where it lies there or nowhere else, else as `named_photo` finds it."""
    plain = written.replace("\\", "/")
    beside = relative.parent / PurePosixPath(plain).name
    found = known.get(beside.name, [])
    if beside.name and (beside in found or (not found and "/" not in plain)):
        return beside.as_posix()
    return named_photo(written, folder, known)


def _size(value: dict[str, Any], path: Path, photo: Path) -> tuple[int, int]:
    if value.get("imageWidth") is None and photo.is_file():
        return shown_size(photo)
    return whole(value.get("imageWidth"), str(path), "imageWidth"), whole(
        value.get("imageHeight"), str(path), "imageHeight"
    )


def _read_shapes(shapes: list[Any], image: dict[str, Any], path: Path, draft: Draft) -> None:
    """Add the shapes of one file, those of a group at the place of its first."""
    groups: dict[Any, tuple[str, str, list[list[float]]]] = {}
    for position, shape in enumerate(shapes):
        place = f"{path}, shape {position}"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise TrashkitError(f"{place} has no label", hint="open the file in labelme and name it")
        kind = shape.get("shape_type", "polygon")
        if kind == "mask":
            groups[("mask", position)] = (shape["label"], place, [])
            continue
        if kind not in ("polygon", "rectangle", "circle"):
            draft.skip(f"shapes of type {kind}", place)
            continue
        ring = _ring(kind, _points(shape.get("points"), place), place)
        group = shape.get("group_id")
        key = (shape["label"], group) if isinstance(group, int) else ("alone", position)
        groups.setdefault(key, (shape["label"], place, []))[2].append(ring)
    for key, (label, place, rings) in groups.items():
        if rings:
            draft.add(image, label, rings, place)
            continue
        covered = _mask(shapes[key[1]], (int(image["height"]), int(image["width"])), place)
        draft.add(image, label, rle_from_mask(covered), place)


def _points(value: Any, place: str) -> list[tuple[float, float]]:
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise TrashkitError(f"{place} has no list of points [x, y]", hint="open and save the file in labelme")
    return [(number(x, place, "x"), number(y, place, "y")) for x, y in value]


def _ring(kind: str, points: list[tuple[float, float]], place: str) -> list[float]:
    if kind == "polygon":
        return [value for point in points for value in point]
    if len(points) != 2:
        raise TrashkitError(f"{place}: a {kind} needs two points, this has {len(points)}", hint="draw it again")
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return [x0, y0, x1, y0, x1, y1, x0, y1]
    radius = math.hypot(x1 - x0, y1 - y0)
    turns = [2 * math.pi * step / 64 for step in range(64)]
    return [value for turn in turns for value in (x0 + radius * math.cos(turn), y0 + radius * math.sin(turn))]


def _mask(shape: dict[str, Any], size: tuple[int, int], place: str) -> NDArray[np.bool_]:
    """The pixels of a shape of type mask, bool [H, W]."""
    points, text = _points(shape.get("points"), place), shape.get("mask")
    bad = TrashkitError(f"{place}: its mask cannot be read", hint="open the file in labelme and draw it again")
    if len(points) != 2 or not isinstance(text, str) or len(text) > _MAX_MASK_TEXT:
        raise bad
    left, top = round(points[0][0]), round(points[0][1])
    try:
        data = base64.b64decode(text, validate=True)
        if data[:8] != b"\x89PNG\r\n\x1a\n" or (
            max(int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) > max(size)
        ):
            raise bad
        crop = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except (binascii.Error, ValueError, cv2.error) as error:
        raise bad from error
    if crop is None or left < 0 or top < 0 or left + crop.shape[1] > size[1] or top + crop.shape[0] > size[0]:
        raise bad
    covered = np.zeros(size, np.bool_)
    covered[top : top + crop.shape[0], left : left + crop.shape[1]] = crop > 0
    return covered
