"""Folders of photos and PNG label maps, in the layouts of Pascal VOC, Cityscapes, ADE20K and others.

Each pixel has one class. Label maps cannot express annotations (touching regions become one), ids, or hidden parts;
the visible classes come back exactly. COCO has no ignored pixels: those of value 255 are read as background, with a
note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import cv2

from trashkit.coco import ClassMap, Dataset, Image
from trashkit.coco.classes import Color
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.images.photos import photo_info, photo_path, read_photo
from trashkit.interop.coco_builder import CocoBuilder, ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import (
    EXPORT,
    files_in,
    first_folder,
    label_stems,
    photos_by_stem,
    suffix_of,
    write_marker,
)
from trashkit.interop.label_png import (
    GREY,
    DamagedLabelError,
    label_png_size,
    numbers_in,
    read_label_png,
    write_label_png,
)
from trashkit.interop.layouts.pairing import folded, pair
from trashkit.interop.names.lists import NameList, find_names
from trashkit.interop.names.table import (
    NOT_GIVEN,
    ClassTable,
    ClassZero,
    GivenNames,
    Zero,
    class_table,
    table_of,
)
from trashkit.names import composed
from trashkit.outputs import Output
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder, dataset_label_map

_PHOTO_FOLDERS = frozenset({"images", "imgs", "img", "jpegimages", "photos"})
_LABEL_FOLDERS = frozenset({"labels", "masks", "label_maps", "annotations", "segmentationclass"})


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a format puts photos and label maps.

    photos, labels: folders, with PART for the name of the part. photo_end, label_end: suffixes of file names, which
    replace the usual ones. parts: names of parts that the format renames. flat: no subfolders; slashes in file names
    become "__". names: class names if none are given. zero: what number 0 is where the names do not say so.
    other_labels: folders that may have the label maps instead.
    """

    photos: str
    labels: str
    photo_end: str = ""
    label_end: str = ".png"
    parts: tuple[tuple[str, str], ...] = ()
    flat: bool = False
    names: tuple[str, ...] = ()
    zero: Zero = "background"
    other_labels: tuple[str, ...] = ()


def write_layout(
    job: ExportJob, out: Path, layout: Layout, *, photo_suffix: str = "", sets: bool = False
) -> dict[int, str]:
    """Write photos, label maps, ``classes.txt`` and ``labelmap.txt``. Returns the name of each image by its row.

    photo_suffix: a suffix for all photos. sets: also write lists of names, as Pascal VOC has them.
    """
    names = _names(job, layout)
    renamed = dict(layout.parts)
    for part, image in job.images_by_part():
        folder = renamed.get(part, part)
        label = out / layout.labels.replace("PART", folder) / f"{names[image.row]}{layout.label_end}"
        write_label_png(label, job.label_map(image), job.dataset.classes.colors)
        job.shapes += 1
        end = layout.photo_end or photo_suffix or suffix_of(image)
        photo = out / layout.photos.replace("PART", folder) / f"{names[image.row]}{end}"
        if layout.photo_end:
            _write_png_photo(job, image, photo)
        else:
            job.photo(image, photo)
    if sets:
        for part, images in job.parts.items():
            path = out / "ImageSets" / "Segmentation" / f"{part}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{names[image.row]}\n" for image in images), encoding="utf-8")
    write_classes(out, job.dataset.classes)
    return names


def _names(job: ExportJob, layout: Layout) -> dict[int, str]:
    names = label_stems(job.images, flat=layout.flat)
    if not layout.photo_end:
        return names
    # Cityscapes expects one folder, the city, between the part and the file.
    return {
        row: (PurePosixPath(*PurePosixPath(name).parts[:-1]) if "/" in name else PurePosixPath("photos")).as_posix()
        + "/"
        + PurePosixPath(name).name
        for row, name in names.items()
    }


def _write_png_photo(job: ExportJob, image: Image, target: Path) -> None:
    """Write a photo as PNG, as Cityscapes has them, rotated as it was annotated."""
    job.photo_paths[image.row] = target
    if job.folder is None or job.photos == "none":
        return
    pixels = read_photo(photo_path(job.folder, image.file_name), (image.width, image.height))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())


def export_label_maps(
    dataset: Dataset,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    order: PaintOrder = "area",
    overwrite: bool = False,
    progress: Progress = silent,
) -> int:
    """Write the label map of every image into a folder, named after its photo. Returns the number of images.

    size: (height, width), sampled with ``cv2.INTER_NEAREST``; native size by default.
    """
    output = Output(out, overwrite=overwrite, kind=EXPORT)
    output.check()
    names = label_stems(dataset.images)
    with output.writing() as temporary:
        for done, image in enumerate(dataset.images):
            pixels = dataset_label_map(dataset, image.row, order=order, size=size)
            write_label_png(temporary / f"{names[image.row]}.png", pixels, dataset.classes.colors)
            progress("drawing label maps", done + 1, len(dataset))
        write_classes(temporary, dataset.classes)
        write_marker(temporary, "label maps", dataset)
    return len(dataset)


def write_classes(folder: Path, classes: ClassMap) -> None:
    """Write ``classes.txt``, one name per line, and ``labelmap.txt`` with colours, background first."""
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes.names), encoding="utf-8")
    colors = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(classes.names, classes.colors, strict=True)]
    text = "# label:color_rgb:parts:actions\n" + "\n".join(colors) + "\n"
    (folder / "labelmap.txt").write_text(text, encoding="utf-8")


def read_layout(
    source: Path,
    layout: Layout,
    *,
    images: Path | None = None,
    names: GivenNames = NOT_GIVEN,
    progress: Progress = silent,
) -> ImportedAnnotations:
    """Read a folder in a layout. Each connected region of a class becomes an annotation.

    Class names (background first) come from `names`, ``classes.txt``, ``labelmap.txt`` or the layout itself. Photos
    without a label map and label maps without a photo are skipped and counted. Raises TrashkitError where no label map
    has a photo, and for label maps of another size, or with classes that have no name.
    """
    photo_folder = images or first_folder(source, layout.photos.partition("/")[0])
    label_folder = first_folder(source, layout.labels.partition("/")[0], *layout.other_labels)
    found = find_names(names.text, [source], "classes.txt", "labelmap.txt", "class_names.txt")
    if found is None and not layout.names:
        raise TrashkitError(
            f"{source} has no classes.txt", hint="give the class names as --names A,B,C or --names FILE"
        )
    photo_end = PurePosixPath(layout.photo_end).with_suffix("").as_posix() if layout.photo_end else ""
    photos = {stem.removesuffix(photo_end): path for stem, path in _photos(photo_folder, label_folder).items()}
    paths = [path for path in files_in(label_folder, [".png"]) if path.name.endswith(layout.label_end)]
    if real_path(photo_folder) == real_path(label_folder):
        paths = [path for path in paths if not _is_photo(path)]
    stems = {path.as_posix().removesuffix(layout.label_end): path for path in paths}
    labels, lost = pair(stems, photos, keys=(composed, folded, _without_mask, _without_folder))
    if not paths:
        other = next(iter(files_in(label_folder, [".jpg", ".jpeg"])), None) if label_folder != photo_folder else None
        raise TrashkitError(
            f"{label_folder} contains no label maps (*{layout.label_end})"
            f"{f' but {other}: JPEG changes the numbers of pixels' if other else ''}",
            hint="save label maps as PNG" if other else "check the format and the folder",
        )
    if not labels:
        raise TrashkitError(f"{label_folder / lost[0]} has no photo in {photo_folder}", hint="give --images")
    pairs, unusable = [], CocoBuilder()
    for stem, label in sorted(labels.items(), key=lambda item: item[1]):
        photo = photos.pop(stem)
        with unusable.picture(str(label_folder / label), 1):
            pairs.append((label_folder / label, photo, _shared_size(label_folder / label, photo_folder / photo)))
    if not pairs:
        return unusable.finish(photo_folder)  # raises, with the reason
    table, colors = label_map_table(
        found, layout.zero, names.zero, [path for path, _, _ in pairs], default=layout.names
    )
    builder = CocoBuilder(table)
    builder.take_counts(unusable)
    for done, (path, photo, (width, height)) in enumerate(pairs):
        try:
            pixels = read_label_png(path, colors)
        except DamagedLabelError as error:
            builder.skip("label maps that are damaged", error.message)
            continue
        builder.add_label_map(builder.image(photo.as_posix(), width, height), pixels, table, str(path))
        progress("reading label maps", done + 1, len(labels))
    for path in [label_folder / label for label in lost]:
        builder.skip("label maps without a photo, left out", str(path))
    for photo in photos.values():
        builder.note("photos without a label map, left out", str(photo_folder / photo))
    if found is None:
        builder.note("list of class names is missing, so that those of the original data set are used", str(source))
    return finish_label_maps(builder, table, photo_folder)


def _shared_size(label: Path, photo: Path) -> tuple[int, int]:
    """(width, height) of a label map. Raises TrashkitError where it is not that of its photo."""
    size, info = label_png_size(label), photo_info(photo)
    if size not in {info.oriented_size, (info.width, info.height)}:
        raise TrashkitError(
            f"{label} is {size[0]}x{size[1]}, its photo {info.width}x{info.height}",
            hint="a label map must have the size of its photo",
        )
    return size


def _without_mask(stem: str) -> str:
    """A path without regard to case, without what the names of label maps end in: ``a_mask``, ``a.jpg``."""
    return re.sub(r"([_-](mask|masks|seg|gt|label|labels|segmentation)|\.(jpe?g|png|webp))$", "", folded(stem))


def _without_folder(stem: str) -> str:
    """As `_without_mask`, without the folder that keeps photos and label maps apart: ``train/images/a``."""
    *folders, name = _without_mask(stem).split("/")
    return "/".join([*(one for one in folders if one not in _PHOTO_FOLDERS | _LABEL_FOLDERS), name])


def _is_photo(path: PurePosixPath) -> bool:
    """Whether a PNG lies in a folder of photos, where others have the label maps."""
    return any(part.casefold() in _PHOTO_FOLDERS for part in path.parts[:-1])


def _photos(folder: Path, labels: Path) -> dict[str, PurePosixPath]:
    if real_path(folder) != real_path(labels):
        return photos_by_stem(folder)
    # Photos and label maps in the same folder: a PNG is a label map, unless its folder says otherwise.
    found: dict[str, PurePosixPath] = {}
    for path in files_in(folder, [".png"]):
        if _is_photo(path):
            found[composed(path.with_suffix("").as_posix())] = path
    for path in files_in(folder, [".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"]):
        found[composed(path.with_suffix("").as_posix())] = path
    return found


def label_map_table(
    found: NameList | None, zero: Zero, choice: ClassZero | None, labels: Sequence[Path], *, default: Sequence[str] = ()
) -> tuple[ClassTable, dict[Color, int] | None]:
    """The meaning of the numbers in label maps, and the class number by colour where the list has colours.

    default: names by number if no list was found. Where there is one class, and all label maps consist of 0 and 255,
    255 is this class. Raises TrashkitError where the meaning is unclear, and for two names with one colour.
    """
    known = {color: 0 for color in found.colors if color is not None} if found is not None else {}
    if found is not None and len(known) < sum(color is not None for color in found.colors):
        raise TrashkitError(f"{found.place} gives one colour to two names", hint="give each class its own colour")
    keys = {**known, (0, 0, 0): 0, GREY: 255} if known else None

    @cache
    def numbers() -> frozenset[int]:
        found: set[int] = set()
        for path in labels:
            with suppress(DamagedLabelError):  # skipped, when it is read
                found |= numbers_in(path, keys)
        return frozenset(found)

    if found is None:
        table = table_of(default)
    else:
        table = class_table(found, zero, choice=choice, used=lambda: numbers() - {255})
        _refuse_background_255(table, found, choice, numbers)
    if len(table.names) == 1 and 255 not in table.all_names and numbers() == {0, 255}:
        table = ClassTable({255: table.classes[0]}, {0: "Background"})
    if keys is None or found is None:
        return table, None
    number_of = {name: number for number, name in reversed(table.all_names.items())}
    background = next(iter(table.background), None)
    colors = {GREY: 255, **({(0, 0, 0): background} if background is not None else {})}
    for name, color in zip(found.names, found.colors, strict=True):
        if color is not None and name in number_of:
            colors[color] = number_of[name]
    return table, colors


def _refuse_background_255(
    table: ClassTable, found: NameList, choice: ClassZero | None, numbers: Callable[[], frozenset[int]]
) -> None:
    """Raise TrashkitError where 255 may be background and 0 a class: all names are used if counted from 0."""
    added = choice is None and table.background.get(0) == "Background" and "Background" not in found.names
    if added and len(found.names) > 1 and numbers() == {255, *range(len(found.names))}:
        other = table_of(found.names)
        raise TrashkitError(
            f"{found.place}: the label maps have 0 to {len(found.names) - 1} and 255, which may be background or "
            f"ignored: either {table}; or {other}",
            hint="choose with --class-zero background or --class-zero class",
        )


def finish_label_maps(builder: CocoBuilder, table: ClassTable, photos: Path) -> ImportedAnnotations:
    """The finished COCO file. Raises TrashkitError where label maps have ignored pixels and no other objects."""
    ignored = next((what for what in builder.noted if "ignored pixels (255)" in what), None)
    if ignored is not None and not builder.annotations:
        raise TrashkitError(
            f"{builder.examples[ignored]}: all label maps consist of background and of 255, which means ignored",
            hint="give the name of the class if there is only one, as in --names A,",
        )
    if 255 in table.names:
        builder.note(f"label maps of 0 and 255, where 255 is read as {table.names[255]}", str(photos))
    builder.table = table
    return builder.finish(photos)
