"""Class weights for pixel-wise losses, from class frequencies in the training images."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import PhotoCache
from trashkit.settings.loss_expressions import LossTerm
from trashkit.settings.training import unknown

Floats = NDArray[np.float64]


def pixel_and_image_counts(cache: PhotoCache, classes: int) -> tuple[Floats, Floats]:
    """Pixels of each class in a cache, and images that contain it; each [C]. 255 is not counted."""
    pixels, images = np.zeros(classes), np.zeros(classes)
    for n in range(len(cache)):
        counts = np.bincount(cache.labels(n).ravel(), minlength=256)[:classes]
        pixels += counts
        images += counts > 0
    return pixels, images


def inverse(pixels: Floats, _images: Floats, power: float = 1.0, limit: float = 50.0) -> Floats:
    """Weights ``pixels ** -power``; 0.5 is milder. limit: largest ratio of the highest to the lowest weight."""
    return _limited(np.power(np.maximum(pixels, 1), -power), limit)


def effective(_pixels: Floats, images: Floats, beta: float = 0.999, limit: float = 50.0) -> Floats:
    """Weights ``(1 - beta) / (1 - beta ** n)`` for n images: the effective number of samples (Cui et al. 2019).

    Beyond about ``1 / (1 - beta)`` images the weight hardly changes.
    """
    return _limited((1 - beta) / (1 - beta ** np.maximum(images, 1)), limit)


def _limited(weights: Floats, limit: float) -> Floats:
    limited: Floats = np.minimum(weights, weights.min() * limit)
    return limited


RULES: dict[str, Callable[..., Floats]] = {"inverse": inverse, "effective": effective}


def rule_options(name: str) -> list[str]:
    """Option names of a rule, such as ``["power", "limit"]`` for ``inverse``."""
    return [key for key in inspect.signature(RULES[name]).parameters if "pixels" not in key and "images" not in key]


def check_class_names(given: Mapping[str, float], names: Sequence[str]) -> None:
    """Raise TrashkitError, with the closest names, if a weight names a class that the data set lacks."""
    for name in given:
        if name not in names:
            raise TrashkitError(
                unknown("class_weights: class", name, names), hint='write class_weights = {"Battery" = 4.0}'
            )


def given_weights(given: Mapping[str, float], names: Sequence[str]) -> Floats:
    """Weights [C] given by class name, 1 for all other classes. Raises TrashkitError for unknown names."""
    check_class_names(given, names)
    return np.array([given.get(name, 1.0) for name in names])


def weights_by_rule(rule: LossTerm, cache: PhotoCache, classes: int) -> Floats:
    """Weights [C] by a rule from training images, scaled so that the mean weight over pixels is 1.

    A class without pixels gets the largest of the other weights; no pixel uses it.
    """
    pixels, images = pixel_and_image_counts(cache, classes)
    seen = images > 0
    weights = np.ones(classes)
    weights[seen] = RULES[rule.name](pixels[seen], images[seen], **rule.options)
    weights[~seen] = weights[seen].max()
    mean: float = (weights * pixels).sum() / pixels.sum()
    return weights / mean
