"""Checks of the parts of one annotation: overlapping and nested rings, specks and pin-holes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely

from trashkit.audit.example import octagon
from trashkit.audit.readings.holes import INSIDE, Kind, hole_of
from trashkit.audit.registry import Hit, check
from trashkit.audit.views.run_lengths import hole_sizes, part_sizes
from trashkit.audit.views.shapes import Shapes
from trashkit.audit.views.table import Ints
from trashkit.finding import Severity


def _nested(shapes: Shapes) -> np.ndarray[Any, Any]:
    """For each pair of rings whether the smaller one is inside the larger."""
    first, second, shared = shapes.sibling_pairs
    area = shapely.area(shapes.parts)
    smaller = np.minimum(area[first], area[second])
    return np.asarray((smaller > 0) & (shared >= INSIDE * smaller))


def _second_ring(ring: list[float]) -> Any:
    def broken(coco: dict[str, Any]) -> None:
        coco["annotations"][0]["segmentation"].append(ring)

    return broken


@check("G030", "sibling-rings-overlap", Severity.WARNING, broken=_second_ring([130, 70, 170, 70, 170, 120, 130, 120]))
def sibling_rings_overlap(shapes: Shapes) -> Iterator[Hit]:
    """Two rings of one annotation overlap by more than 1 pixel² (`sibling_overlap`). Score: shared pixels².

    Rasterisers merge them, but sums of ring areas count the shared part twice, and some editors cut it out.

    Example::

        {"segmentation": [[10, 10, 60, 10, 60, 60, 10, 60], [50, 10, 90, 10, 90, 60, 50, 60]]}

    Fix: `trashkit fix --unsafe` merges them, unless one may be a hole (G031).
    """
    first, second, shared = shapes.sibling_pairs
    far = np.flatnonzero(shared > shapes.table.settings.sibling_overlap)
    for annotation, hit in _pairs(shapes, first[far], second[far], shared[far], "overlap by"):
        yield hit._replace(fix=None) if holes(shapes, annotation)[0] in ("hole", "unclear") else hit


@check("G031", "ring-inside-ring", Severity.WARNING, broken=_second_ring(octagon(111, 91, 15)))
def ring_inside_ring(shapes: Shapes) -> Iterator[Hit]:
    """A ring is inside another of its annotation: an intended hole, which COCO polygons cannot have, or a duplicate.

    pycocotools fills it, so an intended hole is lost. `area` tells which of them it is. Score: shared pixels².

    Example::

        {"segmentation": [[10, 10, 90, 10, 90, 90, 10, 90], [40, 40, 60, 40, 60, 60, 40, 60]]}

    Fix: `trashkit fix --unsafe` cuts the hole out, as RLE, if `area` is that of the shape with the hole, and drops the
    inner ring if it is that of the shape without one. Otherwise decide, and write a hole as RLE.
    """
    first, second, shared = shapes.sibling_pairs
    inside = np.flatnonzero(_nested(shapes))
    for annotation, hit in _pairs(shapes, first[inside], second[inside], shared[inside], "are nested and share"):
        kind, cut, pixels = holes(shapes, annotation)
        if kind == "hole":
            message = f"{hit.message}; area is that of the shape with a hole of {pixels:.4g} px²"
            yield hit._replace(message=message, proposal={"set": {"segmentation": cut}})
        elif kind == "unclear":
            yield hit._replace(message=f"{hit.message}; area does not tell whether this is a hole", fix=None)
        else:
            yield hit


def holes(shapes: Shapes, annotation: int) -> tuple[Kind, dict[str, Any] | None, float]:
    """Whether rings inside other rings of an annotation are holes, see `trashkit.audit.readings.holes`."""
    known = shapes.cache.setdefault("holes", {})
    assert isinstance(known, dict)
    if annotation not in known:
        record: Any = None
        if shapes.measurable[annotation] and shapes.ring_count[annotation] > 1:
            record = shapes.table.coco.record("annotations", int(shapes.rows[annotation]))
        size = (int(shapes.height[annotation]), int(shapes.width[annotation])) if record is not None else None
        known[annotation] = hole_of(record, size)
    return known[annotation]  # type: ignore[no-any-return]


def _pairs(shapes: Shapes, first: Any, second: Any, shared: Any, what: str) -> Iterator[tuple[int, Hit]]:
    """One hit for each annotation: the pair of its rings that shares the most."""
    owners = shapes.ring_owner[first]
    for annotation in np.unique(owners).tolist():
        mine = np.flatnonzero(owners == annotation)
        worst = mine[np.argmax(shared[mine])]
        a, b = shapes.ring_number[first[worst]], shapes.ring_number[second[worst]]
        more = f" ({len(mine)} such pairs)" if len(mine) > 1 else ""
        yield (
            annotation,
            Hit(
                int(shapes.rows[annotation]),
                f"rings {a} and {b} {what} {shared[worst]:.4g} px²{more}",
                float(shared[worst]),
                "unsafe" if shapes.readable[annotation] else None,
            ),
        )


@check("G032", "speck", Severity.INFO, broken=_second_ring([10, 10, 13, 10, 13, 13, 10, 13]))
def speck(shapes: Shapes) -> Iterator[Hit]:
    """A part of an annotation is tiny: below 16 pixels² (`speck_area`) and 5 % of the whole (`speck_share`).

    Caused by stray clicks and by tools that convert masks to polygons. Score: how many such parts.

    Example::

        {"segmentation": [[10, 10, 90, 10, 90, 90, 10, 90], [200, 200, 203, 200, 203, 203, 200, 203]]}

    Fix: `trashkit fix --unsafe` drops it.
    """
    settings = shapes.table.settings
    owner = shapes.ring_owner
    area = shapely.area(shapes.parts)
    small = (area < settings.speck_area) & (area < settings.speck_share * shapes.area[owner])
    small &= shapes.ring_count[owner] > 1
    specks = np.bincount(owner[small], minlength=len(shapes))
    for annotation, mask in shapes.masks.items():
        if mask.lengths is not None and shapes.area[annotation] > settings.speck_area:
            specks[annotation] = _small(part_sizes(mask), min(settings.speck_area, settings.speck_share * mask.area))
    specks[shapes.table.crowd[shapes.rows]] = 0
    for annotation in np.flatnonzero(specks).tolist():
        count = int(specks[annotation])
        what = "a part is" if count == 1 else f"{count} parts are"
        message = f"{what} below {settings.speck_area:.3g} px² and {settings.speck_share:.0%} of the whole"
        yield Hit(
            int(shapes.rows[annotation]), message, float(count), "unsafe" if shapes.readable[annotation] else None
        )


def _pin_hole(coco: dict[str, Any]) -> None:
    counts = [150 * 640 + 100]
    for column in range(40):
        counts += [20, 2, 20, 598] if column == 20 else [42, 598]
    counts[-1] = 640 * 640 - sum(counts[:-1])
    coco["images"][0].update(width=640, height=640)
    area = 42 * 40 - 2
    coco["annotations"][0].update(
        segmentation={"size": [640, 640], "counts": counts}, area=area, bbox=[150, 100, 40, 42]
    )


@check("G033", "pin-hole", Severity.INFO, broken=_pin_hole)
def pin_hole(shapes: Shapes) -> Iterator[Hit]:
    """A mask, or a ring that crosses itself, has holes below 16 pixels² (`speck_area`). Score: how many.

    The winners of one competition trained better models on ground truth with pin-holes filled.

    Example::

        {"segmentation": {"size": [4, 4], "counts": [0, 5, 1, 10]}}

    Fix: `trashkit fix --unsafe` fills them; `--fill-holes` fills holes of any size, with counts before and after.
    """
    settings = shapes.table.settings
    holes = np.zeros(len(shapes), np.int64)
    crossing = np.flatnonzero(shapes.bounded & ~shapes.valid)
    for ring in crossing.tolist():
        for polygon in shapely.get_parts(shapes.parts[ring]):
            inner = [shapely.area(shapely.Polygon(hole)) for hole in polygon.interiors]
            holes[shapes.ring_owner[ring]] += sum(1 for area in inner if 0 < area < settings.speck_area)
    for annotation, mask in shapes.masks.items():
        if mask.lengths is not None and mask.area > settings.speck_area:
            holes[annotation] = _small(hole_sizes(mask), settings.speck_area)
    holes[shapes.table.crowd[shapes.rows]] = 0
    for annotation in np.flatnonzero(holes).tolist():
        count = int(holes[annotation])
        what = "a hole is" if count == 1 else f"{count} holes are"
        message = f"{what} below {settings.speck_area:.3g} px²"
        yield Hit(
            int(shapes.rows[annotation]), message, float(count), "unsafe" if shapes.readable[annotation] else None
        )


def _small(sizes: Ints, limit: float) -> int:
    return int((sizes < limit).sum())
