"""Annotations made wrong on purpose, each in one way: what the scores of label errors are calibrated on.

The predictions are out of fold, so changing an image's annotations changes nothing about them: an annotation that is
made wrong here looks, beside the prediction, just as it would had an annotator made the mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.audit.label_scene import Owners, Scene, boxes

Mask = NDArray[np.uint8]
Planted = tuple[Scene, list[int]]
"""A scene with wrong annotations, and which of its annotations these are."""


KINDS = ("wrong-class", "no-object", "shifted-outline", "coarse-outline", "merged-objects")
"""Kinds of error of an annotation."""


def some(rng: np.random.Generator, scene: Scene, share: float = 0.5) -> list[int]:
    """About `share` of the annotations that are seen, at least one of them."""
    seen = np.flatnonzero(scene.areas())
    if not len(seen):
        return []
    chosen = seen[rng.random(len(seen)) < share]
    return [int(k) for k in (chosen if len(chosen) else rng.permutation(seen)[:1])]


def mixed(
    rng: np.random.Generator, scene: Scene, present: NDArray[np.int64], share: float = 0.6
) -> tuple[Scene, dict[str, list[int]]]:
    """About `share` of the annotations made wrong, each in a way drawn by lot: the scene, and by kind which they are.

    present: the classes that annotations may take. All kinds in one scene cost one look at it.
    """
    by_kind: dict[str, list[int]] = {kind: [] for kind in KINDS}
    kinds = KINDS if np.count_nonzero(scene.areas()) > 1 else KINDS[:-1]
    for k in some(rng, scene, share):
        by_kind[kinds[int(rng.integers(len(kinds)))]].append(k)
    done: dict[str, list[int]] = {}
    # Merging first: it takes a neighbour, which then has no error of its own.
    scene, done["merged-objects"], taken = merged(rng, scene, by_kind["merged-objects"])
    for kind, plant in (("no-object", nothing_there), ("shifted-outline", moved), ("coarse-outline", coarse)):
        scene, done[kind] = plant(rng, scene, [k for k in by_kind[kind] if k not in taken])
    scene, done["wrong-class"] = wrong_class(rng, scene, [k for k in by_kind["wrong-class"] if k not in taken], present)
    seen = scene.areas() > 0
    return scene, {kind: [k for k in which if seen[k]] for kind, which in done.items()}


def wrong_class(rng: np.random.Generator, scene: Scene, chosen: Sequence[int], present: NDArray[np.int64]) -> Planted:
    """Annotations take another of the classes that are `present` in the data set."""
    classes = scene.classes.copy()
    done = []
    for k in chosen:
        others = present[present != classes[k]]
        if len(others):
            classes[k] = rng.choice(others)
            done.append(k)
    return scene.changed(scene.owner, classes=classes), done


def dropped(rng: np.random.Generator, scene: Scene) -> Planted:
    """Annotations are taken away."""
    chosen = some(rng, scene)
    owner = scene.owner.copy()
    gone = np.zeros(scene.count + 1, bool)
    gone[chosen] = True
    owner[gone[owner]] = -1
    return scene.changed(owner), chosen


def moved(rng: np.random.Generator, scene: Scene, chosen: Sequence[int]) -> Planted:
    """Outlines lie beside their objects, by 8 to 30 % of the longer side of their box."""

    def move(mask: Mask) -> Mask:
        ys, xs = np.nonzero(mask)
        turn = rng.uniform(0, 2 * np.pi)
        by = rng.uniform(0.08, 0.3) * max(np.ptp(ys) + 1, np.ptp(xs) + 1)
        return shifted(mask, round(by * np.sin(turn)), round(by * np.cos(turn)))

    return _redrawn(scene, chosen, move, None)


def coarse(rng: np.random.Generator, scene: Scene, chosen: Sequence[int]) -> Planted:
    """Outlines have a handful of corners: simplified, sometimes after taking the convex hull."""

    corners_left = [0]

    def simplify(mask: Mask) -> Mask:
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outline = max(contours, key=cv2.contourArea)
        if rng.random() < 0.6:
            outline = cv2.convexHull(outline)
        _, _, wide, high = cv2.boundingRect(outline)
        corners = cv2.approxPolyDP(outline, rng.uniform(0.04, 0.15) * max(wide, high), True)
        drawn = np.zeros_like(mask)
        if len(corners) >= 3:
            cv2.fillPoly(drawn, [corners], 1)
        corners_left[0] = len(corners)
        return drawn

    return _redrawn(scene, chosen, simplify, lambda: corners_left[0])


def nothing_there(rng: np.random.Generator, scene: Scene, chosen: Sequence[int]) -> Planted:
    """Annotations lie where nothing was annotated: mirrored, smaller, moved, onto free ground for the most part."""
    height, width = scene.owner.shape
    free = scene.owner < 0

    def lose(mask: Mask) -> Mask:
        mask = mask[:, ::-1] if rng.random() < 0.5 else mask
        mask = _smaller(mask, float(rng.uniform(0.4, 1.0)))
        if not mask.any():
            return mask
        for _ in range(8):
            there = shifted(np.ascontiguousarray(mask), *_anywhere(rng, mask, height, width))
            if there.sum() and free[there > 0].mean() > 0.85:
                return np.asarray(there * free, np.uint8)
        return np.zeros_like(mask)

    return _redrawn(scene, chosen, lose, None)


def _smaller(mask: Mask, by: float) -> Mask:
    """A mask with its sides times `by`, in the top left corner: what fills an image would fit nowhere else."""
    size = (max(1, round(mask.shape[1] * by)), max(1, round(mask.shape[0] * by)))
    out = np.zeros_like(mask)
    out[: size[1], : size[0]] = cv2.resize(np.ascontiguousarray(mask), size, interpolation=cv2.INTER_NEAREST)
    return out


def _anywhere(rng: np.random.Generator, mask: Mask, height: int, width: int) -> tuple[int, int]:
    ys, xs = np.nonzero(mask)
    down = int(rng.integers(-int(ys.min()), height - int(ys.max())))
    return down, int(rng.integers(-int(xs.min()), width - int(xs.max())))


def merged(rng: np.random.Generator, scene: Scene, chosen: Sequence[int]) -> tuple[Scene, list[int], set[int]]:
    """Annotations swallow their nearest neighbour, under the class of the larger; both names are `taken` then."""
    taken: set[int] = set()
    if not chosen:
        return scene, [], taken
    area = scene.areas()
    places = boxes(scene.owner, scene.count)
    centres = np.array([((t + b) / 2, (left + right) / 2) for t, b, left, right in places])
    owner, corners = scene.owner.copy(), scene.corners.copy()
    left, done = {int(k) for k in np.flatnonzero(area)}, []
    for k in rng.permutation(np.asarray(chosen)).tolist():
        mates = sorted(m for m in left if m != k)
        if k not in left or not mates:
            continue
        mate = min(mates, key=lambda m: float(np.hypot(*(centres[m] - centres[k]))))
        large, small = (k, mate) if area[k] >= area[mate] else (mate, k)
        owner[owner == small] = large
        share = area[[large, small]] / (area[large] + area[small])
        corners[large] = np.log(np.sum(np.exp(scene.corners[[large, small]]) * np.sqrt(share)))
        left -= {large, small}
        taken |= {large, small}
        done.append(large)
    return scene.changed(owner, corners=corners), done, taken


def _redrawn(
    scene: Scene, chosen: Sequence[int], draw: Callable[[Mask], Mask], count: Callable[[], int] | None
) -> Planted:
    """Some annotations drawn anew by `draw`, above all others; those that come out too small stay as they were."""
    owner: Owners = scene.owner.copy()
    corners = scene.corners.copy()
    done = []
    for k in chosen:
        mask = (scene.owner == k).astype(np.uint8)
        if mask.sum() < 12:
            continue
        new = draw(mask)
        if new.sum() < 8:
            continue
        owner[owner == k] = -1
        owner[new > 0] = k
        if count is not None and np.isfinite(corners[k]):
            corners[k] = np.log(count() / np.sqrt(mask.sum() * scene.zoom))
        done.append(k)
    return scene.changed(owner, corners=corners), done


def shifted(mask: Mask, down: int, right: int) -> Mask:
    """A mask moved by whole pixels; what leaves the image is lost, nothing comes in."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    top, left = max(down, 0), max(right, 0)
    high, wide = height - abs(down), width - abs(right)
    if high > 0 and wide > 0:
        out[top : top + high, left : left + wide] = mask[top - down : top - down + high, left - right :][:, :wide]
    return out
