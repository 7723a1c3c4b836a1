"""Convert the regions of a label map to COCO annotations."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as cocomask

from trashkit.raster import masks

Pixels = NDArray[np.uint8]


def drop_small(label_map: Pixels, smallest: int) -> Pixels:
    """Set connected regions (8-neighbours) of fewer than `smallest` pixels to background.

    label_map: uint8 [H, W]; 255 (ignore) is left unchanged. Returns a copy.
    """
    cleaned = label_map.copy()
    if smallest <= 1:
        return cleaned
    for index in np.unique(label_map):
        if index in (0, 255):
            continue
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (label_map == index).astype(np.uint8), connectivity=8
        )
        small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < smallest)
        small = small[small > 0]
        if len(small):
            erase = np.zeros(count, bool)
            erase[small] = True
            cleaned[erase[labels]] = 0
    return cleaned


def regions(
    label_map: Pixels, confidence: NDArray[np.float32] | None, category_ids: dict[int, Any]
) -> list[dict[str, Any]]:
    """One COCO annotation for each connected region, largest first, without ids and image ids.

    label_map: uint8 [H, W]. confidence: float32 [H, W] between 0 and 1; `score` is its mean over the region.
    category_ids: class index -> category id; other classes are left out.
    Regions with holes become RLE, others polygons; both rasterise to exactly the region's pixels.
    """
    height, width = label_map.shape
    found: list[dict[str, Any]] = []
    for index in np.unique(label_map):
        if int(index) not in category_ids:
            continue
        for segmentation in masks.polygons_from_label_map(label_map, int(index)):
            rle = masks.rle(segmentation, height, width)
            x, y, box_width, box_height = (float(value) for value in cocomask.toBbox(rle))
            annotation: dict[str, Any] = {
                "category_id": category_ids[int(index)],
                "segmentation": segmentation,
                "area": int(cocomask.area(rle)),
                "bbox": [x, y, box_width, box_height],
                "iscrowd": 0,
            }
            if confidence is not None:
                crop = np.s_[int(y) : int(y + box_height), int(x) : int(x + box_width)]
                inside = cocomask.decode(rle)[crop].astype(bool)
                annotation["score"] = round(float(confidence[crop][inside].mean()), 4)
            found.append(annotation)
    return sorted(found, key=lambda annotation: -annotation["area"])
