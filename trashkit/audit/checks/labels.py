"""Checks of labels: annotations of one image that repeat, overlap, contain or contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from trashkit.audit.example import annotation, octagon
from trashkit.audit.readings.evidence import box_agrees
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.overlaps import Overlaps, overlaps, same_shape
from trashkit.audit.views.shapes import Shapes
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
    """Add annotations to the first image, whose first object is at (111, 91) with a radius of 41 pixels."""

    def broken(coco: dict[str, Any]) -> None:
        for _ in range(copies):
            coco["annotations"].append(annotation(len(coco["annotations"]) + 1, 1, category, octagon(x, y, radius)))

    return broken


@check("L001", "duplicate-annotation", Severity.ERROR, broken=_added(1, 111, 91, 41))
def duplicate_annotation(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of one image have the same class and exactly the same segmentation.

    The object counts twice in all statistics and instance metrics. Reported for each annotation after the first.

    Example::

        {"annotations": [{"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[10, 10, 60, 10, 60, 60]]},
                         {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[10, 10, 60, 10, 60, 60]]}]}

    Fix: `trashkit fix` removes the later ones, except those whose bbox shows another object: outline it again.
    """
    pairs = overlaps(shapes)
    likely = np.flatnonzero(_same_class(shapes, pairs) & (pairs.iou > 0.999))
    seen: set[int] = set()
    for pair in likely.tolist():
        first, second = int(pairs.first[pair]), int(pairs.second[pair])
        if second not in seen and same_shape(shapes, first, second):
            seen.add(second)
            text = "same class ({mine}) and same segmentation as {other}"
            fix: FixKind | None = "safe"
            if _box_is_elsewhere(shapes, second):
                text, fix = f"{text}, but its bbox is elsewhere", None
            yield _hit(shapes, second, first, text, 1.0, fix=fix)


def copied(shapes: Shapes) -> set[int]:
    """Annotations with the outline of an earlier one and the bbox of another object."""
    pairs = overlaps(shapes)
    likely = np.flatnonzero(_same_class(shapes, pairs) & (pairs.iou > 0.999)).tolist()
    found = {
        int(pairs.second[pair])
        for pair in likely
        if same_shape(shapes, int(pairs.first[pair]), int(pairs.second[pair]))
    }
    return {annotation for annotation in found if _box_is_elsewhere(shapes, annotation)}


def _box_is_elsewhere(shapes: Shapes, annotation: int) -> bool:
    """Whether an annotation's bbox is that of another object: its outline was copied, or drawn in the wrong place."""
    stated, true = shapes.table.bbox[shapes.rows[annotation]], shapes.box[annotation]
    if not (stated[2:] > 0).all() or np.isnan(true).any() or box_agrees(stated.tolist(), true.tolist()):
        return False
    low, high = np.maximum(stated[:2], true[:2]), np.minimum(stated[:2] + stated[2:], true[2:])
    shared = float(np.maximum(high - low, 0).prod())
    return shared < 0.5 * float(stated[2:].prod() + (true[2:] - true[:2]).prod() - shared)


@check("L002", "near-duplicate-annotation", Severity.WARNING, broken=_added(1, 111.5, 91, 41))
def near_duplicate_annotation(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of one image and class cover nearly the same pixels. Score: their IoU.

    Reported above an IoU of 0.9 (`near_duplicate_iou`), unless they are exactly the same (L001).

    Example::

        two outlines of the same bottle, one of them a pixel larger

    Fix: `trashkit fix --unsafe` keeps the earlier one.
    """
    pairs = overlaps(shapes)
    for pair in np.flatnonzero(_same_class(shapes, pairs) & (pairs.iou > shapes.table.settings.near_duplicate_iou)):
        first, second = int(pairs.first[pair]), int(pairs.second[pair])
        if not same_shape(shapes, first, second):
            text = "nearly the same as {other}, of the same class ({mine}): IoU {score:.3f}"
            elsewhere = _box_is_elsewhere(shapes, second)
            yield _hit(shapes, second, first, text, float(pairs.iou[pair]), fix=None if elsewhere else "unsafe")


@check("L003", "same-class-overlap", Severity.WARNING, broken=_added(1, 126, 91, 41))
def same_class_overlap(shapes: Shapes) -> Iterator[Hit]:
    """Two annotations of one image and class overlap with an IoU above 0.5 (`overlap_iou`). Score: their IoU.

    Near duplicates are reported as L002.

    Example::

        one bag outlined twice, with and without its handles

    Fix: check the pair; merge them, or redraw their border.
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

    In a label map each pixel has one class, so the paint order decides. Above 0.8, L005 is reported as well.

    Example::

        a carton labelled Paper pack and its plastic film, with nearly the same outline

    Fix: check the pair; relabel one, or redraw their border.
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

        the same outline labelled both Plastic and Glass

    Fix: decide which class is right, and delete the other annotation.
    """
    pairs = overlaps(shapes)
    iou = pairs.iou
    for pair in np.flatnonzero(_other_class(shapes, pairs) & (iou > shapes.table.settings.conflict_iou)).tolist():
        text = "one object with two labels: {mine} here, {theirs} in {other}, IoU {score:.3f}"
        yield _hit(shapes, int(pairs.second[pair]), int(pairs.first[pair]), text, float(iou[pair]))


def _inside(shapes: Shapes, pairs: Overlaps) -> np.ndarray[Any, Any]:
    """[p] whether the classes differ, and one annotation is inside the other without being an allowed part of it."""
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
    """More than 95 % (`contained_share`) of an annotation is inside one of another class. Score: this share.

    Often this is right: a cap on its bottle, a label on a can. Add expected pairs [part, whole] to `extend_parts` in
    trashkit.toml, where `*` matches anything: `extend_parts = [["*sticker*", "*box*"]]`. Caps, lids, straws, labels and
    pop tabs are in the default of `parts`, which setting `parts` replaces. Often it is wrong too: an object seen
    through a bag.

    Example::

        a Paper leaflet drawn inside a Plastic bag

    Fix: check the pair, and add it to `extend_parts` if it is legitimate.
    """
    pairs = overlaps(shapes)
    for pair in np.flatnonzero(_inside(shapes, pairs)).tolist():
        part, whole = _part_whole(pairs, pair)
        text = "{score:.1%} of {mine} is inside {other}, which is {theirs}"
        yield _hit(shapes, part, whole, text, float(min(pairs.share_of_smaller[pair], 1.0)))


@check("L007", "contested-pixels", Severity.INFO, broken=_added(2, 155, 91, 41))
def contested_pixels(shapes: Shapes) -> Iterator[Hit]:
    """Two classes share pixels: more than 25 % (`contested_share`) of the smaller annotation. Score: shared pixels².

    Not reported if one is inside the other (L006), if they are nearly the same (L004), or for an expected part
    (`parts`, see L006). The class in a label map depends on the paint order, which differs between tools.

    Example::

        two crossing objects, both outlined in full although one hides part of the other

    Fix: outline only the visible parts, or use the same paint order in training and evaluation.
    """
    settings = shapes.table.settings
    pairs = overlaps(shapes)
    share = pairs.share_of_smaller
    contested = (share > settings.contested_share) & (share <= settings.contained_share)
    contested &= _other_class(shapes, pairs) & (pairs.iou <= settings.overlap_iou)
    for pair in np.flatnonzero(contested).tolist():
        if not _allowed(shapes, *_part_whole(pairs, pair)):
            first, second = int(pairs.first[pair]), int(pairs.second[pair])
            text = "{mine} shares {score:.0f} px² with {other} ({theirs}): the paint order decides"
            yield _hit(shapes, second, first, text, float(pairs.shared[pair]))
