"""Labels: annotations of one image that repeat, overlap, contain or contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from trashkit.audit.example import annotation, octagon
from trashkit.audit.overlaps import Overlaps, overlaps, same_shape
from trashkit.audit.registry import Hit, check
from trashkit.audit.shapes import Shapes
from trashkit.finding import FixKind, Severity


def _same_class(shapes: Shapes, pairs: Overlaps) -> np.ndarray[Any, Any]:
    category = shapes.table.category_row[shapes.rows]
    return np.asarray((category[pairs.first] == category[pairs.second]) & (category[pairs.first] >= 0))


def _other_class(shapes: Shapes, pairs: Overlaps) -> np.ndarray[Any, Any]:
    category = shapes.table.category_row[shapes.rows]
    known = (category[pairs.first] >= 0) & (category[pairs.second] >= 0)
    return np.asarray(known & (category[pairs.first] != category[pairs.second]))


def _hit(shapes: Shapes, about: int, other: int, text: str, score: float, *, fix: FixKind | None = None) -> Hit:
    row, second = int(shapes.rows[about]), int(shapes.rows[other])
    table = shapes.table
    message = text.format(
        mine=table.category_name(row), theirs=table.category_name(second), other=table.label(second), score=score
    )
    return Hit(row, message, score, fix, (second,))


def _added(category: int, x: float, y: float, radius: float, copies: int = 1) -> Any:
    """Adds annotations to the first image, whose first object stands at (111, 91) with a radius of 41 pixels."""

    def broken(coco: dict[str, Any]) -> None:
        for _ in range(copies):
            coco["annotations"].append(annotation(len(coco["annotations"]) + 1, 1, category, octagon(x, y, radius)))

    return broken


@check("L001", "duplicate-annotation", Severity.ERROR, broken=_added(1, 111, 91, 41))
def duplicate_annotation(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of one image have the same class and exactly the same segmentation.

    The object is counted twice in every statistic and in every instance metric. Reported for each after the first.

    Example::

        {"annotations": [{"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[10, 10, 60, 10, 60, 60]]},
                         {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[10, 10, 60, 10, 60, 60]]}]}

    Cure: `trashkit fix` removes the later ones.
    """
    pairs = overlaps(shapes)
    likely = np.flatnonzero(_same_class(shapes, pairs) & (pairs.iou > 0.999))
    seen: set[int] = set()
    for pair in likely.tolist():
        first, second = int(pairs.first[pair]), int(pairs.second[pair])
        if second not in seen and same_shape(shapes, first, second):
            seen.add(second)
            yield _hit(shapes, second, first, "same class ({mine}) and same segmentation as {other}", 1.0, fix="safe")


@check("L002", "near-duplicate-annotation", Severity.WARNING, broken=_added(1, 111.5, 91, 41))
def near_duplicate_annotation(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of one class and image cover nearly the same pixels. Score: their IoU.

    Above an IoU of 0.9 (`near_duplicate_iou`), and not exactly the same (L001).

    Example::

        two outlines of the same bottle, one of them drawn a pixel further out

    Cure: `trashkit fix --unsafe` keeps the earlier one.
    """
    pairs = overlaps(shapes)
    for pair in np.flatnonzero(_same_class(shapes, pairs) & (pairs.iou > shapes.table.settings.near_duplicate_iou)):
        first, second = int(pairs.first[pair]), int(pairs.second[pair])
        if not same_shape(shapes, first, second):
            text = "nearly the same as {other}, of the same class ({mine}): IoU {score:.3f}"
            yield _hit(shapes, second, first, text, float(pairs.iou[pair]), fix="unsafe")


@check("L003", "same-class-overlap", Severity.WARNING, broken=_added(1, 126, 91, 41))
def same_class_overlap(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of one class and image overlap with an IoU above 0.5 (`overlap_iou`). Score: their IoU.

    Near duplicates (L002) are left to their own check.

    Example::

        one bag outlined twice: once with its handles and once without

    Cure: look at the pair; merge the two, or redraw their border.
    """
    settings = shapes.table.settings
    pairs = overlaps(shapes)
    iou = pairs.iou
    wanted = _same_class(shapes, pairs) & (iou > settings.overlap_iou) & (iou <= settings.near_duplicate_iou)
    for pair in np.flatnonzero(wanted).tolist():
        text = "overlaps {other} of the same class ({mine}): IoU {score:.3f}"
        yield _hit(shapes, int(pairs.second[pair]), int(pairs.first[pair]), text, float(iou[pair]))


@check("L004", "cross-class-overlap", Severity.WARNING, broken=_added(2, 126, 91, 41))
def cross_class_overlap(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of different classes overlap with an IoU above 0.5 (`overlap_iou`). Score: their IoU.

    In a label map a pixel has one class, so the paint order decides. Above 0.8 it is L005 as well.

    Example::

        a carton as Paper pack and, drawn around nearly the same pixels, its plastic film

    Cure: look at the pair; relabel one, or redraw their border.
    """
    pairs = overlaps(shapes)
    iou = pairs.iou
    for pair in np.flatnonzero(_other_class(shapes, pairs) & (iou > shapes.table.settings.overlap_iou)).tolist():
        text = "{mine} overlaps {other}, which is {theirs}: IoU {score:.3f}"
        yield _hit(shapes, int(pairs.second[pair]), int(pairs.first[pair]), text, float(iou[pair]))


@check("L005", "conflicting-labels", Severity.WARNING, broken=_added(2, 111, 91, 41))
def conflicting_labels(shapes: Shapes) -> Iterator[Hit]:
    """One object has two labels: annotations of different classes with an IoU above 0.8 (`conflict_iou`).

    Score: their IoU.

    Example::

        the same outline once as Plastic and once as Glass

    Cure: decide for one class, and delete the other annotation.
    """
    pairs = overlaps(shapes)
    iou = pairs.iou
    for pair in np.flatnonzero(_other_class(shapes, pairs) & (iou > shapes.table.settings.conflict_iou)).tolist():
        text = "one object with two labels: {mine} here, {theirs} in {other}, IoU {score:.3f}"
        yield _hit(shapes, int(pairs.second[pair]), int(pairs.first[pair]), text, float(iou[pair]))


def _inside(shapes: Shapes, pairs: Overlaps) -> np.ndarray[Any, Any]:
    """[p] whether one of two different classes lies inside the other, and is no allowed part of it."""
    inside = _other_class(shapes, pairs) & (pairs.share_of_smaller > shapes.table.settings.contained_share)
    for pair in np.flatnonzero(inside).tolist():
        part, whole = _part_whole(pairs, pair)
        inside[pair] = not _allowed(shapes, part, whole)
    return inside


def _part_whole(pairs: Overlaps, pair: int) -> tuple[int, int]:
    first, second = int(pairs.first[pair]), int(pairs.second[pair])
    return (first, second) if pairs.first_area[pair] < pairs.second_area[pair] else (second, first)


def _allowed(shapes: Shapes, part: int, whole: int) -> bool:
    names = [shapes.table.category_name(int(shapes.rows[one])).casefold() for one in (part, whole)]
    return any(
        fnmatchcase(names[0], small.casefold()) and fnmatchcase(names[1], large.casefold())
        for small, large in (*shapes.table.settings.parts, *shapes.table.settings.extend_parts)
    )


@check("L006", "contained-in-other-class", Severity.INFO, broken=_added(2, 111, 91, 20))
def contained_in_other_class(shapes: Shapes) -> Iterator[Hit]:
    """More than 95 % (`contained_share`) of an annotation lies inside one of another class. Score: that share.

    Often right: a cap on its bottle, a label on a can. Pairs [part, whole] that are expected go into `extend_parts` in
    trashkit.toml, `*` standing for anything: `extend_parts = [["*sticker*", "*box*"]]`. Caps, lids, straws, labels and
    pop tabs are in `parts`, which a list of your own would replace. Often wrong too: an object seen through a bag.

    Example::

        a Paper leaflet drawn inside a Plastic bag

    Cure: look at the pair; add it to `extend_parts` where it is legitimate.
    """
    pairs = overlaps(shapes)
    for pair in np.flatnonzero(_inside(shapes, pairs)).tolist():
        part, whole = _part_whole(pairs, pair)
        text = "{mine} lies inside {other}, which is {theirs}: {score:.1%} of it"
        yield _hit(shapes, part, whole, text, float(min(pairs.share_of_smaller[pair], 1.0)))


@check("L007", "contested-pixels", Severity.INFO, broken=_added(2, 155, 91, 41))
def contested_pixels(shapes: Shapes) -> Iterator[Hit]:
    """Two classes claim the same pixels: more than 25 % (`contested_share`) of the smaller one. Score: pixels² shared.

    Neither inside the other (L006) nor nearly the same (L004), and no expected part (`parts`, see L006). Which class a
    label map gets depends on the paint order, which differs between tools.

    Example::

        two crossing objects, each outlined in full where the other hides it

    Cure: outline only what is seen, or name the paint order that training and evaluation use.
    """
    settings = shapes.table.settings
    pairs = overlaps(shapes)
    share = pairs.share_of_smaller
    contested = (share > settings.contested_share) & (share <= settings.contained_share)
    contested &= _other_class(shapes, pairs) & (pairs.iou <= settings.overlap_iou)
    for pair in np.flatnonzero(contested).tolist():
        if not _allowed(shapes, *_part_whole(pairs, pair)):
            first, second = int(pairs.first[pair]), int(pairs.second[pair])
            text = "{mine} and {other} ({theirs}) both claim {score:.0f} px²: the paint order decides"
            yield _hit(shapes, second, first, text, float(pairs.shared[pair]))
