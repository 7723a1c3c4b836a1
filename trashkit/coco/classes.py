"""Class maps: the class index, name and colour of each category in label maps and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.readers import ContentError, decode_json, read_bytes

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
"""Classes of the recycling competition, in order of their pixel values."""

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

_SHOWN: tuple[Color, ...] = (
    (0, 0, 0),
    (230, 34, 132),
    (88, 133, 255),
    (0, 102, 58),
    (161, 0, 0),
    (131, 3, 255),
    (255, 80, 0),
    (107, 158, 86),
    (0, 160, 159),
    (0, 24, 107),
    (96, 0, 49),
)
"""RGB colours in which the first classes are shown on photos and pages: unlike the official ones, which are dark and
partly hard to tell apart, distinct also without red or green cones, and visible on white and grey. Found with
``scripts/class_colors.py``."""

_LIGHTEN = 0.35

MAX_CLASSES = 255
"""Label maps are uint8 and 255 means ignore."""

_AS_BACKGROUND = {"background", "backgroud", "unknown"}


@dataclass(frozen=True)
class ClassMap:
    """Classes of a segmentation task.

    names: one per class index; index 0 is always "Background".
    colors: RGB, one per class index, as files hold them; `shown_colors` are for people.
    index_of: category id -> class index. Several categories may map to one class.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    index_of: Mapping[Any, int]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shown_colors(self) -> tuple[Color, ...]:
        """RGB, one per class index, see `shown_colors`."""
        return shown_colors(len(self.names))


def normalized_name(name: str) -> str:
    """Normalize case, spaces, hyphens and underscores of a class name, for comparison."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


@cache
def palette(count: int) -> tuple[Color, ...]:
    """`count` distinct RGB colours, black first: the bit-interleaved colour map of PASCAL VOC."""
    colors = []
    for index in range(count):
        rgb, rest = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        colors.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colors)


def shown_colors(count: int) -> tuple[Color, ...]:
    """RGB colours in which classes are shown, the same everywhere: one per class index, black first."""
    more = palette(count)[len(_SHOWN) :]
    lighter = (tuple(round(channel + _LIGHTEN * (255 - channel)) for channel in color) for color in more)
    return (*_SHOWN[:count], *((red, green, blue) for red, green, blue in lighter))


def taco_to_official() -> dict[str, str]:
    """Built-in map from TACO's 60 category names to the competition's ten classes."""
    text = resources.files("trashkit.coco").joinpath("taco_classes.json").read_text(encoding="utf-8")
    mapping: dict[str, str] = json.loads(text)
    return mapping


def class_map(categories: Sequence[Mapping[str, Any]], classes: str | Path | None = None) -> ClassMap:
    """Build the class map of a file's categories (rows with ``id`` and ``name``).

    classes: ``"official"`` for the ten official classes, ``"own"`` for the file's own categories in file order,
    ``"taco"`` to map TACO's 60 names to the ten, or the path of a JSON file that maps category names to class names.
    None chooses "official" if all names are among the ten, else "own". Categories named "Background" or "UNKNOWN"
    become class 0.
    Raises TrashkitError for names that the chosen map lacks and for more than 254 classes besides background.
    """
    names = [str(category["name"]) for category in categories]
    official = {normalized_name(name): name for name in OFFICIAL_NAMES}
    if classes is None:
        known = all(normalized_name(name) in official or normalized_name(name) in _AS_BACKGROUND for name in names)
        classes = "official" if known else "own"
    if classes == "own":
        mapping = {name: name for name in names}
    elif classes == "official":
        mapping = {name: official.get(normalized_name(name), name) for name in names}
    else:
        mapping = _mapping(classes, names)
    targets = {name: "Background" if normalized_name(new) in _AS_BACKGROUND else new for name, new in mapping.items()}
    if classes == "own" or not all(normalized_name(new) in official for new in targets.values()):
        if classes in ("official", "taco"):
            unknown = next(name for name in names if normalized_name(targets[name]) not in official)
            raise TrashkitError(
                f'category "{unknown}" is not one of the ten official classes',
                hint="use --classes own, or a JSON file that maps category names to class names",
            )
        class_names = ("Background", *dict.fromkeys(new for new in targets.values() if new != "Background"))
        colors = palette(len(class_names))
    else:
        targets = {name: official[normalized_name(new)] for name, new in targets.items()}
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
            given = decode_json(read_bytes(classes))
        except OSError as error:
            raise TrashkitError(
                f'"{classes}" is not official, own, taco or a readable file',
                hint="give --classes one of these, or a JSON file that maps category names to class names",
            ) from error
        except ContentError as error:
            raise TrashkitError(
                f"{classes} is not JSON: {error}", hint='write {"category name": "class name", ...}'
            ) from error
        if not isinstance(given, dict) or not all(isinstance(new, str) for new in given.values()):
            raise TrashkitError(f"{classes} is not a map of names", hint='write {"category name": "class name", ...}')
    by_name = {normalized_name(name): new for name, new in given.items()}
    for name in names:
        if normalized_name(name) not in by_name:
            raise TrashkitError(f'{source} has no entry for category "{name}"', hint="add it to the map")
    return {name: by_name[normalized_name(name)] for name in names}
