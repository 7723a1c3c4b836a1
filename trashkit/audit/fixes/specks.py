"""Drop tiny parts of one segmentation, and fill tiny holes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from trashkit.audit.fixes.repair import safety_of_change
from trashkit.audit.settings import Settings
from trashkit.coco.segmentation import Segmentation
from trashkit.raster.masks import mask, rle_from_mask
from trashkit.raster.measures import ring_area, union_area


def without_specks(segmentation: Segmentation, height: int, width: int, settings: Settings) -> Segmentation:
    """Drop parts smaller than both `speck_area` and `speck_share` of the whole; the largest part stays."""
    if isinstance(segmentation, list):
        areas, limit = _areas_and_limit(segmentation, height, width, settings)
        kept = [ring for ring, area in zip(segmentation, areas, strict=True) if area >= limit]
        return kept or segmentation
    covered = mask(segmentation, height, width)
    limit = min(settings.speck_area, settings.speck_share * int(covered.sum()))
    small = small_regions(covered, limit)
    return rle_from_mask(covered & ~small) if small.any() and (covered & ~small).any() else segmentation


def _areas_and_limit(
    rings: list[list[float]], height: int, width: int, settings: Settings
) -> tuple[list[float], float]:
    """Areas of rings, and the area below which one is a speck."""
    whole = union_area(rings, height, width) or 0.0
    areas = [ring_area(ring) for ring in rings]
    return areas, min(settings.speck_area, settings.speck_share * whole)


def without_new_specks(
    old: list[list[float]], repaired: list[list[float]], height: int, width: int, settings: Settings
) -> list[list[float]]:
    """Drop specks that a repair of the `old` rings cut off, as far as that is safe; old rings stay whatever their size.

    Safe as in `safety_of_change`, compared with the old rings, or with the repaired ones if the repair itself was not
    safe. If not all can be dropped, the smallest ones are.
    """
    areas, limit = _areas_and_limit(repaired, height, width, settings)
    small = [n for n, ring in enumerate(repaired) if areas[n] < limit and ring not in old]
    small.sort(key=areas.__getitem__)
    small = small[: len(repaired) - 1]
    if not small:
        return repaired
    reference = old if safety_of_change(old, repaired, height, width)[0] == "safe" else repaired
    while small:
        kept = [ring for n, ring in enumerate(repaired) if n not in small]
        if safety_of_change(reference, kept, height, width)[0] == "safe":
            return kept
        small = small[: len(small) // 2]
    return repaired


def without_pin_holes(segmentation: Segmentation, height: int, width: int, settings: Settings) -> Segmentation:
    """Fill holes of an RLE smaller than `speck_area`; polygons, which have no holes, are not changed."""
    if isinstance(segmentation, list):
        return segmentation
    covered = mask(segmentation, height, width)
    holes = small_holes(covered, settings.speck_area)
    return rle_from_mask(covered | holes) if holes.any() else segmentation


def small_regions(covered: npt.NDArray[np.bool_], area: float) -> npt.NDArray[np.bool_]:
    """Pixels of those 4-connected regions of a mask [H, W] that have fewer than `area` pixels."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(covered.astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < area
    small[0] = False
    return np.asarray(small[regions])


def small_holes(covered: npt.NDArray[np.bool_], area: float) -> npt.NDArray[np.bool_]:
    """Pixels of those holes of a mask [H, W] (4-connected, not touching the border) that have fewer than `area`."""
    padded = np.pad(~covered, 1, constant_values=True)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(padded.astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < area
    small[[0, regions[0, 0]]] = False
    return np.asarray(small[regions][1:-1, 1:-1])
