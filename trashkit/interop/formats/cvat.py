"""CVAT for images 1.1, and the keyframes of CVAT for video 1.1: one XML file.

Polygons keep their coordinates, parts of an annotation share a ``group_id``, shapes with holes become masks, and
``z_order`` gives the paint order. It cannot express annotation ids and the file's own areas.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.images.photos import MAX_PIXELS
from trashkit.interop.coco_builder import CocoBuilder, ImportedAnnotations, mask_size, number, whole_number
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import (
    MAX_BYTES,
    PHOTO_SUFFIXES,
    PhotoNames,
    check_size,
    check_xml_names,
    files_in,
    find_photo,
    label_stems,
    suffix_of,
)
from trashkit.interop.format import Format
from trashkit.interop.formats.labelme import polygons_or_mask
from trashkit.interop.geometry import outlines
from trashkit.interop.geometry.outlines import SkippedShapeError
from trashkit.interop.geometry.shapes import Shape, tight_crop
from trashkit.interop.layouts.cvat_video import Frame, Track, frames
from trashkit.interop.names.lists import find_names
from trashkit.interop.names.table import NOT_GIVEN, GivenNames, order_of
from trashkit.names import composed
from trashkit.progress import Progress, silent
from trashkit.raster.masks import mask, rle_from_mask
from trashkit.readers import ContentError, parse_xml, read_bytes


def write(job: ExportJob, out: Path) -> None:
    """Write ``annotations.xml``, and photos in ``images/PART``."""
    names = label_stems(job.images)
    check_xml_names([*job.class_names, *job.parts, *(image.file_name for image in job.images)])
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta><task>"]
    lines.append("    <labels>")
    lines += [
        f"      <label><name>{_text(name)}</name><type>any</type><attributes></attributes></label>"
        for name in job.class_names
    ]
    lines += ["    </labels>", "  </task></meta>"]
    for position, (part, image) in enumerate(job.images_by_part()):
        name = f"{part}/{names[image.row]}{suffix_of(image)}"
        size = f'width="{image.width}" height="{image.height}"'
        lines.append(f"  <image id={quoteattr(str(position))} name={quoteattr(name)} subset={quoteattr(part)} {size}>")
        for group, shape in enumerate(job.shapes_of(image, polygons_or_mask), start=1):
            label = job.dataset.classes.names[shape.class_index]
            lines += _elements(shape, group, (image.height, image.width), label)
        lines.append("  </image>")
        job.photo(image, out / "images" / name)
    lines.append("</annotations>")
    (out / "annotations.xml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _elements(shape: Shape, group: int, size: tuple[int, int], label: str) -> list[str]:
    common = f'label={quoteattr(label)} source="manual" occluded="0"'
    if isinstance(shape.segmentation, list):
        group_id = group if len(shape.segmentation) > 1 else 0
        found = []
        for ring in shape.segmentation:
            points = ";".join(f"{x!r},{y!r}" for x, y in zip(ring[0::2], ring[1::2], strict=True))
            attributes = f'points="{points}" z_order="{group}" group_id="{group_id}"'
            found.append(f"    <polygon {common} {attributes}></polygon>")
        return found
    placed = tight_crop(mask(shape.segmentation, *size))
    assert placed is not None, "polygons_or_mask leaves out empty masks"
    left, top, crop = placed
    flat = crop.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs
    box = f'left="{left}" top="{top}" width="{crop.shape[1]}" height="{crop.shape[0]}"'
    return [f'    <mask {common} rle="{", ".join(map(str, runs))}" {box} z_order="{group}"></mask>']


@dataclass
class _Document:
    """What the parser collects: labels, images or tracks with their shapes, and what the file says about its tasks."""

    labels: list[str] = field(default_factory=list)
    images: list[Frame] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    tasks: list[dict[str, str]] = field(default_factory=list)


def _parse(path: Path) -> _Document:
    """Parse a file. Raises TrashkitError, with the line, for other XML, a document type or entities."""
    document = _Document()
    parents: list[str] = []

    def start(name: str, attributes: dict[str, str], line: int) -> None:
        if not parents and name != "annotations":
            what = "of Pascal VOC or LabelMe" if name == "annotation" else f"with <{name[:40]}>"
            raise TrashkitError(
                f"{path} is an XML file {what}, not of CVAT, which has <annotations>",
                hint="give the annotations.xml that CVAT exports, in the format CVAT for images",
            )
        if name == "image":
            document.images.append(Frame(attributes, line, []))
        elif name == "track":
            document.tracks.append(Track(attributes, line))
        elif name in ("task", "job"):
            document.tasks.append({})
        elif parents and parents[-1] == "image":
            document.images[-1].shapes.append((name, attributes, line))
        elif parents and parents[-1] == "track":
            document.tracks[-1].shapes.append((name, attributes, line))
        parents.append(name)

    def end(name: str, text: str, _: int) -> None:
        parents.pop()
        if name == "name" and parents[-1:] == ["label"]:
            document.labels.append(text.strip() if "\n" in text else text)
        elif document.tasks and (
            (parents[-1:] in (["task"], ["job"]) and name in ("id", "name", "subset"))
            or (parents[-1:] == ["original_size"] and name in ("width", "height"))
        ):
            document.tasks[-1][name] = text.strip()

    try:
        parse_xml(read_bytes(path, most=MAX_BYTES), start, end)
    except ContentError as error:
        raise TrashkitError(f"{path} cannot be read as XML: {error}", hint="export it again from CVAT") from error
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint="check the path") from error
    return document


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read an ``annotations.xml``, or a folder that contains one. Shapes are sorted by ``z_order``.

    The subset of an image is the folder in which its photo is searched for first. If several images have the same
    name, or their photos are not there, it is part of the name. Of videos, frames with a keyframe are read.

    Polygons, boxes, ellipses and masks are read; points, lines, cuboids and skeletons are skipped and counted, as are
    shapes that cannot be read. Raises TrashkitError, naming file and line, for anything else that CVAT does not write,
    and for any document type.
    """
    path = source / "annotations.xml" if source.is_dir() else source
    folder = images or next((f for f in (path.parent / "images", path.parent) if f.is_dir()), None)
    document = _parse(path)
    given = order_of(find_names(names.text, []))
    builder = CocoBuilder(given or list(dict.fromkeys(document.labels)))
    photos = files_in(folder, PHOTO_SUFFIXES) if folder else []
    found = document.images + frames(
        document.tracks, document.tasks, path, folder=folder, photos=photos, builder=builder
    )
    for done, (image, name) in enumerate(zip(found, _file_names(found, folder, photos), strict=True)):
        place = f"{path}, line {image.line}"
        with builder.picture(place, sum(kind != "tag" for kind, _, _ in image.shapes)):
            height = whole_number(image.attributes.get("height"), place, "height")
            width = whole_number(image.attributes.get("width"), place, "width")
            if folder is not None:
                check_size(folder, name, (width, height), place)
            _add(image.shapes, builder.image(name, width, height), path, builder)
        progress("reading images", done + 1, len(found))
    return builder.finish(folder)


def _file_names(images: list[Frame], folder: Path | None, photos: list[PurePosixPath]) -> list[str]:
    """The file name of each image: that of its photo, or its own with subset, and task if need be, as folders."""
    known = PhotoNames(photos)
    paths = {path.as_posix() for path in photos}
    several = len({image.attributes.get("subset", "") for image in images}) > 1
    written = [image.attributes.get("name", "") for image in images]
    times = Counter(composed(name) for name in written)
    found = []
    for name, image in zip(written, images, strict=True):
        subset = image.attributes.get("subset", "")
        inside = name if not subset or name.startswith(f"{subset}/") else f"{subset}/{name}"
        inside = find_photo(inside, Path(), PhotoNames(()))
        if times[composed(name)] > 1 and not _is_in(inside, known):
            found.append(inside)
            continue
        photo = find_photo(name, folder or Path(), known, subset=subset)
        found.append(inside if several and photo not in paths else photo)
    times = Counter(composed(name) for name in found)
    tasks = [image.attributes.get("task_id") for image in images]
    return [
        f"task_{task}/{name}" if task and times[composed(name)] > 1 else name
        for name, task in zip(found, tasks, strict=True)
    ]


def _is_in(name: str, photos: PhotoNames) -> bool:
    """Whether a path is that of a photo, or the end of it."""
    ending = "/" + composed(name).casefold()
    same = photos.named(name.rpartition("/")[2])
    return any(f"/{composed(path.as_posix())}".casefold().endswith(ending) for path in same)


def _add(
    shapes: list[tuple[str, dict[str, str], int]],
    image: dict[str, Any],
    path: Path,
    builder: CocoBuilder,
) -> None:
    ordered = []
    for shape in shapes:
        with builder.shape(f"{path}, line {shape[2]}"):
            ordered.append((number(shape[1].get("z_order", 0), f"{path}, line {shape[2]}", "z_order"), shape))
    ordered.sort(key=lambda one: one[0])
    groups: dict[Any, tuple[str, str, list[list[float]], NDArray[np.bool_] | None]] = {}
    for position, (_, (kind, attributes, line)) in enumerate(ordered):
        place = f"{path}, line {line}"
        if kind == "tag":
            builder.note("tags, which have no outline", place)
            continue
        if kind not in ("polygon", "box", "ellipse", "mask"):
            builder.skip(f"elements of type {kind}", place)
            continue
        label = attributes.get("label", "")
        with builder.shape(place):
            if kind == "mask":
                groups[("mask", position)] = (label, place, [], _mask(attributes, mask_size(image, place), place))
                continue
            ring = _ring(kind, attributes, place)
            group = attributes.get("group_id", "0")
            key = (label, group) if kind == "polygon" and group not in ("", "0") else ("alone", position)
            groups.setdefault(key, (label, place, [], None))[2].append(ring)
    for label, place, rings, covered in groups.values():
        builder.add(image, label, rings if covered is None else rle_from_mask(covered), place)


def _ring(kind: str, attributes: dict[str, str], place: str) -> list[float]:
    def value(name: str) -> float:
        return number(attributes.get(name), place, name)

    degrees = number(attributes.get("rotation", 0), place, "rotation")
    if kind == "polygon":
        if degrees % 360:
            raise SkippedShapeError("turned polygons, which CVAT does not describe")
        pairs = [pair.split(",") for pair in attributes.get("points", "").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise TrashkitError(f"{place}: points are not x,y;x,y;...", hint="export it again from CVAT")
        return [number(text, place, "a point") for pair in pairs for text in pair]
    if kind == "box":
        left, top, right, bottom = value("xtl"), value("ytl"), value("xbr"), value("ybr")
        return outlines.box(left, top, right, bottom, degrees=degrees)
    return outlines.ellipse(value("cx"), value("cy"), value("rx"), value("ry"), degrees=degrees)


def _mask(attributes: dict[str, str], size: tuple[int, int], place: str) -> NDArray[np.bool_]:
    """The pixels of a mask, bool [H, W], from alternating runs of zeros and ones, row by row within its box.

    What lies beyond the border of the image is cut off.
    """
    left, top = (number(attributes.get(name), place, name) for name in ("left", "top"))
    width, height = (whole_number(attributes.get(name), place, name) for name in ("width", "height"))
    runs = [whole_number(run, place, "a run") for run in attributes.get("rle", "").split(",")]
    # Python's integers: a sum of hostile runs does not overflow.
    if width * height > MAX_PIXELS:
        raise TrashkitError(f"{place}: a mask of {width}x{height} is too large", hint="correct its width and height")
    if sum(runs) != width * height:
        raise TrashkitError(f"{place}: the runs of a mask do not fill its box", hint="export it again from CVAT")
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, np.array(runs, np.int64)).reshape(height, width)
    degrees = number(attributes.get("rotation", 0), place, "rotation")
    return outlines.placed(crop, round(left), round(top), size, degrees=degrees)


FORMATS = (Format("cvat", read, write, marks=("annotations.xml",)),)
