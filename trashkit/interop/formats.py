"""Every format by its name: read into COCO, written from a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.coco import Coco, Dataset, merge, read_dataset, write
from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, replacing
from trashkit.interop import coco_files, cvat, huggingface, label_studio, labelme, masks_png, mmsegmentation, yolo
from trashkit.interop.draft import Imported, with_classes
from trashkit.interop.folders import Photos, mark, parts_of, refuse_foreign
from trashkit.interop.job import Job
from trashkit.interop.origins import like as as_original
from trashkit.interop.origins import restore, write_list
from trashkit.masks import PaintOrder
from trashkit.progress import Progress, silent

READERS: Mapping[str, Callable[..., Imported]] = {
    "coco": coco_files.read,
    "yolo": yolo.read,
    "labelme": labelme.read,
    "cvat": cvat.read,
    "label-studio": label_studio.read,
    "voc": masks_png.reader("voc"),
    "cityscapes": masks_png.reader("cityscapes"),
    "ade20k": masks_png.reader("ade20k"),
    "mmsegmentation": masks_png.reader("mmsegmentation"),
    "masks": masks_png.reader("masks"),
    "huggingface": huggingface.read,
}

WRITERS: Mapping[str, Callable[[Job, Path], None]] = {
    "coco": coco_files.write,
    "yolo": yolo.write,
    "labelme": labelme.write,
    "cvat": cvat.write,
    "label-studio": label_studio.write,
    "voc": masks_png.writer("voc"),
    "cityscapes": masks_png.writer("cityscapes"),
    "ade20k": masks_png.writer("ade20k"),
    "mmsegmentation": mmsegmentation.write_mmsegmentation,
    "masks": masks_png.writer("masks"),
    "huggingface": huggingface.write,
}


@dataclass(frozen=True, slots=True)
class Read:
    """Result of `import_annotations`. photos: the folder that file names are relative to, where it is known."""

    path: Path
    photos: Path | None
    images: int
    annotations: int
    per_class: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
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
    classes: str | Path | None = None,
    into: Path | None = None,
    like: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Read:
    """Read `source` in the format `kind` and write it as the COCO file `out`.

    images: folder of the photos, looked for beside the labels otherwise. names: class names for formats without (see
    `trashkit.interop.folders.class_names`). classes: class map to apply, the file's own classes otherwise.
    into: a COCO file to whose images and annotations these are added; categories are joined by name.
    like: the file that was exported, whose names and ids come back (see `trashkit.interop.origins.like`). What trashkit
    exported has the names and image ids of before without it, as long as its list of images lies there.
    Raises TrashkitError, and writes nothing, for whatever cannot be read.
    """
    refuse_existing(out, overwrite=overwrite)
    if not source.exists():
        raise TrashkitError(f"there is no {source}", hint="give the file or folder that the other tool wrote")
    found = READERS[kind](source, images=images, names=names, progress=progress)
    coco, notes = (found.coco, ()) if kind == "coco" else restore(found.coco, source, images or found.photos)
    if like is not None:
        original = read_dataset(like, labels=False)
        coco, notes = as_original(coco, original.coco, original.images)
    coco = with_classes(coco, classes) if classes is not None else coco
    if into is not None:
        first = coco_files.read(into).coco
        _refuse_same_photos(first, coco, into)
        coco = merge([first, coco])
    write(coco, out, overwrite=overwrite)
    categories = {record.get("id"): str(record.get("name")) for record in coco.records("categories")}
    counts = dict.fromkeys(categories.values(), 0)
    for record in coco.records("annotations"):
        name = categories.get(record.get("category_id"))
        if name is not None:
            counts[name] += 1
    return Read(out, found.photos, coco.count("images"), coco.count("annotations"), counts, (*notes, *found.notes))


def _refuse_same_photos(first: Coco, second: Coco, path: Path) -> None:
    known = {record.get("file_name") for record in first.records("images")}
    both = next((r.get("file_name") for r in second.records("images") if r.get("file_name") in known), None)
    if both is not None:
        raise TrashkitError(f"{path} has an image named {both} already", hint="rename the photos of one of the two")


def export(
    kind: str,
    dataset: Dataset,
    out: Path,
    *,
    images: Path | None = None,
    photos: Photos = "copy",
    parts: Mapping[str, list[Any]] | None = None,
    order: PaintOrder = "area",
    classes: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Written:
    """Write a data set into the folder `out` in the format `kind`, whole or not at all.

    images: folder of the photos; without it annotations alone are written. parts: image ids by the name of their part
    (train, val ...), all in "train" otherwise; an image may be in one part only. order: paint order of the label maps.
    Raises TrashkitError for photos that are missing or of another size, and for an `out` that exists.
    """
    job = Job(dataset, parts_of(dataset, dict(parts) if parts else None), images, photos, order, out, classes, progress)
    if images is not None and not images.is_dir():
        raise TrashkitError(f"there is no folder {images}", hint="give the folder of the photos with --images")
    if out.exists() and overwrite and images is not None and images.resolve().is_relative_to(out.resolve()):
        raise TrashkitError(f"{out} holds the photos themselves", hint="choose another --out")
    refuse_foreign(out, overwrite=overwrite)
    with replacing(out, overwrite=overwrite) as temporary:
        temporary.mkdir()
        WRITERS[kind](job, temporary)
        write_list(job.written, job.images, temporary)
        mark(temporary, kind, dataset)
    return Written(out, {part: len(rows) for part, rows in job.parts.items()}, job.shapes, job.notes())
