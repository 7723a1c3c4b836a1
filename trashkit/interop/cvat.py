"""CVAT for images 1.1: one XML file.

Polygons keep their coordinates, the parts of one annotation share a ``group_id``, what has holes becomes a mask, and
``z_order`` says which shape lies on top. What it cannot hold: annotation ids, the file's own areas.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.interop.draft import Draft, Imported, number, whole
from trashkit.interop.folders import by_base, class_names, named_photo, stems, suffix_of
from trashkit.interop.job import Job
from trashkit.interop.labelme import held
from trashkit.interop.shapes import Shape, crop_of
from trashkit.masks import mask, rle_from_mask
from trashkit.progress import Progress, silent


def write(job: Job, out: Path) -> None:
    """Write ``annotations.xml``, and the photos under ``images/PART``."""
    names = stems(job.images)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta><task>"]
    lines.append("    <labels>")
    lines += [
        f"      <label><name>{_text(name)}</name><type>any</type><attributes></attributes></label>"
        for name in job.class_names
    ]
    lines += ["    </labels>", "  </task></meta>"]
    for position, (part, image) in enumerate(job.each()):
        name = f"{part}/{names[image.row]}{suffix_of(image)}"
        size = f'width="{image.width}" height="{image.height}"'
        lines.append(f"  <image id={quoteattr(str(position))} name={quoteattr(name)} subset={quoteattr(part)} {size}>")
        for group, shape in enumerate(job.drawn(image, held), start=1):
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
    placed = crop_of(mask(shape.segmentation, *size))
    assert placed is not None, "held leaves out what covers nothing"
    left, top, crop = placed
    flat = crop.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs
    box = f'left="{left}" top="{top}" width="{crop.shape[1]}" height="{crop.shape[0]}"'
    return [f'    <mask {common} rle="{", ".join(map(str, runs))}" {box} z_order="{group}"></mask>']


@dataclass
class _Page:
    """What is gathered while the XML is read: labels, and images with their shapes."""

    labels: list[str] = field(default_factory=list)
    images: list[tuple[dict[str, str], int, list[tuple[str, dict[str, str], int]]]] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    text: str = ""


def _parse(path: Path) -> _Page:
    """Elements of the file; TrashkitError with the line where it is no XML, or declares a document type or entities."""
    page = _Page()
    parser = expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise TrashkitError(
            f"{path}, line {parser.CurrentLineNumber}: it declares a document type, which CVAT never writes",
            hint="export it again from CVAT",
        )

    def start(name: str, attributes: dict[str, str]) -> None:
        page.path.append(name)
        page.text = ""
        line = parser.CurrentLineNumber
        if name == "image":
            page.images.append((attributes, line, []))
        elif "image" in page.path[:-1] and page.path[-2] == "image":
            page.images[-1][2].append((name, attributes, line))

    def end(name: str) -> None:
        if name == "name" and page.path[-2:-1] == ["label"]:
            page.labels.append(page.text.strip())
        page.path.pop()

    def text(data: str) -> None:
        page.text += data

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise TrashkitError(f"{path} is not XML: {error}", hint="export it again from CVAT") from error
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    return page


def read(
    source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read an ``annotations.xml``, or a folder that holds one; shapes are sorted by ``z_order``.

    Polygons, boxes, ellipses and masks are taken; points, lines, cuboids, skeletons and tags are left out and counted.
    Raises TrashkitError naming file and line for anything that CVAT does not write, and for any document type.
    """
    path = source / "annotations.xml" if source.is_dir() else source
    folder = images or next((f for f in (path.parent / "images", path.parent) if f.is_dir()), None)
    page = _parse(path)
    given = class_names(names, source)
    draft = Draft(given[1:] if given else list(dict.fromkeys(page.labels)))
    known = by_base(folder)
    for done, (attributes, line, shapes) in enumerate(page.images):
        place = f"{path}, line {line}"
        size = whole(attributes.get("height"), place, "height"), whole(attributes.get("width"), place, "width")
        name = named_photo(attributes.get("name", ""), folder or Path(), known)
        image = draft.image(name, size[1], size[0])
        _add(shapes, image, size, path, draft)
        progress("reading images", done + 1, len(page.images))
    return draft.finish(folder)


def _add(
    shapes: list[tuple[str, dict[str, str], int]],
    image: dict[str, Any],
    size: tuple[int, int],
    path: Path,
    draft: Draft,
) -> None:
    ordered = sorted(
        shapes, key=lambda shape: number(shape[1].get("z_order", 0), f"{path}, line {shape[2]}", "z_order")
    )
    groups: dict[Any, tuple[str, str, list[list[float]], NDArray[np.bool_] | None]] = {}
    for position, (kind, attributes, line) in enumerate(ordered):
        place = f"{path}, line {line}"
        if kind not in ("polygon", "box", "ellipse", "mask"):
            draft.skip(f"elements of type {kind}", place)
            continue
        label = attributes.get("label")
        if not label:
            raise TrashkitError(f"{place}: a {kind} without a label", hint="export it again from CVAT")
        if kind == "mask":
            groups[("mask", position)] = (label, place, [], _mask(attributes, size, place))
            continue
        group = attributes.get("group_id", "0")
        key = (label, group) if kind == "polygon" and group not in ("", "0") else ("alone", position)
        groups.setdefault(key, (label, place, [], None))[2].append(_ring(kind, attributes, place))
    for label, place, rings, covered in groups.values():
        draft.add(image, label, rings if covered is None else rle_from_mask(covered), place)


def _ring(kind: str, attributes: dict[str, str], place: str) -> list[float]:
    def value(name: str) -> float:
        return number(attributes.get(name), place, name)

    if kind == "polygon":
        pairs = [pair.split(",") for pair in attributes.get("points", "").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise TrashkitError(f"{place}: points are not x,y;x,y;...", hint="export it again from CVAT")
        return [number(text, place, "a point") for pair in pairs for text in pair]
    if kind == "box":
        left, top, right, bottom = value("xtl"), value("ytl"), value("xbr"), value("ybr")
        return [left, top, right, top, right, bottom, left, bottom]
    cx, cy, rx, ry = value("cx"), value("cy"), value("rx"), value("ry")
    turns = [2 * math.pi * step / 64 for step in range(64)]
    return [number for turn in turns for number in (cx + rx * math.cos(turn), cy + ry * math.sin(turn))]


def _mask(attributes: dict[str, str], size: tuple[int, int], place: str) -> NDArray[np.bool_]:
    """The pixels of a mask, bool [H, W]: runs of zeros and ones in turn, row by row in its box."""
    left, top, width, height = (whole(attributes.get(n), place, n) for n in ("left", "top", "width", "height"))
    runs = np.array([whole(run, place, "a run") for run in attributes.get("rle", "").split(",")], np.int64)
    if left + width > size[1] or top + height > size[0] or int(runs.sum()) != width * height:
        raise TrashkitError(f"{place}: the runs of a mask do not fill its box", hint="export it again from CVAT")
    covered = np.zeros(size, np.bool_)
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    covered[top : top + height, left : left + width] = crop
    return covered
