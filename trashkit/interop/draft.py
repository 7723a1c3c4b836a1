"""What readers of other formats fill: images, categories and annotations, made a COCO file at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as pycoco

from trashkit.coco import Coco, Segmentation, class_map
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.masks import LabelMap, pixel_area, polygons_from_label_map


@dataclass(frozen=True, slots=True)
class Imported:
    """Annotations read from another format. photos: the folder that their file names are relative to, if known.

    notes: what was left out or changed, one line each.
    """

    coco: Coco
    photos: Path | None
    notes: tuple[str, ...]


class Draft:
    """A COCO file in the making. Category ids count from 1 in the order of `names`, then as they appear.

    names: class names that are known beforehand, background not among them.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names: dict[str, int] = {}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.left_out: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._files: set[str] = set()
        for name in names:
            self.category(name)

    def category(self, name: str) -> int:
        """The id of the category with this name, made where it is new."""
        return self.names.setdefault(name, len(self.names) + 1)

    def image(self, file_name: str, width: int, height: int, **more: Any) -> dict[str, Any]:
        """Add an image. TrashkitError where its name is used already or its size is none."""
        if file_name in self._files:
            raise TrashkitError(f"two images are named {file_name}", hint="give each photo its own name")
        if width < 1 or height < 1:
            raise TrashkitError(f"{file_name} has the size {width}x{height}", hint="a size is two numbers above 0")
        self._files.add(file_name)
        record = {"id": len(self.images) + 1, "file_name": file_name, "width": width, "height": height, **more}
        self.images.append(record)
        return record

    def skip(self, what: str, example: str) -> None:
        """Count something that cannot become an annotation, such as a point; the first is named in the notes."""
        self.left_out[what] += 1
        self.examples.setdefault(what, example)

    def add(self, image: Mapping[str, Any], name: str, segmentation: Segmentation, place: str, **more: Any) -> None:
        """Add an annotation, its `area` counted in pixels and its box around it. `place` names it in notes.

        A segmentation that cannot be rasterised is left out and counted.
        """
        height, width = int(image["height"]), int(image["width"])
        reason = check_segmentation(segmentation, height, width)
        if reason:
            self.skip("shapes that cannot be drawn", f"{place}: {reason}")
            return
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": image["id"],
                "category_id": self.category(name),
                "segmentation": segmentation,
                "area": pixel_area(segmentation, height, width),
                "bbox": box_of(segmentation),
                "iscrowd": 0,
                **more,
            }
        )

    def add_label_map(self, image: Mapping[str, Any], labels: LabelMap, names: Sequence[str], place: str) -> None:
        """Add each region of a label map; names: one per class index, the first is background. 255 stays background.

        TrashkitError for a class without a name.
        """
        counts = np.bincount(labels.ravel(), minlength=256)
        if counts[255]:
            self.skip("label maps with ignored pixels (255), which become background", place)
        for index in np.flatnonzero(counts[:255]).tolist():
            if index >= len(names):
                raise TrashkitError(
                    f"{place} has pixels of class {index}, and only 0 to {len(names) - 1} have names",
                    hint="name them all with --names, a file with one name a line, background first",
                )
            if index:
                for segmentation in polygons_from_label_map(labels, index):
                    self.add(image, names[index], segmentation, place)

    def finish(self, photos: Path | None, *, notes: Sequence[str] = ()) -> Imported:
        """The COCO file. TrashkitError where there is no image at all."""
        if not self.images:
            raise TrashkitError("there is no image to import", hint="check the folder and the format")
        value = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": number, "name": name, "supercategory": name} for name, number in self.names.items()],
        }
        lines = [f"{count} {what}, first {self.examples[what]}" for what, count in self.left_out.items()]
        return Imported(Coco.of(value), photos, (*notes, *lines))


def box_of(segmentation: Segmentation) -> list[float]:
    """x, y, width and height of a segmentation that `check_segmentation` found fine."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            segmentation = dict(pycoco.frPyObjects(segmentation, *segmentation["size"]))
        return [float(side) for side in pycoco.toBbox(segmentation)]
    xs = [x for ring in segmentation for x in ring[0::2]]
    ys = [y for ring in segmentation for y in ring[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def with_classes(coco: Coco, classes: str | Path | None) -> Coco:
    """The file with its categories made the classes of a class map (see `trashkit.coco.class_map`).

    Categories become the map's classes, ids from 1 in class order; annotations follow. Annotations of background keep
    a category 0, since they cover what lies below them. The label maps stay what ``--classes`` would give.
    Raises TrashkitError for categories without id and name, and for annotations of unknown categories.
    """
    records = coco.records("categories")
    if not all(
        isinstance(record, dict) and "id" in record and isinstance(record.get("name"), str) for record in records
    ):
        raise TrashkitError(f"{coco.path}: a category has no id or no name", hint=f"run trashkit audit {coco.path}")
    mapping = class_map(records, classes)
    changes: dict[int, Any] = {}
    used_zero = False
    for row, annotation in enumerate(coco.records("annotations")):
        old = annotation.get("category_id") if isinstance(annotation, dict) else None
        index = mapping.index_of.get(old) if isinstance(old, int | str) else None
        if index is None:
            raise TrashkitError(
                f"{coco.path}: annotations[{row}] has the category {old!r}, which the file does not define",
                hint=f"run trashkit audit {coco.path}",
            )
        used_zero |= index == 0
        if index != old:
            changes[row] = {**annotation, "category_id": index}
    if changes:
        coco = coco.replace("annotations", changes)
    first = 0 if used_zero else 1
    rows = [
        {"id": index, "name": name, "supercategory": name} for index, name in enumerate(mapping.names) if index >= first
    ]
    return coco.replace("categories", dict.fromkeys(range(len(records))), rows)


def number(value: Any, place: str, what: str) -> float:
    """A finite number from JSON, XML or text; TrashkitError naming place and field for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise TrashkitError(f"{place}: {what} is {str(value)[:40]!r}, no number", hint="correct that line or value")
    return found


def whole(value: Any, place: str, what: str) -> int:
    """A whole number of at least 0; TrashkitError for anything else."""
    found = number(value, place, what)
    if found != int(found) or found < 0:
        raise TrashkitError(f"{place}: {what} is {str(value)[:40]!r}, no whole number", hint="correct that value")
    return int(found)
