"""Checks of rings: malformed and invalid rings, repeated points, x and y in separate lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely

from trashkit.audit.readings.shapes import restore
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.shapes import RingDefect, Shapes
from trashkit.finding import FixKind, Severity


def _defects(shapes: Shapes, kinds: tuple[str, ...]) -> Iterator[tuple[int, str, int]]:
    """Annotations with malformed rings: a message, and how many such rings."""
    found: dict[int, list[RingDefect]] = {}
    for defect in shapes.defects:
        if defect.kind in kinds:
            found.setdefault(defect.annotation, []).append(defect)
    for annotation, defects in found.items():
        more = f" (and {len(defects) - 1} more rings)" if len(defects) > 1 else ""
        yield annotation, defects[0].message + more, len(defects)


def restored_hit(shapes: Shapes, annotation: int, message: str, score: float | None = None) -> Hit:
    """A hit for a segmentation that cannot be rasterised: with what it was meant to be, where bbox or area prove it.

    Without proof it has no fix, unless no outline can be in it: then deleting the annotation is one.
    """
    row = int(shapes.rows[annotation])
    size = (int(shapes.height[annotation]), int(shapes.width[annotation])) if shapes.sized[annotation] else None
    restored = restore(shapes.table.coco.record("annotations", row), size)
    fix: FixKind | None = "unsafe" if restored.segmentation is not None or restored.empty else None
    proposal = None if restored.segmentation is None else {"set": {"segmentation": restored.segmentation}}
    return Hit(row, message + (f"; {restored.why}" if restored.why else ""), score, fix, proposal=proposal)


def _of_image(shapes: Shapes, ring: int) -> str:
    """Which ring, for messages: without number if there is only one."""
    several = shapes.ring_count[shapes.ring_owner[ring]] > 1
    return f"ring {shapes.ring_number[ring]} " if several else "ring "


def worst_rings(shapes: Shapes, rings: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    """For each annotation the ring with the highest score, and how many of its rings are in the list."""
    order = np.lexsort((-scores, shapes.ring_owner[rings]))
    ordered = rings[order]
    owners, first, count = np.unique(shapes.ring_owner[ordered], return_index=True, return_counts=True)
    for _, start, number in zip(owners, first, count, strict=True):
        yield int(ordered[start]), int(number)


def _empty(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["segmentation"] = []


@check("G001", "empty-segmentation", Severity.ERROR, broken=_empty)
def empty_segmentation(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation is an empty list or an empty object: the annotation has no pixels.

    Example::

        {"id": 5, "segmentation": [], "bbox": [10, 10, 50, 50]}

    Fix: outline the object again, or let `trashkit fix --unsafe` delete the annotation.
    """
    for annotation, message, number in _defects(shapes, ("empty",)):
        yield Hit(int(shapes.rows[annotation]), message, float(number), "unsafe")


def _line(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["segmentation"] = [[10, 10, 60, 60]]


@check("G002", "malformed-ring", Severity.ERROR, broken=_line)
def malformed_ring(shapes: Shapes) -> Iterator[Hit]:
    """A ring has fewer than three points, an odd number of values, or a value that is not a number.

    pycocotools reads four numbers as a box, and crashes or draws garbage for the others. A flat list of numbers in
    place of a list of rings, points written as pairs, and masks with a number for each pixel are reported here too.

    Example::

        {"segmentation": [[10, 10, 60, 60]]}
        {"segmentation": [[10, 10, 60, 10, 60]]}
        {"segmentation": [10, 10, 60, 10, 60, 60]}

    Fix: `trashkit fix --unsafe` restores the outline where bbox or area prove a reading: of a flat list, of points as
    pairs or as objects with x and y, of lists that are nested too deeply, of numbers written as text, or of what is
    left without the malformed rings. It deletes the annotation only if no outline can be in it. Otherwise outline the
    object again.
    """
    for annotation, message, number in _defects(shapes, ("points", "odd", "type")):
        yield restored_hit(shapes, annotation, message, float(number))


def _bow_tie(coco: dict[str, Any]) -> None:
    x, y = 110, 90
    coco["annotations"][0].update(segmentation=[[x - 40, y - 40, x + 40, y + 40, x + 40, y - 40, x - 40, y + 60]])
    coco["annotations"][0].update(bbox=[x - 40, y - 40, 80, 100], area=3556)


@check("G003", "invalid-ring", Severity.ERROR, broken=_bow_tie)
def invalid_ring(shapes: Shapes) -> Iterator[Hit]:
    """A ring crosses or touches itself, or has no interior; the message gives the reason and the place.

    Its area by the shoelace formula is wrong, sometimes by a factor of ten, since parts with the opposite orientation
    are subtracted. Geometry libraries reject it. Score: how many pixels² this area is off.

    Example::

        {"segmentation": [[10, 10, 60, 60, 60, 10, 10, 60]]}

    Fix: `trashkit fix` repairs it with make_valid and keeps its pixels and holes. (`buffer(0)`, the common trick, loses
    whole parts.) Not where its bbox says that its numbers mean something else (G023).
    """
    broken = np.flatnonzero(shapes.bounded & ~shapes.valid)
    if not len(broken):
        return
    off = np.abs(shapely.area(shapes.parts[broken]) - shapes.ring_area[broken])
    off_by_ring = dict(zip(broken.tolist(), off.tolist(), strict=True))
    for ring, number in worst_rings(shapes, broken, off):
        reason = shapely.is_valid_reason(shapes.polygons[ring])
        more = f"; {number} invalid rings in total" if number > 1 else ""
        pixels = off_by_ring[ring]
        area = f"; its area is off by {pixels:.0f} px²" if pixels >= 1 else ""
        yield Hit(
            int(shapes.rows[shapes.ring_owner[ring]]),
            f"{_of_image(shapes, ring)}is invalid: {_place(reason)}{area}{more}",
            pixels,
            "safe" if shapes.readable[shapes.ring_owner[ring]] else None,
        )


def _place(reason: str) -> str:
    """Shapely's reason with a readable place: ``Self-intersection at (10.5, 20)``."""
    return re.sub(r"\[([-\d.e+]+) ([-\d.e+]+)\]", lambda m: f" at ({float(m[1]):.6g}, {float(m[2]):.6g})", reason)


def _infinite(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["segmentation"][0][0] = float("inf")


@check("G004", "coordinate-not-finite", Severity.ERROR, broken=_infinite)
def coordinate_not_finite(shapes: Shapes) -> Iterator[Hit]:
    """A coordinate is NaN, infinite, or more than a million pixels from the image, so that no command can draw it.

    Example::

        {"segmentation": [[10, 10, Infinity, 10, 60, 60]]}

    Fix: outline the object again. `trashkit fix --unsafe` drops the point where bbox and area prove that the outline is
    complete without it.
    """
    for annotation in shapes.not_finite.tolist():
        yield restored_hit(shapes, annotation, "a coordinate is NaN, infinite, or above a million")


def _again(coco: dict[str, Any]) -> None:
    ring = coco["annotations"][0]["segmentation"][0]
    ring[2:2] = ring[:2]


@check("G005", "repeated-vertex", Severity.INFO, broken=_again)
def repeated_vertex(shapes: Shapes) -> Iterator[Hit]:
    """A ring has the same point twice in a row; a last point that repeats the first is fine.

    It does not matter for rasterising, but some editors and triangulators fail on it. Score: how many such points.

    Example::

        {"segmentation": [[10, 10, 10, 10, 60, 10, 60, 60]]}

    Fix: `trashkit fix` drops it.
    """
    repeats = np.bincount(shapes.ring_owner, weights=shapes.repeated_points, minlength=len(shapes))
    for annotation in np.flatnonzero(repeats).tolist():
        count = int(repeats[annotation])
        what = "a point repeats the one before" if count == 1 else f"{count} points repeat the one before"
        yield Hit(int(shapes.rows[annotation]), what, float(count), "safe" if shapes.readable[annotation] else None)


def _columns(coco: dict[str, Any]) -> None:
    annotation = coco["annotations"][0]
    ring = annotation["segmentation"][0]
    annotation["segmentation"] = [ring[0::2], ring[1::2]]


@check("G016", "x-and-y-apart", Severity.ERROR, broken=_columns)
def x_and_y_apart(shapes: Shapes) -> Iterator[Hit]:
    """The rings of a polygon are its x and its y, or its points have three numbers: they only look like rings.

    Tools that write the columns of a table, or points with a visibility or a height, cause this. Reported where bbox,
    and area if there is one, are those of the polygon that is meant, and not of the rings as they stand; they have no
    other fixes then.

    Example::

        {"segmentation": [[10, 90, 90, 10, 5, 10], [20, 20, 60, 60, 40, 20]], "bbox": [5, 20, 85, 40]}

    Fix: `trashkit fix --unsafe` puts each x next to its y, and leaves a third number out.
    """
    for annotation, meant in shapes.apart.items():
        message = f"{meant.how}, as its bbox shows, but COCO has x and y of each point in turn"
        points = sum(len(ring) // 2 for ring in meant.rings)
        yield Hit(
            int(shapes.rows[annotation]),
            message,
            float(points),
            "unsafe",
            proposal={"set": {"segmentation": meant.rings}},
        )
