"""Checks of categories: id zero, unused, rare, and names that look the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trashkit.audit.registry import Hit, check
from trashkit.audit.views.fields import shown
from trashkit.audit.views.table import Table, repeated
from trashkit.finding import Severity


def _zero(coco: dict[str, Any]) -> None:
    coco["categories"][0]["id"] = 0
    for annotation in coco["annotations"]:
        annotation["category_id"] -= annotation["category_id"] == 1


@check("S020", "category-id-zero", Severity.WARNING, on="file", broken=_zero)
def category_id_zero(table: Table) -> Iterator[Hit]:
    """A category has the id 0, which label maps use for the background.

    Code that writes category ids into masks turns this class into background, and some readers reject the file.

    Example::

        {"categories": [{"id": 0, "name": "Aluminium foil"}]}

    Fix: renumber the categories for other tools; `trashkit` maps classes by name and is not affected.
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
    """A category has no annotations. Not reported if the file has no annotations at all.

    Example::

        {"categories": [{"id": 9, "name": "Battery"}], "annotations": [{"category_id": 1}]}

    Fix: collect examples, or leave the class out: its IoU is random.
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
    """A category has fewer than 10 annotations (`rare_category`): too few to learn, and too few to evaluate.

    Its IoU varies from one evaluation to the next, and the mean IoU with it. Score: how many are missing.

    Example::

        {"categories": [{"id": 9, "name": "Battery"}], "annotations": [{"category_id": 9}]}

    Fix: collect more, oversample, or look at the mean without it as well.
    """
    for row, count in enumerate(table.annotations_per_category.tolist()):
        if 0 < count < table.settings.rare_category:
            message = f"category {_name(table, row)} has only {count} annotation{'s' if count > 1 else ''}"
            yield Hit(row, message, float(table.settings.rare_category - count), block="categories")


def _clash(coco: dict[str, Any]) -> None:
    coco["categories"][1]["name"] = "bottle "


@check("S023", "category-name-clash", Severity.WARNING, on="file", broken=_clash)
def category_name_clash(table: Table) -> Iterator[Hit]:
    """Names of two categories differ only in case, spaces, hyphens or underscores.

    Example::

        {"categories": [{"id": 1, "name": "Plastic bag"}, {"id": 2, "name": "plastic_bag"}]}

    Fix: relabel the annotations of one of them, and remove it.
    """
    plain = [
        None if name is None else "".join(name.casefold().replace("_", " ").replace("-", " ").split())
        for name in table.category_names
    ]
    for _, rows in repeated(plain):
        names = ", ".join(_name(table, row) for row in rows)
        yield Hit(
            rows[0],
            f"names differ only in case or spacing: {names}",
            float(len(rows)),
            related=rows[1:],
            block="categories",
        )


def _name(table: Table, row: int) -> str:
    name = table.category_names[row]
    return shown(name if name is not None else table.category_ids[row])
