"""One image with its annotations and predicted probabilities, and features that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

FloatMaps = NDArray[np.float32]
InstanceMap = NDArray[np.int32]
Floats = NDArray[np.float64]

EPSILON = 1e-3
"""Added to probabilities before taking logarithms: about the smallest value that 8 bits can represent."""
MARGIN = 0.3
"""Width of the surroundings of an annotation, as a share of the root of its area."""

FEATURES = (
    "class / background", "class / best other class", "best other class / background",
    "class / background, weighted inside", "class / best other class, weighted inside",
    "best other class / background, weighted inside", "standard deviation of the class", "class in the surroundings",
    "soft overlap", "shift of the centre", "size", "corners", "parts", "size of the second part",
    "class of the second part", "gap to the second part", "pixels of a second class", "solidity",
    "class / best other class, relative to the class median", "background / class, relative to the class median",
)  # fmt: skip
"""Columns of `annotation_features`. The first six are log ratios of mean probabilities; the last two are filled in by
`with_class_medians` once all images are known."""

_PER_IMAGE = len(FEATURES) - 2


@dataclass(frozen=True)
class ImageView:
    """Annotations and probabilities of one image at the size of the store, or smaller.

    probabilities: float32 [C, H, W]. instance_map: int32 [H, W], index of the topmost annotation, -1 for none. classes:
    int [n], class index of each annotation. corners: float [n], logarithm of the number of corners over the root of the
    area in native pixels, NaN where unknown. area_scale: native pixels per pixel of the view. best_class: uint8 [H, W],
    the most probable class except background.
    """

    probabilities: FloatMaps
    instance_map: InstanceMap
    classes: NDArray[np.int64]
    corners: Floats
    area_scale: float
    best_class: NDArray[np.uint8]

    @classmethod
    def build(
        cls,
        probabilities: FloatMaps,
        instance_map: InstanceMap,
        classes: NDArray[np.int64],
        corners: Floats,
        area_scale: float = 1.0,
    ) -> ImageView:
        """Build a view; `best_class` is computed from the probabilities."""
        most, best = probabilities[1].copy(), np.ones(instance_map.shape, np.uint8)
        for c in range(2, len(probabilities)):
            np.copyto(best, np.uint8(c), where=probabilities[c] > most)
            np.maximum(most, probabilities[c], out=most)
        return cls(probabilities, instance_map, classes, corners, area_scale, best)

    @property
    def count(self) -> int:
        """Number of annotations, including hidden ones."""
        return len(self.classes)

    def areas(self) -> NDArray[np.int64]:
        """Visible pixels of each annotation."""
        return np.bincount(self.instance_map.ravel() + 1, minlength=self.count + 1)[1:]

    def label_map(self) -> NDArray[np.uint8]:
        """Label map [H, W] of the annotations."""
        table = np.append(self.classes, 0).astype(np.uint8)
        return np.asarray(table[self.instance_map])

    def with_annotations(self, instance_map: InstanceMap, **more: NDArray[np.int64] | Floats) -> ImageView:
        """The same image with changed annotations."""
        return replace(self, instance_map=instance_map, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class AnnotationFeatures:
    """Features of the annotations of one view.

    features: float64 [n, len(FEATURES)], NaN rows for hidden annotations. means: float64 [n, C], mean probability of
    each class over the visible pixels. area: int [n], visible pixels.
    """

    features: Floats
    means: Floats
    area: NDArray[np.int64]


def annotation_features(view: ImageView, only: Sequence[int] | None = None) -> AnnotationFeatures:
    """Compute FEATURES of all annotations of a view, or of `only` some; rows of others and of hidden ones are NaN."""
    n, channels = view.count, len(view.probabilities)
    features = np.full((n, len(FEATURES)), np.nan)
    means, core = np.zeros((n, channels)), np.zeros((n, channels))
    area = view.areas()
    wanted = np.zeros(n, bool)
    wanted[list(range(n) if only is None else only)] = True
    wanted &= area > 0
    if not wanted.any():
        return AnnotationFeatures(features, means, area)
    depth = _depth(view.instance_map)
    inside, spread = np.zeros(n), np.zeros(n)
    for k, (top, bottom, left, right) in enumerate(visible_boxes(view.instance_map, n)):
        if not wanted[k]:
            continue
        crop = np.s_[top:bottom, left:right]
        mask = (view.instance_map[crop] == k).astype(np.float32)
        weights = np.stack([mask.ravel(), (mask * depth[crop]).ravel()], axis=1)
        values = view.probabilities[:, top:bottom, left:right].reshape(channels, -1)
        # One matrix product gives both sums of all classes.
        sums = (values @ weights).astype(np.float64)
        means[k], core[k] = sums[:, 0] / area[k], sums[:, 1] / max(float(weights[:, 1].sum()), 1e-9)
        own = values[view.classes[k]]
        inside[k] = sums[view.classes[k], 0]
        spread[k] = np.sqrt(max(float((own * own) @ weights[:, 0]) / area[k] - means[k, view.classes[k]] ** 2, 0.0))
        features[k, 12:18] = _parts(view, k, crop, mask, int(area[k]))
    features[:, 0:3] = _ratios(means, view.classes)
    features[:, 3:6] = _ratios(core, view.classes)
    features[:, 6] = spread
    features[:, 7:10] = _surroundings(view, area, inside, wanted)
    features[:, 10] = np.log(np.maximum(area, 1) / view.instance_map.size)
    features[:, 11] = view.corners
    features[~wanted] = np.nan
    return AnnotationFeatures(features, means, area)


def _depth(instance_map: InstanceMap) -> FloatMaps:
    """Distance in pixels from each pixel to the nearest pixel of another annotation or of none, [H, W]."""
    edge = np.zeros(instance_map.shape, bool)
    across, down = instance_map[:, 1:] != instance_map[:, :-1], instance_map[1:] != instance_map[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    if not edge.any():
        return np.ones(instance_map.shape, np.float32)
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance + 0.5, np.float32)


def _ratios(means: Floats, classes: NDArray[np.int64]) -> Floats:
    """Log ratios class / background, class / best other class, best other class / background: float64 [n, 3]."""
    rows = np.arange(len(means))
    own = means[rows, classes] + EPSILON
    other = best_other_class(means, classes)[0] + EPSILON
    background = means[:, 0] + EPSILON
    return np.stack([np.log(own / background), np.log(own / other), np.log(other / background)], axis=1)


def best_other_class(means: Floats, classes: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Largest mean of the classes other than background and the given one [n], and the index of that class [n]."""
    others = means.copy()
    others[:, 0] = -1
    others[np.arange(len(means)), classes] = -1
    best = others.argmax(axis=1)
    return np.maximum(others[np.arange(len(means)), best], 0), best


def nearest_annotations(instance_map: InstanceMap) -> tuple[InstanceMap, FloatMaps]:
    """Nearest annotation of each uncovered pixel (-1 for covered pixels), and its distance in pixels."""
    free = instance_map < 0
    nearest = np.full(instance_map.shape, -1, np.int32)
    if free.all():
        return nearest, np.full(instance_map.shape, np.inf, np.float32)
    distance, labels = cv2.distanceTransformWithLabels(
        free.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    names = np.zeros(int(labels.max()) + 1, np.int32)
    names[labels[~free]] = instance_map[~free]
    nearest[free] = names[labels[free]]
    return nearest, np.asarray(distance, np.float32)


def _surroundings(view: ImageView, area: NDArray[np.int64], inside: Floats, wanted: NDArray[np.bool_]) -> Floats:
    """Probability mass of the class around each annotation, soft overlap, and shift of the mass's centre: [n, 3]."""
    n, width = view.count, view.instance_map.shape[1]
    instance_map = view.instance_map.ravel()
    nearest, distance = nearest_annotations(view.instance_map)
    reach = np.append(MARGIN * np.sqrt(area) * wanted, 0.0)
    near = np.flatnonzero(distance.ravel() <= reach[nearest.ravel()])
    near = near[nearest.ravel()[near] >= 0]
    whose = nearest.ravel()[near]
    flat = view.probabilities.reshape(len(view.probabilities), -1)
    mass = flat[view.classes[whose], near]
    outside = np.bincount(whose, mass, minlength=n)
    at = np.flatnonzero(np.append(wanted, False)[instance_map])
    who = instance_map[at]
    own = flat[view.classes[who], at]
    size = np.maximum(area, 1)
    moved = np.zeros(n)
    for where, places in ((at // width, near // width), (at % width, near % width)):
        centre = np.bincount(who, where, minlength=n) / size
        weighted = np.bincount(who, own * where, minlength=n) + np.bincount(whose, mass * places, minlength=n)
        moved += (weighted / np.maximum(inside + outside, 1e-9) - centre) ** 2
    return np.stack([outside / size, inside / (size + outside), np.sqrt(moved / size)], axis=1)


def _parts(view: ImageView, k: int, crop: tuple[slice, slice], mask: FloatMaps, area: int) -> Floats:
    """Number of parts, size and class of the second, gap, pixels of a second class, solidity: float64 [6]."""
    found = np.zeros(6)
    part = mask.astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    large = [int(one) for one in order if stats[one, cv2.CC_STAT_AREA] >= 0.03 * area]
    found[0] = np.log(max(len(large), 1))
    if len(large) > 1:
        second = labels == large[1]
        means = view.probabilities[:, crop[0], crop[1]][:, second].mean(axis=1)[None].astype(np.float64)
        found[1] = stats[large[1], cv2.CC_STAT_AREA] / area
        found[2] = -_ratios(means, view.classes[k : k + 1])[0, 1]
        found[3] = _gap(stats[large[0]], stats[large[1]]) / np.sqrt(area)
    votes = np.bincount(view.best_class[crop][part > 0], minlength=len(view.probabilities))
    votes[[0, view.classes[k]]] = 0
    found[4] = votes.max() / area
    # The end points of all rows have the same convex hull as all pixels.
    rows = np.flatnonzero(part.any(axis=1))
    ends = part.shape[1] - 1 - part[rows, ::-1].argmax(axis=1)
    points = np.concatenate([np.stack([part[rows].argmax(axis=1), rows], 1), np.stack([ends, rows], 1)])
    hull = cv2.contourArea(cv2.convexHull(points.astype(np.int32))) + 0.5 * sum(part.shape)
    found[5] = min(area / max(hull, 1.0), 1.0)
    return found


def _gap(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """Distance between two boxes (left, top, width, height) in pixels."""
    x = max(one[0], other[0]) - min(one[0] + one[2], other[0] + other[2])
    y = max(one[1], other[1]) - min(one[1] + one[3], other[1] + other[3])
    return float(np.hypot(max(x, 0), max(y, 0)))


def visible_boxes(instance_map: InstanceMap, count: int) -> list[tuple[int, int, int, int]]:
    """Box (top, bottom, left, right) of the visible pixels of each annotation; zeros if it is hidden."""
    found = []
    for k in range(count):
        mine = instance_map == k
        rows = np.flatnonzero(mine.any(axis=1))
        if not len(rows):
            found.append((0, 0, 0, 0))
            continue
        columns = np.flatnonzero(mine[rows[0] : rows[-1] + 1].any(axis=0))
        found.append((int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1))
    return found


def with_class_medians(features: Floats, medians: Floats, classes: NDArray[np.int64]) -> Floats:
    """Fill the last two columns: the first two features relative to the medians of the class (`medians` [C, 2])."""
    filled = features.copy()
    filled[:, _PER_IMAGE] = features[:, 1] - medians[classes, 1]
    filled[:, _PER_IMAGE + 1] = medians[classes, 0] - features[:, 0]
    return filled


def class_medians(features: Floats, classes: NDArray[np.int64], count: int) -> Floats:
    """Medians of the first two features over the annotations of each class, float64 [count, 2].

    Classes with fewer than 5 annotations get the median of all.
    """
    known = ~np.isnan(features[:, 0])
    overall = np.median(features[known, :2], axis=0) if known.any() else np.zeros(2)
    found = np.tile(overall, (count, 1))
    for c in range(count):
        mine = known & (classes == c)
        if mine.sum() >= 5:
            found[c] = np.median(features[mine, :2], axis=0)
    return found


def softmin(scores: NDArray[np.floating], temperature: float = 0.1) -> float:
    """Softmin of the scores of all pixels: their mean weighted by ``softmax((1 - score) / temperature)``.

    Scores are the probabilities of the given labels, so it is an image-level score of label quality, near 0 if labels
    are likely wrong. Source: V. Lad and J. Mueller, "Estimating label quality and errors in semantic segmentation data
    via any model", 2023.
    """
    values = np.asarray(scores, np.float64).ravel()
    weights = np.exp((values.min() - values) / temperature)
    return float((weights * values).sum() / weights.sum())


def corner_density(segmentations: Sequence[object], areas: Sequence[float]) -> Floats:
    """Logarithm of the number of corners over the root of the area in native pixels, float64 [n]; NaN for RLE."""
    found = np.full(len(segmentations), np.nan)
    for n, (segmentation, area) in enumerate(zip(segmentations, areas, strict=True)):
        if isinstance(segmentation, list) and area > 0:
            found[n] = np.log(max(sum(len(ring) // 2 for ring in segmentation), 1) / np.sqrt(area))
    return found
