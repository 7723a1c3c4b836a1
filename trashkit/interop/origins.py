"""Names and ids on the way back: formats rename photos and number anew, and an import can undo it.

Every export writes a list of its images (`LIST`) that says what each photo was called before, and under which id.
For files that travel without that list, such as what CVAT gives back, the original file itself says it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trashkit.coco import Coco, Image
from trashkit.coco.dataset import ids_in
from trashkit.coco.edit import canonical
from trashkit.coco.edit_diff import ROUNDING
from trashkit.coco.edit_match import match_annotations
from trashkit.errors import TrashkitError
from trashkit.interop.folders import read_text, stems

LIST = "trashkit-images.jsonl"
"""One line for each image of an export: path of the photo in the folder, file_name, id and size."""


def write_list(written: Mapping[int, Path], images: Iterable[Image], folder: Path) -> None:
    """Write the list of an export. written: where the photo of each image lies (or would lie), by row."""
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
    (folder / LIST).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Origin:
    """What an image was before it was exported. size: (width, height)."""

    file_name: str
    id: Any
    size: tuple[int, int]
    photo: str = ""


def restore(coco: Coco, source: Path, photos: Path | None) -> tuple[Coco, tuple[str, ...]]:
    """Imported annotations with the file names and image ids of before the export, and what is to be told of it.

    source: what was imported; where no list lies in it, or beside it, all stays as it is. Images that the list does
    not know, or knows in another size, keep their names and take ids that are free. photos: the folder that the
    imported names are relative to.
    """
    folder = source if source.is_dir() else source.parent
    path = folder / LIST
    if not path.is_file():
        return coco, ()
    origins = _read_list(path)
    below = ""
    if photos is not None and photos.resolve().is_relative_to(folder.resolve()):
        below = PurePosixPath(photos.resolve().relative_to(folder.resolve())).as_posix()
    records = coco.records("images")
    by_photo = {origin.photo: origin for origin in origins}
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
    note = f"{len(known)} images have the names and ids of before the export, by {path}"
    lost = len(records) - len(known)
    return coco.replace("annotations", moved), (note + (f"; {lost} are not in that list" if lost else ""),)


def _free(wanted: Any, taken: set[Any]) -> Any:
    """An id that nothing has yet, the wanted one if it can be; it is taken from now on."""
    if wanted in taken:
        wanted = max((one for one in taken if isinstance(one, int)), default=0) + 1
    taken.add(wanted)
    return wanted


def _read_list(path: Path) -> list[_Origin]:
    found = []
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        try:
            value = json.loads(text)
            size = int(value["width"]), int(value["height"])
            origin = _Origin(value["file_name"], value["id"], size, value["photo"])
            sound = isinstance(origin.file_name, str) and isinstance(origin.photo, str) and ids_in(origin.id)
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise TrashkitError(f"{path}, line {line} is damaged", hint="delete the file; names then stay as exported")
        found.append(origin)
    return found


def _by_list(record: Mapping[str, Any], below: str, by_photo: Mapping[str, _Origin]) -> _Origin | None:
    """The one image of the list that this record's file name means: by path in the export, then by its end."""
    name, size = str(record["file_name"]), (record["width"], record["height"])
    whole = f"{below}/{name}" if below not in ("", ".") else name
    found = [by_photo[whole]] if whole in by_photo else []
    found = found or [origin for photo, origin in by_photo.items() if photo.endswith(f"/{name}")]
    found = found or [origin for origin in by_photo.values() if origin.file_name == name]
    return found[0] if len(found) == 1 and found[0].size == size else None


def like(coco: Coco, original: Coco, images: tuple[Image, ...]) -> tuple[Coco, tuple[str, ...]]:
    """Imported annotations as a new version of the file they were exported from, and what is to be told of it.

    Images are joined by name as the formats change it (folders joined by "__", a part before it, another ending) and
    become those of `original`, whose order and categories stay too; an annotation takes the id of the one that it is,
    by overlap within its image. images: those of `original`. Raises TrashkitError for an image that it lacks, has in
    another size, or that came twice. Images of `original` that did not come are left out.
    """
    records = coco.records("images")
    pairs, problem = _pairs(records, images, inner=False)
    if problem:
        # A folder of the data may be named as a part of the export is: "train/a.jpg" is then "a.jpg" as well.
        other, still = _pairs(records, images, inner=True)
        if still:
            raise TrashkitError(f"{original.path} {problem}", hint="give --like the file that was exported")
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
    """The original image of each imported one; and what is wrong, in words, where some have none.

    inner: a name without its first folder is tried before the name as it is.
    """
    by_name = {image.file_name: image for image in images}
    by_row = {image.row: image for image in images}
    by_stem = {stem.casefold(): by_row[row] for row, stem in stems(images, flat=True).items()}
    found: list[Image] = []
    taken: dict[int, str] = {}
    for record in records:
        name = str(record["file_name"])
        whole = [by_name.get(name), *(by_stem.get(key) for key in _keys(name))]
        inside = [by_stem.get(key) for key in _keys(name.partition("/")[2])] if "/" in name else []
        choices = [*inside, *whole] if inner else whole
        image = next((one for one in choices if one is not None), None)
        if image is None:
            return found, f"has no image that became {name}"
        if (image.width, image.height) != (record["width"], record["height"]):
            return found, f"has no image that became {name} ({image.file_name} has another size)"
        if image.row in taken:
            return found, f"has one image {image.file_name} for both {taken[image.row]} and {name}"
        taken[image.row] = name
        found.append(image)
    return found, ""


def _keys(name: str) -> list[str]:
    """Names without ending that a photo may have had before, the longest first: parts in front come off one by one."""
    pieces = PurePosixPath(name.replace("\\", "/")).with_suffix("").parts
    tails = ["__".join(pieces[start:]).casefold() for start in range(len(pieces))]
    return [key.removesuffix(end) for key in tails for end in ("", "_leftimg8bit") if key.endswith(end)]


def _with_ids(coco: Coco, original: Coco, ids: Mapping[Any, Any]) -> Coco:
    """The annotations under the image, category and annotation ids of `original`, whose categories come first."""
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
        # An untouched shape keeps the file's own area too, which decides what lies on top.
        same = _same_shape(before.get("segmentation"), record["segmentation"])
        numbered[row] = {**before, "category_id": record["category_id"]} if same else {**record, "id": before["id"]}
    made = coco.replace("annotations", numbered)
    return made.replace("categories", dict.fromkeys(range(coco.count("categories"))), categories)


def _same_shape(one: Any, other: Any) -> bool:
    """Whether two segmentations are equal but for rounding."""
    if not (isinstance(one, list) and isinstance(other, list)):
        return canonical(one) == canonical(other)
    return len(one) == len(other) and all(
        len(before) == len(after) and all(abs(x - y) <= ROUNDING for x, y in zip(before, after, strict=True))
        for before, after in zip(one, other, strict=True)
    )
