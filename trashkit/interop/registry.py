"""Import and export of annotations in any format; formats are discovered in `trashkit.interop.formats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from trashkit.coco import Coco, Dataset, merge, read_dataset, write
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.interop import formats
from trashkit.interop.coco_builder import described, with_classes
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import EXPORT, PhotoMode, images_of_parts, nested_root, write_marker
from trashkit.interop.format import Format
from trashkit.interop.formats import coco as coco_format
from trashkit.interop.import_counts import (
    ClassCount,
    class_counts,
    images_without_objects,
    missing_photos,
    refuse_losses,
    undrawn,
)
from trashkit.interop.layouts.parts import only_parts
from trashkit.interop.names.table import ClassZero, GivenNames
from trashkit.interop.origins import restore_from_list, restore_from_original, write_image_list
from trashkit.names import composed
from trashkit.outputs import Output
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder
from trashkit.settings.training import unknown


def _discovered() -> dict[str, Format]:
    """Every `Format` in the ``FORMATS`` of a module of `trashkit.interop.formats`, by name."""
    found: dict[str, Format] = {}
    for module in iter_modules(formats.__path__):
        for one in import_module(f"{formats.__name__}.{module.name}").FORMATS:
            if one.name in found:
                raise ValueError(f"two formats are named {one.name}")
            found[one.name] = one
    return found


FORMATS: Mapping[str, Format] = _discovered()
"""All formats by name."""


def format_named(name: str) -> Format:
    """A format by its name. Raises TrashkitError for an unknown name, listing all formats, the closest one first."""
    if name not in FORMATS:
        raise TrashkitError(
            unknown("format", name, list(FORMATS)), hint="trashkit data import --help lists the formats"
        )
    return FORMATS[name]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of `import_annotations`.

    photos: the folder that file names are relative to, if known. notes: what was changed or left out, one line each.
    skipped: number of skipped shapes by reason. warnings: the notes about them, one line for each reason.
    empty_images: images without objects. undrawn: the note about annotations that are kept although they cannot be
    drawn.
    """

    path: Path
    photos: Path | None
    images: int
    annotations: int
    per_class: dict[str, int]
    classes: tuple[ClassCount, ...]
    notes: tuple[str, ...]
    skipped: dict[str, int]
    warnings: tuple[str, ...]
    empty_images: int
    undrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Result of `export`. images: how many in each part. shapes: annotations or label maps written."""

    path: Path
    images: dict[str, int]
    shapes: int
    notes: tuple[str, ...]


def import_annotations(
    kind: str,
    source: Path,
    out: Path,
    *,
    images: Path | None = None,
    names: str | None = None,
    class_zero: ClassZero | None = None,
    classes: str | Path | None = None,
    into: Path | None = None,
    like: Path | None = None,
    parts: Sequence[str] = (),
    strict: bool = False,
    restore: bool = True,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ImportResult:
    """Read `source` in the format `kind`, and write it as the COCO file `out`.

    images: folder of the photos; by default they are searched for next to the labels. names: class names, for formats
    without (see `trashkit.interop.names.lists`). class_zero: what number 0 is, where the names leave that open.
    classes: class map to apply; by default the file's own classes. into: a COCO file to whose images and annotations
    these are appended; categories are matched by name.
    like: the file that was exported, whose file names and ids are restored (see
    `trashkit.interop.origins.restore_from_original`). Exports of trashkit have a list of their images, from which file
    names and image ids are restored without it, unless `restore` is False. parts: folders in file names; other images
    are left out.
    Shapes that cannot be read or drawn are skipped and counted. strict: refuse them instead.
    Raises TrashkitError, and writes nothing, if anything else cannot be read, or if every shape is skipped.
    """
    Output(out, overwrite=overwrite).check()
    if not source.exists():
        raise TrashkitError(f"{source} does not exist", hint="give the file or folder that the other tool wrote")
    chosen = format_named(kind)
    if class_zero is not None and chosen.zero is None:
        raise TrashkitError(f"{kind} has no class numbers", hint="leave out --class-zero")
    source = nested_root(source, chosen.marks)
    found = chosen.read(source, images=images, names=GivenNames(names, class_zero), progress=progress)
    refuse_losses(found, strict=strict)
    coco, notes = (
        (found.coco, ())
        if kind == "coco" or not restore
        else restore_from_list(found.coco, source, images or found.photos)
    )
    if like is not None:
        coco = read_dataset(coco).coco if kind == "coco" else coco
        original = read_dataset(like, labels=False)
        coco, notes = restore_from_original(coco, original.coco, original.images)
    _refuse_odd_rows(coco, source)
    coco = only_parts(coco, parts) if parts else coco
    coco = with_classes(coco, classes) if classes is not None else coco
    if into is not None:
        first = coco_format.read(into).coco
        _refuse_same_photos(first, coco, into)
        coco = merge([first, coco])
    write(coco, out, overwrite=overwrite)
    counts = class_counts(coco, found.table)
    warnings = tuple(described(found.skipped, found.examples))
    kept = undrawn(coco) if kind == "coco" else ()
    per_class: Counter[str] = Counter()
    for one in (one for one in counts if one.id is not None):
        per_class[one.name] += one.objects
    return ImportResult(
        out,
        found.photos,
        coco.count("images"),
        coco.count("annotations"),
        dict(per_class),
        counts,
        (*notes, *found.notes, *warnings, *kept, *missing_photos(found, images)),
        dict(found.skipped),
        warnings,
        images_without_objects(coco),
        kept,
    )


def _refuse_odd_rows(coco: Coco, source: Path) -> None:
    """Raise TrashkitError for a row that is not an object; whatever else is wrong is left to the audit."""
    for block in ("images", "annotations", "categories"):
        for row, record in enumerate(coco.records(block)):
            if not isinstance(record, dict):
                raise TrashkitError(
                    f"{coco.path or source}: {block}[{row}] is not an object",
                    hint=f"delete it, as in: trashkit fix {coco.path or source} --unsafe --out fixed.json",
                )


def _refuse_same_photos(first: Coco, second: Coco, path: Path) -> None:
    known = {composed(str(record.get("file_name"))) for record in first.records("images") if isinstance(record, dict)}
    names = [str(record.get("file_name")) for record in second.records("images")]
    both = next((name for name in names if composed(name) in known), None)
    if both is not None:
        raise TrashkitError(f"{path} already has an image named {both}", hint="rename the photos of one of the two")


def export(
    kind: str,
    dataset: Dataset,
    out: Path,
    *,
    images: Path | None = None,
    photos: PhotoMode = "copy",
    parts: Mapping[str, list[Any]] | None = None,
    order: PaintOrder = "area",
    classes: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ExportResult:
    """Write a data set into the folder `out` in the format `kind`, atomically.

    images: folder of the photos; without it only annotations are written. photos: how photos get into the export.
    parts: image ids by name of their part (train, val ...), each image in one part only; by default all are in "train".
    order: paint order of the label maps. classes: the class map that the data set was read with.
    Raises TrashkitError for photos that are missing or of another size, and if `out` exists, contains the folder of the
    photos, or lies in it.
    """
    target_format = format_named(kind)
    image_rows = images_of_parts(dataset, dict(parts) if parts else None)
    job = ExportJob(dataset, image_rows, images, photos, order, out, classes, progress)
    if images is not None and not images.is_dir():
        raise TrashkitError(f"there is no folder {images}", hint="give the folder of the photos with --images")
    if images is not None:
        _refuse_nested(out, images)
    output = Output(out, overwrite=overwrite, kind=EXPORT)
    output.check()
    with output.writing() as temporary:
        temporary.mkdir()
        target_format.write(job, temporary)
        write_image_list(job.photo_paths, job.images, temporary)
        write_marker(temporary, kind, dataset)
    return ExportResult(out, {part: len(rows) for part, rows in job.parts.items()}, job.shapes, job.notes())


def _refuse_nested(out: Path, images: Path) -> None:
    """Raise TrashkitError where the export would be found among the photos next time, or would replace them."""
    target, folder = real_path(out), real_path(images)
    if folder.is_relative_to(target):
        raise TrashkitError(f"{out} contains the photos", hint="choose another --out")
    if target.is_relative_to(folder):
        raise TrashkitError(
            f"{out} lies in the photo folder {images}, where its pictures would count as photos",
            hint="choose an --out outside of it",
        )
