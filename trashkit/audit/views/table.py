"""A COCO file as columns, for all checks of fields, references and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trashkit.audit.readings.fields import FieldReader
from trashkit.audit.readings.scale import Scale, find_scale
from trashkit.audit.settings import Settings
from trashkit.audit.views.fields import RowProblem, read_annotations, read_rows
from trashkit.coco.dataset import Coco, is_valid_id

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Measures(NamedTuple):
    """Measured areas, boxes and vertices by annotation row; NaN where a shape could not be measured.

    area: [N] pixels² of the union of its parts. box: [N, 4] left, top, right, bottom in pixels. vertices: [N] number of
    corners without closing points.
    """

    area: Floats
    box: Floats
    vertices: Floats


@dataclass
class Table:
    """Columns of one file. Rows are those of the source file; missing values are None, NaN or -1.

    problems: what is wrong with single fields, in row order.
    """

    coco: Coco
    settings: Settings
    problems: list[RowProblem]
    image_ids: list[Any]
    file_names: list[str | None]
    width: Floats
    height: Floats
    category_ids: list[Any]
    category_names: list[str | None]
    annotation_ids: list[Any]
    image_row: Ints
    """[N] row of each annotation's image: -1 if there is no image of this id, -2 if the id is missing or unusable."""
    category_row: Ints
    """[N] row of each annotation's category, -1 and -2 as above."""
    area: Floats
    """[N] areas as given in the file."""
    bbox: Floats
    """[N, 4] boxes as given in the file: left, top, width, height."""
    crowd: npt.NDArray[np.bool_]
    """[N] whether an annotation has iscrowd 1."""
    against: Table | None = None
    """The other file, such as the test set, if one is given."""
    measures: Measures | None = None
    """Set only for checks on measures."""
    records_of: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def annotation_count(self) -> int:
        """Number of annotations."""
        return len(self.annotation_ids)

    def records(self, block: str) -> list[Any]:
        """Rows of a block as plain values, decoded once. Not for annotations, of which there are too many."""
        if block not in self.records_of:
            self.records_of[block] = self.coco.records(block)
        return self.records_of[block]

    @cached_property
    def reader(self) -> FieldReader:
        """Reads fields of the wrong type."""
        return FieldReader(self.records("images"), self.records("categories"), self.annotation_ids)

    @cached_property
    def scale(self) -> Scale | None:
        """What the coordinates of the whole file have to be multiplied by, if they are not in pixels."""
        size = np.stack((self.width, self.height), axis=1) if len(self.width) else np.zeros((0, 2))
        return find_scale(self.coco.rows("annotations"), self.image_row, size, self.bbox, self.area)

    @cached_property
    def by_image(self) -> tuple[Ints, Ints]:
        """Annotation rows with a known image, ordered by image row and file order, and the image row of each."""
        order = np.argsort(self.image_row, kind="stable")
        order = order[self.image_row[order] >= 0]
        return order, self.image_row[order]

    @cached_property
    def annotations_per_image(self) -> Ints:
        """[images] number of annotations of each image."""
        return np.bincount(self.image_row[self.image_row >= 0], minlength=len(self.image_ids))

    @cached_property
    def annotations_per_category(self) -> Ints:
        """[categories] number of annotations of each category."""
        return np.bincount(self.category_row[self.category_row >= 0], minlength=len(self.category_ids))

    def category_name(self, annotation_row: int) -> str:
        """Name of an annotation's category, or its id, for messages."""
        row = int(self.category_row[annotation_row])
        if row < 0:
            return "unknown category"
        name = self.category_names[row]
        return name if name is not None else str(self.category_ids[row])

    def label(self, annotation_row: int) -> str:
        """How messages name another annotation."""
        value = self.annotation_ids[annotation_row]
        return f"annotation {value!r:.40}" if is_valid_id(value) else f"annotations[{annotation_row}]"


def rows_by_id(ids: list[Any]) -> dict[Any, int]:
    """First row of each usable id. Ids keep their type: 1 and "1" differ."""
    found: dict[Any, int] = {}
    for row, value in enumerate(ids):
        if is_valid_id(value):
            found.setdefault(value, row)
    return found


def repeated(values: list[Any]) -> Iterator[tuple[Any, list[int]]]:
    """Hashable values that occur in more than one row, with their rows; None is ignored."""
    first: dict[Any, int] = {}
    rows: dict[Any, list[int]] = {}
    for row, value in enumerate(values):
        if value is None:
            continue
        if value in first:
            rows.setdefault(value, [first[value]]).append(row)
        else:
            first[value] = row
    yield from rows.items()


def read_table(coco: Coco, settings: Settings, against: Coco | None = None) -> Table:
    """Columns of a file, valid or damaged. Never raises because of the file's contents."""
    problems: list[RowProblem] = []
    images = read_rows(coco, "images", problems)
    categories = read_rows(coco, "categories", problems)
    image_ids, category_ids = images.column("id"), categories.column("id")
    columns = read_annotations(coco, rows_by_id(image_ids), rows_by_id(category_ids), problems)
    return Table(
        coco=coco,
        settings=settings,
        problems=problems,
        image_ids=image_ids,
        file_names=[name if isinstance(name, str) else None for name in images.column("file_name")],
        width=_sizes(images.column("width")),
        height=_sizes(images.column("height")),
        category_ids=category_ids,
        category_names=[name if isinstance(name, str) else None for name in categories.column("name")],
        annotation_ids=columns.ids,
        image_row=columns.image_row,
        category_row=columns.category_row,
        area=columns.area,
        bbox=columns.bbox,
        crowd=columns.crowd,
        against=read_table(against, settings) if against is not None else None,
        records_of={"images": images.records, "categories": categories.records},
    )


def _sizes(values: list[Any]) -> Floats:
    sizes = np.full(len(values), math.nan)
    for row, value in enumerate(values):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**31:
            sizes[row] = value
    return sizes


def other_blocks(coco: Coco) -> list[str]:
    """Lists of the file that are not part of COCO."""
    own = {"images", "annotations", "categories", "licenses", "info"}
    return [block for block in coco.blocks() if block not in own]
