"""Polygons with x and y in columns, or with three numbers for each point, that look like rings."""

from __future__ import annotations

from typing import Any, NamedTuple

from trashkit.audit.readings.evidence import box_agrees, evidence_of, proof
from trashkit.raster.measures import union, valid_polygon

Ring = list[float]
COLUMNS = "its x and its y are in separate lists"
TRIPLES = "its points have a third number"


class Reordered(NamedTuple):
    """The rings that are meant, and for messages how they were written."""

    rings: list[Ring]
    how: str


def reordered(record: Any) -> Reordered | None:
    """The rings that are meant by rings that are well-formed as they stand; None where that is not proven.

    The annotation's bbox and its area, if it has one, must be those of the new rings, and one of them not that of the
    rings as they stand.
    """
    rings = record["segmentation"]
    evidence = evidence_of(record)
    if evidence.box is None:
        return None
    for new, how in ((_of_columns(rings), COLUMNS), (_of_triples(rings), TRIPLES)):
        if new is None or not box_agrees(evidence.box, _box(new)):
            continue
        written = _box(rings)
        if box_agrees(evidence.box, written) and (
            evidence.area is None
            or proof(evidence, written, float(union([valid_polygon(ring) for ring in rings]).area))
        ):
            return None
        if proof(evidence, _box(new), float(union([valid_polygon(ring) for ring in new]).area)):
            return Reordered(new, how)
    return None


def _of_columns(rings: list[Ring]) -> list[Ring] | None:
    """One ring whose x and y are two lists of equal length, or the halves of one."""
    if len(rings) == 1:
        xs, ys = rings[0][: len(rings[0]) // 2], rings[0][len(rings[0]) // 2 :]
    elif len(rings) == 2 and len(rings[0]) == len(rings[1]):
        xs, ys = rings
    else:
        return None
    return [[side for point in zip(xs, ys, strict=True) for side in point]]


def _of_triples(rings: list[Ring]) -> list[Ring] | None:
    """Rings whose points have x, y and something else, such as a visibility or a height."""
    if any(len(ring) < 9 or len(ring) % 3 for ring in rings):
        return None
    return [[side for n in range(0, len(ring), 3) for side in ring[n : n + 2]] for ring in rings]


def _box(rings: list[Ring]) -> tuple[float, float, float, float]:
    xs, ys = [x for ring in rings for x in ring[0::2]], [y for ring in rings for y in ring[1::2]]
    return min(xs), min(ys), max(xs), max(ys)
