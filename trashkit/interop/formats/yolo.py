"""YOLO segmentation: one text file per photo, one line per shape, with a class number and vertices from 0 to 1.

It cannot express annotation ids, crowds, paint order, several parts, and holes. Parts and holes are joined into one
ring by bridges of zero width, which rasterisers with the even-odd rule paint correctly; if that would change a pixel,
the parts become separate lines. Vertices are written with ten decimals and read to 1e-5 pixels, so that coordinates
come back unchanged.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import json
from pathlib import Path

from trashkit.coco import Image, Segmentation
from trashkit.errors import TrashkitError
from trashkit.interop.coco_builder import CocoBuilder, ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import (
    MARKER,
    displayed_size,
    label_stems,
    suffix_of,
)
from trashkit.interop.format import Format
from trashkit.interop.geometry.shapes import Ring, covers_same_pixels, one_ring, rings_of, split_into_rings
from trashkit.interop.layouts.yolo import YoloFolder, label_lines, yolo_folder
from trashkit.interop.names.lists import NameList, agreed, find_names
from trashkit.interop.names.table import NOT_GIVEN, GivenNames, class_table
from trashkit.interop.yolo_lines import read_line, survey
from trashkit.progress import Progress, silent
from trashkit.raster.masks import mask

_DECIMALS = 5


def write(job: ExportJob, out: Path) -> None:
    """Write ``images/PART``, ``labels/PART`` and ``data.yaml``. Class 0 is the first class after background."""
    # Flat, since readers replace the last folder named "images" in a photo's path by "labels".
    names = label_stems(job.images, flat=True)
    for part, image in job.images_by_part():
        target = out / "labels" / part / f"{names[image.row]}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for shape in job.shapes_of(image, _as_single_rings):
            assert isinstance(shape.segmentation, list)
            lines.append(f"{shape.class_index - 1} {_normalised(shape.segmentation[0], image)}\n")
        target.write_text("".join(lines))
        job.photo(image, out / "images" / part / f"{names[image.row]}{suffix_of(image)}")
    (out / "data.yaml").write_text(_yaml(job), encoding="utf-8")


def _yaml(job: ExportJob) -> str:
    lines = ["# YOLO segmentation data set written by trashkit", "path: ."]
    lines += [f"{part}: images/{part}" for part in job.parts]
    if "val" not in job.parts:
        lines.append(f"val: images/{next(iter(job.parts))}")
    lines.append("names:")
    lines += [f"  {index}: {json.dumps(name, ensure_ascii=False)}" for index, name in enumerate(job.class_names)]
    return "\n".join(lines) + "\n"


def _normalised(ring: Ring, image: Image) -> str:
    sides = (image.width, image.height)
    return " ".join(f"{value / sides[n % 2]:.10f}".rstrip("0").rstrip(".") for n, value in enumerate(ring))


def _as_single_rings(segmentation: Segmentation, image: Image) -> list[Segmentation]:
    """One ring if that covers the same pixels, else one shape per ring, or per piece without holes."""
    height, width = image.height, image.width
    rings = [_as_read(ring, image) for ring in rings_of(segmentation, height, width)]
    if not rings:
        return []
    if len(rings) == 1:
        joined: list[Segmentation] = [[rings[0]]]
    else:
        joined = [[one_ring(rings)]]
    if covers_same_pixels(joined, segmentation, height, width):
        return joined
    apart: list[Segmentation] = [[ring] for ring in rings]
    if covers_same_pixels(apart, segmentation, height, width):
        return apart
    return split_into_rings(mask(segmentation, height, width))


def _as_read(ring: Ring, image: Image) -> Ring:
    """A ring as `read` returns it: inside the image, and rounded to 1e-5 pixels."""
    sides = (image.width, image.height)
    return [round(min(max(value, 0.0), float(sides[n % 2])), _DECIMALS) for n, value in enumerate(ring)]


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a data set in a layout of `trashkit.interop.layouts.yolo`; `source` may also be its ``data.yaml``.

    Class names come from `names` or ``data.yaml``, sizes from the photos, as viewers show them. Photos without a label
    file have no annotations; label files without a photo are skipped and counted. Lines with only a box (four numbers)
    become rectangles, with a note; see `trashkit.interop.yolo_lines`. Raises TrashkitError where the class names are
    missing or unclear.
    """
    found = yolo_folder(source, images)
    every = (text for _, path in found.pairs if path for _, text in found.lines(path))
    lines = survey(every, str(source), exported=(found.root / MARKER).is_file())
    table = class_table(_names(found, source, names.text), "class", choice=names.zero, used=lambda: lines.numbers)
    builder = CocoBuilder(table)
    for done, (photo, path) in enumerate(found.pairs):
        written = found.lines(path) if path else []
        with builder.picture(str(found.photos / photo), len(written)):
            width, height = displayed_size(found.photos / photo)
            image = builder.image(photo.as_posix(), width, height)
            for line, text in written:
                place = f"{path}, line {line}"
                with builder.shape(place):
                    shape = read_line(text, (width, height), place, table=table, found=lines, builder=builder)
                    if shape is not None:
                        builder.add(image, shape[0], [shape[1]], place)
        progress("reading labels", done + 1, len(found.pairs))
    if found.keypoints:
        builder.note("data sets with key points (kpt_shape), of which the boxes are read", str(source))
    for path in found.lost:
        builder.skip("shapes in label files without a photo", str(path), len(label_lines(path)))
    return builder.finish(found.photos)


def _names(folder: YoloFolder, source: Path, given: str | None) -> NameList:
    """The class names of a data set, from --names or its files, which must agree."""
    if given is not None and (chosen := find_names(given, [])) is not None:
        return chosen
    inside = [path for path in folder.names if path.is_relative_to(folder.root)]
    inside += [path for path in (folder.root / "labels/classes.txt",) if path.is_file()]
    found = agreed(inside[:1] if source.is_file() else inside or folder.names[:1])
    if found is None:
        raise TrashkitError(f"{folder.root} has no data.yaml with class names", hint="give them as --names A,B,C")
    return found


FORMATS = (Format("yolo", read, write, zero="class", marks=("data.yaml", "data.yml", "dataset.yaml")),)
