"""Tiny parts and tiny holes of one segmentation, taken away or filled."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from shapely.geometry import Polygon

from trashkit.audit.repair import area_of, judge
from trashkit.audit.settings import Settings
from trashkit.coco.segmentation import Segmentation
from trashkit.masks import mask, rle_from_mask


def without_specks(segmentation: Segmentation, height: int, width: int, settings: Settings) -> Segmentation:
    """A segmentation without its parts under `speck_area` and `speck_share` of the whole; the largest part stays."""
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
    """Areas of rings, and the area under which one is a speck."""
    whole = area_of(rings, height, width) or 0.0
    areas = [Polygon(list(zip(ring[0::2], ring[1::2], strict=True))).area for ring in rings]
    return areas, min(settings.speck_area, settings.speck_share * whole)


def without_splinters(
    old: list[list[float]], mended: list[list[float]], height: int, width: int, settings: Settings
) -> list[list[float]]:
    """Mended rings without those specks among them that the old rings did not have, as far as that is safe.

    Safe as `judge` says: against the old rings, or against the mended ones where mending itself was not safe. Where
    not all can go, the smallest ones go. Rings that stood there before stay, whatever their size.
    """
    areas, limit = _areas_and_limit(mended, height, width, settings)
    small = [n for n, ring in enumerate(mended) if areas[n] < limit and ring not in old]
    small.sort(key=areas.__getitem__)
    small = small[: len(mended) - 1]
    if not small:
        return mended
    like = old if judge(old, mended, height, width)[0] == "safe" else mended
    while small:
        slim = [ring for n, ring in enumerate(mended) if n not in small]
        if judge(like, slim, height, width)[0] == "safe":
            return slim
        small = small[: len(small) // 2]
    return mended


def without_pin_holes(segmentation: Segmentation, height: int, width: int, settings: Settings) -> Segmentation:
    """A mask with its holes under `speck_area` filled; polygons, which have no holes, come back as they are."""
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
