"""Regions where a model sees an object and no annotation lies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.audit.label_scene import Floats, Scene

SEEN = 0.35
"""A pixel may belong to a missing object where everything but background has this probability together."""
LEAST = 16
"""Pixels that a region has at least."""

REGION_FEATURES = (
    "certainty", "certainty of its class", "best pixel", "size", "thickness", "uncovered share",
    "border with its class", "border with other classes", "purity",
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """An unannotated region: its pixels as a mask [h, w] in the crop at (top, left), its class, and features."""

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


def enlarged(region: Region, factor: int) -> Region:
    """A region of a reduced scene in pixels of the store."""
    if factor == 1:
        return region
    mask = np.repeat(np.repeat(region.mask, factor, axis=0), factor, axis=1)
    return replace(region, top=region.top * factor, left=region.left * factor, mask=mask)


def missing_regions(scene: Scene) -> list[Region]:
    """Regions of at least LEAST pixels, without the thin ones that loose outlines leave around annotations."""
    p = scene.probabilities
    given = scene.given()
    objects = 1 - p[0]
    seen = objects > SEEN
    free = (scene.owner < 0) & seen
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
        if area < LEAST:
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
        found.append(Region(top, left, mask, c, np.array(features, np.float64)))
    return found


def _logit(value: float) -> float:
    return float(np.log((value + 1e-3) / (1 - value + 1e-3)))


def _borders(given: NDArray[np.uint8], mask: NDArray[np.uint8], top: int, left: int, c: int) -> tuple[float, float]:
    """Share of the pixels just around a region that its own class, and other classes, were given to."""
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
