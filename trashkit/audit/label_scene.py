"""One image's annotations beside what a model makes of it: regions at the size of the store, and their measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Owners = NDArray[np.int32]
Floats = NDArray[np.float64]

TINY = 1e-3
"""Added to probabilities before logarithms: what 8 bits can tell from 0."""
REACH = 0.3
"""The surroundings of an annotation reach this far, as a share of the root of its area."""

FEATURES = (
    "class against background", "class against the best other", "best other against background",
    "class against background, inside", "class against the best other, inside", "best other against background, inside",
    "spread of the class", "class around it", "overlap", "shift", "size", "corners", "parts", "second part",
    "class of the second part", "gap", "pixels of a second class", "solidity", "class against what is usual",
    "background against what is usual",
)  # fmt: skip
"""What `measure` gives for each annotation; the last two are filled in once all images are known (`with_usual`)."""

_PER_IMAGE = len(FEATURES) - 2


@dataclass(frozen=True)
class Scene:
    """Annotations of one image at the size of the store.

    probabilities: float32 [C, H, W]. owner: int32 [H, W], which annotation is on top, -1 for none. classes: int [n],
    class index of each. corners: float [n], logarithm of the corners of its outline over the root of its area in native
    pixels, NaN where unknown. zoom: native pixels for each pixel of the store. best: uint8 [H, W], the most probable
    class besides background.
    """

    probabilities: Planes
    owner: Owners
    classes: NDArray[np.int64]
    corners: Floats
    zoom: float
    best: NDArray[np.uint8]

    @classmethod
    def of(
        cls, probabilities: Planes, owner: Owners, classes: NDArray[np.int64], corners: Floats, zoom: float = 1.0
    ) -> Scene:
        """A scene, with `best` found from the probabilities."""
        most, best = probabilities[1].copy(), np.ones(owner.shape, np.uint8)
        for c in range(2, len(probabilities)):
            np.copyto(best, np.uint8(c), where=probabilities[c] > most)
            np.maximum(most, probabilities[c], out=most)
        return cls(probabilities, owner, classes, corners, zoom, best)

    @property
    def count(self) -> int:
        """How many annotations there are, hidden ones included."""
        return len(self.classes)

    def areas(self) -> NDArray[np.int64]:
        """Visible pixels of each annotation."""
        return np.bincount(self.owner.ravel() + 1, minlength=self.count + 1)[1:]

    def given(self) -> NDArray[np.uint8]:
        """Label map [H, W] of the annotations."""
        table = np.append(self.classes, 0).astype(np.uint8)
        return np.asarray(table[self.owner])

    def changed(self, owner: Owners, **more: NDArray[np.int64] | Floats) -> Scene:
        """The same image with other annotations."""
        return replace(self, owner=owner, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Measured:
    """What was measured of a scene's annotations.

    features: float64 [n, len(FEATURES)], NaN rows for annotations of which nothing is seen. means: float64 [n, C], mean
    probability of each class over the visible pixels. area: int [n], visible pixels.
    """

    features: Floats
    means: Floats
    area: NDArray[np.int64]


def measure(scene: Scene, only: Sequence[int] | None = None) -> Measured:
    """Measure every annotation of a scene, or `only` some; see FEATURES, of which the first six are log ratios.

    Rows of annotations that are not asked for, or of which nothing is seen, are NaN.
    """
    n, channels = scene.count, len(scene.probabilities)
    features = np.full((n, len(FEATURES)), np.nan)
    means, core = np.zeros((n, channels)), np.zeros((n, channels))
    area = scene.areas()
    asked = np.zeros(n, bool)
    asked[list(range(n) if only is None else only)] = True
    asked &= area > 0
    if not asked.any():
        return Measured(features, means, area)
    depth = _depth(scene.owner)
    inside, spread = np.zeros(n), np.zeros(n)
    for k, (top, bottom, left, right) in enumerate(boxes(scene.owner, n)):
        if not asked[k]:
            continue
        crop = np.s_[top:bottom, left:right]
        mask = (scene.owner[crop] == k).astype(np.float32)
        weights = np.stack([mask.ravel(), (mask * depth[crop]).ravel()], axis=1)
        values = scene.probabilities[:, top:bottom, left:right].reshape(channels, -1)
        # One matrix product gives both sums of all classes.
        sums = (values @ weights).astype(np.float64)
        means[k], core[k] = sums[:, 0] / area[k], sums[:, 1] / max(float(weights[:, 1].sum()), 1e-9)
        own = values[scene.classes[k]]
        inside[k] = sums[scene.classes[k], 0]
        spread[k] = np.sqrt(max(float((own * own) @ weights[:, 0]) / area[k] - means[k, scene.classes[k]] ** 2, 0.0))
        features[k, 12:18] = _parts(scene, k, crop, mask, int(area[k]))
    features[:, 0:3] = _ratios(means, scene.classes)
    features[:, 3:6] = _ratios(core, scene.classes)
    features[:, 6] = spread
    features[:, 7:10] = _around(scene, area, inside, asked)
    features[:, 10] = np.log(np.maximum(area, 1) / scene.owner.size)
    features[:, 11] = scene.corners
    features[~asked] = np.nan
    return Measured(features, means, area)


def _depth(owner: Owners) -> Planes:
    """Distance in pixels of each pixel to the nearest one of another annotation (or of none), [H, W]."""
    edge = np.zeros(owner.shape, bool)
    across, down = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    if not edge.any():
        return np.ones(owner.shape, np.float32)
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance + 0.5, np.float32)


def _ratios(means: Floats, classes: NDArray[np.int64]) -> Floats:
    """Class against background, class against the best other, best other against background: float64 [n, 3]."""
    rows = np.arange(len(means))
    own = means[rows, classes] + TINY
    other = best_other(means, classes)[0] + TINY
    background = means[:, 0] + TINY
    return np.stack([np.log(own / background), np.log(own / other), np.log(other / background)], axis=1)


def best_other(means: Floats, classes: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """The largest mean among classes that are neither background nor the given one, and which class that is."""
    others = means.copy()
    others[:, 0] = -1
    others[np.arange(len(means)), classes] = -1
    best = others.argmax(axis=1)
    return np.maximum(others[np.arange(len(means)), best], 0), best


def surroundings(owner: Owners) -> tuple[Owners, Planes]:
    """For each pixel that no annotation covers, the nearest annotation (-1 elsewhere) and its distance in pixels."""
    free = owner < 0
    nearest = np.full(owner.shape, -1, np.int32)
    if free.all():
        return nearest, np.full(owner.shape, np.inf, np.float32)
    distance, labels = cv2.distanceTransformWithLabels(
        free.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    names = np.zeros(int(labels.max()) + 1, np.int32)
    names[labels[~free]] = owner[~free]
    nearest[free] = names[labels[free]]
    return nearest, np.asarray(distance, np.float32)


def _around(scene: Scene, area: NDArray[np.int64], inside: Floats, asked: NDArray[np.bool_]) -> Floats:
    """Probability mass of the class around each annotation, soft overlap, and how far the mass lies off its centre."""
    n, width = scene.count, scene.owner.shape[1]
    owner = scene.owner.ravel()
    nearest, distance = surroundings(scene.owner)
    reach = np.append(REACH * np.sqrt(area) * asked, 0.0)
    near = np.flatnonzero(distance.ravel() <= reach[nearest.ravel()])
    near = near[nearest.ravel()[near] >= 0]
    whose = nearest.ravel()[near]
    flat = scene.probabilities.reshape(len(scene.probabilities), -1)
    mass = flat[scene.classes[whose], near]
    outside = np.bincount(whose, mass, minlength=n)
    at = np.flatnonzero(np.append(asked, False)[owner])
    who = owner[at]
    own = flat[scene.classes[who], at]
    size = np.maximum(area, 1)
    moved = np.zeros(n)
    for where, places in ((at // width, near // width), (at % width, near % width)):
        centre = np.bincount(who, where, minlength=n) / size
        weighted = np.bincount(who, own * where, minlength=n) + np.bincount(whose, mass * places, minlength=n)
        moved += (weighted / np.maximum(inside + outside, 1e-9) - centre) ** 2
    return np.stack([outside / size, inside / (size + outside), np.sqrt(moved / size)], axis=1)


def _parts(scene: Scene, k: int, crop: tuple[slice, slice], mask: Planes, area: int) -> Floats:
    """Number of parts, share and class of the second, gap, pixels of a second class, solidity: float64 [6]."""
    found = np.zeros(6)
    part = mask.astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    large = [int(one) for one in order if stats[one, cv2.CC_STAT_AREA] >= 0.03 * area]
    found[0] = np.log(max(len(large), 1))
    if len(large) > 1:
        second = labels == large[1]
        means = scene.probabilities[:, crop[0], crop[1]][:, second].mean(axis=1)[None].astype(np.float64)
        found[1] = stats[large[1], cv2.CC_STAT_AREA] / area
        found[2] = -_ratios(means, scene.classes[k : k + 1])[0, 1]
        found[3] = _gap(stats[large[0]], stats[large[1]]) / np.sqrt(area)
    votes = np.bincount(scene.best[crop][part > 0], minlength=len(scene.probabilities))
    votes[[0, scene.classes[k]]] = 0
    found[4] = votes.max() / area
    # The ends of each row have the same hull as all pixels.
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


def boxes(owner: Owners, count: int) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of the visible pixels of each annotation; zeros where there are none."""
    found = []
    for k in range(count):
        mine = owner == k
        rows = np.flatnonzero(mine.any(axis=1))
        if not len(rows):
            found.append((0, 0, 0, 0))
            continue
        columns = np.flatnonzero(mine[rows[0] : rows[-1] + 1].any(axis=0))
        found.append((int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1))
    return found


def with_usual(features: Floats, usual: Floats, classes: NDArray[np.int64]) -> Floats:
    """Features with the last two columns filled: the first two less what is usual (`usual` [C, 2]) for the class."""
    filled = features.copy()
    filled[:, _PER_IMAGE] = features[:, 1] - usual[classes, 1]
    filled[:, _PER_IMAGE + 1] = usual[classes, 0] - features[:, 0]
    return filled


def usual_ratios(features: Floats, classes: NDArray[np.int64], count: int) -> Floats:
    """Median over the annotations of each class of the first two features, float64 [count, 2].

    Classes with fewer than 5 annotations take the median of all.
    """
    known = ~np.isnan(features[:, 0])
    everything = np.median(features[known, :2], axis=0) if known.any() else np.zeros(2)
    found = np.tile(everything, (count, 1))
    for c in range(count):
        mine = known & (classes == c)
        if mine.sum() >= 5:
            found[c] = np.median(features[mine, :2], axis=0)
    return found


def softmin(scores: NDArray[np.floating], temperature: float = 0.1) -> float:
    """Softmin of the scores of all pixels: their mean weighted by ``softmax((1 - score) / temperature)``.

    As image-level score of label quality: V. Lad and J. Mueller, "Estimating label quality and errors in semantic
    segmentation data via any model", 2023. Scores are the probabilities of the given labels; near 0 where labels are
    likely wrong.
    """
    values = np.asarray(scores, np.float64).ravel()
    weights = np.exp((values.min() - values) / temperature)
    return float((weights * values).sum() / weights.sum())


def corners_of(segmentations: Sequence[object], areas: Sequence[float]) -> Floats:
    """Logarithm of corners over the root of the area in native pixels, float64 [n]; NaN for RLE."""
    found = np.full(len(segmentations), np.nan)
    for n, (segmentation, area) in enumerate(zip(segmentations, areas, strict=True)):
        if isinstance(segmentation, list) and area > 0:
            found[n] = np.log(max(sum(len(ring) // 2 for ring in segmentation), 1) / np.sqrt(area))
    return found
