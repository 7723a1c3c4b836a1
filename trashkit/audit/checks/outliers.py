"""Checks for outliers: annotations and images unlike the others in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.example import annotation, octagon
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.table import Floats, Ints, Table
from trashkit.finding import Severity

_NORMAL = 1.4826
"""Ratio of the standard deviation of a normal distribution to its median absolute deviation."""

_LEAST_SPREAD = 0.15
"""Least spread (of natural logarithms) that is assumed, so that classes of nearly equal values have no outliers."""


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
    """An annotation covers far more or less of its image than is usual for its class.

    Reported when its logarithm is more than 6 robust standard deviations (`outlier_deviations`) from the class's
    median; classes with fewer than 30 annotations (`outlier_sample`) are skipped. Score: how many deviations.

    Example::

        a battery that fills the whole photo

    Fix: check it; it may be a wrong label, a whole image outlined by mistake, or an unusual view.
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
            f"covers {share[row]:.3%} of its image, while {table.category_name(row)} usually covers "
            f"{np.exp(middle[row]):.3%}"
        )
        yield Hit(row, message, float(abs(score[row])))


def _splinter(coco: dict[str, Any]) -> None:
    ring = [40.0, 470.0, 340.0, 470.0, 600.0, 470.0, 600.0, 472.0, 340.0, 472.0, 40.0, 473.0]
    coco["images"].append({"id": 13, "file_name": "photo_13.jpg", "width": 640, "height": 480, "license": 1})
    coco["annotations"].append(annotation(999, 13, 1, ring))


@check("L011", "shape-outlier", Severity.INFO, on="measures", broken=_splinter)
def shape_outlier(table: Table) -> Iterator[Hit]:
    """An annotation's box is far longer or squarer than is usual for its class.

    The ratio of longer to shorter side is compared as in L010. Score: how many deviations.

    Example::

        a bottle cap twenty times as long as wide

    Fix: check it; often it has a stray corner, or two objects in one outline.
    """
    assert table.measures is not None
    box = table.measures.box
    with np.errstate(all="ignore"):
        sides = box[:, 2:] - box[:, :2]
        ratio = sides.max(axis=1) / sides.min(axis=1)
        score, middle = deviations(np.log(ratio), table.category_row, table.settings.outlier_sample)
    for row in np.flatnonzero(np.abs(score) > table.settings.outlier_deviations).tolist():
        message = (
            f"its box is {ratio[row]:.3g} times as long as wide, while {table.category_name(row)} usually has "
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

    Logarithms of the counts of images with annotations are compared as in L010. Score: how many deviations.

    Example::

        one image with 200 annotations, while the others have 9

    Fix: check it; it may have the annotations of several photos, or an export that ran twice.
    """
    counts = table.annotations_per_image.astype(float)
    with np.errstate(divide="ignore"):
        logs = np.log(counts)
    groups = np.where(counts > 0, 0, -1)
    score, middle = deviations(logs, groups, min(table.settings.outlier_sample, 12))
    # The least spread is meant for sizes; counts are whole numbers, so a small count is never an outlier.
    for row in np.flatnonzero(score > table.settings.outlier_deviations).tolist():
        if counts[row] >= 10:
            message = f"image has {counts[row]:.0f} annotations, while {np.exp(middle[row]):.0f} are usual"
            yield Hit(row, message, float(score[row]), block="images")


def _one_sided(coco: dict[str, Any]) -> None:
    coco["images"].append({"id": 13, "file_name": "photo_13.jpg", "width": 640, "height": 480, "license": 1})
    for place in range(28):
        ring = octagon(60 + 80 * (place % 7), 60 + 100 * (place // 7), 38)
        coco["annotations"].append(annotation(len(coco["annotations"]) + 1, 13, 1, ring))


_LEAST_MIX = 10
"""Images with fewer annotations than this are skipped."""

_SURPRISE = 14.0
"""About minus the natural logarithm of one in a million: class mixes less likely than this are outliers."""


@check("L013", "class-mix-outlier", Severity.INFO, on="file", broken=_one_sided)
def class_mix_outlier(table: Table) -> Iterator[Hit]:
    """The class mix of an image is unlike that of the file: one class has far more of its annotations.

    Reported for images with 10 annotations or more, if the class would be this frequent less than once in a million
    random draws from the file. Score: minus the logarithm of this probability (a Chernoff bound).

    Example::

        28 bottles and nothing else, while bottles are a third of all annotations

    Fix: check it; it may really have many objects of one kind, or everything may be labelled with the last class used.
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
    # The limit is strict because many images and classes are tested.
    wanted = (total >= _LEAST_MIX) & (share > expected) & (surprise > _SURPRISE)
    for cell in np.flatnonzero(wanted).tolist():
        name = table.category_names[category[cell]]
        message = f"{counts[cell]} of {total[cell]} annotations are {name}, which is {expected[cell]:.1%} of the file"
        yield Hit(int(image[cell]), message, float(surprise[cell]), block="images")
