"""Categories: zero, unused, rare, and names that look alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trashkit.audit.registry import Hit, check
from trashkit.audit.rows import shown
from trashkit.audit.table import Table, repeated
from trashkit.finding import Severity


def _zero(coco: dict[str, Any]) -> None:
    coco["categories"][0]["id"] = 0
    for annotation in coco["annotations"]:
        annotation["category_id"] -= annotation["category_id"] == 1


@check("S020", "category-id-zero", Severity.WARNING, on="file", broken=_zero)
def category_id_zero(table: Table) -> Iterator[Hit]:
    """A category has the id 0, which label maps keep for the background.

    Code that paints category ids into masks turns this class into background, and some readers refuse the file.

    Example::

        {"categories": [{"id": 0, "name": "Aluminium foil"}]}

    Cure: `trashkit` maps classes by name and is not harmed; for other tools renumber the categories.
    """
    for row, value in enumerate(table.category_ids):
        if isinstance(value, int) and not isinstance(value, bool) and value == 0:
            used = int(table.annotations_per_category[row])
            yield Hit(
                row,
                f"category {shown(table.category_names[row])} has id 0, used by {used} annotations",
                float(used),
                block="categories",
            )


def _unused(coco: dict[str, Any]) -> None:
    coco["categories"].append({"id": 4, "name": "Battery"})


@check("S021", "unused-category", Severity.INFO, on="file", broken=_unused)
def unused_category(table: Table) -> Iterator[Hit]:
    """A category has no annotation. Silent where the file has no annotations at all.

    Example::

        {"categories": [{"id": 9, "name": "Battery"}], "annotations": [{"category_id": 1}]}

    Cure: collect examples, or leave the class out: its IoU can be nothing but luck.
    """
    if table.annotation_count:
        for row, count in enumerate(table.annotations_per_category.tolist()):
            if not count:
                yield Hit(row, f"category {_name(table, row)} has no annotations", block="categories")


def _rare(coco: dict[str, Any]) -> None:
    coco["categories"].append({"id": 4, "name": "Battery"})
    coco["annotations"][0]["category_id"] = 4


@check("S022", "rare-category", Severity.INFO, on="file", broken=_rare)
def rare_category(table: Table) -> Iterator[Hit]:
    """A category has fewer than 10 annotations (`rare_category`): too few to learn, and too few to measure.

    Its IoU swings from one evaluation to the next and takes the mean with it. Score: how many are missing.

    Example::

        {"categories": [{"id": 9, "name": "Battery"}], "annotations": [{"category_id": 9}]}

    Cure: collect more, oversample, or read the mean without it as well.
    """
    for row, count in enumerate(table.annotations_per_category.tolist()):
        if 0 < count < table.settings.rare_category:
            message = f"category {_name(table, row)} has only {count} annotation{'s' if count > 1 else ''}"
            yield Hit(row, message, float(table.settings.rare_category - count), block="categories")


def _clash(coco: dict[str, Any]) -> None:
    coco["categories"][1]["name"] = "bottle "


@check("S023", "category-name-clash", Severity.WARNING, on="file", broken=_clash)
def category_name_clash(table: Table) -> Iterator[Hit]:
    """Two categories have the same name but for case, spaces, hyphens or underscores.

    Example::

        {"categories": [{"id": 1, "name": "Plastic bag"}, {"id": 2, "name": "plastic_bag"}]}

    Cure: relabel the annotations of one, and remove it.
    """
    plain = [
        None if name is None else "".join(name.casefold().replace("_", " ").replace("-", " ").split())
        for name in table.category_names
    ]
    for _, rows in repeated(plain):
        names = ", ".join(_name(table, row) for row in rows)
        yield Hit(
            rows[0],
            f"names differ in case or space only: {names}",
            float(len(rows)),
            related=rows[1:],
            block="categories",
        )


def _name(table: Table, row: int) -> str:
    name = table.category_names[row]
    return shown(name if name is not None else table.category_ids[row])
