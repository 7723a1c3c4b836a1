"""Augmentation of photos and label maps: the one module that knows albumentations.

Everything stays uint8 until the device; label maps are resampled by nearest neighbour only, and what a turn brings in
from outside the photo is 255 (ignored) in them. What is drawn depends on a seed given per call, so that neither the
number of workers nor a resumed run changes it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

# albumentations asks the network for a newer version when it is imported, unless this is set before.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A  # noqa: N812 - its own documentation calls it so

from trashkit.nn.resize import resize_photo

Pixels = NDArray[np.uint8]
Augment = Callable[[Pixels, Pixels, Sequence[int]], tuple[Pixels, Pixels]]
"""(photo [H, W, 3], label map [H, W], seed) -> both at the network's size, uint8."""

IGNORE = 255


def _crop(size: int, smallest: float, ratio: tuple[float, float]) -> A.BasicTransform:
    return A.RandomResizedCrop(
        (size, size),
        scale=(smallest, 1.0),
        ratio=ratio,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
    )


def _light(size: int) -> list[A.BasicTransform]:
    return [
        _crop(size, 0.5, (3 / 4, 4 / 3)),
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
    ]


def _strong(size: int) -> list[A.BasicTransform]:
    return [
        _crop(size, 0.25, (3 / 5, 5 / 3)),
        A.HorizontalFlip(p=0.5),
        A.Affine(
            rotate=(-20, 20),
            shear=(-8, 8),
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            border_mode=cv2.BORDER_CONSTANT,
            fill=127,
            fill_mask=IGNORE,
            p=0.4,
        ),
        A.RandomBrightnessContrast(0.3, 0.3, p=0.7),
        A.HueSaturationValue(12, 40, 15, p=0.5),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.ImageCompression(quality_range=(40, 90))], p=0.2),
    ]


def _turns(size: int) -> list[A.BasicTransform]:
    return [A.SquareSymmetry(p=1.0), *_strong(size)[:1], *_strong(size)[3:]]


PRESETS: dict[str, Callable[[int], list[A.BasicTransform]] | None] = {
    "none": None,
    "light": _light,
    "strong": _strong,
    "turns": _turns,
}
"""By name: the whole photo; crops, mirrors and brightness; wider crops, small turns, colour and blur; and for photos
taken from above, where no side is up, all eight turns and mirrors with strong crops and colour."""


def make_augment(preset: str, size: int) -> Augment:
    """The augmentation of a preset for a network that sees `size` x `size` pixels."""
    build = PRESETS[preset]
    if build is None:
        return lambda photo, labels, _: _whole(photo, labels, size)
    transform = A.Compose(build(size))

    def augment(photo: Pixels, labels: Pixels, seed: Sequence[int]) -> tuple[Pixels, Pixels]:
        # One generator for all transforms: with `set_random_seed` each would draw the same numbers as its neighbour.
        generator = np.random.default_rng(np.random.SeedSequence(seed))
        transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        made = transform(image=photo, mask=labels)
        return made["image"], made["mask"]

    return augment


def _whole(photo: Pixels, labels: Pixels, size: int) -> tuple[Pixels, Pixels]:
    nearest = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST)
    return resize_photo(photo, (size, size)), np.asarray(nearest, np.uint8)
