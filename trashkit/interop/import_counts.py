"""What an import has read: objects and pixels by class, skipped shapes, and images without objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.coco import Coco
from trashkit.coco.dataset import is_valid_id
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.files import is_file
from trashkit.images.photos import photo_path
from trashkit.interop.coco_builder import ImportedAnnotations, described
from trashkit.interop.names.table import ClassTable
from trashkit.raster.masks import pixel_area


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One class of the result.

    id: its category id, None for background and ignored numbers. number: its number in the files that were read, None
    where the format has names only. pixels: the sum over its objects, each by itself; shapes that cannot be drawn count
    as none.
    """

    id: Any
    number: int | None
    name: str
    objects: int
    pixels: int


def class_counts(coco: Coco, table: ClassTable | None) -> tuple[ClassCount, ...]:
    """The classes of a file by number, then in the order of the file; also the numbers that do not stand for a class.

    table: the meaning of the numbers in the files that were read, if they have numbers.
    """
    names = {
        record.get("id"): str(record.get("name"))
        for record in coco.records("categories")
        if is_valid_id(record.get("id"))
    }
    sizes = {
        record.get("id"): (record.get("height"), record.get("width"))
        for record in coco.records("images")
        if is_valid_id(record.get("id"))
    }
    objects, pixels = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for record in coco.records("annotations"):
        category = record.get("category_id")
        if is_valid_id(category) and category in names:
            objects[category] += 1
            image = record.get("image_id")
            pixels[category] += _pixels(record, sizes.get(image) if is_valid_id(image) else None)
    table = table or ClassTable({})
    number_of = {name: number for number, name in reversed(list(table.names.items()))}
    rows = [ClassCount(key, number_of.get(name), name, objects[key], pixels[key]) for key, name in names.items()]
    rows += [ClassCount(None, number, name, 0, 0) for number, name in {**table.background, **table.ignored}.items()]
    return tuple(sorted(rows, key=lambda row: (row.number is None, row.number or 0)))


def _pixels(record: Mapping[str, Any], size: tuple[Any, Any] | None) -> int:
    """How many pixels an annotation covers; 0 where that cannot be known."""
    if size is None or not all(isinstance(side, int) and side > 0 for side in size):
        return 0
    segmentation = record.get("segmentation")
    if not isinstance(segmentation, list | dict) or check_segmentation(segmentation, *size):
        return 0
    return pixel_area(segmentation, *size)


def undrawn(coco: Coco) -> tuple[str, ...]:
    """A warning about annotations that a COCO file keeps although no command can draw them; empty without any."""
    sizes = {
        record["id"]: (record.get("height"), record.get("width"))
        for record in coco.records("images")
        if is_valid_id(record.get("id"))
    }
    known = {record.get("id") for record in coco.records("categories") if is_valid_id(record.get("id"))}
    reasons: list[str] = []
    for row, record in enumerate(coco.records("annotations")):
        image, segmentation = record.get("image_id"), record.get("segmentation")
        size = sizes.get(image) if is_valid_id(image) else None
        if size is None or not all(isinstance(side, int) and side > 0 for side in size):
            reasons.append(f"annotations[{row}]: its image or its size is missing")
        elif not is_valid_id(record.get("category_id")) or record["category_id"] not in known:
            reasons.append(f"annotations[{row}]: its category is not in the file")
        elif not segmentation:
            reasons.append(f"annotations[{row}]: it has no segmentation")
        elif reason := check_segmentation(segmentation, *size):
            reasons.append(f"annotations[{row}]: {reason}")
    if not reasons:
        return ()
    return (f"{len(reasons)} annotations that cannot be drawn are kept as they are, first {reasons[0]}",)


def images_without_objects(coco: Coco) -> int:
    """How many images have no annotation."""
    used = {record["image_id"] for record in coco.records("annotations") if is_valid_id(record.get("image_id"))}
    return sum(not is_valid_id(record.get("id")) or record["id"] not in used for record in coco.records("images"))


def missing_photos(found: ImportedAnnotations, images: Path | None) -> tuple[str, ...]:
    """A note about images whose photo is not in the folder of the photos; empty if there are none.

    images: the folder that the user gave. Otherwise labels without any photo are nothing unusual.
    """
    if found.photos is None:
        return ()
    names = [record.get("file_name") for record in found.coco.records("images") if isinstance(record, dict)]
    lost = [name for name in names if isinstance(name, str) and not _has_photo(found.photos, name)]
    if not lost or (images is None and len(lost) == len(names)):
        return ()
    return (f"{len(lost)} of {len(names)} images have no photo in {found.photos}, first {lost[0]}",)


def _has_photo(folder: Path, name: str) -> bool:
    try:
        return is_file(photo_path(folder, name))
    except TrashkitError:
        return False


def refuse_losses(found: ImportedAnnotations, *, strict: bool) -> None:
    """Raise TrashkitError where all shapes were skipped, or with `strict` any; the message has the first reason."""
    lost = sum(found.skipped.values())
    if not lost or (found.coco.count("annotations") and not strict):
        return
    lines = described(found.skipped, found.examples)
    what = f"{lost} shapes cannot be imported" if found.coco.count("annotations") else "no shape can be imported"
    more = f"; and {len(lines) - 1} other reasons" if len(lines) > 1 else ""
    hint = "correct them, or import the others without --strict" if strict else "correct them in the other tool"
    raise TrashkitError(f"{what}: {lines[0]}{more}", hint=hint)
