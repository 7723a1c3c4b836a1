"""Statistics of the annotations under review, as the edit log leaves them, and Plotly charts of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco.dataset import is_number
from trashkit.report import data_statistics
from trashkit.report.data_statistics import MAX_OBJECTS, SIDE_EDGES, Objects
from trashkit.review.session import ReviewSession

CELLS = 16
"""Cells of the position map, along each side."""
COLOR_BINS = 32
"""Bins of the histograms of brightness, contrast and saturation."""
PLAIN = "#7a8fa6"
_SIDE_BY_SIDE = {"barmode": "group", "legend": {"orientation": "h"}}

Charts = dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]
"""Traces and layout of Plotly charts, by title."""


@dataclass(frozen=True)
class Statistics:
    """Counts over the annotations of a session.

    classes: names of the classes that occur, in file order. annotations, images: by class, how many annotations there
    are, and how many images have one; int64 [C]. pixels: the annotations' `area` as a share of all images' pixels, by
    class; float64 [C]. objects_per_image, object_sides, co_occurrence (all classes) and centers (CELLS x CELLS): see
    the functions of `trashkit.report.data_statistics`.
    """

    classes: tuple[str, ...]
    annotations: NDArray[np.int64]
    images: NDArray[np.int64]
    pixels: NDArray[np.float64]
    objects_per_image: NDArray[np.int64]
    object_sides: NDArray[np.int64]
    centers: NDArray[np.int64]
    co_occurrence: NDArray[np.int64]


def annotation_statistics(session: ReviewSession) -> Statistics:
    """Count the annotations of a session as its log leaves them.

    Annotations without an image are left out. Those with a field that cannot be read are left out of the statistics
    that need it.
    """
    classes, objects = _objects(session)
    total = sum(math.prod(size) for row in range(len(session.image_records)) if (size := session.image_size(row))) or 1
    return Statistics(
        classes,
        data_statistics.objects_per_class(objects),
        data_statistics.images_per_class(objects),
        data_statistics.area_per_class(objects) / total,
        data_statistics.objects_per_image(objects),
        data_statistics.object_sides(objects),
        data_statistics.box_centers(objects, CELLS),
        data_statistics.co_occurrence(objects, range(len(classes))),
    )


def _objects(session: ReviewSession) -> tuple[tuple[str, ...], Objects]:
    """The names of the classes that occur, and the annotations as columns."""
    images: list[int] = []
    names: list[str] = []
    areas: list[float] = []
    boxes: list[list[float]] = []
    sizes: list[tuple[float, float]] = []
    unknown = math.nan
    for image, rows in session.annotations_of.items():
        size = session.image_size(image)
        for row in rows:
            record = session.record("annotations", row)
            if not isinstance(record, dict):
                continue
            area, box = record.get("area"), record.get("bbox")
            images.append(image)
            names.append(session.class_name(record))
            areas.append(area if size is not None and is_number(area) else unknown)
            is_box = isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
            boxes.append(box if isinstance(box, list) and is_box else [unknown] * 4)
            sizes.append((size[1], size[0]) if size is not None else (unknown, unknown))
    occurring = set(names)
    classes = tuple(
        name for name in dict.fromkeys([*session.category_names.values(), *sorted(occurring)]) if name in occurring
    )
    index = {name: n for n, name in enumerate(classes)}
    return classes, Objects(
        image=np.array(images, np.int64),
        category=np.array([index[name] for name in names], np.int64),
        area=np.array(areas, np.float64),
        box=np.array(boxes, np.float64).reshape(-1, 4),
        image_size=np.array(sizes, np.float64).reshape(-1, 2),
        image_count=len(session.image_records),
        category_count=len(classes),
    )


def class_shares(statistics: Statistics) -> dict[str, float]:
    """Share of all annotations by class."""
    total = max(1, int(statistics.annotations.sum()))
    counts = zip(statistics.classes, statistics.annotations.tolist(), strict=True)
    return {name: float(count) / total for name, count in counts}


def charts(statistics: Statistics, colors: Mapping[str, str]) -> Charts:
    """Plotly charts of one file. colors: CSS colours by class."""
    classes = list(statistics.classes)
    class_colors = [colors.get(name, PLAIN) for name in classes]

    def bars(x: list[Any], y: list[Any], color: Any = PLAIN) -> list[dict[str, Any]]:
        return [{"type": "bar", "x": x, "y": y, "marker": {"color": color}}]

    def heat_map(z: Any, **more: Any) -> list[dict[str, Any]]:
        return [{"type": "heatmap", "z": z.tolist(), "colorscale": "Viridis", **more}]

    top_down = {"yaxis": {"autorange": "reversed"}}
    sides = [f"{low:.0%} to {min(high, 1):.0%}" for low, high in pairwise(SIDE_EDGES)]
    pairs = heat_map(statistics.co_occurrence, x=classes, y=classes)
    return {
        "Annotations per class": (bars(classes, statistics.annotations.tolist(), class_colors), {}),
        "Images with the class": (bars(classes, statistics.images.tolist(), class_colors), {}),
        "Share of all pixels per class": (bars(classes, statistics.pixels.tolist(), class_colors), {}),
        "Objects per image": (bars(_object_counts(), statistics.objects_per_image.tolist()), {}),
        "Object side as a share of the image's": (bars(sides, statistics.object_sides.tolist()), {}),
        "Where objects lie": (heat_map(statistics.centers), top_down),
        "Classes on the same image": (pairs, top_down),
    }


def comparison_charts(first: Statistics, second: Statistics, files: Sequence[str]) -> Charts:
    """Plotly charts that compare two files: class balance and objects per image. Empty unless both have annotations."""
    if not first.annotations.sum() or not second.annotations.sum():
        return {}
    shares = [class_shares(first), class_shares(second)]
    classes = list(dict.fromkeys([*shares[0], *shares[1]]))
    balance = [
        _bar(file, classes, [share.get(name, 0.0) for name in classes])
        for file, share in zip(files, shares, strict=True)
    ]
    objects = []
    for file, statistics in zip(files, (first, second), strict=True):
        counts = statistics.objects_per_image
        objects.append(_bar(file, _object_counts(), (counts / max(1, counts.sum())).tolist()))
    return {
        "Share of annotations per class": (balance, _SIDE_BY_SIDE),
        "Share of images by objects": (objects, _SIDE_BY_SIDE),
    }


def _object_counts() -> list[str]:
    return [*map(str, range(MAX_OBJECTS)), f"{MAX_OBJECTS} or more"]


def _bar(name: str, x: list[Any], y: list[Any]) -> dict[str, Any]:
    return {"type": "bar", "name": name, "x": x, "y": y}


def photo_charts(values: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Charts:
    """Histograms of photo colours, as shares of each file's photos.

    values: by statistic (brightness ...), then by file, one number 0 .. 255 for each photo, None where unknown.
    """
    made: Charts = {}
    for statistic, files in values.items():
        traces: list[dict[str, Any]] = []
        for file, numbers in files.items():
            known = [value for value in numbers if value is not None]
            if known:
                counts, edges = np.histogram(known, COLOR_BINS, (0, 256))
                middle = ((edges[:-1] + edges[1:]) / 2).tolist()
                name = f"{file}: median {np.median(known):.0f}"
                traces.append(_bar(name, middle, (counts / len(known)).round(4).tolist()))
        if traces:
            made[f"{statistic.capitalize()} of photos"] = (traces, _SIDE_BY_SIDE)
    return made
