"""The layouts of YOLO data sets: which label file belongs to which photo.

- Ultralytics: ``images/PART`` and ``labels/PART``
- Roboflow: ``PART/images`` and ``PART/labels``, with ``data.yaml`` next to the parts
- Darknet, and CVAT's YOLO 1.1: label files next to the photos, class names in ``obj.names``
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trashkit.errors import TrashkitError
from trashkit.files import is_file
from trashkit.interop.folders import files_in, first_folder, photos_by_stem, read_text, refuse_other_form
from trashkit.interop.layouts.pairing import folded, pair
from trashkit.interop.yolo_lines import is_number
from trashkit.names import composed
from trashkit.readers import ContentError, decode_yaml

_FOLDERS = frozenset({"images", "labels", "jpegimages", "obj_train_data", "obj_valid_data"})
"""Folders that keep photos and labels apart, and say nothing else."""
_WITH_NAMES = ("data.yaml", "dataset.yaml", "data.yml")
_NOT_LABELS = frozenset({"classes", "labels", "train", "val", "valid", "test", "requirements", "notes"})
"""Names of text files in such folders that are not label files."""


@dataclass(frozen=True)
class YoloFolder:
    """Photos and labels of a data set.

    root: the folder of the data set. photos: the folder that file names are relative to. pairs: each photo, sorted,
    and the path of its label file if it has one. lost: label files without a photo. names: files that exist and may
    hold the class names, the most specific first. keypoints: numbers after the box of each line of pose data.
    """

    root: Path
    photos: Path
    pairs: tuple[tuple[PurePosixPath, Path | None], ...]
    lost: tuple[Path, ...]
    names: tuple[Path, ...]
    keypoints: int = 0

    def lines(self, path: Path) -> list[tuple[int, str]]:
        """Number and text of each line of a label file that is not blank; of pose data, without the key points."""
        found = label_lines(path)
        if not self.keypoints:
            return found
        words = [(line, text.split()) for line, text in found]
        return [(line, " ".join(one[:5] if len(one) >= 5 + self.keypoints else one)) for line, one in words]


def yolo_folder(source: Path, images: Path | None) -> YoloFolder:
    """Find photos and labels of a data set. source: its folder, or its ``data.yaml`` or ``obj.data``.

    File names are relative to `images`, or ``images/``, or else to the folder itself, so that they keep the part.
    Raises TrashkitError where there is no label file, or none of them has a photo.
    """
    if is_file(source):
        refuse_other_form(source)
    root = source if source.is_dir() else source.parent
    photo_folder = images or first_folder(root, "images")
    label_folder = first_folder(root, "labels")
    photos = photos_by_stem(photo_folder)
    if photo_folder == root and any(_has_folder(path, "images") for path in photos.values()):
        photos = {stem: path for stem, path in photos.items() if _has_folder(path, "images")}
    texts = files_in(label_folder, [".txt"])
    # A photo may be named like a list of names or photos: train.jpg, labels.jpg.
    texts = [path for path in texts if _may_be(path) or _has_boxes(label_folder / path)]
    found, lost = _pairs({path.with_suffix("").as_posix(): path for path in texts}, photos)
    left = tuple(label_folder / path for path in lost if _may_be(path) and _is_label(label_folder / path))
    if left and not found:
        raise TrashkitError(
            f"{left[0]} has no photo in {photo_folder}", hint="give the folder of the photos with --images"
        )
    if photos and not found:
        raise TrashkitError(
            f"{label_folder} has no label files of its photos, such as {next(iter(photos.values())).stem}.txt",
            hint="give the folder that has photos and labels",
        )
    pairs = [(photo, label_folder / found[stem] if stem in found else None) for stem, photo in photos.items()]
    names = tuple(_name_files(source, root))
    return YoloFolder(root, photo_folder, tuple(pairs), left, names, _keypoints(names))


def _keypoints(files: Iterable[Path]) -> int:
    """How many numbers the ``kpt_shape`` of a data.yaml stands for, such as 51 for [17, 3]; 0 without one."""
    for path in files:
        if path.suffix.lower() in (".yaml", ".yml"):
            try:
                value = decode_yaml(read_text(path), as_text=True)
            except ContentError:
                continue  # the error is that of the class names
            shape = value.get("kpt_shape") if isinstance(value, dict) else None
            if isinstance(shape, list) and len(shape) == 2 and all(re.fullmatch("[0-9]{1,4}", str(n)) for n in shape):
                return int(str(shape[0])) * int(str(shape[1]))
    return 0


def _name_files(source: Path, root: Path) -> Iterator[Path]:
    """Files that may hold class names: of the data set, or of the folder around one of its parts."""
    found = [source, *(root / name for name in _WITH_NAMES)]
    found += [_names_of(path) for path in (source, root / "obj.data") if path.suffix == ".data" and is_file(path)]
    found += [root / name for name in ("obj.names", "data/obj.names", "classes.txt")]
    if (root / "images").is_dir() or (root / "labels").is_dir():
        found += [root.parent / name for name in _WITH_NAMES]
    for path in dict.fromkeys(found):
        if path.suffix != ".data" and is_file(path):
            yield path


def _names_of(path: Path) -> Path:
    """The file of class names in an ``obj.data``, whose paths are relative to some other folder, or to its own."""
    lines = (line.partition("=") for line in read_text(path).splitlines())
    name = next((value.strip() for key, _, value in lines if key.strip() == "names"), "obj.names")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    choices = [path.parent.joinpath(*parts[start:]) for start in range(len(parts))]
    return next((choice for choice in choices if is_file(choice)), path.parent / "obj.names")


def _pairs(
    labels: dict[str, PurePosixPath], photos: dict[str, PurePosixPath]
) -> tuple[dict[str, PurePosixPath], list[PurePosixPath]]:
    """Label by photo, both by path without suffix, and labels without a photo.

    Where one of the two lies in no folder, the name alone has to do; ``train/a`` never belongs to ``val/a``.
    """
    found, lost = pair(labels, photos, keys=(composed, folded, _key, _folded_key))
    for flat_labels in (True, False):
        left = {path.with_suffix("").as_posix(): path for path in lost}
        free = [stem for stem in photos if stem not in found]
        some = {stem: path for stem, path in left.items() if not flat_labels or "/" not in _key(stem)}
        more, _ = pair(some, [s for s in free if flat_labels or "/" not in _key(s)], keys=(_base, _folded_base))
        found |= more
        lost = [path for path in lost if path not in set(more.values())]
    return found, lost


def _has_folder(path: PurePosixPath, name: str) -> bool:
    return name in (part.casefold() for part in path.parts[:-1])


def _key(stem: str) -> str:
    """A path without the folders that keep photos and labels apart: ``images/train/a`` and ``train/labels/a``."""
    *folders, name = composed(stem).split("/")
    return "/".join([*(folder for folder in folders if folder.casefold() not in _FOLDERS), name])


def _folded_key(stem: str) -> str:
    return _key(stem).casefold()


def _base(stem: str) -> str:
    return composed(stem).rpartition("/")[2]


def _folded_base(stem: str) -> str:
    return _base(stem).casefold()


def _may_be(path: PurePosixPath) -> bool:
    name = path.stem.casefold()
    return name not in _NOT_LABELS and not name.startswith("readme")


def _is_label(path: Path) -> bool:
    """Whether a text file without a photo has lines like those of a label file, or none at all."""
    boxes, others = _lines_of_labels(path)
    return boxes >= others


def _has_boxes(path: Path) -> bool:
    """Whether all lines of a text file are like those of a label file."""
    boxes, others = _lines_of_labels(path)
    return boxes > 0 and not others


def _lines_of_labels(path: Path) -> tuple[int, int]:
    """How many lines of a file are like those of a label file, and how many are not."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    counts = Counter(all(map(is_number, words)) and len(words) >= 5 for words in lines)
    return counts[True], counts[False]


def label_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line of a label file that is not blank."""
    return [(line, text) for line, text in enumerate(read_text(path).splitlines(), start=1) if text.strip()]
