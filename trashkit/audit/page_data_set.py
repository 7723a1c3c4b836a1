"""The part of the audit's page that shows the data set itself: look before you train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import photos
from trashkit.audit.settings import Settings
from trashkit.audit.table import Table, read_table
from trashkit.coco import Coco
from trashkit.coco.classes import palette
from trashkit.errors import TrashkitError
from trashkit.report import html

Floats = NDArray[np.float64]

CLASSES = 24
"""Most classes shown, by number of annotations; the others are one bar together."""
SAMPLE = 300
"""Photos that colour statistics are taken from, spread evenly over the file."""
GRID = 32
PLAIN = "#7a8fa6"
SIDES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, np.inf)


def data_set(coco: Coco, *, images: Path | None = None, against: Coco | None = None) -> Iterable[html.Html]:
    """Figures of what can be read of a file, sound or damaged: classes, sizes, places, company, colours.

    against: a second file, whose figures stand beside the first's. Sizes, places and pixels come from the file's own
    boxes and areas. Time in proportion to rows; colours are those of at most SAMPLE photos of each file.
    """
    table = read_table(coco, Settings())
    if table.annotation_count:
        yield from _classes(table)
        yield from _sizes(table)
        yield from _places(table)
        yield from _company(table)
    tables = {_name(coco, "this file"): table}
    if against is not None:
        tables[_name(against, "the other file") + " "] = read_table(against, Settings())
        yield html.heading("This file beside the other", 3)
        yield from _beside(tables)
    if images is not None:
        yield from _colours(tables, images)


def _name(coco: Coco, otherwise: str) -> str:
    return coco.path.name if coco.path else otherwise


def _shown(table: Table) -> tuple[list[int], list[str], list[str]]:
    """Category rows by number of annotations, their names and their colours."""
    counts = table.annotations_per_category
    rows = np.argsort(-counts, kind="stable")[:CLASSES].tolist()
    colors = palette(len(counts) + 1)[1:]
    names = [str(table.category_names[row] or table.category_ids[row])[:24] for row in rows]
    return rows, names, [html.rgb(colors[row]) for row in rows]


def _known(table: Table) -> NDArray[np.bool_]:
    """Annotations whose image and category are known."""
    return np.asarray((table.image_row >= 0) & (table.category_row >= 0))


def _classes(table: Table) -> Iterable[html.Html]:
    rows, names, colors = _shown(table)
    known, count = _known(table), len(table.category_ids)
    category, image = table.category_row[known], table.image_row[known]
    pairs = np.unique(category.astype(np.int64) * len(table.image_ids) + image)
    on_images = np.bincount(pairs // max(len(table.image_ids), 1), minlength=count)
    area = np.nan_to_num(table.area[known], nan=0, posinf=0, neginf=0).clip(0)
    pixels = np.bincount(category, weights=area, minlength=count)
    share = pixels / max(float(pixels.sum()), 1e-9)
    left_out = count - len(rows)
    title = "Annotations per class" + (f" ({left_out} rarer classes are not shown)" if left_out > 0 else "")
    for caption, values, form in (
        (title, table.annotations_per_category, "{:,.0f}"),
        ("Images with the class", on_images, "{:,.0f}"),
        ("Share of all annotated pixels", share, "{:.1%}"),
    ):
        bars = [(name, float(values[row]), color) for row, name, color in zip(rows, names, colors, strict=True)]
        yield html.bars(caption, bars, form=form)


def _object_sides(table: Table) -> Floats:
    """Square root of each annotation's share of its image, where that can be said."""
    known = table.image_row >= 0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        whole = table.width[table.image_row[known]] * table.height[table.image_row[known]]
        sides = np.sqrt(table.area[known] / whole)
    return np.asarray(sides[np.isfinite(sides) & (sides > 0)])


def _sizes(table: Table) -> Iterable[html.Html]:
    labels = [f"{low:.0%} to {high:.0%}" if high < 9 else f"over {low:.0%}" for low, high in pairwise(SIDES)]
    counted, _ = np.histogram(_object_sides(table), SIDES)
    bars = [(label, float(n), PLAIN) for label, n in zip(labels, counted, strict=True)]
    yield html.bars("Object side as a share of the image's", bars, form="{:,.0f}")
    numbers = np.bincount(np.minimum(table.annotations_per_image, 20), minlength=1)
    bars = [(f"{n}{' or more' if n == 20 else ''}", float(v), PLAIN) for n, v in enumerate(numbers) if v]
    yield html.bars("Objects per image", bars, form="{:,.0f}")


def _places(table: Table) -> Iterable[html.Html]:
    """Where boxes lie: all together, and each of the most frequent classes."""
    known = _known(table)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sides = np.column_stack([table.width, table.height])[table.image_row[known]]
        low = table.bbox[known, :2] / sides
        high = low + table.bbox[known, 2:] / sides
    sound = (
        np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1) & (low < 1).all(axis=1) & (high > 0).all(axis=1)
    )
    first = np.floor(low[sound].clip(0, 1) * GRID).astype(int).clip(0, GRID - 1)
    last = np.ceil(high[sound].clip(0, 1) * GRID).astype(int).clip(first + 1, GRID)
    category = table.category_row[known][sound]
    rows, names, _ = _shown(table)
    maps = [("all classes", _covered(first, last))]
    maps += [
        (name, _covered(first[category == row], last[category == row]))
        for row, name in zip(rows[:11], names, strict=False)
    ]
    tiles = [
        html.figure(name, html.picture(_heat(covered), alt=f"where boxes of {name} lie", quality=70))
        for name, covered in maps
        if covered.any()
    ]
    yield html.block("Where objects lie: share of boxes over each part of the image", tiles)


def _covered(first: NDArray[np.intp], last: NDArray[np.intp]) -> Floats:
    """Boxes over each cell of the grid, [GRID, GRID], by a summed difference array."""
    steps = np.zeros((GRID + 1, GRID + 1))
    np.add.at(steps, (first[:, 1], first[:, 0]), 1)
    np.add.at(steps, (last[:, 1], last[:, 0]), 1)
    np.add.at(steps, (first[:, 1], last[:, 0]), -1)
    np.add.at(steps, (last[:, 1], first[:, 0]), -1)
    return np.asarray(steps.cumsum(axis=0).cumsum(axis=1)[:GRID, :GRID])


def _heat(values: Floats) -> NDArray[np.uint8]:
    level = (values / max(float(values.max()), 1e-9) * 255).round().astype(np.uint8)
    large = cv2.resize(level, (128, 128), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB), np.uint8)


def _company(table: Table) -> Iterable[html.Html]:
    """Which classes stand in one image."""
    rows, names, _ = _shown(table)
    rows, names = rows[:16], names[:16]
    if len(rows) < 2:
        return
    known = _known(table)
    place = np.full(len(table.category_ids), -1)
    place[rows] = np.arange(len(rows))
    column = place[table.category_row[known]]
    holds = np.zeros((len(table.image_ids), len(rows)), np.float32)
    holds[table.image_row[known][column >= 0], column[column >= 0]] = 1
    together = (holds.T @ holds).astype(float)
    each = np.diag(together).copy()
    share = together / np.maximum(each[:, None], 1)
    np.fill_diagonal(share, np.nan)
    yield html.matrix("Of the images with the row's class, the share that also has the column's", share, names, names)


def _beside(tables: dict[str, Table]) -> Iterable[html.Html]:
    rows = []
    for file, table in tables.items():
        size = np.sqrt(table.width * table.height)
        middle = float(np.nanmedian(size)) if np.isfinite(size).any() else 0.0
        number = table.annotation_count / max(len(table.image_ids), 1)
        rows.append((file.strip(), len(table.image_ids), table.annotation_count, f"{number:.2f}", f"{middle:.0f}"))
    columns = ("file", "images", "annotations", "objects per image", "median side of images (px)")
    yield html.table(columns, rows)
    if not all(table.annotation_count for table in tables.values()):
        return
    first, second = tables.values()
    rows_of = {name: row for row, name in enumerate(second.category_names) if name is not None}
    shares: list[tuple[object, ...]] = []
    for row, name in enumerate(first.category_names):
        if name is not None and name in rows_of:
            mine = first.annotations_per_category[row] / first.annotation_count
            theirs = second.annotations_per_category[rows_of[name]] / second.annotation_count
            shares.append((name, f"{mine:.1%}", f"{theirs:.1%}", f"{theirs - mine:+.1%}"))
    yield html.table(("class", *(f"annotations in {file.strip()}" for file in tables), "difference"), shares)


def _colours(tables: dict[str, Table], folder: Path) -> Iterable[html.Html]:
    """Distributions of brightness, contrast and saturation over photos."""
    measured = {name: _measured(table, folder) for name, table in tables.items()}
    measured = {name: values for name, values in measured.items() if len(values)}
    if not measured:
        return
    edges = np.linspace(0, 256, 25)
    for column, title in enumerate(("Brightness of photos", "Contrast of photos", "Saturation of photos")):
        top = 256 if column != 1 else 128
        series = {}
        for name, values in measured.items():
            counted, _ = np.histogram(values[:, column], edges * top / 256)
            middle = (edges[:-1] + edges[1:]) / 2 * top / 256
            share = counted / len(values) * 100
            label = f"{name.strip()} ({len(values)} photos, median {np.median(values[:, column]):.0f})"
            series[label if label not in series else label + " "] = list(
                zip(middle.tolist(), share.tolist(), strict=True)
            )
        yield html.lines(title, series, x="of 255", y="% of photos")


def _measured(table: Table, folder: Path) -> Floats:
    """[n, 3] mean brightness, its deviation and mean saturation of up to SAMPLE photos that can be read."""
    rows: Sequence[int] = np.unique(np.linspace(0, len(table.file_names) - 1, SAMPLE).astype(int)).tolist()

    def one(row: int) -> tuple[float, float, float] | None:
        name = table.file_names[row]
        if not name:
            return None
        try:
            photo = photos.thumbnail(photos.photo_path(folder, name), 64)
        except TrashkitError:
            return None
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        return float(grey.mean()), float(grey.std()), float(cv2.cvtColor(photo, cv2.COLOR_RGB2HSV)[..., 1].mean())

    with ThreadPoolExecutor() as pool:
        found = [values for values in pool.map(one, rows if table.file_names else ()) if values is not None]
    return np.array(found, dtype=float).reshape(-1, 3)
