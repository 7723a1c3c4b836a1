"""Read and validate a COCO file for split, train, predict and score."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trashkit.coco.classes import ClassMap, class_map
from trashkit.coco.dataset import Coco, is_valid_id
from trashkit.coco.forms import has_only_boxes
from trashkit.coco.read import read
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError

Segmentation = list[list[float]] | dict[str, Any]
"""Polygon rings ``[x0, y0, x1, y1, ...]`` in pixels, or an RLE ``{"size": [height, width], "counts": ...}``."""


@dataclass(frozen=True, slots=True)
class Image:
    """One row of ``images``: width and height in pixels, `file_name` relative to the photo folder."""

    row: int
    id: Any
    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """One row of ``annotations``.

    image_row: position of its image in ``images``. class_index: its class in the class map, 0 for background.
    area: the file's own value in square pixels, NaN where it has none. bbox: (x, y, width, height) or None.
    """

    row: int
    id: Any
    image_row: int
    category_id: Any
    class_index: int
    segmentation: Segmentation
    area: float
    bbox: tuple[float, float, float, float] | None
    iscrowd: bool


@dataclass(frozen=True, eq=False)
class Dataset:
    """A validated COCO file: references resolve, sizes are positive, segmentations can be rasterised, categories are
    known."""

    coco: Coco
    images: tuple[Image, ...]
    annotations: tuple[Annotation, ...]
    classes: ClassMap

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def _by_image(self) -> dict[int, tuple[Annotation, ...]]:
        found: dict[int, list[Annotation]] = {}
        for annotation in self.annotations:
            found.setdefault(annotation.image_row, []).append(annotation)
        return {row: tuple(annotations) for row, annotations in found.items()}

    @cached_property
    def image_by_id(self) -> dict[Any, Image]:
        """Images by their id; ids keep their type, so 1 and "1" differ."""
        return {image.id: image for image in self.images}

    @cached_property
    def image_by_row(self) -> dict[int, Image]:
        """Images by their row in the source file."""
        return {image.row: image for image in self.images}

    def annotations_of(self, image_row: int) -> tuple[Annotation, ...]:
        """Annotations of the image at this row of the source file, in file order."""
        return self._by_image.get(image_row, ())

    def subset(self, image_rows: Iterable[int]) -> Dataset:
        """The data set with only these images (rows of the source file) and their annotations, in file order.

        `coco` remains the whole source file, and rows keep their numbers.
        """
        wanted = set(image_rows)
        return Dataset(
            self.coco,
            tuple(image for image in self.images if image.row in wanted),
            tuple(annotation for annotation in self.annotations if annotation.image_row in wanted),
            self.classes,
        )


class _Problems:
    """Collects validation problems; the error names the first and counts the rest."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.first = ""
        self.count = 0

    def add(self, message: str) -> None:
        self.first = self.first or message
        self.count += 1

    def raise_if_any(self) -> None:
        if self.count:
            more = f" (and {self.count - 1} more)" if self.count > 1 else ""
            raise TrashkitError(
                f"{self.source}: {self.first}{more}",
                hint=f"`trashkit audit {self.source}` lists them all, `trashkit fix` fixes many",
            )


def read_dataset(source: Path | str | Coco, *, classes: str | Path | None = None, labels: bool = True) -> Dataset:
    """Read a COCO file and validate what split, train, predict and score need.

    classes: see `trashkit.coco.classes.class_map`. labels: False skips annotations and does not validate them.
    Raises TrashkitError, naming the first problem and counting the others, unless image ids are unique, sizes are
    positive integers, file names are strings, and (with labels) references resolve and segmentations can be rasterised.
    Duplicate annotation ids, licences and invalid rings are allowed.
    """
    coco = source if isinstance(source, Coco) else read(source)
    coco.require_unique_keys()
    problems = _Problems(str(coco.path or "the annotations"))
    for block in ("images", "categories", "annotations") if labels else ("images",):
        if block not in coco.blocks():
            problems.add(f'it has no list "{block}"')
    images = _images(coco, problems)
    problems.raise_if_any()
    if not images:
        problems.add('its list "images" is empty')
    categories = _categories(coco, problems)
    problems.raise_if_any()
    mapping = class_map(categories, classes)
    if labels and has_only_boxes(coco.records("annotations")):
        raise TrashkitError(
            f"{problems.source}: its {coco.count('annotations')} annotations have boxes only (bbox) and no outlines "
            "(segmentation)",
            hint="export the annotations with polygons or masks: label maps cannot be drawn from boxes",
        )
    annotations = _annotations(coco, images, mapping, problems) if labels else ()
    problems.raise_if_any()
    return Dataset(coco, images, annotations, mapping)


def _whole(value: Any) -> int | None:
    """A positive integer, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**31:
        return None
    return int(value) if value == int(value) else None


def _images(coco: Coco, problems: _Problems) -> tuple[Image, ...]:
    images: list[Image] = []
    seen: set[Any] = set()
    for row, record in enumerate(coco.records("images")):
        place = f"images[{row}]"
        if not isinstance(record, dict):
            problems.add(f"{place} is not an object")
            continue
        image_id, name = record.get("id"), record.get("file_name")
        width, height = _whole(record.get("width")), _whole(record.get("height"))
        if not is_valid_id(image_id):
            problems.add(f"{place} has no usable id")
        elif image_id in seen:
            problems.add(f"{place}: image id {image_id!r} is used twice")
        elif not isinstance(name, str) or not name:
            problems.add(f"{place} (id {image_id}) has no file_name")
        elif width is None or height is None:
            problems.add(
                f"{place} ({name}): width {record.get('width')!r} and height {record.get('height')!r} are not a size"
            )
        else:
            images.append(Image(row, image_id, name, width, height))
        if is_valid_id(image_id):
            seen.add(image_id)
    return tuple(images)


def _categories(coco: Coco, problems: _Problems) -> list[dict[str, Any]]:
    categories: list[dict[str, Any]] = []
    seen: set[Any] = set()
    for row, record in enumerate(coco.records("categories")):
        if not isinstance(record, dict) or not is_valid_id(record.get("id")) or not isinstance(record.get("name"), str):
            problems.add(f"categories[{row}] has no id or no name")
        elif record["id"] in seen:
            problems.add(f"categories[{row}]: category id {record['id']!r} is used twice")
        else:
            seen.add(record["id"])
            categories.append(record)
    return categories


def _annotations(
    coco: Coco, images: tuple[Image, ...], classes: ClassMap, problems: _Problems
) -> tuple[Annotation, ...]:
    by_id = {image.id: image for image in images}
    annotations: list[Annotation] = []
    for row, record in enumerate(coco.records("annotations")):
        place = f"annotations[{row}]"
        if not isinstance(record, dict):
            problems.add(f"{place} is not an object")
            continue
        place += f" (id {record.get('id')!r})"
        image_id, category_id = record.get("image_id"), record.get("category_id")
        image = by_id.get(image_id) if is_valid_id(image_id) else None
        if image is None:
            problems.add(f"{place}: image_id {image_id!r} does not exist")
            continue
        if not is_valid_id(category_id) or category_id not in classes.index_of:
            problems.add(f"{place}: category_id {category_id!r} does not exist")
            continue
        reason = check_segmentation(record.get("segmentation"), image.height, image.width)
        if reason:
            problems.add(f"{place}: {reason}")
            continue
        annotations.append(
            Annotation(
                row,
                record.get("id"),
                image.row,
                category_id,
                classes.index_of[category_id],
                record["segmentation"],
                _number(record.get("area")),
                _box(record.get("bbox")),
                record.get("iscrowd") in (1, True),
            )
        )
    return tuple(annotations)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, width, height = (_number(number) for number in value)
    box = (x, y, width, height)
    return box if all(map(math.isfinite, box)) else None
