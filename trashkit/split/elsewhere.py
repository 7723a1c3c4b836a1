"""Splits made elsewhere: a CSV of folds, lists of images, a folder of COCO files; images matched by name or id."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trashkit.coco import Dataset, read
from trashkit.errors import TrashkitError

ImageId = int | str
FORMS = (
    "give split.json of trashkit, a CSV with the columns image_id or file_name and fold, a text file that lists the "
    "images of one validation set, or a folder with train and val of each fold as COCO files or as such lists"
)
IMAGE_COLUMNS = ("image_id", "file_name", "filename", "image", "img", "path", "id", "name")
FOLD_COLUMNS = ("fold", "kfold", "fold_id")
NEVER = ("-1", "train", "")
"""Values of the fold column of images that are in no validation set."""
_SIDE = re.compile(r"(?<![a-z])(train(?:ing)?|val(?:id(?:ation)?)?|test)(?![a-z])")


@dataclass(frozen=True)
class Foreign:
    """folds: ids of train and val of each fold, in its order. form: what it was read as. notes: for the user."""

    folds: tuple[tuple[tuple[ImageId, ...], tuple[ImageId, ...]], ...]
    form: str
    notes: tuple[str, ...] = ()


class _Images:
    """Finds the image that a name or an id in a foreign file stands for."""

    def __init__(self, dataset: Dataset):
        self.what = str(dataset.coco.path or "the annotations")
        self.ids = [image.id for image in dataset.images]
        names = [PurePosixPath(image.file_name) for image in dataset.images]
        self.known: dict[str, ImageId | None] = {}
        # From the surest to the loosest; a key that means two images means none.
        for keys in (map(str, names), map(str, self.ids), (n.name for n in names), (n.stem for n in names)):
            level: dict[str, ImageId | None] = {}
            for key, image_id in zip(keys, self.ids, strict=True):
                level[key] = None if key in level else image_id
            self.known = level | self.known

    def find(self, text: str, place: str) -> ImageId:
        """Image id of "images/0001.jpg", "./0001.jpg", "0001" or an id. TrashkitError that names the place."""
        name = text.strip().strip('"').replace("\\", "/").removeprefix("./")
        for key in (name, PurePosixPath(name).name, PurePosixPath(name).stem):
            found = self.known.get(key)
            if found is not None:
                return found
        why = "stands for several images" if name in self.known else "is no image"
        raise TrashkitError(
            f'{place}: "{text.strip()}" {why} of {self.what}', hint="give the --data that the split is of"
        )

    def rest(self, ids: Iterable[ImageId]) -> tuple[ImageId, ...]:
        """All images but these."""
        left = set(ids)
        return tuple(image_id for image_id in self.ids if image_id not in left)


def is_foreign(path: Path) -> bool:
    """Whether it is read here: a folder, a CSV or a list of images; else it is JSON of trashkit."""
    return path.is_dir() or path.suffix.lower() in {".csv", ".tsv", ".txt"}


def foreign_folds(path: Path, dataset: Dataset) -> Foreign:
    """Read a split made elsewhere.

    A CSV has a column of images (`IMAGE_COLUMNS`) and one of folds (`FOLD_COLUMNS`): each value is a validation set,
    ``-1``, ``train`` or nothing means none, and all other images listed are trained on. A text file lists one
    validation set; the rest is trained on. A folder holds COCO files or lists, a fold in each subfolder or in the rest
    of the file's name (``fold-0/val.json``, ``val_0.json``, ``fold0_train.txt``, ``fold0.txt``); without a train file
    all other images are trained on. Images are found by file name, base name or id.

    TrashkitError, naming file and line, for other files and for images that the data set does not have.
    """
    images = _Images(dataset)
    if path.is_dir():
        return _from_folder(path, images)
    if path.suffix.lower() == ".txt":
        val = _list(path, images)
        return Foreign(((images.rest(val), val),), "a list of validation images")
    return _from_csv(path, images)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no split {path}", hint=FORMS) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TrashkitError(f"{path} cannot be read as a split: {error}", hint=FORMS) from error


def _from_csv(path: Path, images: _Images) -> Foreign:
    lines = _text(path).splitlines()
    head = lines[0] if lines else ""
    separator = max("\t;,", key=head.count)
    try:
        rows = list(csv.reader(lines, delimiter=separator))
    except csv.Error as error:
        raise TrashkitError(f"{path} is no CSV: {error}", hint=FORMS) from error
    columns = [cell.strip().lower() for cell in rows[0]] if rows else []
    image = next((columns.index(name) for name in IMAGE_COLUMNS if name in columns), None)
    fold = next((columns.index(name) for name in FOLD_COLUMNS if name in columns), None)
    if image is None or fold is None:
        lacking = "image_id or file_name" if image is None else "fold"
        raise TrashkitError(f"{path}, line 1: there is no column {lacking}", hint=FORMS)
    home: dict[str, list[ImageId]] = {}
    listed: list[ImageId] = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(image, fold):
            raise TrashkitError(f"{path}, line {number}: {len(row)} columns instead of {len(columns)}", hint=FORMS)
        found, value = images.find(row[image], f"{path}, line {number}"), row[fold].strip()
        value = value.removesuffix(".0")
        listed.append(found)
        if value.lower() not in NEVER:
            home.setdefault(value, []).append(found)
    if not home:
        raise TrashkitError(f"{path} puts no image into a fold", hint=FORMS)
    folds = []
    for value in sorted(home, key=_natural):
        val = home[value]
        inside = set(val)
        folds.append((tuple(dict.fromkeys(i for i in listed if i not in inside)), tuple(val)))
    return Foreign(tuple(folds), "a CSV of folds")


def _list(path: Path, images: _Images) -> tuple[ImageId, ...]:
    lines = enumerate(_text(path).splitlines(), 1)
    found = tuple(images.find(line, f"{path}, line {number}") for number, line in lines if line.strip())
    if not found:
        raise TrashkitError(f"{path} lists no image", hint=FORMS)
    return found


def _from_folder(folder: Path, images: _Images) -> Foreign:
    """Files of each fold by their names: what is left of the name without train or val is the fold."""
    sides: dict[str, dict[str, Path]] = {}
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in {".json", ".txt"} and p.is_file()]
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix().lower()
        parts = _SIDE.findall(name.replace("_", " "))
        side = "train" if parts and parts[-1].startswith("train") else "val"
        if parts and parts[-1] == "test":
            continue
        key = _SIDE.sub(" ", name.replace("_", " ")) + path.suffix.lower()
        if not parts and path.suffix.lower() == ".json":
            continue
        other = sides.setdefault(key, {}).setdefault(side, path)
        if other != path:
            raise TrashkitError(f"{other} and {path} are both the {side} of one fold", hint=FORMS)
    if not sides:
        raise TrashkitError(f"{folder} holds no folds", hint=FORMS)
    folds: list[tuple[tuple[ImageId, ...], tuple[ImageId, ...]]] = []
    notes: list[str] = []
    for key in sorted(sides, key=_natural):
        found = sides[key]
        if "val" not in found:
            raise TrashkitError(f"{found['train']} has no val beside it", hint=FORMS)
        ids = {side: _coco(path, images, notes) if path.suffix.lower() == ".json" else _list(path, images)
               for side, path in found.items()}  # fmt: skip
        folds.append((ids.get("train", images.rest(ids["val"])), ids["val"]))
    kinds = {path.suffix.lower() for one in sides.values() for path in one.values()}
    if len(notes) > 1:
        notes = [f"{notes[0]}, and so in {len(notes) - 1} more files"]
    notes = [f"{note}; they are matched by file name" for note in notes]
    return Foreign(tuple(folds), "COCO files of folds" if kinds == {".json"} else "lists of folds", tuple(notes))


def _coco(path: Path, images: _Images, notes: list[str]) -> tuple[ImageId, ...]:
    """Ids of the images of a COCO file, by file name where it has one, since ids may have been given anew."""
    coco = read(path)
    if "images" not in coco.blocks():
        raise TrashkitError(f"{path} has no images: it is no COCO file", hint=FORMS)
    ids: list[ImageId] = []
    other = 0
    for row in range(coco.count("images")):
        record = coco.record("images", row)
        name = record.get("file_name", record.get("id")) if isinstance(record, dict) else None
        if not isinstance(name, str | int):
            raise TrashkitError(f"{path}, images row {row}: neither file_name nor id", hint=FORMS)
        ids.append(images.find(str(name), f"{path}, images row {row}"))
        other += json.dumps(record.get("id")) != json.dumps(ids[-1])
    if other:
        notes.append(f"{path}: {other} of {len(ids)} images have other ids than in {images.what}")
    return tuple(ids)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sorts fold-2 before fold-10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]
