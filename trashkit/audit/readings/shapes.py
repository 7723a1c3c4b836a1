"""One segmentation that cannot be rasterised: what it was meant to be, and what proves it."""

# ruff: noqa: PLR0911 - the first reading that is proven is returned, and there are several reasons for none.

from __future__ import annotations

from typing import Any, NamedTuple

from trashkit.audit.readings.evidence import Evidence, box_agrees, evidence_of, proof
from trashkit.audit.readings.holes import holes_of
from trashkit.audit.readings.masks import is_rle, mask_reading, pixel_rows, pixel_rows_reading
from trashkit.audit.readings.polygons import Ring, count_numbers, polygon_readings
from trashkit.raster.measures import union, valid_polygon
from trashkit.readers import decode_json


class Restored(NamedTuple):
    """A reading of a damaged segmentation.

    segmentation: what it was meant to be; None if that is not proven. why: how it was read and what proves it, or why
    there is no proof. empty: whether no outline can be in it, so that only the annotation's deletion is left.
    """

    segmentation: Any
    why: str
    empty: bool = False


def restore(record: dict[str, Any], size: tuple[int, int] | None) -> Restored:
    """Read the segmentation of an annotation whose image has this size (height, width), None if it is unknown."""
    value = record.get("segmentation")
    evidence = evidence_of(record)
    masks = _masks(value)
    if masks:
        if size is None or len(masks) > 1:
            return Restored(None, "")
        found = mask_reading(masks[0], evidence, *size)
        return Restored(None, "") if found is None else Restored(*found)
    covered = pixel_rows(value, *size) if size is not None else None
    if covered is not None:
        found = pixel_rows_reading(covered, evidence)
        return Restored(None, "bbox or area contradict them") if found is None else Restored(*found)
    unproven = ""
    for rings, how in polygon_readings(value):
        agrees = _agreement(evidence, rings, how)
        if agrees and rings != value and not ("y before x" in how and evidence.box is None):
            return Restored(rings, f"{how}, and {agrees}")
        scaled = _in_pixels(rings, size) if agrees is None else None
        if scaled is not None and _agreement(evidence, scaled, how):
            return Restored(scaled, f"{how}, and multiplied by the image's size it agrees with its bbox or area")
        if agrees == "" and "y before x" not in how:
            unproven = unproven or f"perhaps {how}, but it has no bbox or area that proves it"
    if unproven:
        return Restored(None, unproven)
    if count_numbers(value) < 6:
        return Restored(None, "", empty=True)
    return Restored(None, "no reading of it agrees with its bbox and area")


def _in_pixels(rings: list[Ring], size: tuple[int, int] | None) -> list[Ring] | None:
    """Rings in 0..1 in the pixels of an image [height, width]; None if they are not in 0..1."""
    if size is None or any(not 0 <= side <= 1.01 for ring in rings for side in ring):
        return None
    return [[round(side * size[1 - n % 2], 3) for n, side in enumerate(ring)] for ring in rings]


def _masks(value: Any) -> list[dict[str, Any]]:
    """The RLE objects of a segmentation, also of a list of one or of a text with one."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and '"counts"' in value:
        try:
            value = decode_json(value)
        except ValueError:
            return []
    if is_rle(value):
        return [value]
    return value if isinstance(value, list) and value and all(map(is_rle, value)) else []


def _agreement(evidence: Evidence, rings: list[Ring], how: str) -> str | None:
    """What proves that these are the rings, empty if there is nothing to compare them with, None if they are not."""
    box = (
        min(x for ring in rings for x in ring[0::2]),
        min(y for ring in rings for y in ring[1::2]),
        max(x for ring in rings for x in ring[0::2]),
        max(y for ring in rings for y in ring[1::2]),
    )
    if min(box[2] - box[0], box[3] - box[1]) <= 0:
        return None
    if "four numbers" in how:
        return "they are its bbox" if evidence.box is not None and box_agrees(evidence.box, box) else None
    area = float(union([valid_polygon(ring) for ring in rings]).area)
    if "what is left" in how and not (evidence.area and abs(evidence.area - area) <= max(0.02 * area, 0.5)):
        return "" if evidence.area is None and proof(evidence, box, area) is not None else None
    agrees = proof(evidence, box, area)
    if agrees is None and evidence.box is not None and box_agrees(evidence.box, box):
        return "its bbox agrees, and its area leaves a hole" if holes_of(rings, evidence.area).kind == "hole" else None
    return agrees
