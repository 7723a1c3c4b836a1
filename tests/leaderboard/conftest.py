"""Confusion matrices of made-up models, for the leaderboard tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Made = Callable[..., NDArray[np.int64]]


def made(
    models: int = 6, images: int = 60, classes: int = 4, *, quality: NDArray[np.floating] | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """[M, N, C, C] int64 of images with 1,000 pixels: every image as hard for one model as for another, plus luck."""
    rng = np.random.default_rng(seed)
    quality = np.linspace(0.5, 0.9, models) if quality is None else quality
    truth = rng.multinomial(1000, np.r_[0.6, np.full(classes - 1, 0.4 / (classes - 1))], images)
    hard = 0.15 * rng.standard_normal((images, classes))
    found = np.zeros((models, images, classes, classes), np.int64)
    for m in range(models):
        right = np.clip(quality[m] + hard + 0.05 * rng.standard_normal((images, classes)), 0.02, 0.98)
        hits = rng.binomial(truth, right)
        for c in range(classes):
            found[m, :, c, c] = hits[:, c]
            found[m, :, c, (c + 1) % classes] += truth[:, c] - hits[:, c]
    return found


@pytest.fixture(scope="session")
def models() -> Made:
    return made
