"""Composition of the data set: class mix, near-duplicates, train and test parts, leaderboard halves, file names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.coco.classes import OFFICIAL_NAMES

CLASS_NAMES = OFFICIAL_NAMES[1:]
# Annotations per class in the competition's 3,272 training images: a long tail.
CLASS_MIX = (2782, 9311, 659, 562, 610, 3090, 1343, 7643, 63, 177)
# Direction of the test part's class shift (change of log weights per unit of `shift`).
_MIX_SHIFT = (0.6, -0.4, 1.0, -1.2, 0.9, 0.5, -0.8, 0.1, 0.7, -0.6)
_TRAIN_FLOOR, _TEST_FLOOR = 10, 4
# Maximum number of objects in one scene.
_MOST = 24


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """One scene: its number, its part, the classes (1..10) of its objects, and the file name of each of its photos."""

    number: int
    part: str
    classes: tuple[int, ...]
    file_names: tuple[str, ...]


def make_plan(rng: np.random.Generator, images: int, test_share: float, shift: float) -> list[ScenePlan]:
    """Plan the scenes of a data set of `images` photos, `test_share` of them in the test part.

    One scene in eight has two to four photos, all in the same part. An image has 8 objects on average. Classes follow
    CLASS_MIX, shifted in the test part by `shift`. Each class has at least 10 objects in train and 4 in test (fewer in
    a test part of one or two images), distributed over as many scenes as possible, so that five folds work in small
    data sets too.
    """
    tests = min(images - 1, max(1, round(images * test_share))) if test_share > 0 else 0
    names = _file_names(images)
    order = rng.permutation(images)
    plans: list[ScenePlan] = []
    used = 0
    for part, count, floor, move in (("train", images - tests, _TRAIN_FLOOR, 0.0), ("test", tests, _TEST_FLOOR, shift)):
        shots = _shots(rng, count)
        weights = np.array(CLASS_MIX) * np.exp(move * np.array(_MIX_SHIFT))
        sizes = np.minimum(rng.negative_binomial(4, 4 / 11, len(shots)) + 1, _MOST)
        if sizes.sum() < floor * len(CLASS_MIX):
            sizes = np.maximum(sizes, min(_MOST, -(-floor * len(CLASS_MIX) // max(len(shots), 1))))
        for classes, n in zip(_assign(rng, sizes, _counts(int(sizes.sum()), weights, floor)), shots, strict=True):
            files = tuple(names[k] for k in order[used : used + n])
            plans.append(ScenePlan(len(plans), part, tuple(classes), files))
            used += n
    return plans


def _shots(rng: np.random.Generator, images: int) -> list[int]:
    """Number of photos of each scene; sums to `images`."""
    out: list[int] = []
    left = images
    while left > 0:
        n = min(left, int(rng.integers(2, 5)) if rng.random() < 0.125 else 1)
        out.append(n)
        left -= n
    return out


def _counts(total: int, weights: NDArray[np.float64], floor: int) -> NDArray[np.int64]:
    """Objects per class: at least `floor`, otherwise proportional to `weights`; sums to `total`."""
    floor = min(floor, total // len(weights))
    counts = np.full(len(weights), floor, np.int64)
    if total == 0:
        return counts
    rich = weights > 0
    while True:
        share = (total - floor * int((~rich).sum())) * weights / weights[rich].sum()
        if (share[rich] >= floor).all():
            break
        rich &= share >= floor
    counts[rich] = np.floor(share[rich])
    short = total - int(counts.sum())
    counts[np.argsort(-weights, kind="stable")[:short]] += 1
    return counts


def _assign(rng: np.random.Generator, sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> list[list[int]]:
    """Assign classes to scenes: rare classes to as many scenes as possible, the others at random."""
    free = sizes.copy()
    out: list[list[int]] = [[] for _ in sizes]
    rest: list[int] = []
    for c in np.argsort(counts, kind="stable"):
        left = int(counts[c])
        if left > max(len(sizes) // 3, _TRAIN_FLOOR):
            rest += [int(c) + 1] * left
            continue
        while left:
            open_scenes = np.flatnonzero(free)
            for scene in rng.choice(open_scenes, min(left, len(open_scenes)), replace=False):
                out[int(scene)].append(int(c) + 1)
                free[scene] -= 1
                left -= 1
    slots = np.repeat(np.arange(len(sizes)), free)
    for scene, label in zip(slots.tolist(), rng.permutation(np.array(rest, np.int64)).tolist(), strict=True):
        out[scene].append(label)
    return out


def _file_names(images: int) -> list[str]:
    """File names such as `batch_01/0001.jpg`; one folder name has a space and one is Korean."""
    folders = max(4, -(-images // 800))
    names = {2: "batch 03", 3: "배치_04"}
    digits = max(4, len(str(images)))
    return [
        f"{names.get(k * folders // images, f'batch_{k * folders // images + 1:02d}')}/{k + 1:0{digits}d}.jpg"
        for k in range(images)
    ]


def halves(rng: np.random.Generator, plans: Sequence[ScenePlan]) -> dict[str, str]:
    """Assign each test photo to the public or private half of the leaderboard; a scene is in one half.

    Scenes are sorted by their rarest class and assigned in pairs, so that both halves get rare classes if possible.
    """
    rank = {int(c) + 1: k for k, c in enumerate(np.argsort(np.array(CLASS_MIX)))}
    tests = [plan for plan in plans if plan.part == "test"]
    tests.sort(key=lambda plan: (min((rank[c] for c in plan.classes), default=99), plan.number))
    out: dict[str, str] = {}
    for k in range(0, len(tests), 2):
        sides = ["public", "private"] if rng.random() < 0.5 else ["private", "public"]
        for plan, side in zip(tests[k : k + 2], sides, strict=False):
            out.update(dict.fromkeys(plan.file_names, side))
    return out
