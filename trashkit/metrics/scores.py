"""Confusion matrices and their scores: IoU, mIoU by several definitions, precision, recall, bootstrap intervals.

A confusion matrix is int64 [C, C], rows truth, columns prediction, in pixels. Matrices are integers and are summed
first, so scores are divided once, at the end; scores are never averaged over batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from trashkit.errors import TrashkitError

Matrix = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DEFAULT_DEFINITION = "pooled"
"""The definition of the mIoU where a single number is shown."""

DEFINITIONS = {
    "pooled": "mean over classes of the IoU in one matrix of all images; a class absent from truth and prediction is "
    "skipped, one that is only predicted counts 0 (the organisers' scorer)",
    "pooled_no_background": "the same without class 0",
    "pooled_present_in_truth": "the same over classes that occur in the truth",
    "pooled_all_classes": "the same with absent classes counting 0 (scikit-learn's macro average over all labels)",
    "mean_over_images": "pooled mIoU of each image alone, then the mean over images (the first year's text)",
}

# OpenCV returns counts as float32, which is exact up to here.
_EXACT = 2**24
# Bootstrap draws at a time, so that memory stays below about 100 MB.
_DRAWS = 2_000_000


def confusion(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], classes: int, ignore: int = 255
) -> Matrix:
    """Count pixels by true and predicted class: int64 [classes, classes], rows truth, columns prediction.

    truth, prediction: label maps of equal shape ([H, W], [N, H, W] or any other), any integer type. Pixels whose truth
    is `ignore` are not counted. classes: 1 .. 255.

    TrashkitError if shapes differ, or if a counted truth or prediction is not in 0 .. classes-1.
    """
    if not 1 <= classes <= 255:
        raise ValueError("classes must lie in 1 .. 255")
    if truth.shape != prediction.shape:
        raise TrashkitError(
            f"truth is {_size(truth.shape)} but the prediction {_size(prediction.shape)}",
            hint="score at one size: give --size, or predict again",
        )
    seen, guessed = _bytes(truth, "truth"), _bytes(prediction, "prediction")
    counts = np.zeros((256, 256), np.int64)
    for start in range(0, seen.size, _EXACT):
        part = [np.ascontiguousarray(labels[start : start + _EXACT])[None] for labels in (seen, guessed)]
        counts += cv2.calcHist(part, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    if 0 <= ignore <= 255:
        counts[ignore] = 0
    for what, totals in (("truth", counts.sum(axis=1)), ("prediction", counts.sum(axis=0))):
        if totals[classes:].any():
            wrong = classes + int(np.flatnonzero(totals[classes:])[0])
            raise TrashkitError(
                f"the {what} holds class {wrong} at {int(totals[wrong])} pixels, but there are {classes} classes, "
                f"0 to {classes - 1}",
                hint="check that both have the same class list",
            )
    return counts[:classes, :classes].copy()


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix with the names of its classes; two with equal names can be added.

    matrix: int64 [C, C], rows truth, columns prediction, pixels. names: C of them, the background first.
    """

    matrix: Matrix
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.names), len(self.names)):
            raise ValueError(f"a matrix of shape {self.matrix.shape} does not fit {len(self.names)} names")

    @classmethod
    def of(
        cls,
        truth: npt.NDArray[np.integer],
        prediction: npt.NDArray[np.integer],
        names: Sequence[str],
        ignore: int = 255,
    ) -> Confusion:
        """Count two label maps, see `confusion`."""
        return cls(confusion(truth, prediction, len(names), ignore), tuple(names))

    @classmethod
    def empty(cls, names: Sequence[str]) -> Confusion:
        """Without any pixels, as the start of a sum."""
        return cls(np.zeros((len(names), len(names)), np.int64), tuple(names))

    def __add__(self, other: Confusion) -> Confusion:
        """Pool two matrices."""
        if not isinstance(other, Confusion):
            return NotImplemented
        if self.names != other.names:
            raise ValueError("confusion matrices of different classes cannot be added")
        return Confusion(self.matrix + other.matrix, self.names)

    def iou(self) -> Floats:
        """Intersection over union of each class, float64 [C]; NaN if truth and prediction both lack it."""
        return iou(self.matrix)

    def miou(self, definition: str = DEFAULT_DEFINITION) -> float:
        """MIoU by one of the pooled DEFINITIONS; NaN if no class counts."""
        return self.definitions()[definition]

    def definitions(self, per_image: Matrix | None = None) -> dict[str, float]:
        """MIoU by each of DEFINITIONS, in that order.

        per_image: int64 [N, C, C], one matrix for each image, required for "mean_over_images", which is else left out.
        """
        values = self.iou()
        present = self.matrix.sum(axis=1) > 0
        found = {
            "pooled": _nanmean(values),
            "pooled_no_background": _nanmean(values[1:]),
            "pooled_present_in_truth": _nanmean(values[present]),
            "pooled_all_classes": float(np.nan_to_num(values).mean()) if values.size else float("nan"),
        }
        if per_image is not None:
            found["mean_over_images"] = _nanmean(per_image_miou(per_image))
        return found

    def precision(self) -> Floats:
        """Share of the pixels predicted as a class that are correct, float64 [C]; NaN if it is never predicted."""
        return _divided(self.matrix.diagonal(), self.matrix.sum(axis=0))

    def recall(self) -> Floats:
        """Share of the pixels of a class that are predicted correctly, float64 [C]; NaN if the truth lacks it."""
        return _divided(self.matrix.diagonal(), self.matrix.sum(axis=1))

    def support(self) -> Matrix:
        """Pixels of each class in the truth, int64 [C]."""
        return np.asarray(self.matrix.sum(axis=1), np.int64)

    def pixel_accuracy(self) -> float:
        """Share of counted pixels that are predicted correctly; NaN without pixels."""
        return float(_divided(np.trace(self.matrix), self.matrix.sum()))


def iou(matrices: Matrix) -> Floats:
    """TP / (TP + FP + FN) of each class, float64 [..., C] for matrices [..., C, C]; NaN for 0 / 0."""
    hits, union = _hits_and_union(matrices)
    return _divided(hits, union)


def per_image_miou(matrices: Matrix) -> Floats:
    """Pooled mIoU of each image, float64 [N] for [N, C, C]; NaN for an image without counted pixels."""
    return _row_means(iou(matrices))


def bootstrap_iou(matrices: Matrix, resamples: int = 1000, seed: int = 0, *, in_truth: bool = False) -> Floats:
    """IoU of each class in sets of images drawn with replacement, float64 [resamples, C].

    matrices: int64 [N, C, C], one for each image. Each resample draws N images, sums their matrices and divides once; a
    class is NaN in a resample that lacks it. in_truth: it is NaN also where only the prediction has it, so that a class
    of few images does not count 0 in one resample and not at all in the next. The draws depend only on N, `resamples`
    and `seed`: two models scored on the same images get the same draws, so their differences are paired. Only
    intersections and unions are summed, as float64, exact up to 2**53 pixels.

    Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals);
    paired comparison as in P. Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004.
    """
    if matrices.ndim != 3 or len(matrices) == 0:
        raise ValueError("matrices must be [N, C, C] with N > 0")
    hits, union = (part.astype(np.float64) for part in _hits_and_union(matrices))
    shown = matrices.sum(axis=-1).astype(np.float64)
    found = []
    for times in _draws(len(matrices), resamples, seed):
        values = _divided(times @ hits, times @ union)
        found.append(np.where(times @ shown > 0, values, np.nan) if in_truth else values)
    return np.concatenate(found) if found else np.zeros((0, matrices.shape[1]))


def bootstrap_miou(matrices: Matrix, resamples: int = 1000, seed: int = 0, *, in_truth: bool = False) -> Floats:
    """Pooled mIoU in each of `resamples` sets of images drawn with replacement, float64 [resamples].

    Arguments, draws and source as in `bootstrap_iou`.
    """
    return _row_means(bootstrap_iou(matrices, resamples, seed, in_truth=in_truth))


def bootstrap_miou_difference(first: Matrix, second: Matrix, resamples: int = 1000, seed: int = 0) -> Floats:
    """Pooled mIoU of `second` minus that of `first` on the same draws of images, float64 [resamples].

    Both int64 [N, C, C], of the same images in the same order. The share of values above 0 is how often `second` wins.
    """
    if first.shape != second.shape:
        raise ValueError(f"matrices of shapes {first.shape} and {second.shape} are not of the same images and classes")
    return bootstrap_miou(second, resamples, seed) - bootstrap_miou(first, resamples, seed)


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap values: the central range that holds `level` of them. NaN are left out."""
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draws(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Number of draws of each image, float64 [resamples, images], in chunks of resamples."""
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWS // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def _hits_and_union(matrices: Matrix) -> tuple[Matrix, Matrix]:
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return hits, matrices.sum(axis=-1) + matrices.sum(axis=-2) - hits


def _divided(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Quotient; NaN where `below` is 0."""
    bottom = np.asarray(below, np.float64)
    return np.asarray(np.divide(above, bottom, out=np.full(bottom.shape, np.nan), where=bottom > 0), np.float64)


def _row_means(values: Floats) -> Floats:
    """Mean of each row without NaN; NaN if all values are."""
    known = ~np.isnan(values)
    return _divided(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _nanmean(values: Floats) -> float:
    return float(_row_means(values[None])[0])


def _bytes(labels: npt.NDArray[np.integer], what: str) -> npt.NDArray[np.uint8]:
    """Flatten labels to uint8."""
    if labels.dtype == np.uint8:
        return np.asarray(labels, np.uint8).reshape(-1)
    if labels.dtype != np.bool_ and not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{what} must hold whole numbers, not {labels.dtype}")
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise TrashkitError(f"the {what} holds values outside 0 to 255", hint="check that it is a label map")
    return labels.astype(np.uint8).reshape(-1)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, reversed(shape))) or "a single value"
