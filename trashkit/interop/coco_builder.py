"""Builds a COCO file image by image, for readers of other formats."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Coco, Segmentation, class_map
from trashkit.coco.dataset import is_valid_id
from trashkit.coco.segmentation import MAX_PIXELS, check_segmentation
from trashkit.errors import TrashkitError
from trashkit.images import photos
from trashkit.interop.geometry.outlines import SkippedShapeError
from trashkit.interop.names.table import ClassTable
from trashkit.raster.masks import LabelMap, pixel_area, polygons_from_label_map
from trashkit.raster.measures import bounding_box
from trashkit.readers import ContentError

_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class ImportedAnnotations:
    """Annotations read from another format.

    photos: the folder that file names are relative to, if known. notes: what was left out or changed, one line each,
    without the skipped shapes. skipped: shapes that could not become annotations, with their number by reason.
    examples: the first one, by reason. table: the meaning of class numbers, in formats that have them.
    """

    coco: Coco
    photos: Path | None
    notes: tuple[str, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    table: ClassTable | None = None


class CocoBuilder:
    """Collects images, categories and annotations of a COCO file.

    names: class names that are known beforehand, without background, or the table of class numbers. Category ids start
    at 1, in the order of `names`, followed by other classes in the order in which they appear.
    """

    def __init__(self, names: Sequence[str] | ClassTable = ()) -> None:
        self.table = names if isinstance(names, ClassTable) else None
        self.names: dict[str, int] = {}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.skipped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.hint = ""
        self._files: set[str] = set()
        self._forms: dict[str, str] = {}
        for name in names.classes if isinstance(names, ClassTable) else names:
            self.category(name)

    def category(self, name: str) -> int:
        """The id of the category with this name, which is added if it is new.

        Names that differ only in spaces or in the form of Unicode (NFC, NFD) are one.
        """
        form = " ".join(unicodedata.normalize("NFC", name).split())
        known = name if name in self.names else self._forms.get(form, name)
        self._forms.setdefault(form, known)
        return self.names.setdefault(known, len(self.names) + 1)

    def image(self, file_name: str, width: int, height: int, **more: Any) -> dict[str, Any]:
        """Add an image, and return its record. Raises TrashkitError for a name that is taken or an invalid size."""
        if file_name in self._files:
            raise TrashkitError(f"two images are named {file_name}", hint="give each photo its own name")
        if width < 1 or height < 1:
            raise TrashkitError(f"{file_name} has the size {width}x{height}", hint="width and height must be positive")
        if width * height > MAX_PIXELS:
            raise TrashkitError(
                f"{file_name} has the size {width}x{height}, which cannot be rasterised", hint="correct its size"
            )
        self._files.add(file_name)
        record = {"id": len(self.images) + 1, "file_name": file_name, "width": width, "height": height, **more}
        self.images.append(record)
        return record

    def skip(self, what: str, example: str, count: int = 1) -> None:
        """Count shapes that cannot become annotations, such as points. what: the reason. example: where the first is.

        Every skipped shape is one that the file has and the import lacks; `note` is for everything else.
        """
        self._count(self.skipped, what, example, count)

    def note(self, what: str, example: str, count: int = 1) -> None:
        """Count something that is changed or left out although no shape is lost, such as a photo without labels."""
        self._count(self.noted, what, example, count)

    def _count(self, counts: Counter[str], what: str, example: str, count: int) -> None:
        what = what[:100]
        counts[what] += count
        self.examples.setdefault(what, example)

    def take_counts(self, other: CocoBuilder) -> None:
        """Take over what another builder has skipped and noted."""
        for what, count in other.skipped.items():
            self.skip(what, other.examples[what], count)
        for what, count in other.noted.items():
            self.note(what, other.examples[what], count)
        self.hint = self.hint or other.hint

    @contextmanager
    def shape(self, place: str) -> Iterator[None]:
        """Read one shape: an error in it, or a SkippedShapeError, skips this shape, and no other."""
        try:
            yield
        except SkippedShapeError as error:
            self.skip(str(error), place)
        except TrashkitError as error:
            self.skip("shapes that cannot be read", error.message)

    @contextmanager
    def picture(self, place: str, shapes: int) -> Iterator[None]:
        """Find and add one image: an error skips it with its shapes, and no other. place: where it is.

        shapes: how many it has; without any, nothing is lost.
        """
        try:
            yield
        except TrashkitError as error:
            self.hint = self.hint or error.hint
            message = error.message if place in error.message else f"{place}: {error.message}"
            if shapes:
                self.skip("shapes of images that cannot be read", message, shapes)
            else:
                self.note("images without shapes that cannot be read, left out", message)

    def add(self, image: Mapping[str, Any], name: str, segmentation: Segmentation, place: str, **more: Any) -> None:
        """Add an annotation, with its area in pixels and its bounding box.

        place: how notes refer to it. A segmentation that cannot be rasterised, or without a name, is skipped and
        counted.
        """
        if not name.strip():
            self.skip("shapes without a label", place)
            return
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
                "bbox": bounding_box(segmentation),
                "iscrowd": 0,
                **more,
            }
        )

    def add_label_map(self, image: Mapping[str, Any], labels: LabelMap, table: ClassTable, place: str) -> None:
        """Add each connected region of a label map as an annotation. Ignored pixels become background, with a note.

        Pixels of 255 are ignored unless the table names them. Raises TrashkitError for a class without a name.
        """
        for index in np.unique(labels).tolist():
            if index in table.names:
                for segmentation in polygons_from_label_map(labels, index):
                    self.add(image, table.names[index], segmentation, place)
            elif index in table.ignored or (index == 255 and index not in table.background):
                self.note(f"label maps with ignored pixels ({index}), which become background", place)
            elif index not in table.background:
                raise _without_name(labels, index, table, place)

    def finish(self, photos: Path | None, *, notes: Sequence[str] = ()) -> ImportedAnnotations:
        """The finished COCO file. Raises TrashkitError if there are no images."""
        if not self.images:
            why = described(self.skipped, self.examples) or described(self.noted, self.examples)
            raise TrashkitError(
                f"there are no images to import{': ' if why else ''}{''.join(why[:1])}",
                hint=self.hint or "check the folder and the format",
            )
        value = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": number, "name": name, "supercategory": name} for name, number in self.names.items()],
        }
        return ImportedAnnotations(
            Coco.of(value),
            photos,
            (*notes, *described(self.noted, self.examples)),
            self.skipped,
            self.examples,
            self.table,
        )


def _without_name(labels: LabelMap, index: int, table: ClassTable, place: str) -> TrashkitError:
    """An error for a label map in which class `index` has no name; it says where pixels seem to be mixed ones."""
    counts = np.bincount(labels.ravel(), minlength=256)
    known = sorted(table.all_names)
    others = [n for n in np.flatnonzero(counts[:255]).tolist() if n not in table.all_names]
    if len(others) > 2 and counts[others].sum() < counts[255]:
        return TrashkitError(
            f"{place} has 0, 255 and {len(others)} numbers between them, such as {index}: its edges are smoothed, or "
            "it was saved with losses, as JPEG does",
            hint="save it without, or round its values to 0 and 255",
        )
    return TrashkitError(
        f"{place} has pixels of class {index}, and only {known[0]} to {known[-1]} have names",
        hint="name all classes with --names, a file with one name per line, background first, or with lines such as "
        f'"{index}: name"',
    )


def described(counts: Mapping[str, int], examples: Mapping[str, str]) -> list[str]:
    """One line for each reason: how often, and the first place. At most 20 lines, and one for the others."""
    shown = list(counts.items())[:_MOST_NOTES]
    lines = [f"{count} {what}, first {examples[what]}" for what, count in shown]
    more = len(counts) - len(lines)
    return [*lines, *([f"{more} further kinds of things that were left out"] if more else [])]


def with_classes(coco: Coco, classes: str | Path | None) -> Coco:
    """Replace the categories of a file by the classes of a class map (see `trashkit.coco.class_map`).

    Category ids become class indices. Annotations of background keep a category 0, since they hide what lies below
    them. Label maps are the same as with ``--classes``.
    Raises TrashkitError for categories without id or name, and for annotations of unknown categories.
    """
    records = coco.records("categories")
    if not all(
        isinstance(record, dict) and is_valid_id(record.get("id")) and isinstance(record.get("name"), str)
        for record in records
    ):
        raise TrashkitError(f"{coco.path}: a category has no id or no name", hint=f"run trashkit audit {coco.path}")
    mapping = class_map(records, classes)
    changes: dict[int, Any] = {}
    used_zero = False
    for row, annotation in enumerate(coco.records("annotations")):
        old = annotation.get("category_id") if isinstance(annotation, dict) else None
        index = mapping.index_of.get(old) if is_valid_id(old) else None
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


def below(error: ContentError, place: str) -> str:
    """The text of an error in a value, with its place in the whole file. place: of the value, as ``shapes[3]``."""
    text = str(error)
    if text.startswith("at "):
        return f"at {place}{'' if text.startswith('at [') else '.'}{text[3:]}"
    return f"at {place}: {text}"


def number(value: Any, place: str, what: str) -> float:
    """A finite number from JSON, XML or text. Raises TrashkitError, naming place and field, for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise TrashkitError(f"{place}: {what} is {str(value)[:40]!r}, not a number", hint="correct that value")
    return found


def mask_size(image: Mapping[str, Any], place: str) -> tuple[int, int]:
    """(height, width) of an image record. Raises TrashkitError where no photo that can be read is so large.

    To be called before a mask of the image is allocated: sizes come from a file that may say anything.
    """
    height, width = int(image["height"]), int(image["width"])
    if height * width > photos.MAX_PIXELS:
        raise TrashkitError(
            f"{place}: a mask in an image of {width}x{height} is too large (more than "
            f"{photos.MAX_PIXELS // 1_000_000} megapixels)",
            hint="correct the size of the image",
        )
    return height, width


def whole_number(value: Any, place: str, what: str) -> int:
    """A whole number of at least 0. Raises TrashkitError for anything else."""
    found = number(value, place, what)
    if found != int(found) or found < 0:
        raise TrashkitError(f"{place}: {what} is {str(value)[:40]!r}, not a whole number", hint="correct that value")
    return int(found)
