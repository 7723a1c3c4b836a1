"""Fields of the wrong type whose value is still clear: numbers and flags written as text, whole numbers as floats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from trashkit.audit.readings.evidence import as_number
from trashkit.audit.readings.ids import References, key_of
from trashkit.audit.readings.shapes import restore
from trashkit.coco.dataset import image_size, is_valid_id
from trashkit.finding import FixKind

_FLAGS = {"false": 0, "true": 1, "0": 0, "1": 1, "no": 0, "yes": 1, "0.0": 0, "1.0": 1}


class Cure(NamedTuple):
    """New values for fields of a row. kind: safe where only the type changes. why: for messages; empty if plain."""

    fields: dict[str, Any]
    kind: FixKind
    why: str = ""


class FieldReader:
    """Reads fields of rows that have the wrong type, with the ids and names of the whole file.

    images, categories: rows of the two blocks; annotation_ids: the ids of all annotations.
    """

    def __init__(self, images: list[Any], categories: list[Any], annotation_ids: list[Any]) -> None:
        self.images, self.categories = images, categories
        self.annotation_ids = annotation_ids

    @cached_property
    def image_references(self) -> References:
        """Looks up values of ``image_id``."""
        return References("image", _column(self.images, "id"), _texts(self.images, "file_name"))

    @cached_property
    def category_references(self) -> References:
        """Looks up values of ``category_id``."""
        return References("category", _column(self.categories, "id"), _texts(self.categories, "name"))

    @cached_property
    def _ids(self) -> dict[str, Counter[Any]]:
        """How often each id occurs, whatever its type, by block."""
        columns = {"images": _column(self.images, "id"), "categories": _column(self.categories, "id")}
        columns["annotations"] = self.annotation_ids
        return {block: Counter(map(key_of, column)) for block, column in columns.items()}

    @cached_property
    def _sizes(self) -> dict[Any, tuple[int, int]]:
        found: dict[Any, tuple[int, int]] = {}
        for image in self.images:
            size = image_size(image)
            if size and is_valid_id(image.get("id")):
                found.setdefault(image["id"], size)
        return found

    def size_of(self, annotation: Mapping[str, Any]) -> tuple[int, int] | None:
        """(height, width) of an annotation's image; None if it is unknown."""
        image_id = annotation.get("image_id")
        return self._sizes.get(image_id) if is_valid_id(image_id) else None

    def read(self, block: str, record: dict[str, Any], names: list[str]) -> Cure | None:
        """New values for those of the named fields of a row whose meaning is clear; None if there are none."""
        fields: dict[str, Any] = {}
        whys: list[str] = []
        kind: FixKind = "safe"
        for name in names:
            value = record.get(name)
            if name == "segmentation" and isinstance(value, str):
                restored = restore(record, self.size_of(record))
                if restored.segmentation is not None:
                    fields[name], kind = restored.segmentation, "unsafe"
                    whys.append(restored.why)
                continue
            if name in ("image_id", "category_id"):
                references = self.image_references if name == "image_id" else self.category_references
                meant = references.read(value)
                if meant.id is not None and meant.by_type:
                    fields[name] = meant.id
                continue
            new = self._plain(block, name, value)
            if new is not None:
                fields[name] = new
        return Cure(fields, kind, "; ".join(whys)) if fields else None

    def _plain(self, block: str, name: str, value: Any) -> Any:
        if name == "id":
            key = key_of(value)
            return key if isinstance(value, float) and key is not None and self._ids[block][key] == 1 else None
        if name in ("width", "height"):
            number = as_number(value)
            return int(number) if number is not None and number == int(number) and 0 < number < 2**31 else None
        if name == "iscrowd":
            return 0 if value is None else _FLAGS.get(str(value).strip().lower())
        if name == "area":
            number = as_number(value)
            return number if number is not None and number >= 0 else None
        if name == "bbox" and isinstance(value, list) and len(value) == 4:
            sides = [as_number(side) for side in value]
            return None if None in sides else sides
        return None


def _column(rows: list[Any], name: str) -> list[Any]:
    return [row.get(name) if isinstance(row, dict) else None for row in rows]


def _texts(rows: list[Any], name: str) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in _column(rows, name)]
