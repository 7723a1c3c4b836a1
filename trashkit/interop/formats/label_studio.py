"""Label Studio: a JSON list of tasks with polygon and brush regions.

Polygons of one part keep their coordinates (in percent of the image, read to 1e-5 pixels); everything else becomes a
brush mask in Label Studio's own run-length encoding. It cannot express annotation ids, a paint order other than that of
the list, and polygons with several parts.

Format: https://labelstud.io/guide/export; run-length encoding: github.com/thi-ng/umbrella, package rle-pack.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from xml.sax.saxutils import quoteattr

import msgspec
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Image, Segmentation
from trashkit.coco.forms import other_value
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_path
from trashkit.interop.coco_builder import CocoBuilder, ImportedAnnotations, below, mask_size, number, whole_number
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import (
    PhotoNames,
    check_size,
    check_xml_names,
    displayed_size,
    find_photo,
    label_stems,
    photos_by_name,
    read_json,
    suffix_of,
)
from trashkit.interop.format import Format
from trashkit.interop.formats.labelme import polygons_or_mask
from trashkit.interop.geometry import outlines
from trashkit.interop.geometry.brush import decode_brush, encode_brush
from trashkit.interop.geometry.shapes import Shape, covers_same_pixels, to_rle
from trashkit.interop.names.lists import find_names
from trashkit.interop.names.table import NOT_GIVEN, GivenNames, order_of
from trashkit.names import quoted
from trashkit.progress import Progress, silent
from trashkit.raster.masks import mask, rle_from_mask
from trashkit.readers import ContentError, checked

_DECIMALS = 5


def write(job: ExportJob, out: Path) -> None:
    """Write ``tasks.json``, ``labeling_config.xml``, ``classes.txt``, and photos in ``images/PART``.

    Tasks refer to photos as Label Studio's local storage serves them, below a folder ``images``.
    """
    names = label_stems(job.images)
    check_xml_names(job.class_names)
    tasks = []
    for task, (part, image) in enumerate(job.images_by_part(), start=1):
        name = f"{part}/{names[image.row]}{suffix_of(image)}"
        result = [
            _region(shape, number, image, job.dataset.classes.names[shape.class_index])
            for number, shape in enumerate(job.shapes_of(image, _polygon_or_brush), start=1)
        ]
        data = {"image": f"/data/local-files/?d=images/{name}", "part": part}
        tasks.append({"id": task, "data": data, "annotations": [{"result": result}]})
        job.photo(image, out / "images" / name)
    (out / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in job.dataset.classes.names), encoding="utf-8")
    (out / "labeling_config.xml").write_text(_config(job), encoding="utf-8")


def _config(job: ExportJob) -> str:
    colors = job.dataset.classes.colors[1:]
    labels = [
        f"      <Label value={quoteattr(name)} background={quoteattr('#' + bytes(color).hex())}/>"
        for name, color in zip(job.class_names, colors, strict=True)
    ]
    blocks = []
    for kind, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush")):
        blocks += [f'    <{kind} name="{name}" toName="image">', *labels, f"    </{kind}>"]
    return "\n".join(["<View>", '    <Image name="image" value="$image" zoom="true"/>', *blocks, "</View>"]) + "\n"


def _polygon_or_brush(segmentation: Segmentation, image: Image) -> list[Segmentation]:
    if isinstance(segmentation, list) and len(segmentation) == 1:
        sides = (image.width, image.height)
        ring = [
            round(value / sides[n % 2] * 100 / 100 * sides[n % 2], _DECIMALS) for n, value in enumerate(segmentation[0])
        ]
        if covers_same_pixels([[ring]], segmentation, image.height, image.width):
            return [[ring]]
    return polygons_or_mask(to_rle(segmentation, image.height, image.width), image)


def _region(shape: Shape, position: int, image: Image, label: str) -> dict[str, Any]:
    common = {
        "id": f"r{position}",
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
    }
    if isinstance(shape.segmentation, list):
        ring = shape.segmentation[0]
        points = [[x / image.width * 100, y / image.height * 100] for x, y in zip(ring[0::2], ring[1::2], strict=True)]
        value: dict[str, Any] = {"points": points, "closed": True, "polygonlabels": [label]}
        return {**common, "from_name": "polygon", "type": "polygonlabels", "value": value}
    covered = mask(shape.segmentation, image.height, image.width)
    value = {"format": "rle", "rle": encode_brush(covered), "brushlabels": [label]}
    return {**common, "from_name": "brush", "type": "brushlabels", "value": value}


class _Region(msgspec.Struct):
    """A region; `value` depends on its type. Other kinds of results have neither type nor size."""

    type: str | None = None
    value: Any = None
    id: Any = None
    original_width: float | None = None
    original_height: float | None = None
    image_rotation: float | None = None


class _Annotation(msgspec.Struct):
    result: list[Any] = []
    was_cancelled: bool | None = None
    ground_truth: bool | None = None


class _Task(msgspec.Struct):
    """A task; `completions` is what annotations were called before Label Studio 1.0."""

    data: dict[str, Any]
    annotations: list[_Annotation] | None = None
    completions: list[_Annotation] | None = None
    drafts: Any = None
    predictions: Any = None
    id: Any = None


class _Brush(msgspec.Struct):
    rle: list[Annotated[int, msgspec.Meta(ge=0, le=255)]]
    format: str = "rle"


class _Polygon(msgspec.Struct):
    points: list[tuple[float, float]]


class _Rectangle(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float
    rotation: float = 0


class _Ellipse(msgspec.Struct):
    x: float
    y: float
    radiusX: float  # noqa: N815 - as in the file
    radiusY: float  # noqa: N815
    rotation: float = 0


_VALUES: dict[str, type[_Brush | _Polygon | _Rectangle | _Ellipse]] = {
    "brush": _Brush,
    "polygon": _Polygon,
    "rectangle": _Rectangle,
    "ellipse": _Ellipse,
}
_SHAPES = frozenset({*_VALUES, "keypoint", "vector", "bitmask", "video", "videorectangle", "cuboid", "skeleton"})
"""Kinds of regions in an image; all other results, such as choices, say something about a task or a region."""


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a JSON export, or a folder that contains ``tasks.json`` or one other JSON file.

    Reads polygons, rectangles, ellipses and brushes of one annotation of each task: the ground truth, or else the first
    that was not cancelled. The label of a region may be a result of its own with the same id. The photo is the first
    value of the task's data that looks like a file name. Regions that cannot be read are skipped and counted. Raises
    TrashkitError, naming file and task, for anything else.
    """
    path = _file(source)
    value = read_json(path)
    if isinstance(value, dict) and {"data", "annotations"} <= value.keys():
        value = [value]  # a single task, as Label Studio's API gives it
    if not isinstance(value, list) or not all(isinstance(task, dict) and "data" in task for task in value):
        form = other_value(value)
        if form is not None:
            raise TrashkitError(f"{path} is {form[0]}", hint=form[1].format(path=quoted(str(path))))
        raise TrashkitError(f"{path} is not a list of tasks", hint="export from Label Studio as JSON (not JSON-MIN)")
    try:
        tasks = checked(value, list[_Task])
    except ContentError as error:
        raise TrashkitError(f"{path} cannot be read: {error}", hint="export it again from Label Studio") from error
    folder = images or next((f for f in (path.parent / "images", path.parent) if f.is_dir()), path.parent)
    known = photos_by_name(folder)
    builder = CocoBuilder(order_of(find_names(names.text, [path.parent], "classes.txt")))
    for done, task in enumerate(tasks):
        place = f"{path}, task {_name(task.id, done)}"
        _read_task(task, place, folder, known, builder)
        progress("reading tasks", done + 1, len(tasks))
    return builder.finish(folder)


def _name(given: Any, position: int) -> str:
    """How a task or region is named: by its id, or its position."""
    return str(given)[:40] if isinstance(given, int | str) else str(position)


def _file(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = [source / "tasks.json"] if (source / "tasks.json").is_file() else sorted(source.glob("*.json"))
    if len(found) != 1:
        raise TrashkitError(
            f"{source} contains {len(found)} JSON files", hint="give the file that Label Studio exported"
        )
    return found[0]


def _read_task(task: _Task, place: str, folder: Path, known: PhotoNames, builder: CocoBuilder) -> None:
    results = _results(task, place, builder)
    shapes = sum((region.type or "").removesuffix("labels") in _SHAPES for _, region in results)
    with builder.picture(place, shapes):
        _read_regions(results, _image(task, results, place, (folder, known), builder), place, builder)


def _image(
    task: _Task,
    results: list[tuple[int, _Region]],
    place: str,
    photos: tuple[Path, PhotoNames],
    builder: CocoBuilder,
) -> dict[str, Any]:
    """The image of a task. photos: their folder and their names. Raises TrashkitError where nothing gives its size."""
    folder, known = photos
    texts = [value for value in task.data.values() if isinstance(value, str)]
    written = task.data.get("image") if isinstance(task.data.get("image"), str) else None
    written = written or next((text for text in texts if "." in text), None)
    if written is None:
        raise TrashkitError(f"{place} has no photo in its data", hint="export from Label Studio as JSON (not JSON-MIN)")
    name = find_photo(written, folder, known)
    sized = next((region for _, region in results if region.original_width), None)
    if sized is not None:
        width = whole_number(sized.original_width, place, "original_width")
        height = whole_number(sized.original_height, place, "original_height")
        check_size(folder, name, (width, height), place)
    else:
        width, height = displayed_size(photo_path(folder, name))
    return builder.image(name, width, height)


def _read_regions(results: list[tuple[int, _Region]], image: dict[str, Any], place: str, builder: CocoBuilder) -> None:
    labels = _separate_labels(results)
    for position, region in results:
        spot = f"{place}, region {_name(region.id, position)}"
        kind = (region.type or "").removesuffix("labels")
        if kind not in _SHAPES:
            if region.type != "labels":
                builder.note(f"results of type {region.type}, which are not regions", spot)
        elif kind not in _VALUES:
            builder.skip(f"regions of type {region.type}", spot)
        elif region.image_rotation:
            builder.skip("regions on a photo that was rotated in Label Studio", spot)
        else:
            with builder.shape(spot):
                own = region.value.get(f"{kind}labels") if isinstance(region.value, dict) else None
                label = _label(own or labels.get(_key(region.id)), spot, builder)
                builder.add(image, label, _segmentation(region.value, kind, image, spot), spot)


def _results(task: _Task, place: str, builder: CocoBuilder) -> list[tuple[int, _Region]]:
    """The results of the annotation that counts, with their positions: the ground truth, or else the first.

    Other annotations, and predictions of tasks without annotations, are counted as skipped.
    """
    every = [*(task.annotations or []), *(task.completions or [])]
    cancelled = [one for one in every if one.was_cancelled]
    complete = [one for one in every if not one.was_cancelled]
    chosen = next((one for one in complete if one.ground_truth), complete[0] if complete else None)
    if cancelled:
        builder.note("annotations that were cancelled, left out", place, len(cancelled))
    others = [one for one in complete if one is not chosen]
    if others:
        which = "the ground truth counts" if chosen is not None and chosen.ground_truth else "the first counts"
        builder.note(f"tasks with several annotations, of which {which}", place)
    for one in others:
        if count := _regions_in(one.result):
            builder.skip("regions in further annotations of a task", place, count)
    unused = [(task.drafts, "regions in drafts, which were not submitted")]
    if chosen is None:
        unused.append((task.predictions, "regions in predictions, in tasks without annotations"))
    for some, what in unused:
        parts = some if isinstance(some, list) else []
        if count := sum(_regions_in(one.get("result")) for one in parts if isinstance(one, dict)):
            builder.skip(what, place, count)
    results = []
    for position, value in enumerate(chosen.result if chosen is not None else ()):
        try:
            results.append((position, checked(value, _Region)))
        except ContentError as error:
            where = below(error, f"result[{position}]")
            builder.skip("shapes that cannot be read", f"{place} cannot be read: {where}")
    return results


def _regions_in(result: Any) -> int:
    """How many results are regions of an image."""
    kinds = [one.get("type") for one in result if isinstance(one, dict)] if isinstance(result, list) else []
    return sum(isinstance(kind, str) and kind.removesuffix("labels") in _SHAPES for kind in kinds)


def _key(value: Any) -> str | int | None:
    return value if isinstance(value, str | int) else None


def _separate_labels(results: list[tuple[int, _Region]]) -> dict[str | int | None, Any]:
    """Labels by region: with ``<Polygon>`` and ``<Labels>``, they are results of their own with the region's id."""
    found: dict[str | int | None, Any] = {}
    for _, region in results:
        if region.type == "labels" and isinstance(region.value, dict) and _key(region.id) is not None:
            found[_key(region.id)] = region.value.get("labels")
    return found


def _label(labels: Any, place: str, builder: CocoBuilder) -> str:
    """The label of a region, empty if it has none; the first one, with a note, where it has several."""
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
        return ""
    if len(labels) > 1:
        builder.note("regions with several labels, of which the first counts", place)
    return labels[0]


def _segmentation(value: Any, kind: str, image: dict[str, Any], place: str) -> Segmentation:
    try:
        shape = checked(value, _VALUES[kind])
    except ContentError as error:
        raise TrashkitError(f"{place} cannot be read: {error}", hint="export it again from Label Studio") from error
    if isinstance(shape, _Brush):
        return rle_from_mask(_mask(shape, image, place))
    ring = _ring(shape, (int(image["width"]), int(image["height"])), place)
    return [[round(value, _DECIMALS) for value in ring]]


def _mask(brush: _Brush, image: dict[str, Any], place: str) -> NDArray[np.bool_]:
    height, width = mask_size(image, place)
    try:
        if brush.format != "rle":
            raise ValueError(f"its format is {brush.format[:40]}, not rle")
        return decode_brush(brush.rle, height, width)
    except ValueError as error:
        raise TrashkitError(f"{place}: its brush cannot be read: {error}", hint="export it again") from error


def _ring(shape: _Polygon | _Rectangle | _Ellipse, size: tuple[int, int], place: str) -> list[float]:
    """The vertices of a region in pixels, in an image of (width, height).

    Rectangles are turned about their top left corner, ellipses about their centre.
    """

    def across(percent: float, name: str) -> float:
        return number(percent, place, name) / 100 * size[0]

    def down(percent: float, name: str) -> float:
        return number(percent, place, name) / 100 * size[1]

    if isinstance(shape, _Polygon):
        return [value for x, y in shape.points for value in (across(x, "a point"), down(y, "a point"))]
    x, y, degrees = across(shape.x, "x"), down(shape.y, "y"), number(shape.rotation, place, "rotation")
    if isinstance(shape, _Rectangle):
        right, bottom = x + across(shape.width, "width"), y + down(shape.height, "height")
        return outlines.turned(outlines.box(x, y, right, bottom), degrees, (x, y))
    rx, ry = across(shape.radiusX, "radiusX"), down(shape.radiusY, "radiusY")
    return outlines.ellipse(x, y, rx, ry, degrees=degrees)


FORMATS = (Format("label-studio", read, write),)
