"""COCO files: classes mapped and files merged; rows are otherwise unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trashkit.coco import Coco
from trashkit.coco import merge as merge_files
from trashkit.coco import read as read_coco
from trashkit.coco import write as write_coco
from trashkit.errors import TrashkitError
from trashkit.files import is_file
from trashkit.images.photos import photo_path
from trashkit.interop.coco_builder import ImportedAnnotations, with_classes
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import PHOTO_SUFFIXES, files_in
from trashkit.interop.format import Format
from trashkit.interop.geometry import outlines
from trashkit.interop.geometry.outlines import SkippedShapeError
from trashkit.interop.layouts.parts import part_of
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent

_ROBOFLOW = "_annotations.coco.json"
_SAMPLE = 50
"""How many photos of a file are searched for, evenly distributed over it."""


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a COCO file, or merge those of a folder (see `trashkit.coco.merge`); ids are kept where they are free.

    In a folder: its ``*.json`` files, or else one in each part, next to the photos, as Roboflow writes them
    (``train/_annotations.coco.json``), or else those of ``annotations/`` with the photos in other folders, as COCO has
    them (``instances_train2017.json``, ``train2017/``). The part then becomes the folder in ``file_name``.
    """
    if names.text is not None:
        raise TrashkitError("a COCO file contains its class names", hint="map them with --classes MAP.json")
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    parts = [] if paths else [source / path for path in files_in(source, [".json"]) if _in_part(path)]
    inside = sorted((source / "annotations").glob("*.json")) if not paths and not parts else []
    inside = [path for path in inside if path.name.startswith("instances_")] or inside
    if not paths and not parts and not inside:
        raise TrashkitError(f"{source} contains no JSON files", hint="give the COCO file")
    files: list[Coco] = []
    notes: list[str] = []
    paths = paths or parts or inside
    for done, path in enumerate(paths):
        coco = read_coco(path)
        lacking = next((name for name in ("images", "annotations", "categories") if name not in coco.blocks()), None)
        if lacking is not None:
            raise TrashkitError(f'{path} has no list "{lacking}"', hint="give a COCO annotation file")
        files.append(_with_turned_boxes(coco, notes))
        progress("reading files", done + 1, len(paths))
    if parts:
        prefixes = [f"{path.parent.relative_to(source).as_posix()}/" for path in parts]
        return ImportedAnnotations(merge_files(files, prefixes=prefixes), images or source, tuple(notes))
    if inside:
        photos = files_in(images or source, PHOTO_SUFFIXES)
        folders = sorted({parent for path in photos for parent in path.parents})
        prefixes = [_prefix(coco, path, images or source, folders) for coco, path in zip(files, paths, strict=True)]
        return ImportedAnnotations(merge_files(files, prefixes=prefixes), images or source, tuple(notes))
    beside = images or (paths[0].parent if len(paths) == 1 and paths[0].name == _ROBOFLOW else None)
    return ImportedAnnotations(files[0] if len(files) == 1 else merge_files(files), beside, tuple(notes))


def _prefix(coco: Coco, path: Path, root: Path, folders: Sequence[PurePosixPath]) -> str:
    """The folder below `root` that has most photos of a file, with a slash; one in the file's name comes first."""
    names = [one.get("file_name") for one in coco.records("images") if isinstance(one, dict)]
    some = [name for name in names if isinstance(name, str)][:: len(names) // _SAMPLE + 1]
    hits = {folder: sum(is_file(photo_path(root / folder, name)) for name in some) for folder in folders}
    found = [folder for folder in folders if hits[folder]]
    part = part_of(path.stem)

    def order(folder: PurePosixPath) -> Any:
        other = part is not None and part_of(folder.name) not in (part, None)
        return not (folder.name and folder.name in path.stem), other, -hits[folder], folder

    best = min(found, key=order, default=None)
    return f"{best.as_posix()}/" if best is not None and best.name else ""


def _with_turned_boxes(coco: Coco, notes: list[str]) -> Coco:
    """CVAT stores the angle of a box in its attributes: such boxes as outlines, with a note."""
    turned = {row: made for row, one in enumerate(coco.records("annotations")) if (made := _turned_box(one))}
    if turned:
        first = next(iter(turned))
        notes.append(f"{len(turned)} boxes are turned by the rotation in their attributes, first annotations[{first}]")
    return coco.replace("annotations", turned) if turned else coco


def _turned_box(record: Any) -> dict[str, Any] | None:
    """An annotation that is only a box with a rotation, clockwise about its centre, as an outline; else None."""
    attributes: Any = record.get("attributes") if isinstance(record, dict) else None
    degrees: Any = attributes.get("rotation") if isinstance(attributes, dict) else None
    if not _is_finite(degrees) or not degrees % 360:
        return None
    bbox, segmentation = record.get("bbox"), record.get("segmentation")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_finite, bbox)):
        return None
    x, y, width, height = bbox
    sides = {x, y, x + width, y + height}
    ring = segmentation[0] if isinstance(segmentation, list) and len(segmentation) == 1 else None
    plain = isinstance(ring, list) and len(ring) in (8, 10) and all(_is_finite(v) and v in sides for v in ring)
    if not plain and segmentation not in (None, [], [[]]):
        return None
    try:
        corners = outlines.box(x, y, x + width, y + height, degrees=degrees)
    except SkippedShapeError:
        return None
    left, top = min(corners[0::2]), min(corners[1::2])
    box = [left, top, max(corners[0::2]) - left, max(corners[1::2]) - top]
    return {**record, "segmentation": [corners], "bbox": box, "attributes": {**attributes, "rotation": 0}}


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


def _in_part(path: PurePosixPath) -> bool:
    """Whether a file holds the annotations of a part, next to its photos."""
    return path.name == _ROBOFLOW or (len(path.parts) == 2 and path.name.endswith(".coco.json"))


def write(job: ExportJob, out: Path) -> None:
    """Write ``PART.json`` with the classes as categories 1, 2 ..., and photos in ``images/`` with their file names."""
    coco = with_classes(job.dataset.coco, job.classes)
    for part, images in job.parts.items():
        small = coco.subset(image.row for image in images)
        write_coco(small, out / f"{part}.json")
        job.shapes += small.count("annotations")
    for _, image in job.images_by_part():
        job.photo(image, photo_path(out / "images", image.file_name))


FORMATS = (Format("coco", read, write),)
