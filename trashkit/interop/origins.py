"""Restores file names and ids on import: formats rename photos and renumber images.

Every export contains a list of its images (`IMAGE_LIST`) with the original file name and id of each photo. For files
without that list, such as an export of CVAT, the original annotation file is used instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from trashkit.coco import Coco, Image
from trashkit.coco.dataset import is_number
from trashkit.coco.segmentation import check_segmentation
from trashkit.edits.diff import ROUNDING
from trashkit.edits.edit import canonical
from trashkit.edits.match import match_annotations
from trashkit.errors import TrashkitError
from trashkit.files import real_path, without_suffix
from trashkit.interop.folders import label_stems, read_json_lines
from trashkit.interop.geometry.shapes import covers_same_pixels
from trashkit.names import composed

IMAGE_LIST = "trashkit-images.jsonl"
"""One line per image of an export: the photo's path in the folder, the original file_name and id, and the size."""


def write_image_list(written: Mapping[int, Path], images: Iterable[Image], folder: Path) -> None:
    """Write the image list of an export. written: the path of each image's photo, even if it was left out, by row."""
    lines = [
        json.dumps(
            {
                "photo": written[image.row].relative_to(folder).as_posix(),
                "file_name": image.file_name,
                "id": image.id,
                "width": image.width,
                "height": image.height,
            },
            ensure_ascii=False,
        )
        for image in images
        if image.row in written
    ]
    (folder / IMAGE_LIST).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Origin:
    """An image as it was before the export. size: (width, height)."""

    file_name: str
    id: Any
    size: tuple[int, int]
    photo: str = ""


def restore_from_list(coco: Coco, source: Path, photos: Path | None) -> tuple[Coco, tuple[str, ...]]:
    """Restore file names and image ids from the list of an export. Returns the annotations, and notes.

    source: what was imported. Without a list in or next to it, nothing changes. Images that are not in the list, or
    have another size there, keep their names and get free ids. photos: the folder that the imported names are relative
    to.
    """
    folder = source if source.is_dir() else source.parent
    path = folder / IMAGE_LIST
    if not path.is_file():
        return coco, ()
    origins = _read_list(path)
    below = ""
    if photos is not None and real_path(photos).is_relative_to(real_path(folder)):
        below = PurePosixPath(real_path(photos).relative_to(real_path(folder))).as_posix()
    records = coco.records("images")
    by_photo = {composed(origin.photo): origin for origin in origins}
    found = {row: _by_list(record, below, by_photo) for row, record in enumerate(records)}
    known = {row: origin for row, origin in found.items() if origin is not None}
    names = [origin.file_name for origin in known.values()]
    names += [record["file_name"] for row, record in enumerate(records) if row not in known]
    if not known or len(set(names)) != len(names):
        return coco, ()
    new: dict[Any, Any] = {}
    taken = {origin.id for origin in known.values()}
    changes: dict[int, Any] = {}
    for row, record in enumerate(records):
        origin = known.get(row)
        new[record["id"]] = origin.id if origin else _free(record["id"], taken)
        changes[row] = {**record, "id": new[record["id"]], **({"file_name": origin.file_name} if origin else {})}
    coco = coco.replace("images", changes)
    moved = {
        row: {**record, "image_id": new[record["image_id"]]} for row, record in enumerate(coco.records("annotations"))
    }
    note = f"{len(known)} images have their original names and ids, from {path}"
    lost = len(records) - len(known)
    return coco.replace("annotations", moved), (note + (f"; {lost} are not in that list" if lost else ""),)


def _free(wanted: Any, taken: set[Any]) -> Any:
    """The wanted id if it is free, else a new one; it is added to `taken`."""
    if wanted in taken:
        wanted = max((one for one in taken if isinstance(one, int)), default=0) + 1
    taken.add(wanted)
    return wanted


class _Line(msgspec.Struct):
    photo: str
    file_name: str
    id: int | str
    width: int
    height: int


def _read_list(path: Path) -> list[_Origin]:
    try:
        lines = []
        ids: set[int | str] = set()
        for number, line in read_json_lines(path, _Line):
            if line.id in ids:
                raise TrashkitError(f"{path}, line {number}: an earlier line has the id {line.id}, too")
            ids.add(line.id)
            lines.append(line)
    except TrashkitError as error:
        raise TrashkitError(error.message, hint="delete the file to keep the names of the export") from error
    return [_Origin(line.file_name, line.id, (line.width, line.height), line.photo) for line in lines]


def _by_list(record: Mapping[str, Any], below: str, by_photo: Mapping[str, _Origin]) -> _Origin | None:
    """The image in the list that a record's file name refers to, by its path in the export or the end of it."""
    name, size = composed(str(record["file_name"])), (record["width"], record["height"])
    whole = f"{below}/{name}" if below not in ("", ".") else name
    found = [by_photo[whole]] if whole in by_photo else []
    found = found or [origin for photo, origin in by_photo.items() if photo.endswith(f"/{name}")]
    found = found or [origin for origin in by_photo.values() if composed(origin.file_name) == name]
    return found[0] if len(found) == 1 and found[0].size == size else None


def restore_from_original(coco: Coco, original: Coco, images: tuple[Image, ...]) -> tuple[Coco, tuple[str, ...]]:
    """Turn imported annotations into a new version of the file that was exported. Returns it, and notes.

    Images are matched by name as the formats change it (folders joined by "__", prefixed by a part, another suffix),
    and get the records, order and categories of `original`. Annotations get the ids of those that they match, by
    overlap within their image. images: those of `original`. Raises TrashkitError for an image that it lacks, that has
    another size, or that occurs twice. Images of `original` that were not imported are left out.
    """
    _check_rows(original)
    records = coco.records("images")
    pairs, problem = _pairs(records, images, inner=False)
    if problem:
        # A folder of the data may have the name of a part: "train/a.jpg" can then be "a.jpg", too.
        other, still = _pairs(records, images, inner=True)
        if still:
            raise TrashkitError(f"{original.path} {problem}", hint="give the exported file as --like")
        pairs = other
    ids = {record["id"]: image.id for record, image in zip(records, pairs, strict=True)}
    rows = {image.row for image in pairs}
    made = _with_ids(coco, original, ids)
    kept = [original.record("images", row) for row in sorted(rows)]
    made = made.replace("images", dict.fromkeys(range(made.count("images"))), kept)
    left = len(images) - len(rows)
    note = f"{len(rows)} images have the names and ids of {original.path}"
    return made, (note + (f"; its other {left} images were not imported" if left else ""),)


def _pairs(records: list[Any], images: tuple[Image, ...], *, inner: bool) -> tuple[list[Image], str]:
    """The original image of each imported one, and a message about the first that has none, or an empty one.

    inner: try a name without its first folder before the full name.
    """
    by_name = {composed(image.file_name): image for image in images}
    by_row = {image.row: image for image in images}
    by_stem = {composed(stem).casefold(): by_row[row] for row, stem in label_stems(images, flat=True).items()}
    found: list[Image] = []
    taken: dict[int, str] = {}
    for record in records:
        name = composed(str(record["file_name"]))
        whole = [by_name.get(name), *(by_stem.get(key) for key in _keys(name))]
        inside = [by_stem.get(key) for key in _keys(name.partition("/")[2])] if "/" in name else []
        choices = [*inside, *whole] if inner else whole
        image = next((one for one in choices if one is not None), None)
        if image is None:
            return found, f"has no image that was exported as {name}"
        if (image.width, image.height) != (record["width"], record["height"]):
            return found, f"has no image that was exported as {name} ({image.file_name} has another size)"
        if image.row in taken:
            return found, f"has one image {image.file_name} for both {taken[image.row]} and {name}"
        taken[image.row] = name
        found.append(image)
    return found, ""


def _keys(name: str) -> list[str]:
    """Names without suffix that a photo may have had before: the path, with 0, 1, 2 ... leading folders removed."""
    parts = without_suffix(name.replace("\\", "/")).parts
    tails = ["__".join(parts[start:]).casefold() for start in range(len(parts))]
    return [key.removesuffix(end) for key in tails for end in ("", "_leftimg8bit") if key.endswith(end)]


def _check_rows(original: Coco) -> None:
    """Raise TrashkitError for rows of the original that cannot be compared: no objects, without id, ids as lists."""
    plain = (int, float, str, type(None))
    checked = {"images": ("id",), "categories": ("id", "name"), "annotations": ("id", "image_id", "category_id")}
    for block, keys in checked.items():
        for row, record in enumerate(original.records(block)):
            wrong = [key for key in keys if not isinstance(record.get(key), plain)] if isinstance(record, dict) else []
            if wrong or not isinstance(record, dict) or record.get("id") is None:
                what = f'has a "{wrong[0]}" that is not a number or text' if wrong else "has no id"
                what = what if isinstance(record, dict) else "is not an object"
                raise TrashkitError(f"{original.path}: {block}[{row}] {what}", hint="run trashkit audit on this file")


def _with_ids(coco: Coco, original: Coco, ids: Mapping[Any, Any]) -> Coco:
    """The annotations with the image, category and annotation ids of `original`, whose categories come first."""
    categories = [dict(record) for record in original.records("categories")]
    by_name = {record.get("name"): record.get("id") for record in reversed(categories)}
    taken = {record.get("id") for record in categories}
    category_ids: dict[Any, Any] = {}
    for record in coco.records("categories"):
        name = record["name"]
        if name not in by_name:
            by_name[name] = _free(record["id"], taken)
            categories.append({**record, "id": by_name[name]})
        category_ids[record["id"]] = by_name[name]
    new = [
        {**record, "image_id": ids[record["image_id"]], "category_id": category_ids[record["category_id"]]}
        for record in coco.records("annotations")
    ]
    present = set(ids.values())
    old = [record for record in original.records("annotations") if record.get("image_id") in present]
    sizes = {
        record["id"]: (record["height"], record["width"])
        for record in original.records("images")
        if record["id"] in present
    }
    pairs, _ = match_annotations(old, new, sizes, trust=False)
    used = {record.get("id") for record in original.records("annotations")}
    numbered: dict[int, Any] = {}
    for row, record in enumerate(new):
        if row not in pairs:
            numbered[row] = {**record, "id": _free(record["id"], used)}
            continue
        before = old[pairs[row]]
        # An unchanged shape also keeps the file's own area, which decides the paint order.
        same = _same_shape(before.get("segmentation"), record["segmentation"], sizes[record["image_id"]])
        numbered[row] = {**before, "category_id": record["category_id"]} if same else {**record, "id": before["id"]}
    made = coco.replace("annotations", numbered)
    return made.replace("categories", dict.fromkeys(range(coco.count("categories"))), categories)


def _same_shape(one: Any, other: Any, size: tuple[int, int]) -> bool:
    """Whether two segmentations in an image of (height, width) are equal up to rounding; damaged ones must be equal.

    Where a format cannot store holes or parts, so that it has a mask or another number of rings, the same pixels count.
    """
    if isinstance(one, list) and (not isinstance(other, list) or len(one) != len(other)):
        return not check_segmentation(one, *size) and covers_same_pixels([other], one, *size)
    rings = [ring for side in (one, other) if isinstance(side, list) for ring in side]
    drawn = isinstance(one, list) and isinstance(other, list)
    if not (drawn and all(isinstance(ring, list) and all(map(is_number, ring)) for ring in rings)):
        return canonical(one) == canonical(other)
    return len(one) == len(other) and all(
        len(before) == len(after) and all(abs(x - y) <= ROUNDING for x, y in zip(before, after, strict=True))
        for before, after in zip(one, other, strict=True)
    )
