"""Find regions where a model sees an object that has no annotation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.label_errors.image_view import Floats, ImageView

OBJECT_PROBABILITY = 0.35
"""Least probability of all classes except background together, for a pixel of a missing object."""
MIN_PIXELS = 16
"""Smallest region, in pixels."""

REGION_FEATURES = (
    "certainty", "certainty of its class", "best pixel", "size", "thickness", "uncovered share",
    "border with its class", "border with other classes", "purity",
)  # fmt: skip


@dataclass(frozen=True)
class UnannotatedRegion:
    """A region without annotation: mask [h, w] of the crop at (top, left), most probable class, and features."""

    top: int
    left: int
    mask: NDArray[np.uint8]
    class_index: int
    features: Floats

    def pixels(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """The region as a mask of the whole image."""
        out = np.zeros(shape, bool)
        high, wide = self.mask.shape
        out[self.top : self.top + high, self.left : self.left + wide] = self.mask > 0
        return out


def scaled_up(region: UnannotatedRegion, factor: int) -> UnannotatedRegion:
    """Scale a region of a reduced view up to the pixels of the store."""
    if factor == 1:
        return region
    mask = np.repeat(np.repeat(region.mask, factor, axis=0), factor, axis=1)
    return replace(region, top=region.top * factor, left=region.left * factor, mask=mask)


def find_unannotated_regions(view: ImageView) -> list[UnannotatedRegion]:
    """Regions of at least MIN_PIXELS, without the thin ones that loose outlines leave around annotations."""
    p = view.probabilities
    given = view.label_map()
    objects = 1 - p[0]
    seen = objects > OBJECT_PROBABILITY
    free = (view.instance_map < 0) & seen
    if not free.any():
        return []
    opened = cv2.morphologyEx(free.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if count == 1:
        return []
    _, wholes = cv2.connectedComponents(seen.astype(np.uint8), connectivity=8)
    sizes = np.bincount(wholes.ravel())
    depth = cv2.distanceTransform(opened, cv2.DIST_L2, 3)
    found = []
    for number in range(1, count):
        left, top, wide, high, area = (int(value) for value in stats[number])
        if area < MIN_PIXELS:
            continue
        crop = np.s_[top : top + high, left : left + wide]
        mask = (labels[crop] == number).astype(np.uint8)
        inside = mask > 0
        means = p[:, top : top + high, left : left + wide][:, inside].mean(axis=1)
        c = int(means[1:].argmax()) + 1
        whole = int(sizes[wholes[crop][inside][0]])
        same, other = _borders(given, mask, top, left, c)
        values = objects[crop][inside]
        features = [
            _logit(float(values.mean())), _logit(float(means[c])), _logit(float(values.max())),
            np.log(area / given.size),
            float(depth[crop][inside].max()) / np.sqrt(area), area / max(whole, area), same, other,
            float(means[c] / max(means[1:].sum(), 1e-6)),
        ]  # fmt: skip
        found.append(UnannotatedRegion(top, left, mask, c, np.array(features, np.float64)))
    return found


def _logit(value: float) -> float:
    return float(np.log((value + 1e-3) / (1 - value + 1e-3)))


def _borders(given: NDArray[np.uint8], mask: NDArray[np.uint8], top: int, left: int, c: int) -> tuple[float, float]:
    """Shares of the pixels around a region that are labelled with its own class and with other classes."""
    high, wide = mask.shape
    height, width = given.shape
    t, b, start, end = max(top - 2, 0), min(top + high + 2, height), max(left - 2, 0), min(left + wide + 2, width)
    padded = np.zeros((b - t, end - start), np.uint8)
    padded[top - t : top - t + high, left - start : left - start + wide] = mask
    ring = (cv2.dilate(padded, np.ones((5, 5), np.uint8)) > 0) & (padded == 0)
    around = given[t:b, start:end][ring]
    if not around.size:
        return 0.0, 0.0
    return float((around == c).mean()), float(((around != 0) & (around != c)).mean())
