"""Annotations of one class that share a long border: perhaps one object drawn as two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trashkit.audit.label_scene import Scene


@dataclass(frozen=True)
class Split:
    """Two annotations (rows of the file, the smaller first) that may be one object; score from 0 to 1, no probability.

    score: length of the common border over the root of the smaller one's area (at most 1), times the probability of
    their class along the border.
    """

    picture: int
    row: int
    mate: int
    score: float


def split_objects(scene: Scene, rows: Sequence[int], picture: int, least: float = 0.4) -> list[Split]:
    """Pairs of annotations of one class with a score of at least `least`; rows are the annotations' in the file."""
    owner, n = scene.owner, scene.count
    pairs, certain = [], []
    for one, other, axis in ((owner[:, :-1], owner[:, 1:], 1), (owner[:-1], owner[1:], 0)):
        a, b = np.minimum(one, other), np.maximum(one, other)
        ys, xs = np.nonzero((a != b) & (a >= 0))
        same = scene.classes[a[ys, xs]] == scene.classes[b[ys, xs]]
        ys, xs = ys[same], xs[same]
        pairs.append(a[ys, xs].astype(np.int64) * n + b[ys, xs])
        c = scene.classes[a[ys, xs]]
        beside = scene.probabilities[c, ys + (axis == 0), xs + (axis == 1)]
        certain.append((scene.probabilities[c, ys, xs] + beside) / 2)
    joined = np.concatenate(pairs)
    if not len(joined):
        return []
    area = np.bincount(owner[owner >= 0], minlength=n)
    names, where, length = np.unique(joined, return_inverse=True, return_counts=True)
    mean = np.bincount(where, np.concatenate(certain)) / length
    found = []
    for pair, border, certainty in zip(names.tolist(), length.tolist(), mean.tolist(), strict=True):
        a, b = divmod(pair, n)
        small, large = (a, b) if area[a] <= area[b] else (b, a)
        score = min(border / np.sqrt(area[small]), 1.0) * certainty
        if score >= least:
            found.append(Split(picture, rows[small], rows[large], float(score)))
    return found
