"""Class weights for losses that are means over pixels, from how often each class is seen in the training images."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trashkit.config import unknown
from trashkit.errors import TrashkitError
from trashkit.loss_text import LossTerm
from trashkit.nn.cache import PhotoCache

Floats = NDArray[np.float64]


def class_counts(cache: PhotoCache, classes: int) -> tuple[Floats, Floats]:
    """Per class over a cache of training images: pixels, and images that show it; each [C]. 255 is not counted."""
    pixels, images = np.zeros(classes), np.zeros(classes)
    for n in range(len(cache)):
        counts = np.bincount(cache.labels(n).ravel(), minlength=256)[:classes]
        pixels += counts
        images += counts > 0
    return pixels, images


def inverse(pixels: Floats, _images: Floats, power: float = 1.0, limit: float = 50.0) -> Floats:
    """``pixels ** -power``; 0.5 is the gentler choice. limit: what the rarest may weigh against the commonest."""
    return _limited(np.power(np.maximum(pixels, 1), -power), limit)


def effective(_pixels: Floats, images: Floats, beta: float = 0.999, limit: float = 50.0) -> Floats:
    """``(1 - beta) / (1 - beta ** n)`` of n images: the effective number of samples (Cui et al. 2019).

    Beyond ``1 / (1 - beta)`` images one more tells nothing new.
    """
    return _limited((1 - beta) / (1 - beta ** np.maximum(images, 1)), limit)


def _limited(weights: Floats, limit: float) -> Floats:
    limited: Floats = np.minimum(weights, weights.min() * limit)
    return limited


RULES: dict[str, Callable[..., Floats]] = {"inverse": inverse, "effective": effective}


def rule_options(name: str) -> list[str]:
    """The settings of a rule, such as ``["power", "limit"]`` of ``inverse``."""
    return [key for key in inspect.signature(RULES[name]).parameters if "pixels" not in key and "images" not in key]


def check_names(given: Mapping[str, float], names: Sequence[str]) -> None:
    """Raise TrashkitError, naming the closest, where weights are given for a class that the data set lacks."""
    for name in given:
        if name not in names:
            raise TrashkitError(
                unknown("class_weights: class", name, names), hint='write class_weights = {"Battery" = 4.0}'
            )


def given_weights(given: Mapping[str, float], names: Sequence[str]) -> Floats:
    """Weights by class name, 1 for the others. Raises TrashkitError for a class that the data set lacks."""
    check_names(given, names)
    return np.array([given.get(name, 1.0) for name in names])


def weights_of(rule: LossTerm, cache: PhotoCache, classes: int) -> Floats:
    """Weights [C] by a rule from training images, scaled so that the pixels weigh 1 on average.

    A class that no image shows gets the largest weight of the others, which nothing is multiplied with.
    """
    pixels, images = class_counts(cache, classes)
    seen = images > 0
    weights = np.ones(classes)
    weights[seen] = RULES[rule.name](pixels[seen], images[seen], **rule.options)
    weights[~seen] = weights[seen].max()
    mean: float = (weights * pixels).sum() / pixels.sum()
    return weights / mean
