"""Rings: whether they are rings at all, cross themselves, or repeat points."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely

from trashkit.audit.registry import Hit, check
from trashkit.audit.shapes import RingDefect, Shapes
from trashkit.finding import FixKind, Severity


def _defects(shapes: Shapes, kinds: tuple[str, ...], fix: FixKind | None) -> Iterator[Hit]:
    """One hit for each annotation with rings that are none."""
    found: dict[int, list[RingDefect]] = {}
    for defect in shapes.defects:
        if defect.kind in kinds:
            found.setdefault(defect.annotation, []).append(defect)
    for annotation, defects in found.items():
        more = f" (and {len(defects) - 1} more rings)" if len(defects) > 1 else ""
        # what is left of it needs an image; where nothing is left the annotation goes
        left = shapes.ring_count[annotation] > 0 or annotation in shapes.not_finite
        mends = fix if shapes.sized[annotation] or not left else None
        yield Hit(int(shapes.rows[annotation]), defects[0].message + more, float(len(defects)), mends)


def _of_image(shapes: Shapes, ring: int) -> str:
    """Which ring, for messages: empty where there is only one."""
    several = shapes.ring_count[shapes.ring_owner[ring]] > 1
    return f"ring {shapes.ring_number[ring]} " if several else "ring "


def worst_rings(shapes: Shapes, rings: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    """For each annotation the ring with the highest score, and how many rings it has in the list."""
    order = np.lexsort((-scores, shapes.ring_owner[rings]))
    ordered = rings[order]
    owners, first, count = np.unique(shapes.ring_owner[ordered], return_index=True, return_counts=True)
    for _, start, number in zip(owners, first, count, strict=True):
        yield int(ordered[start]), int(number)


def _empty(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["segmentation"] = []


@check("G001", "empty-segmentation", Severity.ERROR, broken=_empty)
def empty_segmentation(shapes: Shapes) -> Iterator[Hit]:
    """A segmentation is an empty list: the object exists, but has no pixels.

    Example::

        {"id": 5, "segmentation": [], "bbox": [10, 10, 50, 50]}

    Cure: outline the object again, or let `trashkit fix --unsafe` delete the annotation.
    """
    yield from _defects(shapes, ("empty",), "unsafe")


def _line(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["segmentation"] = [[10, 10, 60, 60]]


@check("G002", "malformed-ring", Severity.ERROR, broken=_line)
def malformed_ring(shapes: Shapes) -> Iterator[Hit]:
    """A ring has fewer than three points, an odd count of numbers, or holds something that is not a number.

    pycocotools reads four numbers as a box, and crashes or paints garbage on the others. A flat list of numbers where a
    list of rings is meant, and points written as pairs, are named here too.

    Example::

        {"segmentation": [[10, 10, 60, 60]]}
        {"segmentation": [[10, 10, 60, 10, 60]]}
        {"segmentation": [10, 10, 60, 10, 60, 60]}

    Cure: outline the object again, or let `trashkit fix --unsafe` drop the ring.
    """
    yield from _defects(shapes, ("points", "odd", "type"), "unsafe")


def _bow_tie(coco: dict[str, Any]) -> None:
    x, y = 110, 90
    coco["annotations"][0].update(segmentation=[[x - 40, y - 40, x + 40, y + 40, x + 40, y - 40, x - 40, y + 60]])
    coco["annotations"][0].update(bbox=[x - 40, y - 40, 80, 100], area=3556)


@check("G003", "invalid-ring", Severity.ERROR, broken=_bow_tie)
def invalid_ring(shapes: Shapes) -> Iterator[Hit]:
    """A ring crosses or touches itself, or has no inside; the message names the reason and the place.

    Its area by the usual formula is wrong, sometimes by a factor of ten, since parts that turn the other way are taken
    off. Geometry libraries refuse it. Score: pixels² by which that area is off.

    Example::

        {"segmentation": [[10, 10, 60, 60, 60, 10, 10, 60]]}

    Cure: `trashkit fix` mends it with make_valid and keeps its pixels; holes stay holes. (`buffer(0)`, the usual trick,
    loses whole parts.)
    """
    broken = np.flatnonzero(shapes.bounded & ~shapes.valid)
    if not len(broken):
        return
    off = np.abs(shapely.area(shapes.parts[broken]) - shapes.ring_area[broken])
    off_by_ring = dict(zip(broken.tolist(), off.tolist(), strict=True))
    for ring, number in worst_rings(shapes, broken, off):
        reason = shapely.is_valid_reason(shapes.polygons[ring])
        more = f"; {number} invalid rings in all" if number > 1 else ""
        pixels = off_by_ring[ring]
        area = f"; its area is off by {pixels:.0f} px²" if pixels >= 1 else ""
        yield Hit(
            int(shapes.rows[shapes.ring_owner[ring]]),
            f"{_of_image(shapes, ring)}is invalid: {_place(reason)}{area}{more}",
            pixels,
            "safe" if shapes.measurable[shapes.ring_owner[ring]] else None,
        )


def _place(reason: str) -> str:
    """Shapely's reason with its place in words: ``Self-intersection at (10.5, 20)``."""
    return re.sub(r"\[([-\d.e+]+) ([-\d.e+]+)\]", lambda m: f" at ({float(m[1]):.6g}, {float(m[2]):.6g})", reason)


def _infinite(coco: dict[str, Any]) -> None:
    coco["annotations"][0]["segmentation"][0][0] = float("inf")


@check("G004", "coordinate-not-finite", Severity.ERROR, broken=_infinite)
def coordinate_not_finite(shapes: Shapes) -> Iterator[Hit]:
    """A coordinate is NaN, infinite, or too large for a float.

    Example::

        {"segmentation": [[10, 10, Infinity, 10, 60, 60]]}

    Cure: outline the object again, or let `trashkit fix --unsafe` drop the point.
    """
    for annotation in shapes.not_finite.tolist():
        yield Hit(
            int(shapes.rows[annotation]),
            "a coordinate is NaN or infinite",
            fix="unsafe" if shapes.sized[annotation] else None,
        )


def _again(coco: dict[str, Any]) -> None:
    ring = coco["annotations"][0]["segmentation"][0]
    ring[2:2] = ring[:2]


@check("G005", "repeated-vertex", Severity.INFO, broken=_again)
def repeated_vertex(shapes: Shapes) -> Iterator[Hit]:
    """A ring gives the same point twice in a row; a last point that repeats the first is fine.

    Harmless to rasterising; some editors and triangulators stumble. Score: how many such points.

    Example::

        {"segmentation": [[10, 10, 10, 10, 60, 10, 60, 60]]}

    Cure: `trashkit fix` drops it.
    """
    repeats = np.bincount(shapes.ring_owner, weights=shapes.repeated_points, minlength=len(shapes))
    for annotation in np.flatnonzero(repeats).tolist():
        count = int(repeats[annotation])
        what = "a point repeats the one before" if count == 1 else f"{count} points repeat the one before"
        yield Hit(int(shapes.rows[annotation]), what, float(count), "safe" if shapes.measurable[annotation] else None)
