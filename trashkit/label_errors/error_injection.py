"""Inject label errors of each kind into annotations, to fit and calibrate the error models.

The predictions are out of fold, so changing the annotations of an image does not change them: compared with the
prediction, an injected error looks just as if an annotator had made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.label_errors.image_view import ImageView, InstanceMap, visible_boxes

Mask = NDArray[np.uint8]
Injected = tuple[ImageView, list[int]]
"""An image with injected errors, and the annotations that have them."""

KINDS = ("wrong-class", "no-object", "shifted-outline", "coarse-outline", "merged-objects")
"""Kinds of error of an annotation."""


def sample_annotations(rng: np.random.Generator, view: ImageView, share: float = 0.5) -> list[int]:
    """Draw about `share` of the visible annotations, at least one."""
    seen = np.flatnonzero(view.areas())
    if not len(seen):
        return []
    chosen = seen[rng.random(len(seen)) < share]
    return [int(k) for k in (chosen if len(chosen) else rng.permutation(seen)[:1])]


def inject_errors(
    rng: np.random.Generator, view: ImageView, present: NDArray[np.int64], share: float = 0.6
) -> tuple[ImageView, dict[str, list[int]]]:
    """Inject an error of a random kind into about `share` of the annotations; returns the annotations by kind.

    present: the classes that annotations may take. All kinds are injected into one view, so features are computed once.
    """
    by_kind: dict[str, list[int]] = {kind: [] for kind in KINDS}
    kinds = KINDS if np.count_nonzero(view.areas()) > 1 else KINDS[:-1]
    for k in sample_annotations(rng, view, share):
        by_kind[kinds[int(rng.integers(len(kinds)))]].append(k)
    done: dict[str, list[int]] = {}
    # Merging comes first: it takes a neighbour, which must not get another error.
    view, done["merged-objects"], taken = merge_neighbours(rng, view, by_kind["merged-objects"])
    for kind, inject in (
        ("no-object", move_to_background),
        ("shifted-outline", shift_outlines),
        ("coarse-outline", coarsen_outlines),
    ):
        view, done[kind] = inject(rng, view, [k for k in by_kind[kind] if k not in taken])
    view, done["wrong-class"] = change_classes(
        rng, view, [k for k in by_kind["wrong-class"] if k not in taken], present
    )
    seen = view.areas() > 0
    return view, {kind: [k for k in which if seen[k]] for kind, which in done.items()}


def change_classes(
    rng: np.random.Generator, view: ImageView, chosen: Sequence[int], present: NDArray[np.int64]
) -> Injected:
    """Give annotations another of the classes that are `present` in the data set."""
    classes = view.classes.copy()
    done = []
    for k in chosen:
        others = present[present != classes[k]]
        if len(others):
            classes[k] = rng.choice(others)
            done.append(k)
    return view.with_annotations(view.instance_map, classes=classes), done


def remove_annotations(rng: np.random.Generator, view: ImageView) -> Injected:
    """Remove about half of the annotations; returns the removed ones."""
    chosen = sample_annotations(rng, view)
    instance_map = view.instance_map.copy()
    gone = np.zeros(view.count + 1, bool)
    gone[chosen] = True
    instance_map[gone[instance_map]] = -1
    return view.with_annotations(instance_map), chosen


def shift_outlines(rng: np.random.Generator, view: ImageView, chosen: Sequence[int]) -> Injected:
    """Shift outlines by 8 to 30 % of the longer side of their box."""

    def move(mask: Mask) -> Mask:
        ys, xs = np.nonzero(mask)
        turn = rng.uniform(0, 2 * np.pi)
        by = rng.uniform(0.08, 0.3) * max(np.ptp(ys) + 1, np.ptp(xs) + 1)
        return shift_mask(mask, round(by * np.sin(turn)), round(by * np.cos(turn)))

    return _redraw(view, chosen, move, None)


def coarsen_outlines(rng: np.random.Generator, view: ImageView, chosen: Sequence[int]) -> Injected:
    """Simplify outlines to a few corners, sometimes after taking the convex hull."""
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

    return _redraw(view, chosen, simplify, lambda: corners_left[0])


def move_to_background(rng: np.random.Generator, view: ImageView, chosen: Sequence[int]) -> Injected:
    """Move annotations to background: mirrored, scaled down, and mostly onto pixels without annotation."""
    height, width = view.instance_map.shape
    free = view.instance_map < 0

    def lose(mask: Mask) -> Mask:
        mask = mask[:, ::-1] if rng.random() < 0.5 else mask
        mask = _smaller(mask, float(rng.uniform(0.4, 1.0)))
        if not mask.any():
            return mask
        for _ in range(8):
            there = shift_mask(np.ascontiguousarray(mask), *_anywhere(rng, mask, height, width))
            if there.sum() and free[there > 0].mean() > 0.85:
                return np.asarray(there * free, np.uint8)
        return np.zeros_like(mask)

    return _redraw(view, chosen, lose, None)


def _smaller(mask: Mask, by: float) -> Mask:
    """A mask scaled down by `by`, in the top left corner: a mask that fills the image would fit nowhere else."""
    size = (max(1, round(mask.shape[1] * by)), max(1, round(mask.shape[0] * by)))
    out = np.zeros_like(mask)
    out[: size[1], : size[0]] = cv2.resize(np.ascontiguousarray(mask), size, interpolation=cv2.INTER_NEAREST)
    return out


def _anywhere(rng: np.random.Generator, mask: Mask, height: int, width: int) -> tuple[int, int]:
    ys, xs = np.nonzero(mask)
    down = int(rng.integers(-int(ys.min()), height - int(ys.max())))
    return down, int(rng.integers(-int(xs.min()), width - int(xs.max())))


def merge_neighbours(
    rng: np.random.Generator, view: ImageView, chosen: Sequence[int]
) -> tuple[ImageView, list[int], set[int]]:
    """Merge annotations with their nearest neighbour, under the class of the larger.

    Returns the view, the merged annotations, and all annotations that took part.
    """
    taken: set[int] = set()
    if not chosen:
        return view, [], taken
    area = view.areas()
    places = visible_boxes(view.instance_map, view.count)
    centres = np.array([((t + b) / 2, (left + right) / 2) for t, b, left, right in places])
    instance_map, corners = view.instance_map.copy(), view.corners.copy()
    left, done = {int(k) for k in np.flatnonzero(area)}, []
    for k in rng.permutation(np.asarray(chosen)).tolist():
        neighbours = sorted(m for m in left if m != k)
        if k not in left or not neighbours:
            continue
        neighbour = min(neighbours, key=lambda m: float(np.hypot(*(centres[m] - centres[k]))))
        large, small = (k, neighbour) if area[k] >= area[neighbour] else (neighbour, k)
        instance_map[instance_map == small] = large
        share = area[[large, small]] / (area[large] + area[small])
        corners[large] = np.log(np.sum(np.exp(view.corners[[large, small]]) * np.sqrt(share)))
        left -= {large, small}
        taken |= {large, small}
        done.append(large)
    return view.with_annotations(instance_map, corners=corners), done, taken


def _redraw(
    view: ImageView, chosen: Sequence[int], draw: Callable[[Mask], Mask], count: Callable[[], int] | None
) -> Injected:
    """Redraw annotations with `draw`, on top of all others; those that would get too small are left unchanged."""
    instance_map: InstanceMap = view.instance_map.copy()
    corners = view.corners.copy()
    done = []
    for k in chosen:
        mask = (view.instance_map == k).astype(np.uint8)
        if mask.sum() < 12:
            continue
        new = draw(mask)
        if new.sum() < 8:
            continue
        instance_map[instance_map == k] = -1
        instance_map[new > 0] = k
        if count is not None and np.isfinite(corners[k]):
            corners[k] = np.log(count() / np.sqrt(mask.sum() * view.area_scale))
        done.append(k)
    return view.with_annotations(instance_map, corners=corners), done


def shift_mask(mask: Mask, down: int, right: int) -> Mask:
    """Shift a mask by whole pixels; what leaves the image is lost, and zeros come in."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    top, left = max(down, 0), max(right, 0)
    high, wide = height - abs(down), width - abs(right)
    if high > 0 and wide > 0:
        out[top : top + high, left : left + wide] = mask[top - down : top - down + high, left - right :][:, :wide]
    return out
