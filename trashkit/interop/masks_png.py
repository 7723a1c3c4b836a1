"""PNG label maps beside photos, in the layouts of Pascal VOC, Cityscapes, ADE20K, mmsegmentation, and plainly.

Each pixel has one class. What such a file cannot hold: annotations (regions that touch become one), ids, anything
below another. The classes that are seen come back exactly. Pixels of value 255 mean "ignore" and have no place in
COCO: they come in as background, which is noted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

from trashkit.coco import ClassMap, Dataset, Image
from trashkit.coco.classes import Color
from trashkit.errors import TrashkitError
from trashkit.files import replacing
from trashkit.interop.draft import Draft, Imported
from trashkit.interop.folders import (
    class_names,
    files_in,
    first_folder,
    mark,
    photos_by_stem,
    read_text,
    refuse_foreign,
    stems,
    suffix_of,
)
from trashkit.interop.job import Job
from trashkit.interop.label_png import read_label_png, write_label_png
from trashkit.masks import PaintOrder, dataset_label_map
from trashkit.photos import photo_info, photo_path, read_photo
from trashkit.progress import Progress, silent

VOC_NAMES = (
    "Background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CITYSCAPES_NAMES = (
    *["Background"] * 4, "static", "dynamic", "ground", "road", "sidewalk", "parking", "rail track", "building", "wall",
    "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a format puts photos and label maps.

    photos, labels: folders, the part's name in place of PART. photo_end, label_end: what follows the name of a file.
    parts: other names of parts. flat: no folders below, slashes become "__". names: class names unless told otherwise.
    """

    photos: str
    labels: str
    photo_end: str = ""
    label_end: str = ".png"
    parts: tuple[tuple[str, str], ...] = ()
    flat: bool = False
    names: tuple[str, ...] = ()


LAYOUTS: dict[str, Layout] = {
    "masks": Layout("images/PART", "labels/PART"),
    "voc": Layout("JPEGImages", "SegmentationClass", flat=True, names=VOC_NAMES),
    "cityscapes": Layout(
        "leftImg8bit/PART", "gtFine/PART", "_leftImg8bit.png", "_gtFine_labelIds.png", names=CITYSCAPES_NAMES
    ),
    "ade20k": Layout(
        "images/PART", "annotations/PART", parts=(("train", "training"), ("val", "validation")), flat=True
    ),
    "mmsegmentation": Layout("img_dir/PART", "ann_dir/PART", flat=True),
}


def writer(name: str) -> Callable[[Job, Path], None]:
    """The writer of a layout, see `write`."""

    def write_layout(job: Job, out: Path) -> None:
        write(job, out, LAYOUTS[name], sets=name == "voc")

    return write_layout


def write(job: Job, out: Path, layout: Layout, *, photo_suffix: str = "", sets: bool = False) -> dict[int, str]:
    """Write photos, label maps, ``classes.txt`` and ``labelmap.txt``; returns the name of each image by its row.

    photo_suffix: one for all photos. sets: also lists of names, as Pascal VOC has them.
    """
    names = _names(job, layout)
    renamed = dict(layout.parts)
    for part, image in job.each():
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


def _names(job: Job, layout: Layout) -> dict[int, str]:
    names = stems(job.images, flat=layout.flat)
    if not layout.photo_end:
        return names
    # Cityscapes wants one folder, the city, between the part and the file.
    return {
        row: (PurePosixPath(*PurePosixPath(name).parts[:-1]) if "/" in name else PurePosixPath("photos")).as_posix()
        + "/"
        + PurePosixPath(name).name
        for row, name in names.items()
    }


def _write_png_photo(job: Job, image: Image, target: Path) -> None:
    """A photo as the PNG that Cityscapes has, its pixels as they are, turned as annotated."""
    job.written[image.row] = target
    if job.folder is None or job.photos == "none":
        return
    pixels = read_photo(photo_path(job.folder, image.file_name), (image.width, image.height))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())


def draw_all(
    dataset: Dataset,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    order: PaintOrder = "area",
    overwrite: bool = False,
    progress: Progress = silent,
) -> int:
    """Write the label map of every image into a folder, named after its photo; returns how many.

    size: (height, width), sampled with ``cv2.INTER_NEAREST``; native by default.
    """
    refuse_foreign(out, overwrite=overwrite)
    names = stems(dataset.images)
    with replacing(out, overwrite=overwrite) as temporary:
        for done, image in enumerate(dataset.images):
            pixels = dataset_label_map(dataset, image.row, order=order, size=size)
            write_label_png(temporary / f"{names[image.row]}.png", pixels, dataset.classes.colors)
            progress("drawing label maps", done + 1, len(dataset))
        write_classes(temporary, dataset.classes)
        mark(temporary, "label maps", dataset)
    return len(dataset)


def write_classes(folder: Path, classes: ClassMap) -> None:
    """Write ``classes.txt``, one name a line, and ``labelmap.txt`` with the colours, background first in both."""
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes.names), encoding="utf-8")
    colors = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(classes.names, classes.colors, strict=True)]
    text = "# label:color_rgb:parts:actions\n" + "\n".join(colors) + "\n"
    (folder / "labelmap.txt").write_text(text, encoding="utf-8")


def reader(name: str) -> Callable[..., Imported]:
    """The reader of a layout, see `read`."""

    def read_layout(
        source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
    ) -> Imported:
        return read(source, LAYOUTS[name], images=images, names=names, progress=progress)

    return read_layout


def read(
    source: Path, layout: Layout, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read a folder in a layout: one annotation for each connected region of a class.

    Class names (background first) come from `names`, ``classes.txt``, ``labelmap.txt`` or the layout itself. Photos
    without a label map are left out and counted. Raises TrashkitError for label maps without a photo, of another size,
    or with classes that have no name.
    """
    photo_folder = images or first_folder(source, layout.photos.partition("/")[0])
    label_folder = first_folder(source, layout.labels.partition("/")[0])
    known = class_names(names, source, "classes.txt", "labelmap.txt") or layout.names
    if not known:
        raise TrashkitError(f"{source} has no classes.txt", hint="name the classes with --names A,B,C or --names FILE")
    colors = _colors(source / "labelmap.txt")
    draft = Draft(list(dict.fromkeys(name for name in known if name != "Background")))
    photo_end = PurePosixPath(layout.photo_end).with_suffix("").as_posix() if layout.photo_end else ""
    photos = {stem.removesuffix(photo_end): path for stem, path in _photos(photo_folder, label_folder).items()}
    labels = [path for path in files_in(label_folder, [".png"]) if path.name.endswith(layout.label_end)]
    if not labels:
        raise TrashkitError(f"{label_folder} holds no label maps (*{layout.label_end})", hint="check format and folder")
    for done, label in enumerate(labels):
        stem = label.as_posix().removesuffix(layout.label_end)
        photo = photos.pop(stem, None)
        if photo is None:
            raise TrashkitError(f"{label_folder / label} has no photo in {photo_folder}", hint="give --images")
        pixels = read_label_png(label_folder / label, colors)
        height, width = pixels.shape
        info = photo_info(photo_folder / photo)
        if (width, height) not in {info.turned_size, (info.width, info.height)}:
            raise TrashkitError(
                f"{label_folder / label} is {width}x{height}, its photo {info.width}x{info.height}",
                hint="a label map has the size of its photo",
            )
        image = draft.image(photo.as_posix(), width, height)
        draft.add_label_map(image, pixels, known, str(label_folder / label))
        progress("reading label maps", done + 1, len(labels))
    for photo in photos.values():
        draft.skip("photos without a label map, left out", str(photo_folder / photo))
    return draft.finish(photo_folder)


def _photos(folder: Path, labels: Path) -> dict[str, PurePosixPath]:
    if folder.resolve() != labels.resolve():
        return photos_by_stem(folder)
    # Photos and label maps side by side: a PNG beside a photo of its name is the label map.
    found: dict[str, PurePosixPath] = {}
    for path in files_in(folder, [".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"]):
        found[path.with_suffix("").as_posix()] = path
    return found


def _colors(path: Path) -> dict[Color, int] | None:
    """Class index of each colour in a ``labelmap.txt``, ``name:r,g,b:parts:actions`` a line; None without a file."""
    if not path.is_file():
        return None
    found: dict[Color, int] = {}
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    for index, line in enumerate(lines):
        parts = line.split(":")
        values = parts[1].split(",") if len(parts) > 1 else []
        if len(values) != 3 or not all(value.strip().isdigit() and int(value) < 256 for value in values):
            raise TrashkitError(f"{path}: {line!r} is no line name:r,g,b::", hint="write name:r,g,b:: on each line")
        red, green, blue = (int(value) for value in values)
        found.setdefault((red, green, blue), index)
    return found
