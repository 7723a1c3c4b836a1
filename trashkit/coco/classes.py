"""Class maps: which class index, name and colour a category has in label maps and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError

Color = tuple[int, int, int]

OFFICIAL_NAMES: tuple[str, ...] = (
    "Background",
    "General trash",
    "Paper",
    "Paper pack",
    "Metal",
    "Glass",
    "Plastic",
    "Styrofoam",
    "Plastic bag",
    "Battery",
    "Clothing",
)
"""The recycling competition's classes; the position is the pixel value."""

OFFICIAL_COLORS: tuple[Color, ...] = (
    (0, 0, 0),
    (192, 0, 128),
    (0, 128, 192),
    (0, 128, 64),
    (128, 0, 0),
    (64, 0, 128),
    (64, 0, 192),
    (192, 128, 64),
    (192, 192, 128),
    (64, 64, 128),
    (128, 0, 192),
)
"""RGB colours of the competition's own class table, in class order."""

MAX_CLASSES = 255
"""Label maps are uint8 and 255 means ignore."""

_AS_BACKGROUND = {"background", "backgroud", "unknown"}


@dataclass(frozen=True)
class ClassMap:
    """Classes of a segmentation task.

    names: one per class index; index 0 is always "Background".
    colors: RGB, one per class index.
    index_of: category id -> class index. Several categories may share a class.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    index_of: Mapping[Any, int]

    def __len__(self) -> int:
        return len(self.names)


def folded(name: str) -> str:
    """A class name with case, spaces, hyphens and underscores evened out, for comparing."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


@cache
def palette(count: int) -> tuple[Color, ...]:
    """`count` well-spread RGB colours, black first: the bit-interleaved colour map of PASCAL VOC."""
    colors = []
    for index in range(count):
        rgb, rest = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        colors.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colors)


def taco_to_official() -> dict[str, str]:
    """The built-in map from the names of TACO's 60 categories to the competition's ten."""
    text = resources.files("trashkit.coco").joinpath("taco_classes.json").read_text(encoding="utf-8")
    mapping: dict[str, str] = json.loads(text)
    return mapping


def class_map(categories: Sequence[Mapping[str, Any]], classes: str | Path | None = None) -> ClassMap:
    """The class map of a file's categories (rows with ``id`` and ``name``).

    classes: None takes the ten official classes where all names are among them, else the file's own categories in file
    order; ``"official"``, ``"own"`` and ``"taco"`` (TACO's 60 names to the ten) choose; a path names a JSON file that
    maps category names to class names. Categories named "Background" or "UNKNOWN" become class 0.
    Raises TrashkitError for names that the choice does not know and for more than 254 classes besides background.
    """
    names = [str(category["name"]) for category in categories]
    official = {folded(name): name for name in OFFICIAL_NAMES}
    if classes is None:
        known = all(folded(name) in official or folded(name) in _AS_BACKGROUND for name in names)
        classes = "official" if known else "own"
    if classes == "own":
        mapping = {name: name for name in names}
    elif classes == "official":
        mapping = {name: official.get(folded(name), name) for name in names}
    else:
        mapping = _mapping(classes, names)
    targets = {name: "Background" if folded(new) in _AS_BACKGROUND else new for name, new in mapping.items()}
    if classes == "own" or not all(folded(new) in official for new in targets.values()):
        if classes in ("official", "taco"):
            unknown = next(name for name in names if folded(targets[name]) not in official)
            raise TrashkitError(
                f'category "{unknown}" is none of the ten official classes',
                hint="use --classes own, or a JSON file that maps category names to class names",
            )
        class_names = ("Background", *dict.fromkeys(new for new in targets.values() if new != "Background"))
        colors = palette(len(class_names))
    else:
        targets = {name: official[folded(new)] for name, new in targets.items()}
        class_names, colors = OFFICIAL_NAMES, OFFICIAL_COLORS
    if len(class_names) > MAX_CLASSES:
        raise TrashkitError(
            f"{len(class_names) - 1} classes are too many: label maps hold {MAX_CLASSES - 1} besides background",
            hint="map categories to fewer classes with --classes MAP.json",
        )
    index = {name: n for n, name in enumerate(class_names)}
    return ClassMap(
        class_names,
        colors,
        {category["id"]: index[targets[name]] for category, name in zip(categories, names, strict=True)},
    )


def _mapping(classes: str | Path, names: Sequence[str]) -> dict[str, str]:
    if classes == "taco":
        given, source = taco_to_official(), "the built-in TACO map"
    else:
        source = str(classes)
        try:
            given = json.loads(Path(classes).read_text(encoding="utf-8"))
        except OSError as error:
            raise TrashkitError(
                f'"{classes}" is neither official, own, taco nor a file that can be read',
                hint="give --classes one of these, or a JSON file that maps category names to class names",
            ) from error
        except ValueError as error:
            raise TrashkitError(
                f"{classes} is not JSON: {error}", hint='write {"category name": "class name", ...}'
            ) from error
        if not isinstance(given, dict) or not all(isinstance(new, str) for new in given.values()):
            raise TrashkitError(f"{classes} is no map of names", hint='write {"category name": "class name", ...}')
    by_name = {folded(name): new for name, new in given.items()}
    for name in names:
        if folded(name) not in by_name:
            raise TrashkitError(f'{source} has no entry for category "{name}"', hint="add it to the map")
    return {name: by_name[folded(name)] for name in names}
