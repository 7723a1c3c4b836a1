"""Polygons that have all x before all y, which look like two rings, or like one with other points."""

from __future__ import annotations

from typing import Any

from trashkit.audit.readings.evidence import box_agrees, evidence_of, proof
from trashkit.raster.measures import union, valid_polygon


def ring_of_columns(record: Any) -> list[float] | None:
    """The ring whose x and y are two lists of equal length, or the halves of one; None where that is not proven.

    record: an annotation whose rings are all well-formed as they stand. Its bbox and its area, if it has one, must be
    those of the ring, and one of them not that of these rings.
    """
    rings = record["segmentation"]
    if len(rings) == 1:
        xs, ys = rings[0][: len(rings[0]) // 2], rings[0][len(rings[0]) // 2 :]
    elif len(rings) == 2 and len(rings[0]) == len(rings[1]):
        xs, ys = rings
    else:
        return None
    evidence = evidence_of(record)
    box = (min(xs), min(ys), max(xs), max(ys))
    as_written = [side for ring in rings for side in ring[0::2]], [side for ring in rings for side in ring[1::2]]
    written = (min(as_written[0]), min(as_written[1]), max(as_written[0]), max(as_written[1]))
    if evidence.box is None or not box_agrees(evidence.box, box):
        return None
    if box_agrees(evidence.box, written) and (
        evidence.area is None or proof(evidence, written, float(union([valid_polygon(ring) for ring in rings]).area))
    ):
        return None
    ring = [side for point in zip(xs, ys, strict=True) for side in point]
    return ring if proof(evidence, box, float(union([valid_polygon(ring)]).area)) else None
