"""How reliably out-of-fold predictions can judge labels of each class, measured on the labels themselves.

A model that never recognises a class disagrees with every correct label of it. Compared with such predictions, correct
labels look just like injected errors, so no model can separate the two, and the share of errors that
`error_probability.estimate_shares` finds is only an upper bound. The reliability of each class then decides how much of
that share counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PRIOR = 12.0
"""Weight of the data set's mean in the estimate for a class, in annotations."""
_KNOWN = (0.2, 0.5)
"""Informedness below which labels of a class are not judged at all, and above which they are judged fully."""
_SEEN = (0.5, 0.85)
"""The same for the share of a class's annotations in which the prediction sees any object."""
_ENOUGH = 5
"""Fewer annotations of a class than this are not enough to call the model unreliable for it."""

CLASS_KINDS = ("wrong-class", "shifted-outline", "merged-objects")
"""Kinds of error that depend on the probability of the annotation's class. "no-object" depends on that of any object,
and "coarse-outline" on the outline itself."""


@dataclass(frozen=True)
class ClassReliability:
    """Reliability of out-of-fold predictions by class; arrays over C classes, background (index 0) included.

    count: int, visible annotations of the class. recall: float64, share of these in which the class has the largest
    mean probability of all object classes (NaN without annotations). informedness: recall minus the share of other
    annotations in which the class has it, shrunk towards the mean of all classes if `count` is small. object_recall:
    share in which all object classes together have more than half of the probability, shrunk likewise.
    """

    count: Ints
    recall: Floats
    informedness: Floats
    object_recall: Floats

    @classmethod
    def from_annotations(cls, given: Ints, leading: Ints, objects: Floats, classes: int) -> ClassReliability:
        """Compute it from annotations.

        given: class of each annotation [n]. leading: its object class with the largest mean probability [n]. objects:
        its mean of 1 - background [n]. Wrong labels bias it: a share e of them lowers recall to about 1 - e times the
        true value.
        """
        count = np.bincount(given, minlength=classes)
        hits = np.bincount(given[given == leading], minlength=classes)
        led = np.bincount(leading, minlength=classes)
        alarm = (led - hits) / np.maximum(len(given) - count, 1)
        recall = np.where(count > 0, hits / np.maximum(count, 1), np.nan)
        object_recall = np.bincount(given[objects > 0.5], minlength=classes) / np.maximum(count, 1)
        informedness = np.where(count > 0, recall - alarm, 0.0)
        return cls(count, recall, _shrunk(informedness, count), _shrunk(object_recall, count))

    def class_weights(self) -> Floats:
        """Weights from 0 (not judged) to 1, float64 [C], for errors that depend on the probability of the class."""
        return _ramp(self.informedness, _KNOWN)

    def object_weights(self) -> Floats:
        """Weights from 0 to 1, float64 [C], for errors that depend on whether any object is seen."""
        return _ramp(self.object_recall, _SEEN)

    def weights_for(self, kinds: Sequence[str], given: Ints, other: Ints) -> Floats:
        """Weight of each annotation for each kind of error, float64 [n, K].

        given: its class. other: the class that the prediction prefers, which must be reliable too for "wrong-class".
        """
        known, object_recall = self.class_weights(), self.object_weights()
        columns = []
        for kind in kinds:
            reliability = (
                known[given]
                if kind in CLASS_KINDS
                else object_recall[given]
                if kind == "no-object"
                else np.ones(len(given))
            )
            columns.append(np.minimum(reliability, known[other]) if kind == "wrong-class" else reliability)
        return np.stack(columns, axis=1)

    def unreliable_classes(self) -> list[int]:
        """Indices of classes whose labels cannot be judged, if they have enough annotations to tell."""
        return [int(c) for c in np.flatnonzero((self.class_weights() == 0) & (self.count >= _ENOUGH)) if c]

    def partly_reliable_classes(self) -> list[int]:
        """Indices of classes whose labels are judged with reduced weight."""
        known = self.class_weights()
        return [int(c) for c in np.flatnonzero((known > 0) & (known < 1) & (self.count >= _ENOUGH)) if c]


def _shrunk(values: Floats, count: Ints) -> Floats:
    """Shrink the values of classes with few annotations towards the mean over all annotations."""
    total = int(count.sum())
    mean = float((values * count).sum() / total) if total else 0.0
    return np.asarray((values * count + mean * _PRIOR) / (count + _PRIOR))


def _ramp(values: Floats, ends: tuple[float, float]) -> Floats:
    low, high = ends
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))
