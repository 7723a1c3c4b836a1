"""Read splits of other tools: a CSV of folds, lists of images, or a folder of COCO files; matched by name or id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trashkit.coco import Dataset, read
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import is_file
from trashkit.names import composed
from trashkit.readers import ContentError, csv_rows, read_text

ImageId = int | str
FORMATS_HINT = (
    "give a split.json of trashkit, a CSV with the columns image_id or file_name and fold, a text file that lists the "
    "images of one validation set, or a folder with train and val of each fold as COCO files, lists or photos"
)
IMAGE_COLUMNS = ("image_id", "file_name", "filename", "image", "img", "path", "id", "name")
FOLD_COLUMNS = ("fold", "kfold", "fold_id")
NEVER = ("-1", "train", "")
"""Values of the fold column for images that are in no validation set."""
DIGITS = "0123456789"
_SIDE = re.compile(r"(?<![a-z])(train(?:ing)?|val(?:id(?:ation)?)?|test)(?![a-z])")


@dataclass(frozen=True)
class ForeignSplit:
    """folds: ids of train and val of each fold, in order. form: the format it was read as. notes: for the user."""

    folds: tuple[tuple[tuple[ImageId, ...], tuple[ImageId, ...]], ...]
    form: str
    notes: tuple[str, ...] = ()


class _ImageIndex:
    """Resolves names or ids in a foreign file to images of the data set."""

    def __init__(self, dataset: Dataset):
        self.what = str(dataset.coco.path or "the annotations")
        self.ids = [image.id for image in dataset.images]
        names = [PurePosixPath(composed(image.file_name)) for image in dataset.images]
        self.known: dict[str, ImageId | None] = {}
        # From the most to the least specific; ambiguous keys match nothing.
        for keys in (map(str, names), map(str, self.ids), (n.name for n in names), (n.stem for n in names)):
            level: dict[str, ImageId | None] = {}
            for key, image_id in zip(keys, self.ids, strict=True):
                level[key] = None if key in level else image_id
            self.known = level | self.known

    def find(self, text: str, place: str) -> ImageId:
        """Image id of "images/0001.jpg", "./0001.jpg", "0001" or an id. `place` is named in errors."""
        name = composed(text.strip().strip('"').replace("\\", "/").removeprefix("./"))
        for key in (name, PurePosixPath(name).name, PurePosixPath(name).stem):
            found = self.known.get(key)
            if found is not None:
                return found
        why = "matches several images" if name in self.known else "is not an image"
        raise TrashkitError(
            f'{place}: "{text.strip()}" {why} of {self.what}', hint="give the --data that the split was made for"
        )

    def rest(self, ids: Iterable[ImageId]) -> tuple[ImageId, ...]:
        """All images except these."""
        left = set(ids)
        return tuple(image_id for image_id in self.ids if image_id not in left)


def is_foreign_split(path: Path) -> bool:
    """Whether a path is a split of another tool: a folder, a CSV or a list of images; else it is JSON of trashkit."""
    return path.is_dir() or path.suffix.lower() in {".csv", ".tsv", ".txt"}


def read_foreign_split(path: Path, dataset: Dataset) -> ForeignSplit:
    """Read a split of another tool.

    A CSV has a column of images (`IMAGE_COLUMNS`) and one of folds (`FOLD_COLUMNS`): each value is a validation set,
    ``-1``, ``train`` or an empty cell means none, and the other listed images are the training set. A text file lists
    one validation set; the rest is the training set. A folder holds COCO files or lists; the fold is the subfolder or
    the rest of the file name (``fold-0/val.json``, ``val_0.json``, ``fold0_train.txt``, ``fold0.txt``), and without a
    train file all other images are the training set. In a folder of photos, the folders train and val or valid in the
    file names of the data set are the split. Images are matched by file name, base name or id.

    TrashkitError, naming file and line, for other files and for images that the data set does not have.
    """
    images = _ImageIndex(dataset)
    if path.is_dir():
        return _from_photo_folders(path, dataset) or _from_folder(path, images)
    if path.suffix.lower() == ".txt":
        val = _list(path, images)
        return ForeignSplit(((images.rest(val), val),), "a list of validation images")
    return _from_csv(path, images)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no split {path}", hint=FORMATS_HINT) from error
    except (OSError, ContentError) as error:
        problem = f"{path} cannot be read as a split: {read_error_reason(error)}"
        raise TrashkitError(problem, hint=FORMATS_HINT) from error


def _from_csv(path: Path, images: _ImageIndex) -> ForeignSplit:
    text = _text(path)
    separator = max("\t;,", key=text.partition("\n")[0].count)
    try:
        rows = csv_rows(text, delimiter=separator)
    except ContentError as error:
        raise TrashkitError(f"{path} is not a CSV: {error}", hint=FORMATS_HINT) from error
    columns = [cell.strip().lower() for cell in rows[0]] if rows else []
    image = next((columns.index(name) for name in IMAGE_COLUMNS if name in columns), None)
    fold = next((columns.index(name) for name in FOLD_COLUMNS if name in columns), None)
    if image is None or fold is None:
        lacking = "image_id or file_name" if image is None else "fold"
        raise TrashkitError(f"{path}, line 1: there is no column {lacking}", hint=FORMATS_HINT)
    home: dict[str, list[ImageId]] = {}
    listed: list[ImageId] = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(image, fold):
            raise TrashkitError(
                f"{path}, line {number}: {len(row)} columns instead of {len(columns)}", hint=FORMATS_HINT
            )
        found, value = images.find(row[image], f"{path}, line {number}"), row[fold].strip()
        value = value.removesuffix(".0")
        listed.append(found)
        if value.lower() not in NEVER:
            home.setdefault(value, []).append(found)
    if not home:
        raise TrashkitError(f"{path} assigns no image to a fold", hint=FORMATS_HINT)
    folds = []
    for value in sorted(home, key=_natural):
        val = home[value]
        inside = set(val)
        folds.append((tuple(dict.fromkeys(i for i in listed if i not in inside)), tuple(val)))
    return ForeignSplit(tuple(folds), "a CSV of folds")


def _list(path: Path, images: _ImageIndex) -> tuple[ImageId, ...]:
    lines = enumerate(_text(path).splitlines(), 1)
    found = tuple(images.find(line, f"{path}, line {number}") for number, line in lines if line.strip())
    if not found:
        raise TrashkitError(f"{path} lists no image", hint=FORMATS_HINT)
    return found


def _from_folder(folder: Path, images: _ImageIndex) -> ForeignSplit:
    """Group files into folds by name: the name without train or val identifies the fold."""
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
            raise TrashkitError(f"{other} and {path} are both the {side} of one fold", hint=FORMATS_HINT)
    if not sides:
        raise TrashkitError(f"{folder} contains no folds", hint=FORMATS_HINT)
    folds: list[tuple[tuple[ImageId, ...], tuple[ImageId, ...]]] = []
    notes: list[str] = []
    for key in sorted(sides, key=_natural):
        found = sides[key]
        if "val" not in found:
            raise TrashkitError(f"{found['train']} has no matching val file", hint=FORMATS_HINT)
        ids = {side: _coco(path, images, notes) if path.suffix.lower() == ".json" else _list(path, images)
               for side, path in found.items()}  # fmt: skip
        folds.append((ids.get("train", images.rest(ids["val"])), ids["val"]))
    kinds = {path.suffix.lower() for one in sides.values() for path in one.values()}
    if len(notes) > 1:
        notes = [f"{notes[0]}, and likewise in {len(notes) - 1} more files"]
    notes = [f"{note}; they are matched by file name" for note in notes]
    return ForeignSplit(tuple(folds), "COCO files of folds" if kinds == {".json"} else "lists of folds", tuple(notes))


def _from_photo_folders(folder: Path, dataset: Dataset) -> ForeignSplit | None:
    """The split that the folders of the photos are; None if `folder` does not hold photos in train and val or valid."""
    sides: dict[str, list[ImageId]] = {"train": [], "val": [], "test": []}
    for image in dataset.images:
        above = image.file_name.replace("\\", "/").rpartition("/")[0].lower().replace("_", " ")
        parts = _SIDE.findall(above)
        if parts and (is_file(folder / image.file_name) or is_file(folder / "images" / image.file_name)):
            side = next(name for name in sides if parts[-1].startswith(name))
            sides[side].append(image.id)
    if not sides["train"] or not sides["val"]:
        return None
    if sides["test"]:
        raise TrashkitError(
            f"{len(sides['test'])} images of {dataset.coco.path or 'the data'} are in a test folder, and every image "
            "of a split is in train or val",
            hint="leave them out with: trashkit data import ... --parts train,valid",
        )
    return ForeignSplit(((tuple(sides["train"]), tuple(sides["val"])),), "folders of photos")


def _coco(path: Path, images: _ImageIndex, notes: list[str]) -> tuple[ImageId, ...]:
    """Ids of the images of a COCO file, matched by file name if it has one, since ids may have been renumbered."""
    coco = read(path)
    if "images" not in coco.blocks():
        raise TrashkitError(f"{path} has no images, so it is not a COCO file", hint=FORMATS_HINT)
    ids: list[ImageId] = []
    other = 0
    for row in range(coco.count("images")):
        record = coco.record("images", row)
        name = record.get("file_name", record.get("id")) if isinstance(record, dict) else None
        if not isinstance(name, str | int):
            raise TrashkitError(f"{path}, images row {row}: neither file_name nor id", hint=FORMATS_HINT)
        ids.append(images.find(str(name), f"{path}, images row {row}"))
        other += json.dumps(record.get("id")) != json.dumps(ids[-1])
    if other:
        notes.append(f"{path}: {other} of {len(ids)} images have different ids in {images.what}")
    return tuple(ids)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts fold-2 before fold-10."""
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    return [(0, len(part.lstrip("0")), part.lstrip("0")) if part[0] in DIGITS else (1, 0, part) for part in parts]
