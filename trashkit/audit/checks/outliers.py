"""Outliers: annotations and images far from what is usual in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.example import annotation, octagon
from trashkit.audit.registry import Hit, check
from trashkit.audit.table import Floats, Ints, Table
from trashkit.finding import Severity

_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_LEAST_SPREAD = 0.15
"""Spread (of natural logarithms) below which a class counts as this spread: clones have no outliers."""


def deviations(values: Floats, groups: Ints, least: int) -> tuple[Floats, Floats]:
    """Robust standard deviations of each value [n] from its group's median, and that median.

    NaN for values that are NaN, groups below 0, and groups with fewer than `least` values. Median and median absolute
    deviation (Iglewicz and Hoaglin 1993), the latter at least _LEAST_SPREAD.
    """
    score, middle = np.full(len(values), np.nan), np.full(len(values), np.nan)
    usable = np.flatnonzero(np.isfinite(values) & (groups >= 0))
    order = usable[np.argsort(groups[usable], kind="stable")]
    edges = np.flatnonzero(np.diff(groups[order])) + 1
    for rows in np.split(order, edges):
        if len(rows) >= max(least, 1):
            median = float(np.median(values[rows]))
            spread = max(_NORMAL * float(np.median(np.abs(values[rows] - median))), _LEAST_SPREAD)
            score[rows], middle[rows] = (values[rows] - median) / spread, median
    return score, middle


def _huge(coco: dict[str, Any]) -> None:
    coco["images"].append({"id": 13, "file_name": "photo_13.jpg", "width": 640, "height": 480, "license": 1})
    coco["annotations"].append(annotation(999, 13, 1, octagon(320, 240, 230)))


@check("L010", "size-outlier", Severity.INFO, on="measures", broken=_huge)
def size_outlier(table: Table) -> Iterator[Hit]:
    """An annotation's share of its image is far from what its class usually covers.

    Compared as logarithms, 6 robust standard deviations (`outlier_deviations`) from the class's median; classes with
    fewer than 30 annotations (`outlier_sample`) are left out. Score: how many deviations.

    Example::

        a battery that fills the whole photo

    Cure: look at it: a wrong label, a whole image outlined by mistake, or a rare view.
    """
    assert table.measures is not None
    known = table.image_row >= 0
    pixels = np.full(len(known), np.nan)
    pixels[known] = (table.width * table.height)[table.image_row[known]]
    with np.errstate(all="ignore"):
        share = table.measures.area / pixels
        score, middle = deviations(np.log(share), table.category_row, table.settings.outlier_sample)
    for row in np.flatnonzero(np.abs(score) > table.settings.outlier_deviations).tolist():
        message = (
            f"covers {share[row]:.3%} of its image, where {table.category_name(row)} usually covers "
            f"{np.exp(middle[row]):.3%}"
        )
        yield Hit(row, message, float(abs(score[row])))


def _splinter(coco: dict[str, Any]) -> None:
    ring = [40.0, 470.0, 340.0, 470.0, 600.0, 470.0, 600.0, 472.0, 340.0, 472.0, 40.0, 473.0]
    coco["images"].append({"id": 13, "file_name": "photo_13.jpg", "width": 640, "height": 480, "license": 1})
    coco["annotations"].append(annotation(999, 13, 1, ring))


@check("L011", "shape-outlier", Severity.INFO, on="measures", broken=_splinter)
def shape_outlier(table: Table) -> Iterator[Hit]:
    """An annotation's box is far longer or squarer than its class's usually is.

    The ratio of longer to shorter side, compared as in L010. Score: how many deviations.

    Example::

        a bottle cap twenty times as long as wide

    Cure: look at it: often one stray corner, or two objects in one outline.
    """
    assert table.measures is not None
    box = table.measures.box
    sides = box[:, 2:] - box[:, :2]
    with np.errstate(all="ignore"):
        ratio = sides.max(axis=1) / sides.min(axis=1)
        score, middle = deviations(np.log(ratio), table.category_row, table.settings.outlier_sample)
    for row in np.flatnonzero(np.abs(score) > table.settings.outlier_deviations).tolist():
        message = (
            f"its box is {ratio[row]:.3g} times as long as wide, where {table.category_name(row)} usually has "
            f"{np.exp(middle[row]):.3g}"
        )
        yield Hit(row, message, float(abs(score[row])))


def _crowded(coco: dict[str, Any]) -> None:
    for n in range(20):
        for place in range(10):
            ring = octagon(30 + 30 * n, 30 + 45 * place, 10)
            coco["annotations"].append(annotation(len(coco["annotations"]) + 1, 13, 1 + n % 3, ring))
    coco["images"].append({"id": 13, "file_name": "photo_13.jpg", "width": 640, "height": 480, "license": 1})


@check("L012", "count-outlier", Severity.INFO, on="file", broken=_crowded)
def count_outlier(table: Table) -> Iterator[Hit]:
    """An image has far more annotations than is usual in the file.

    Logarithms of counts of images that have annotations, compared as in L010. Score: how many deviations.

    Example::

        one image with 200 annotations, where the others have 9

    Cure: look at it: annotations of several photos under one id, or an export that ran twice.
    """
    counts = table.annotations_per_image.astype(float)
    with np.errstate(divide="ignore"):
        logs = np.log(counts)
    groups = np.where(counts > 0, 0, -1)
    score, middle = deviations(logs, groups, min(table.settings.outlier_sample, 12))
    # the least spread is meant for sizes; counts jump by whole numbers
    for row in np.flatnonzero(score > table.settings.outlier_deviations).tolist():
        if counts[row] >= 10:
            message = f"image has {counts[row]:.0f} annotations, where {np.exp(middle[row]):.0f} are usual"
            yield Hit(row, message, float(score[row]), block="images")


def _one_sided(coco: dict[str, Any]) -> None:
    coco["images"].append({"id": 13, "file_name": "photo_13.jpg", "width": 640, "height": 480, "license": 1})
    for place in range(28):
        ring = octagon(60 + 80 * (place % 7), 60 + 100 * (place // 7), 38)
        coco["annotations"].append(annotation(len(coco["annotations"]) + 1, 13, 1, ring))


_LEAST_MIX = 10
"""Images with fewer annotations have no class mix to speak of."""

_SURPRISE = 14.0
"""Natural logarithm of one in a million: class mixes less likely than that are outliers."""


@check("L013", "class-mix-outlier", Severity.INFO, on="file", broken=_one_sided)
def class_mix_outlier(table: Table) -> Iterator[Hit]:
    """The classes in an image are mixed unlike those of the file: one class has far more of its annotations.

    Images with 10 annotations or more, in which one class is that much more frequent than in the file that a draw
    would give it less than once in a million. Score: minus the logarithm of that chance (a Chernoff bound).

    Example::

        28 bottles and nothing else, where bottles are a third of all annotations

    Cure: look at it: many objects of one kind, or everything labelled with the class that was picked last.
    """
    known = (table.image_row >= 0) & (table.category_row >= 0)
    if not known.any():
        return
    classes = len(table.category_ids)
    usual = np.bincount(table.category_row[known], minlength=classes) / known.sum()
    cells, counts = np.unique(table.image_row[known] * classes + table.category_row[known], return_counts=True)
    image, category = np.divmod(cells, classes)
    total = np.bincount(table.image_row[known], minlength=len(table.image_ids))[image]
    share, expected = counts / total, usual[category]
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - expected)), 0.0)
        surprise = total * (share * np.log(share / expected) + rest)
    # many classes make many chances to be surprised
    wanted = (total >= _LEAST_MIX) & (share > expected) & (surprise > _SURPRISE)
    for cell in np.flatnonzero(wanted).tolist():
        name = table.category_names[category[cell]]
        message = f"{counts[cell]} of {total[cell]} annotations are {name}, which is {expected[cell]:.1%} of the file"
        yield Hit(int(image[cell]), message, float(surprise[cell]), block="images")
