"""The section of the audit page about the data set itself: classes, sizes, positions, co-occurrence, colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.audit.settings import Settings
from trashkit.audit.views.table import Table, read_table
from trashkit.coco import Coco
from trashkit.coco.classes import class_map, shown_colors
from trashkit.errors import TrashkitError
from trashkit.images import photos
from trashkit.report import data_statistics, html
from trashkit.report.data_statistics import COLOR_SIDE, MAX_OBJECTS, SIDE_EDGES, Objects

Floats = NDArray[np.float64]

MAX_CLASSES = 24
"""Most classes shown, by number of annotations."""
MAX_PAIRED = 16
"""Most classes in the co-occurrence table."""
MAX_MAPS = 11
"""Most classes with a map of their positions."""
MAX_PHOTOS = 300
"""Photos whose colours are measured, spread evenly over the file."""
CELLS = 32
"""Cells of a position map, along each side."""
PLAIN = "#7a8fa6"


def statistics_section(coco: Coco, *, images: Path | None = None, against: Coco | None = None) -> Iterable[html.Html]:
    """Charts and tables of whatever can be read of a file, damaged or not.

    images: folder of the photos, for their colours. against: a second file, compared with the first. Sizes, positions
    and pixels come from the file's own boxes and areas. Runs in time proportional to the rows, and reads at most
    MAX_PHOTOS photos of each file.
    """
    table = read_table(coco, Settings())
    if table.annotation_count:
        objects = _objects(table)
        yield from _classes(table, objects)
        yield from _sizes(objects)
        yield from _positions(table, objects)
        yield from _co_occurrence(table, objects)
    tables = {_name(coco, "this file"): table}
    if against is not None:
        tables[_name(against, "the other file") + " "] = read_table(against, Settings())
        yield html.heading("Compared with the other file", 3)
        yield from _comparison(tables)
    if images is not None:
        yield from _colors(tables, images)


def _name(coco: Coco, otherwise: str) -> str:
    return coco.path.name if coco.path else otherwise


def _objects(table: Table) -> Objects:
    known = table.image_row >= 0
    sizes = np.column_stack([table.width, table.height])[table.image_row[known]]
    return Objects(
        image=table.image_row[known],
        category=np.maximum(table.category_row[known], -1),
        area=table.area[known],
        box=table.bbox[known],
        image_size=sizes,
        image_count=len(table.image_ids),
        category_count=len(table.category_ids),
    )


def _most_frequent(table: Table) -> tuple[list[int], list[str], list[str]]:
    """Category rows by number of annotations, with their names and colours."""
    counts = table.annotations_per_category
    rows = np.argsort(-counts, kind="stable")[:MAX_CLASSES].tolist()
    colors = _colors_of(table)
    names = [str(table.category_names[row] or table.category_ids[row])[:24] for row in rows]
    return rows, names, [html.rgb(colors[row]) for row in rows]


def _colors_of(table: Table) -> list[tuple[int, int, int]]:
    """The colour of each category row, as on photos; by row number if the names are not a valid class map."""
    names = [name or f"category {row}" for row, name in enumerate(table.category_names)]
    try:
        found = class_map([{"id": row, "name": name} for row, name in enumerate(names)])
    except TrashkitError:
        return list(shown_colors(len(names) + 1)[1:])
    return [found.shown_colors[found.index_of[row]] for row in range(len(names))]


def _classes(table: Table, objects: Objects) -> Iterable[html.Html]:
    rows, names, colors = _most_frequent(table)
    pixels = data_statistics.area_per_class(objects)
    share = pixels / max(float(pixels.sum()), 1e-9)
    left_out = objects.category_count - len(rows)
    title = "Annotations per class" + (f" ({left_out} rarer classes are not shown)" if left_out > 0 else "")
    for caption, values, form in (
        (title, table.annotations_per_category, "{:,.0f}"),
        ("Images with the class", data_statistics.images_per_class(objects), "{:,.0f}"),
        ("Share of all annotated pixels", share, "{:.1%}"),
    ):
        bars = [(name, float(values[row]), color) for row, name, color in zip(rows, names, colors, strict=True)]
        yield html.bars(caption, bars, form=form)


def _sizes(objects: Objects) -> Iterable[html.Html]:
    labels = [f"{low:.0%} to {high:.0%}" if high < 9 else f"over {low:.0%}" for low, high in pairwise(SIDE_EDGES)]
    bars = [(label, float(n), PLAIN) for label, n in zip(labels, data_statistics.object_sides(objects), strict=True)]
    yield html.bars("Object side as a share of the image's", bars, form="{:,.0f}")
    counts = enumerate(data_statistics.objects_per_image(objects))
    bars = [(f"{n}{' or more' if n == MAX_OBJECTS else ''}", float(v), PLAIN) for n, v in counts if v]
    yield html.bars("Objects per image", bars, form="{:,.0f}")


def _positions(table: Table, objects: Objects) -> Iterable[html.Html]:
    """Maps of where boxes lie: of all classes together, and of each of the most frequent ones."""
    first, last, category = data_statistics.box_cells(objects, CELLS)
    rows, names, _ = _most_frequent(table)
    maps = [("all classes", data_statistics.box_coverage(first, last, CELLS))]
    for row, name in zip(rows[:MAX_MAPS], names, strict=False):
        mine = category == row
        maps.append((name, data_statistics.box_coverage(first[mine], last[mine], CELLS)))
    tiles = [
        html.figure(name, html.picture(_heat_map(coverage), alt=f"where boxes of {name} lie", quality=70))
        for name, coverage in maps
        if coverage.any()
    ]
    yield html.block("Where objects lie: share of boxes over each part of the image", tiles)


def _heat_map(values: Floats) -> NDArray[np.uint8]:
    level = (values / max(float(values.max()), 1e-9) * 255).round().astype(np.uint8)
    large = cv2.resize(level, (128, 128), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB), np.uint8)


def _co_occurrence(table: Table, objects: Objects) -> Iterable[html.Html]:
    """Which classes occur in the same image."""
    rows, names, _ = _most_frequent(table)
    rows, names = rows[:MAX_PAIRED], names[:MAX_PAIRED]
    if len(rows) < 2:
        return
    together = data_statistics.co_occurrence(objects, rows).astype(float)
    share = together / np.maximum(np.diag(together)[:, None], 1)
    np.fill_diagonal(share, np.nan)
    yield html.matrix("Of the images with the row's class, the share that also has the column's", share, names, names)


def _comparison(tables: dict[str, Table]) -> Iterable[html.Html]:
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


def _colors(tables: dict[str, Table], folder: Path) -> Iterable[html.Html]:
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
    """float64 [n, 3]: brightness, contrast and saturation of up to MAX_PHOTOS photos that can be read."""
    rows: Sequence[int] = np.unique(np.linspace(0, len(table.file_names) - 1, MAX_PHOTOS).astype(int)).tolist()

    def one(row: int) -> tuple[float, float, float] | None:
        name = table.file_names[row]
        if not name:
            return None
        try:
            thumbnail = photos.thumbnail(photos.photo_path(folder, name), COLOR_SIDE)
        except TrashkitError:
            return None
        return data_statistics.photo_colors(thumbnail)

    with ThreadPoolExecutor() as pool:
        found = [values for values in pool.map(one, rows if table.file_names else ()) if values is not None]
    return np.array(found, dtype=float).reshape(-1, 3)
