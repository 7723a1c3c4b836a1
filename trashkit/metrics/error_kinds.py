"""Where the score is lost: each wrong pixel is a missed object, an invented object, a wrong class, or a boundary."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.metrics.scores import Confusion, Matrix

KINDS = ("missed object", "invented object", "wrong class", "boundary")
"""Kinds of errors. Every wrong pixel belongs to exactly one; see `error_kinds`."""
MISSED, INVENTED, WRONG_CLASS, BOUNDARY = range(len(KINDS))
NEAR = 0.02
"""An edge that is drawn at most this share of the picture's diagonal away from the true one is a boundary error."""
FOUND = 0.1
"""An object counts as found if at least this share of its pixels has its class."""

IGNORE = 255
"""Pixels with this truth are not counted."""

Labels = NDArray[np.integer]
Bools = NDArray[np.bool_]


def error_kinds(truth: Labels, predicted: Labels, classes: int) -> Matrix:
    """Count the wrong pixels of one image: int64 [4, C, C], by kind (`KINDS`), true class and predicted class.

    truth, predicted: label maps [H, W], class 0 is background; pixels whose truth is 255 are not counted. The four
    matrices add up to the confusion matrix without its diagonal.

    - boundary: the prediction is right within `NEAR` of the diagonal, so only an edge is drawn elsewhere: where truth
      or prediction is background, the edge of an object of any class, else the edge between two classes.
    - missed object: other pixels of an object that are predicted as background.
    - invented object: other pixels of the background that are predicted as a class.
    - wrong class: all others, an object's pixels that are predicted as another class.

    An object, a connected region of one class in the truth, has boundary errors only if at least `FOUND` of it is
    predicted as an object (or as its class, where the edge is one between two classes). So has a predicted region, if
    at least `FOUND` of it lies on objects.
    """
    counted = truth != IGNORE
    wrong = counted & (truth != predicted)
    if not wrong.any():
        return np.zeros((len(KINDS), classes, classes), np.int64)
    kinds = np.where(predicted == 0, MISSED, np.where(truth == 0, INVENTED, WRONG_CLASS))
    background = (truth == 0) | (predicted == 0)
    edge = wrong & _right_nearby(truth, predicted, wrong, NEAR * float(np.hypot(*truth.shape)))
    for objects, others in ((truth, predicted), (predicted, truth)):
        edge &= ~_not_found(objects, counted & (others != 0), counted, where=background)
        edge &= ~_not_found(objects, objects == others, counted, where=~background)
    kinds[edge] = BOUNDARY
    cells = (kinds[wrong] * classes + truth[wrong].astype(np.int64)) * classes + predicted[wrong].astype(np.int64)
    return np.bincount(cells, minlength=len(KINDS) * classes**2).reshape(len(KINDS), classes, classes)


def _right_nearby(truth: Labels, predicted: Labels, wrong: Bools, reach: float) -> Bools:
    """Wrong pixels whose prediction is true of a pixel at most `reach` pixels away: the class, or that an object is
    there, where there is background."""
    near = np.zeros(truth.shape, bool)
    objects = (truth != 0) & (truth != IGNORE)
    places = [((truth == 0), objects)]
    places += [((truth != 0) & (predicted == index), truth == index) for index in np.unique(predicted[wrong]).tolist()]
    for pixels, right in places:
        if right.any() and (pixels & wrong).any():
            distance = cv2.distanceTransform((~right).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            near |= pixels & (distance <= reach)
    return near


def _not_found(objects: Labels, agrees: Bools, counted: Bools, *, where: Bools) -> Bools:
    """Pixels of `where` in regions of a label map of which the other one agrees with less than `FOUND`."""
    lost = np.zeros(objects.shape, bool)
    for index in np.unique(objects[counted & where]).tolist():
        if index == 0:
            continue
        mask = counted & (objects == index)
        count, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        size = np.bincount(regions[mask], minlength=count)
        shared = np.bincount(regions[mask & agrees], minlength=count)
        lost |= mask & where & (shared < FOUND * size)[regions]
    return lost


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """Wrong pixels of several images.

    pooled: int64 [4, C, C], as `error_kinds`, summed over images. per_image: int64 [N, 4], by image and kind.
    """

    pooled: Matrix
    per_image: Matrix

    def by_class(self) -> Matrix:
        """Wrong pixels by kind and class, int64 [4, C]: the true class, or the predicted one where the truth is
        background. They add up to all wrong pixels; the background has none."""
        found: Matrix = self.pooled.sum(axis=2)
        found[:, 0] = 0
        found += self.pooled[:, 0, :]
        return found

    def fixed(self, confusion: Confusion, kind: int) -> Confusion:
        """The confusion matrix if the wrong pixels of one kind were right."""
        wrong = self.pooled[kind]
        matrix = confusion.matrix - wrong
        matrix[np.diag_indices_from(matrix)] += wrong.sum(axis=1)
        return Confusion(matrix, confusion.names)

    def worst(self, kind: int, most: int) -> list[int]:
        """Numbers of the images with most wrong pixels of a kind, the worst first; none without any."""
        pixels = self.per_image[:, kind]
        return [row for row in np.argsort(-pixels, kind="stable")[:most].tolist() if pixels[row]]


@dataclass(frozen=True)
class KindSummary:
    """One kind of errors.

    pixels: wrong pixels. share: of all wrong pixels, 0 to 1. miou: if they were right. gain: what that adds. per_class:
    wrong pixels by class, as `ErrorCounts.by_class`.
    """

    kind: str
    pixels: int
    share: float
    miou: float
    gain: float
    per_class: dict[str, int]


def summaries(errors: ErrorCounts, confusion: Confusion) -> list[KindSummary]:
    """What each kind of errors costs, in the order of `KINDS`. confusion: the matrix of the same images."""
    totals, by_class, now = errors.per_image.sum(axis=0), errors.by_class(), confusion.miou()
    found = []
    for index, kind in enumerate(KINDS):
        miou = errors.fixed(confusion, index).miou()
        share = float(totals[index] / max(1, totals.sum()))
        per_class = dict(zip(confusion.names, by_class[index].tolist(), strict=True))
        found.append(KindSummary(kind, int(totals[index]), share, miou, miou - now, per_class))
    return found
