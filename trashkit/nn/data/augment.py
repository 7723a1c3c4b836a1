"""Augmentation of photos and label maps; only this module and `augment_file` use albumentations.

Photos stay uint8 until they are on the device. Label maps are resampled by nearest neighbour, and pixels that a
rotation brings in from outside the photo are 255 (ignore). A photo is resampled once: a crop of the cached photo is
resized to the network's size, and the other transforms work at that size. Randomness depends only on a seed given per
call, not on the number of workers or on resuming.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

# Set before the import: otherwise albumentations looks up its newest version online.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A  # noqa: N812 - the usual alias of albumentations

from trashkit.nn.data.augment_file import AugmentFile, is_file, read_augment_file
from trashkit.nn.data.resize import resize_photo

Pixels = NDArray[np.uint8]
Pair = tuple[Pixels, Pixels]

IGNORE = 255
_CROP_TRIES = 10


@dataclass(frozen=True)
class Crop:
    """Random crop. smallest: minimum share of the photo's pixels. ratio: range of the crop's aspect ratio relative to
    the output's."""

    smallest: float
    ratio: tuple[float, float]


@dataclass(frozen=True)
class Preset:
    """Augmentation preset. crop: None uses the whole photo. after: transforms at the network's size."""

    crop: Crop | None
    after: Callable[[], list[A.BasicTransform]]


def _affine(degrees: float, shear: float, p: float, scale: tuple[float, float] = (1.0, 1.0)) -> A.BasicTransform:
    return A.Affine(
        rotate=(-degrees, degrees),
        shear=(-shear, shear),
        scale=scale,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_CONSTANT,
        fill=127,
        fill_mask=IGNORE,
        p=p,
    )


def _colour() -> list[A.BasicTransform]:
    return [
        A.RandomBrightnessContrast(0.3, 0.3, p=0.7),
        A.HueSaturationValue(12, 40, 15, p=0.5),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.ImageCompression(quality_range=(40, 90))], p=0.2),
    ]


def _light() -> list[A.BasicTransform]:
    return [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(0.2, 0.2, p=0.5)]


def _strong() -> list[A.BasicTransform]:
    return [A.HorizontalFlip(p=0.5), _affine(20, 8, 0.4), *_colour()]


def _turns() -> list[A.BasicTransform]:
    return [A.SquareSymmetry(p=1.0), *_colour()]


def _original() -> list[A.BasicTransform]:
    grid = {"border_mode": cv2.BORDER_CONSTANT, "fill": 127, "fill_mask": IGNORE}
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.2),
        A.RandomRotate90(p=0.3),
        _affine(30, 0, 0.3, (0.8, 1.2)),
        A.OneOf([A.GridDistortion(distort_limit=0.2, **grid), A.ElasticTransform(alpha=30, sigma=6, **grid)], p=0.15),
        A.OneOf([A.RandomBrightnessContrast(0.2, 0.2), A.CLAHE(), A.RandomGamma()], p=0.5),
        A.HueSaturationValue(10, 30, 10, p=0.3),
        A.OneOf([A.GaussNoise(std_range=(0.02, 0.08)), A.GaussianBlur(blur_limit=(3, 5))], p=0.2),
        A.CoarseDropout((1, 6), (0.05, 0.12), (0.05, 0.12), fill=127, p=0.2),
    ]


PRESETS: dict[str, Preset] = {
    "none": Preset(None, list),
    "light": Preset(Crop(0.5, (3 / 4, 4 / 3)), _light),
    "strong": Preset(Crop(0.25, (3 / 5, 5 / 3)), _strong),
    "turns": Preset(Crop(0.25, (3 / 5, 5 / 3)), _turns),
    "original": Preset(Crop(0.4, (3 / 4, 4 / 3)), _original),
}
"""Presets by name.

none: the whole photo. light: crops, flips, brightness. strong: larger crops, small rotations, colour, blur. turns: all
eight flips and rotations with strong crops and colour, for photos taken from above. original: the usual choice of
competition teams: flips, rotations, scale, distortion, CLAHE, gamma, noise, blur, dropout.
"""


class Augment:
    """Augment (photo [H, W, 3], label map [H, W], seed, (height, width)); returns both at that size, uint8.

    size: default output side. focus: share of crops that must contain an object pixel; its class is drawn among those
    in the photo with weights `rarity`, float [C].
    """

    def __init__(
        self, preset: Preset | AugmentFile, size: int, *, focus: float = 0.0, rarity: NDArray[np.float64] | None = None
    ) -> None:
        self.preset = preset
        self.size = size
        self.focus, self.rarity = focus, rarity
        self._made: dict[tuple[int, int], A.Compose] = {}
        self._transform((size, size))

    def _transform(self, size: tuple[int, int]) -> A.Compose:
        # Transforms of a file may depend on the size; those of a preset do not.
        key = size if isinstance(self.preset, AugmentFile) else (0, 0)
        if key not in self._made:
            after = self.preset.build(size) if isinstance(self.preset, AugmentFile) else self.preset.after()
            self._made[key] = A.Compose(after)
        return self._made[key]

    def __call__(self, photo: Pixels, labels: Pixels, seed: Sequence[int], size: tuple[int, int] | None = None) -> Pair:
        size = size or (self.size, self.size)
        generator = np.random.default_rng(np.random.SeedSequence(seed))
        crop = self.preset.crop if isinstance(self.preset, Preset) else None
        if crop is None and self.focus > 0:
            crop = Crop(0.25, (3 / 4, 4 / 3))
        if crop is not None:
            within = None
            if self.focus > 0 and generator.random() < self.focus:
                within = random_object_pixel(labels, self.rarity, generator)
            top, left, bottom, right = random_crop(labels.shape, size, crop, generator, within=within)
            photo, labels = photo[top:bottom, left:right], labels[top:bottom, left:right]
        if not (isinstance(self.preset, AugmentFile) and self.preset.crops):
            photo, labels = _resized(photo, labels, size)
        transform = self._transform(size)
        if transform.transforms:
            # One generator for all transforms: `set_random_seed` would give each of them the same random numbers.
            transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))
            made = transform(image=np.ascontiguousarray(photo), mask=np.ascontiguousarray(labels))
            photo, labels = made["image"], made["mask"]
        return _resized(photo, labels, size)


def make_augment(name: str, size: int, *, focus: float = 0.0, rarity: NDArray[np.float64] | None = None) -> Augment:
    """Build the augmentation named by a preset or a file, for a network input of `size` x `size` pixels.

    Raises TrashkitError for an unusable file.
    """
    preset = read_augment_file(Path(name), size) if is_file(name) else PRESETS[name]
    return Augment(preset, size, focus=focus, rarity=rarity)


def random_crop(
    shape: tuple[int, ...],
    size: tuple[int, int],
    crop: Crop,
    generator: np.random.Generator,
    *,
    within: tuple[int, int] | None = None,
) -> tuple[int, int, int, int]:
    """Draw a crop (top, left, bottom, right) of a photo of this shape; it contains the pixel `within` (y, x) if given.

    As torchvision's RandomResizedCrop: area and log aspect ratio are uniform; after ten crops that do not fit, the
    largest crop with an allowed ratio is used.
    """
    height, width = shape[0], shape[1]
    aspect = size[1] / size[0]
    low, high = crop.ratio[0] * aspect, crop.ratio[1] * aspect
    for _ in range(_CROP_TRIES):
        area = generator.uniform(crop.smallest, 1.0) * height * width
        ratio = float(np.exp(generator.uniform(np.log(low), np.log(high))))
        wide, high_ = round(float(np.sqrt(area * ratio))), round(float(np.sqrt(area / ratio)))
        if 0 < wide <= width and 0 < high_ <= height:
            break
    else:
        ratio = min(max(width / height, low), high)
        wide, high_ = min(width, round(height * ratio)), min(height, round(width / ratio))
    first, last = [0, 0], [height - high_, width - wide]
    if within is not None:
        for axis, side in ((0, high_), (1, wide)):
            first[axis] = max(0, within[axis] - side + 1)
            last[axis] = min(last[axis], within[axis])
    top, left = (int(generator.integers(a, b + 1)) for a, b in zip(first, last, strict=True))
    return top, left, top + high_, left + wide


def random_object_pixel(
    labels: Pixels, rarity: NDArray[np.float64] | None, generator: np.random.Generator
) -> tuple[int, int] | None:
    """Draw a pixel (y, x) of an object, its class with weights `rarity` (None: uniform).

    Returns None if the label map has no object.
    """
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)[:IGNORE]
    counts[0] = 0
    present = np.flatnonzero(counts)
    weights = np.ones(len(present)) if rarity is None else rarity[present]
    if not len(present) or weights.sum() <= 0:
        return None
    chosen = int(generator.choice(present, p=weights / weights.sum()))
    place = int(np.flatnonzero(labels.ravel() == chosen)[generator.integers(counts[chosen])])
    return place // labels.shape[1], place % labels.shape[1]


def _resized(photo: Pixels, labels: Pixels, size: tuple[int, int]) -> Pair:
    if labels.shape == size:
        return photo, labels
    nearest = cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return resize_photo(photo, size), np.asarray(nearest, np.uint8)
