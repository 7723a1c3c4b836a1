"""Look before you train: how classes, sizes and places are spread in a file, as values that any chart can show."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.review.outlines import is_number
from trashkit.review.room import Room

CELLS = 16
"""Cells of the map of places, along each side."""
MANY = 20
"""Images with this many objects or more are counted together."""
LEVELS = 32
"""Columns of a histogram of brightness and the like."""
_LEGEND = {"barmode": "group", "legend": {"orientation": "h"}}
SIDES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


Charts = dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]
"""Traces and layout of Plotly charts, by title."""


@dataclass(frozen=True)
class Looks:
    """Counts over the annotations of a room as its log leaves them.

    names: classes that occur, in file order. instances, images: how many annotations, and images with one, by class.
    pixels: their `area` as a share of all images' pixels, by class. per_image: images by number of objects, 0 .. MANY.
    sides: objects by the square root of their share of the image, between the numbers of SIDES, int64 [8].
    places: centres of boxes int64 [CELLS, CELLS], rows from top to bottom. together: images that show both classes,
    int64 [C, C], on the diagonal those that show the one.
    """

    names: tuple[str, ...]
    instances: NDArray[np.int64]
    images: NDArray[np.int64]
    pixels: NDArray[np.float64]
    per_image: NDArray[np.int64]
    sides: NDArray[np.int64]
    places: NDArray[np.int64]
    together: NDArray[np.int64]


def look(room: Room) -> Looks:
    """Count what can be read; rows without image or with fields that are no numbers are left out where they matter."""
    sizes = {row: room.size(row) for row in range(len(room.images_rows))}
    of_image: dict[int, Counter[str]] = {row: Counter() for row in sizes}
    pixels: dict[str, float] = defaultdict(float)
    shares: list[float] = []
    places = np.zeros((CELLS, CELLS), np.int64)
    for image, rows in room.annotations_of.items():
        for row in rows:
            record = room.record("annotations", row)
            if not isinstance(record, dict):
                continue
            name, size = room.class_name(record), sizes[image]
            of_image[image][name] += 1
            area, box = record.get("area"), record.get("bbox")
            if size is not None and is_number(area) and area > 0:
                pixels[name] += area
                shares.append(min(1.0, math.sqrt(area / (size[0] * size[1]))))
            if size is not None and isinstance(box, list) and len(box) == 4 and all(map(is_number, box)):
                places[_cell(box[1] + box[3] / 2, size[1]), _cell(box[0] + box[2] / 2, size[0])] += 1
    seen = {name for counts in of_image.values() for name in counts}
    names = tuple(name for name in dict.fromkeys([*room.names.values(), *sorted(seen)]) if name in seen)
    counts = np.array([[counted[name] for name in names] for counted in of_image.values()], np.int64)
    counts = counts.reshape(len(of_image), len(names))
    there = (counts > 0).astype(np.int64)
    whole = sum(width * height for width, height in filter(None, sizes.values())) or 1
    return Looks(
        names,
        counts.sum(axis=0),
        there.sum(axis=0),
        np.array([pixels[name] / whole for name in names]),
        np.bincount(np.minimum(counts.sum(axis=1), MANY), minlength=MANY + 1),
        np.histogram(shares, SIDES)[0].astype(np.int64),
        places,
        there.T @ there,
    )


def share_of_classes(looks: Looks) -> dict[str, float]:
    """Share of all annotations by class."""
    number = max(1, int(looks.instances.sum()))
    return {name: float(count) / number for name, count in zip(looks.names, looks.instances.tolist(), strict=True)}


def _cell(place: float, side: int) -> int:
    return min(CELLS - 1, max(0, int(place / side * CELLS)))


def charts(looks: Looks, colors: dict[str, str]) -> Charts:
    """Traces and layout of Plotly charts, by title. colors: CSS colours by class."""
    names, shown = list(looks.names), [colors.get(name, "#7a8fa6") for name in looks.names]

    def bars(x: list[Any], y: list[Any], color: Any = "#7a8fa6") -> list[dict[str, Any]]:
        return [{"type": "bar", "x": x, "y": y, "marker": {"color": color}}]

    def heat(z: Any, **more: Any) -> list[dict[str, Any]]:
        return [{"type": "heatmap", "z": z.tolist(), "colorscale": "Viridis", **more}]

    upside_down = {"yaxis": {"autorange": "reversed"}}
    sides = [f"{low:.0%} to {high:.0%}" for low, high in pairwise(SIDES)]
    counts = [*map(str, range(MANY)), f"{MANY} or more"]
    return {
        "Annotations per class": (bars(names, looks.instances.tolist(), shown), {}),
        "Images with the class": (bars(names, looks.images.tolist(), shown), {}),
        "Share of all pixels per class": (bars(names, looks.pixels.tolist(), shown), {}),
        "Objects per image": (bars(counts, looks.per_image.tolist()), {}),
        "Object side as a share of the image's": (bars(sides, looks.sides.tolist()), {}),
        "Where objects lie": (heat(looks.places), upside_down),
        "Classes on the same image": (heat(looks.together, x=names, y=names), upside_down),
    }


def beside_charts(mine: Looks, theirs: Looks, files: Sequence[str]) -> Charts:
    """Charts of two files beside each other: class balance and objects per image, where both have annotations."""
    if not mine.instances.sum() or not theirs.instances.sum():
        return {}
    one, other = share_of_classes(mine), share_of_classes(theirs)
    names = list(dict.fromkeys([*one, *other]))
    counts = [*map(str, range(MANY)), f"{MANY} or more"]
    balance = [
        _bar(file, names, [side.get(name, 0.0) for name in names])
        for file, side in zip(files, (one, other), strict=True)
    ]
    objects = [
        _bar(file, counts, (looks.per_image / max(1, looks.per_image.sum())).tolist())
        for file, looks in zip(files, (mine, theirs), strict=True)
    ]
    return {"Share of annotations per class": (balance, _LEGEND), "Share of images by objects": (objects, _LEGEND)}


def _bar(name: str, x: list[Any], y: list[Any]) -> dict[str, Any]:
    return {"type": "bar", "name": name, "x": x, "y": y}


def photo_charts(values: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Charts:
    """Histograms of what photos show, as shares of each file's photos. values: by statistic, then by file; 0 .. 255."""
    made: Charts = {}
    for statistic, files in values.items():
        traces: list[dict[str, Any]] = []
        for file, numbers in files.items():
            known = [value for value in numbers if value is not None]
            if known:
                counted, edges = np.histogram(known, LEVELS, (0, 256))
                middle = ((edges[:-1] + edges[1:]) / 2).tolist()
                name = f"{file}: median {np.median(known):.0f}"
                traces.append(_bar(name, middle, (counted / len(known)).round(4).tolist()))
        if traces:
            made[f"{statistic.capitalize()} of photos"] = (traces, _LEGEND)
    return made
