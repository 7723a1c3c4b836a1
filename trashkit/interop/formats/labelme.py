"""labelme: one JSON file next to each photo.

Polygons keep their coordinates, parts of an annotation share a ``group_id``, and shapes with holes become shapes of
type "mask" (a PNG of the box), which labelme has since version 5.3. It cannot express annotation ids, and a paint order
other than that of the list.

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
import msgspec
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Image, Segmentation
from trashkit.errors import TrashkitError
from trashkit.files import is_file
from trashkit.images.photos import MAX_PIXELS, photo_info_of, photo_path
from trashkit.interop.coco_builder import CocoBuilder, ImportedAnnotations, below, mask_size, number, whole_number
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import (
    PhotoNames,
    check_size,
    displayed_size,
    files_in,
    find_photo,
    label_stems,
    photos_by_name,
    read_json,
    suffix_of,
)
from trashkit.interop.format import Format
from trashkit.interop.geometry import outlines
from trashkit.interop.geometry.outlines import SkippedShapeError
from trashkit.interop.geometry.shapes import Shape, tight_crop, to_rle
from trashkit.interop.names.lists import find_names
from trashkit.interop.names.table import NOT_GIVEN, GivenNames, order_of
from trashkit.interop.names.words import is_background, is_ignored
from trashkit.names import composed
from trashkit.progress import Progress, silent
from trashkit.raster.masks import mask, rle_from_mask
from trashkit.readers import ContentError, checked, png_size

_MAX_MASK_TEXT = 200_000_000
_RECTANGLES = ("rectangle", "oriented_rectangle", "rotation", "quadrilateral")
"""Types of rectangles: two opposite corners or four, of labelme; the latter two are of X-AnyLabeling."""


def write(job: ExportJob, out: Path) -> None:
    """Write ``PART/NAME.json`` with the photo next to it, and ``labels.txt`` for ``labelme --labels``."""
    names = label_stems(job.images)
    for part, image in job.images_by_part():
        target = out / part / f"{names[image.row]}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        photo = target.with_suffix(suffix_of(image))
        shapes = []
        for group, shape in enumerate(job.shapes_of(image, polygons_or_mask), start=1):
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


def polygons_or_mask(segmentation: Segmentation, image: Image) -> list[Segmentation]:
    """Polygons unchanged; RLEs as the mask of their pixels, or nothing if it is empty."""
    if isinstance(segmentation, list):
        return [segmentation]
    whole_mask = to_rle(segmentation, image.height, image.width)
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
    found = tight_crop(mask(shape.segmentation, image.height, image.width))
    assert found is not None, "polygons_or_mask leaves out empty masks"
    left, top, crop = found
    data = base64.b64encode(cv2.imencode(".png", crop.astype(np.uint8) * 255)[1].tobytes()).decode()
    corners = [[left, top], [left + crop.shape[1] - 1, top + crop.shape[0] - 1]]
    return [{**common, "points": corners, "shape_type": "mask", "mask": data}]


class _Shape(msgspec.Struct):
    label: str | int
    points: list[tuple[float, float]]
    shape_type: str | None = "polygon"
    group_id: int | str | None = None
    mask: str | None = None


class _File(msgspec.Struct):
    shapes: list[Any]
    imagePath: str  # noqa: N815 - as in the file
    imageWidth: float | None = None  # noqa: N815
    imageHeight: float | None = None  # noqa: N815
    imageData: str | None = None  # noqa: N815


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read the JSON files of a folder. Photos are searched for in `images`, or in the folder itself.

    Polygons with the same label and ``group_id`` become one annotation. Rectangles, circles and masks are read; points
    and lines are skipped and counted, as are shapes that cannot be read. Raises TrashkitError, naming the file, for
    anything else that labelme does not write.
    """
    builder = CocoBuilder(order_of(find_names(names.text, [source], "labels.txt")))
    folder = images or source
    known = photos_by_name(folder)
    files = files_in(source, [".json"])
    copies = []
    for done, relative in enumerate(files):
        labels = _labels(source / relative, builder)
        if labels is not None:
            with builder.picture(str(source / relative), len(labels.shapes)):
                name = _photo_name(labels, relative, folder, known)
                if _is_copy(relative, name, source):
                    copies.append((labels, source / relative, name))
                else:
                    _read_file(labels, source / relative, name, folder, builder)
        progress("reading labels", done + 1, len(files))
    for labels, path, name in copies:
        with builder.picture(str(path), len(labels.shapes)):
            _read_file(labels, path, name, folder, builder)
    return builder.finish(folder)


def _is_copy(relative: PurePosixPath, photo: str, source: Path) -> bool:
    """Whether another label file has the name of the photo, which then comes first: "a.json" before "a (1).json"."""
    own = relative.with_name(f"{PurePosixPath(photo).stem}.json")
    return composed(own.stem) != composed(relative.stem) and is_file(source / own)


def _labels(path: Path, builder: CocoBuilder) -> _File | None:
    """The content of a label file; None, with a note or as skipped, for files of another kind and damaged ones."""
    try:
        value = read_json(path)
    except TrashkitError as error:
        builder.skip("label files that cannot be read", error.message)
        return None
    if not isinstance(value, dict) or not isinstance(value.get("shapes"), list):
        builder.note('JSON files that are not of labelme, without a list "shapes", left out', str(path))
        return None
    try:
        return checked(value, _File)
    except ContentError as error:
        builder.skip("shapes of images that cannot be read", f"{path} cannot be read: {error}", len(value["shapes"]))
        return None


def _read_file(labels: _File, path: Path, name: str, folder: Path, builder: CocoBuilder) -> None:
    """Add the image of a label file, whose photo has this name in `folder`, and its shapes."""
    width, height = _size(labels, path, photo_path(folder, name))
    if labels.imageData and not is_file(photo_path(folder, name)):
        builder.note("photos that are only inside their label file, as imageData", str(path))
    check_size(folder, name, (width, height), str(path))
    image = builder.image(name, width, height)
    _read_shapes(labels.shapes, image, path, builder)


def _photo_name(labels: _File, relative: PurePosixPath, folder: Path, known: PhotoNames) -> str:
    """The photo's name: next to the JSON file if it is there or nowhere else, or as `find_photo` finds it."""
    written = labels.imagePath
    plain = written.replace("\\", "/")
    next_to = relative.parent / PurePosixPath(plain).name
    found = known.named(next_to.name)
    for fold in (str, str.casefold):
        same = [path for path in found if fold(composed(path.as_posix())) == fold(composed(next_to.as_posix()))]
        if len(same) == 1:
            return same[0].as_posix()
    if next_to.name and not found and "/" not in plain:
        return next_to.as_posix()
    return find_photo(written, folder, known)


def _size(labels: _File, path: Path, photo: Path) -> tuple[int, int]:
    """(width, height) of the photo: as the file gives it, else of the photo, else of the one inside the file."""
    if labels.imageWidth is None and is_file(photo):
        return displayed_size(photo)
    if labels.imageWidth is None and labels.imageData:
        try:
            info = photo_info_of(base64.b64decode(labels.imageData), path)
        except (ValueError, TrashkitError) as error:
            raise TrashkitError(
                f"{path} has no imageWidth, and the photo inside it (imageData) cannot be read",
                hint="give the folder of the photos with --images",
            ) from error
        return info.width, info.height
    if labels.imageWidth is None or labels.imageHeight is None:
        raise TrashkitError(
            f"{path} has no imageWidth and imageHeight, and its photo {photo} does not exist",
            hint="give the folder of the photos with --images",
        )
    return whole_number(labels.imageWidth, str(path), "imageWidth"), whole_number(
        labels.imageHeight, str(path), "imageHeight"
    )


def _read_shapes(shapes: list[Any], image: dict[str, Any], path: Path, builder: CocoBuilder) -> None:
    """Add the shapes of one file; a group takes the position of its first shape."""
    groups: dict[Any, tuple[str, str, list[list[float]], _Shape]] = {}
    for position, value in enumerate(shapes):
        place = f"{path}, shape {position}"
        with builder.shape(place):
            shape = _shape(value, position, path)
            kind, label = shape.shape_type, str(shape.label)
            if label.startswith("_") and is_background(label):
                builder.note(f"shapes of {label}, which is background, left out", place)
                continue
            if is_ignored(label):
                builder.skip(f"shapes of {label} (255 in label maps), which COCO does not have", place)
                continue
            if kind == "mask":
                groups[("mask", position)] = (label, place, [], shape)
                continue
            if kind not in (None, "polygon", "circle", *_RECTANGLES):
                builder.skip(f"shapes of type {kind}", place)
                continue
            ring = _ring(kind or "polygon", _points(shape, place), place)
            key = ("alone", position) if shape.group_id in (None, "") else (label, shape.group_id)
            groups.setdefault(key, (label, place, [], shape))[2].append(ring)
    for label, place, rings, shape in groups.values():
        with builder.shape(place):
            made = rings or rle_from_mask(_mask(shape, mask_size(image, place), place))
            builder.add(image, label, made, place)


def _shape(value: Any, position: int, path: Path) -> _Shape:
    try:
        return checked(value, _Shape)
    except ContentError as error:
        raise TrashkitError(
            f"{path} cannot be read: {below(error, f'shapes[{position}]')}", hint="open and save it in labelme"
        ) from error


def _points(shape: _Shape, place: str) -> list[tuple[float, float]]:
    return [(number(x, place, "x"), number(y, place, "y")) for x, y in shape.points]


def _ring(kind: str, points: list[tuple[float, float]], place: str) -> list[float]:
    if kind == "polygon":
        return [value for point in points for value in point]
    if kind in _RECTANGLES:
        if kind != "rectangle" and len(points) == 2:
            raise SkippedShapeError(f"shapes of type {kind} with two points instead of four")
        return outlines.corners(points, f"shapes of type {kind}")
    if len(points) != 2:
        raise TrashkitError(f"{place}: a {kind} needs two points, but this one has {len(points)}", hint="draw it again")
    (x0, y0), (x1, y1) = points
    radius = math.hypot(x1 - x0, y1 - y0)
    return outlines.ellipse(x0, y0, radius, radius)


def _mask(shape: _Shape, size: tuple[int, int], place: str) -> NDArray[np.bool_]:
    """The pixels of a shape of type mask, bool [H, W]; what lies beyond the border is cut off."""
    points, text = _points(shape, place), shape.mask
    bad = TrashkitError(f"{place}: its mask cannot be read", hint="open the file in labelme and draw it again")
    if len(points) != 2 or text is None or len(text) > _MAX_MASK_TEXT:
        raise bad
    left, top = round(points[0][0]), round(points[0][1])
    try:
        data = base64.b64decode(text, validate=True)
        wide, high = png_size(data)
        if wide * high > MAX_PIXELS:
            raise bad
        crop = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except (binascii.Error, ValueError, cv2.error) as error:
        raise bad from error
    if crop is None or crop.shape != (high, wide):
        raise bad
    return outlines.placed(crop > 0, left, top, size)


FORMATS = (Format("labelme", read, write),)
