"""Calibration of probabilities: whether pixels predicted with confidence 0.8 are correct in 80 % of cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pixels by confidence, the probability of the predicted class, in bins of equal width from 0 to 1.

    pixels: int64 [bins]. right: int64 [bins], correctly predicted pixels. confidence: float64 [bins], sum of their
    confidences. Two of them can be added.
    """

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]

    @classmethod
    def empty(cls, bins: int = BINS) -> Calibration:
        """Without any pixels."""
        return cls(np.zeros(bins, np.int64), np.zeros(bins, np.int64), np.zeros(bins))

    @classmethod
    def of(
        cls, probabilities: NDArray[np.float32], truth: NDArray[np.uint8], ignore: int = 255, bins: int = BINS
    ) -> Calibration:
        """Of one image: probabilities [C, H, W] and label map [H, W]; pixels with truth `ignore` are left out."""
        confidence = probabilities.max(axis=0)
        counted = truth != ignore
        sure = confidence[counted].astype(np.float64)
        hit = (probabilities.argmax(axis=0) == truth)[counted]
        place = np.minimum((sure * bins).astype(np.int64), bins - 1)
        return cls(
            np.bincount(place, minlength=bins).astype(np.int64),
            np.bincount(place[hit], minlength=bins).astype(np.int64),
            np.bincount(place, weights=sure, minlength=bins).astype(np.float64),
        )

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(self.pixels + other.pixels, self.right + other.right, self.confidence + other.confidence)

    def accuracy(self) -> NDArray[np.float64]:
        """Share of correct pixels in each bin, float64 [bins]; NaN for empty bins."""
        return np.where(self.pixels > 0, self.right / np.maximum(self.pixels, 1), np.nan)

    def mean_confidence(self) -> NDArray[np.float64]:
        """Mean confidence in each bin, float64 [bins]; NaN for empty bins."""
        return np.where(self.pixels > 0, self.confidence / np.maximum(self.pixels, 1), np.nan)

    def error(self) -> float:
        """Expected calibration error: mean over pixels of |accuracy - confidence| of their bin; NaN without pixels.

        Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
        """
        total = self.pixels.sum()
        return float(np.abs(self.right - self.confidence).sum() / total) if total else float("nan")
