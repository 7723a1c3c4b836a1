"""Find annotations of one class with a long common border: perhaps one object annotated as two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trashkit.label_errors.image_view import ImageView


@dataclass(frozen=True)
class SplitObject:
    """Two annotations (rows of the file, the smaller first) that may be one object.

    image_index: position of their image in the prediction set. score: length of the common border over the root of the
    smaller area (at most 1), times the probability of their class along the border; from 0 to 1, but not a probability.
    """

    image_index: int
    row: int
    other_row: int
    score: float


def find_split_objects(view: ImageView, rows: Sequence[int], image_index: int, least: float = 0.4) -> list[SplitObject]:
    """Pairs of annotations of one class with a score of at least `least`. rows: of the annotations in the file."""
    instance_map, n = view.instance_map, view.count
    pairs, certain = [], []
    for one, other, axis in ((instance_map[:, :-1], instance_map[:, 1:], 1), (instance_map[:-1], instance_map[1:], 0)):
        a, b = np.minimum(one, other), np.maximum(one, other)
        ys, xs = np.nonzero((a != b) & (a >= 0))
        same = view.classes[a[ys, xs]] == view.classes[b[ys, xs]]
        ys, xs = ys[same], xs[same]
        pairs.append(a[ys, xs].astype(np.int64) * n + b[ys, xs])
        c = view.classes[a[ys, xs]]
        across = view.probabilities[c, ys + (axis == 0), xs + (axis == 1)]
        certain.append((view.probabilities[c, ys, xs] + across) / 2)
    joined = np.concatenate(pairs)
    if not len(joined):
        return []
    area = np.bincount(instance_map[instance_map >= 0], minlength=n)
    names, where, length = np.unique(joined, return_inverse=True, return_counts=True)
    mean = np.bincount(where, np.concatenate(certain)) / length
    found = []
    for pair, border, certainty in zip(names.tolist(), length.tolist(), mean.tolist(), strict=True):
        a, b = divmod(pair, n)
        small, large = (a, b) if area[a] <= area[b] else (b, a)
        score = min(border / np.sqrt(area[small]), 1.0) * certainty
        if score >= least:
            found.append(SplitObject(image_index, rows[small], rows[large], float(score)))
    return found
