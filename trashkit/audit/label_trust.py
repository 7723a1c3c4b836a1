"""How far predictions can be trusted to judge labels of each class: measured out of fold, on the labels themselves.

A model that never recognises a class disagrees with every right label of it. Beside such predictions right labels look
just as labels that were made wrong on purpose do, so nothing learned from these tells the two apart, and the share of
errors that `label_odds.tail_shares` reads off is no more than an upper bound. What is known of the classes decides then
how much of it is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PRIOR = 12.0
"""Annotations that the rest of the data set counts for, in the judgement of a class with few of its own."""
_KNOWN = (0.2, 0.5)
"""Informedness below which labels of a class are not judged, and above which they are in full."""
_SEEN = (0.5, 0.85)
"""The same for the share of a class's annotations in which the prediction sees an object at all."""
_ENOUGH = 5
"""Fewer annotations of a class than this are no evidence that the model cannot tell it."""

CLASS_KINDS = ("wrong-class", "shifted-outline", "merged-objects")
"""Kinds of error that are judged by the probability of the annotation's class. "no-object" asks for any object, and
"coarse-outline" shows in the outline itself."""


@dataclass(frozen=True)
class Trust:
    """What out-of-fold predictions know of each class; arrays over C classes, background (index 0) included.

    count: int, annotations of the class that are seen. recall: float64, share of these in which the class leads all
    other object classes (NaN where there is none). informed: recall less the share of other annotations in which the
    class leads, drawn towards the other classes where `count` is small. seen: share in which any object class has more
    than half of the probability, drawn likewise.
    """

    count: Ints
    recall: Floats
    informed: Floats
    seen: Floats

    @classmethod
    def of(cls, given: Ints, leading: Ints, objects: Floats, classes: int) -> Trust:
        """From annotations: class given [n], object class of the largest mean probability [n], mean of 1 - background.

        Labels may be wrong: a share e of wrong ones lowers recall to about 1 - e times what it is.
        """
        count = np.bincount(given, minlength=classes)
        hits = np.bincount(given[given == leading], minlength=classes)
        led = np.bincount(leading, minlength=classes)
        alarm = (led - hits) / np.maximum(len(given) - count, 1)
        recall = np.where(count > 0, hits / np.maximum(count, 1), np.nan)
        seen = np.bincount(given[objects > 0.5], minlength=classes) / np.maximum(count, 1)
        informed = np.where(count > 0, recall - alarm, 0.0)
        return cls(count, recall, _drawn(informed, count), _drawn(seen, count))

    def of_class(self) -> Floats:
        """From 0 (labels are not judged) to 1, float64 [C], for errors that show in the probability of the class."""
        return _between(self.informed, _KNOWN)

    def of_objects(self) -> Floats:
        """The same for errors that show in whether any object is seen."""
        return _between(self.seen, _SEEN)

    def for_kinds(self, kinds: Sequence[str], given: Ints, other: Ints) -> Floats:
        """How far each annotation is judged for each kind of error, float64 [n, K].

        given: its class. other: the class that the prediction prefers, which must be known too for it to be relabelled.
        """
        known, seen = self.of_class(), self.of_objects()
        columns = []
        for kind in kinds:
            trust = known[given] if kind in CLASS_KINDS else seen[given] if kind == "no-object" else np.ones(len(given))
            columns.append(np.minimum(trust, known[other]) if kind == "wrong-class" else trust)
        return np.stack(columns, axis=1)

    def unjudged(self) -> list[int]:
        """Classes whose labels are not judged at all, by index: their annotations are enough to say so."""
        return [int(c) for c in np.flatnonzero((self.of_class() == 0) & (self.count >= _ENOUGH)) if c]

    def doubtful(self) -> list[int]:
        """Classes whose labels are judged in part."""
        known = self.of_class()
        return [int(c) for c in np.flatnonzero((known > 0) & (known < 1) & (self.count >= _ENOUGH)) if c]


def _drawn(values: Floats, count: Ints) -> Floats:
    """Values of classes drawn towards the mean over all annotations, as far as they have few of their own."""
    total = int(count.sum())
    mean = float((values * count).sum() / total) if total else 0.0
    return np.asarray((values * count + mean * _PRIOR) / (count + _PRIOR))


def _between(values: Floats, ends: tuple[float, float]) -> Floats:
    low, high = ends
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))
