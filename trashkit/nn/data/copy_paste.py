"""Copy-paste augmentation: paste objects of training photos into other photos while they are loaded.

The class is drawn by rarity, the object's size by the sizes of its class in the data. Objects are cut out along their
annotated mask, without parts that another annotation hides. Only masks are kept in memory, one bit per pixel; pixels
come from the cache. All randomness comes from a generator that the caller seeds by seed, epoch and image, so it does
not depend on the number of workers or on resuming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Annotation, Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import JoinedCaches, PhotoCache
from trashkit.raster.masks import mask, resize_nearest

Pixels = NDArray[np.uint8]
Balance = Literal["inverse", "sqrt", "uniform"]

IGNORE = 255
MAX_PER_CLASS = 500
"""Maximum number of objects of a class in the bank; if there are more, they are sampled by seed."""
MIN_PIXELS = 64
"""Objects with fewer pixels in the cached photo are skipped: they would hardly be visible."""
MAX_BOX_FILL = 0.98
"""A mask that covers more of its bounding box than this counts as a box annotation."""
SCALE_RANGE = (0.4, 1.6)
"""Range of the scale factor: beyond it an object would look unnaturally sharp or blurred."""
MAX_HIDDEN = 0.5
"""Maximum share of a photo's labelled pixels that one pasted object may cover."""
POSITION_TRIES = 8
GRID = 4
"""Step in pixels at which covered labels are counted when choosing a position."""
MIN_BANDWIDTH = 0.1
"""Minimum bandwidth (standard deviation of log size) of the size distribution of a class."""


class Settings(Protocol):
    """Settings of `CopyPaste`; see `trashkit.settings.data.CopyPasteSettings`."""

    @property
    def p(self) -> float: ...
    @property
    def balance(self) -> Balance: ...
    @property
    def max_objects(self) -> int: ...
    @property
    def classes(self) -> Mapping[str, float]: ...
    @property
    def rotate(self) -> float: ...
    @property
    def match(self) -> float: ...
    @property
    def edge(self) -> int: ...


@dataclass(frozen=True)
class ObjectBank:
    """Objects of a cache's images that can be pasted.

    positions: index of the image in the cache, int [N]. classes: class index, uint8 [N]. boxes: top, left, bottom,
    right in the cached photo, int [N, 4]. sizes: square root of the share of the photo's pixels, float [N]. masks:
    visible pixels of the boxes, one bit per pixel, concatenated; starts: offset of each mask, int [N + 1]. counts:
    annotations of each class in these images, including objects that cannot be pasted, int [C].
    """

    positions: NDArray[np.int64]
    classes: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    sizes: NDArray[np.float64]
    masks: Pixels
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def mask(self, n: int) -> Pixels:
        """Mask of the visible pixels of object `n` in its box, uint8 [h, w] of 0 and 1."""
        top, left, bottom, right = self.boxes[n].tolist()
        bits = np.unpackbits(self.masks[self.starts[n] : self.starts[n + 1]], count=(bottom - top) * (right - left))
        return bits.reshape(bottom - top, right - left)


def extract_objects(dataset: Dataset, cache: PhotoCache, *, seed: int = 0) -> ObjectBank:
    """Extract the objects of a cache's images that can be pasted, preferring complete ones.

    dataset: annotations that the cache was created from. Only images in the cache are used, so a cache of training
    images never contributes objects of validation images. An object is complete if it does not touch the border and at
    most 5 % of it is hidden. Each class uses its best group: complete objects with a real outline, else complete boxes,
    else all objects.
    """
    found: list[tuple[int, int, int, tuple[int, int, int, int], float, Pixels]] = []
    for position, annotation in _candidates(dataset, cache, seed):
        image = cache.images[position]
        labels = cache.labels(position)
        covered = resize_nearest(mask(annotation.segmentation, image.height, image.width).view(np.uint8), labels.shape)
        visible = covered & (labels == annotation.class_index)
        pixels = int(visible.sum())
        if pixels < MIN_PIXELS:
            continue
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        inside = box[0] > 0 and box[1] > 0 and box[2] < labels.shape[0] and box[3] < labels.shape[1]
        whole = inside and pixels > 0.95 * int(covered.sum())
        bits = np.packbits(visible[box[0] : box[2], box[1] : box[3]])
        # A mask that fills its box is usually a box annotation, which includes background.
        boxed = pixels > MAX_BOX_FILL * (box[2] - box[0]) * (box[3] - box[1])
        found.append(
            (
                2 if whole and not boxed else 1 if whole else 0,
                position,
                annotation.class_index,
                box,
                float(np.sqrt(pixels / labels.size)),
                bits,
            )
        )
    best = {index: max(one[0] for one in found if one[2] == index) for index in {one[2] for one in found}}
    kept = [one for one in found if one[0] == best[one[2]]]
    return ObjectBank(
        positions=np.array([one[1] for one in kept], np.int64),
        classes=np.array([one[2] for one in kept], np.uint8),
        boxes=np.array([one[3] for one in kept], np.int64).reshape(-1, 4),
        sizes=np.array([one[4] for one in kept], np.float64),
        masks=np.concatenate([np.zeros(0, np.uint8), *(one[5] for one in kept)]),
        starts=np.cumsum([0, *(len(one[5]) for one in kept)]),
        counts=annotation_counts(dataset, cache.images),
    )


def join_banks(parts: Sequence[tuple[int, ObjectBank]]) -> ObjectBank:
    """Merge the banks of several caches, each given with its first position in the joined cache."""
    banks = [bank for _, bank in parts]
    before = np.cumsum([0, *(len(bank.masks) for bank in banks)])
    return ObjectBank(
        positions=np.concatenate([first + bank.positions for first, bank in parts]),
        classes=np.concatenate([bank.classes for bank in banks]),
        boxes=np.concatenate([bank.boxes for bank in banks]),
        sizes=np.concatenate([bank.sizes for bank in banks]),
        masks=np.concatenate([bank.masks for bank in banks]),
        starts=np.concatenate(
            [[0], *(bank.starts[1:] + offset for bank, offset in zip(banks, before[:-1], strict=True))]
        ),
        counts=np.sum([bank.counts for bank in banks], axis=0),
    )


def annotation_counts(dataset: Dataset, images: Sequence[Image]) -> NDArray[np.int64]:
    """Number of annotations of each class in these images, int [C]; background is 0."""
    counts = np.zeros(len(dataset.classes), np.int64)
    for image in images:
        for annotation in dataset.annotations_of(image.row):
            if 0 < annotation.class_index < len(counts):
                counts[annotation.class_index] += 1
    return counts


def _candidates(dataset: Dataset, cache: PhotoCache, seed: int) -> list[tuple[int, Annotation]]:
    """Annotations to extract, by position in the cache: at most `MAX_PER_CLASS` of each class."""
    by_class: dict[int, list[tuple[int, Annotation]]] = {}
    for position, image in enumerate(cache.images):
        for annotation in dataset.annotations_of(image.row):
            if annotation.class_index in (0, IGNORE) or annotation.iscrowd:
                continue
            by_class.setdefault(annotation.class_index, []).append((position, annotation))
    chosen = []
    for class_index, members in sorted(by_class.items()):
        generator = np.random.default_rng(np.random.SeedSequence([seed, class_index]))
        few = np.sort(generator.permutation(len(members))[:MAX_PER_CLASS])
        chosen += [members[n] for n in few.tolist()]
    return sorted(chosen, key=lambda one: (one[0], one[1].row))


def class_probabilities(
    counts: NDArray[np.int64], present: NDArray[np.bool_], balance: Balance, factors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sampling probability of each class, float [C], proportional to 1/n, 1/sqrt(n) or 1, times its factor.

    Classes that are not `present` in the bank get 0; all are 0 if nothing can be pasted.
    """
    power = {"inverse": 1.0, "sqrt": 0.5, "uniform": 0.0}[balance]
    weights = np.where(present, factors / np.maximum(counts, 1) ** power, 0.0)
    total = weights.sum()
    return np.asarray(weights / total if total > 0 else weights, np.float64)


def check_classes(settings: Settings, names: Sequence[str]) -> None:
    """Raise TrashkitError if ``copy_paste.classes`` names an unknown class; names: background first."""
    for name in settings.classes:
        if name not in names[1:]:
            problem = f'data.copy_paste.classes names the unknown class "{name}"'
            raise TrashkitError(problem, hint=f"choose from: {', '.join(names[1:])}")


class CopyPaste:
    """Pastes objects of a bank into photos; see `paste`."""

    def __init__(
        self, bank: ObjectBank, cache: PhotoCache | JoinedCaches, settings: Settings, names: Sequence[str]
    ) -> None:
        """cache: the cache that the bank's positions refer to. names: class names, background first.

        Raises TrashkitError if the settings name an unknown class.
        """
        check_classes(settings, names)
        factors = np.array([settings.classes.get(name, 1.0) for name in names])
        self.bank, self.cache, self.settings = bank, cache, settings
        self.members = [np.flatnonzero(bank.classes == index) for index in range(len(names))]
        present = np.array([len(members) > 0 for members in self.members])
        self.weights = class_probabilities(bank.counts, present, settings.balance, factors)
        self.bandwidths = _bandwidths(bank, self.members)

    def paste(self, photo: Pixels, labels: Pixels, generator: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Paste objects into copies of photo uint8 [H, W, 3] and label map uint8 [H, W].

        Returns the input arrays themselves if nothing is pasted. The label map gets the object's class wherever its
        mask is set, including at pixels that were 255.
        """
        if generator.random() >= self.settings.p or not self.weights.any():
            return photo, labels
        out, out_labels = photo.copy(), labels.copy()
        for _ in range(int(generator.integers(1, self.settings.max_objects + 1))):
            class_index = int(generator.choice(len(self.weights), p=self.weights))
            n = int(generator.choice(self.members[class_index]))
            pixels, covered = self._object(n, labels.shape, generator)
            place = _draw_position(out_labels, covered, generator)
            if place is not None:
                paste_object((out, out_labels), (pixels, covered), place, class_index, self.settings)
        return out, out_labels

    def _object(self, n: int, shape: tuple[int, ...], generator: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Pixels [h, w, 3] and mask [h, w] of object `n` after random scaling, mirroring and rotation."""
        top, left, bottom, right = self.bank.boxes[n].tolist()
        class_index = int(self.bank.classes[n])
        like = float(self.bank.sizes[generator.choice(self.members[class_index])])
        size = like * float(np.exp(generator.normal(0.0, self.bandwidths[class_index])))
        covered = self.bank.mask(n)
        factor = size * np.sqrt(shape[0] * shape[1] / max(1, int(covered.sum())))
        factor = float(np.clip(factor, *SCALE_RANGE))
        factor = min(factor, 0.9 * shape[0] / (bottom - top), 0.9 * shape[1] / (right - left))
        mirrored = generator.random() < 0.5
        angle = float(generator.uniform(-self.settings.rotate, self.settings.rotate))
        pixels = self.cache.photo(int(self.bank.positions[n]))[top:bottom, left:right]
        return transform_object(pixels, covered, factor, angle, mirrored=mirrored)


def paste_object(
    into: tuple[Pixels, Pixels],
    cutout: tuple[Pixels, Pixels],
    place: tuple[int, int],
    class_index: int,
    settings: Settings,
) -> None:
    """Draw an object (pixels [h, w, 3], mask [h, w]) into a photo [H, W, 3] and label map [H, W], in place.

    place: (y, x) of the object's box, which may extend beyond the photo.
    """
    (photo, labels), (pixels, covered) = into, cutout
    (y, x), (high, wide) = place, covered.shape
    top, left = max(0, y), max(0, x)
    bottom, right = min(labels.shape[0], y + high), min(labels.shape[1], x + wide)
    cut = (slice(top - y, bottom - y), slice(left - x, right - x))
    there = (slice(top, bottom), slice(left, right))
    if top >= bottom or left >= right:
        return
    side = 2 * settings.edge + 1
    # Soften the edge inwards only, so that no background of the source photo shows around the object.
    alpha = cv2.blur(covered.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    alpha = np.ascontiguousarray((alpha * covered)[cut])
    pixels = match_brightness(pixels, covered, photo[there], settings.match)
    mixed = cv2.blendLinear(np.ascontiguousarray(pixels[cut]), np.ascontiguousarray(photo[there]), alpha, 1.0 - alpha)
    photo[there] = mixed
    labels[there][covered[cut] > 0] = class_index


def transform_object(
    pixels: Pixels, covered: Pixels, factor: float, angle: float, *, mirrored: bool
) -> tuple[Pixels, Pixels]:
    """Scale an object [h, w, 3] and its mask [h, w] by `factor`, mirror it and rotate it by `angle` degrees.

    Both are cropped to the mask's box. The mask is resampled by nearest neighbour with aligned pixel centres. An object
    whose mask becomes empty is returned unchanged.
    """
    high, wide = covered.shape
    size = max(1, round(wide * factor)), max(1, round(high * factor))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    out = np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)
    out_mask = np.asarray(cv2.resize(covered, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    if mirrored:
        out, out_mask = out[:, ::-1], out_mask[:, ::-1]
    if angle:
        out, out_mask = _rotated(np.ascontiguousarray(out), np.ascontiguousarray(out_mask), angle)
    rows, columns = np.flatnonzero(out_mask.any(axis=1)), np.flatnonzero(out_mask.any(axis=0))
    if not len(rows):
        return pixels, covered
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return out[box], out_mask[box]


def _rotated(pixels: Pixels, covered: Pixels, angle: float) -> tuple[Pixels, Pixels]:
    high, wide = covered.shape
    matrix = cv2.getRotationMatrix2D(((wide - 1) / 2, (high - 1) / 2), angle, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = int(np.ceil(high * sin + wide * cos)), int(np.ceil(high * cos + wide * sin))
    matrix[:, 2] += (size[0] - wide) / 2, (size[1] - high) / 2
    out = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out_mask = cv2.warpAffine(covered, matrix, size, flags=cv2.INTER_NEAREST)
    return np.asarray(out, np.uint8), np.asarray(out_mask, np.uint8)


def match_brightness(pixels: Pixels, covered: Pixels, around: Pixels, match: float) -> Pixels:
    """Adjust an object's brightness towards that of its surroundings, by a factor of at most 1.5.

    match: 0 leaves the object unchanged, 1 matches the mean brightness.
    """
    if match <= 0 or around.size == 0:
        return pixels
    own, there = (float(np.mean(value[:3])) for value in (cv2.mean(pixels, mask=covered), cv2.mean(around)))
    gain = float(np.clip((max(there, 1.0) / max(own, 1.0)) ** match, 1 / 1.5, 1.5))
    table = np.clip(np.arange(256) * gain, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def _draw_position(labels: Pixels, covered: Pixels, generator: np.random.Generator) -> tuple[int, int] | None:
    """Draw several positions (y, x) for an object's box and return the one that covers the fewest labels.

    None if all cover too much. At least three quarters of the box's height and width are inside the photo.
    """
    (height, width), (high, wide) = labels.shape, covered.shape
    coarse = labels[::GRID, ::GRID]
    labelled = (coarse > 0) & (coarse != IGNORE)
    total = int(labelled.sum())
    best, place = 2.0, None
    for _ in range(POSITION_TRIES):
        y = int(np.floor(generator.uniform(-high / 4, height - high * 3 / 4)))
        x = int(np.floor(generator.uniform(-wide / 4, width - wide * 3 / 4)))
        if total == 0:
            return y, x
        # Counting on a coarse grid takes a sixteenth of the time and is precise enough.
        rows, columns = _grid(y, high, height), _grid(x, wide, width)
        under = labelled[rows.start // GRID : -(-rows.stop // GRID), columns.start // GRID : -(-columns.stop // GRID)]
        under = under & (
            covered[rows.start - y : rows.stop - y : GRID, columns.start - x : columns.stop - x : GRID] > 0
        )
        hidden = float(under.sum()) / total
        if hidden < best:
            best, place = hidden, (y, x)
        if best == 0:
            break
    return place if best <= MAX_HIDDEN else None


def _grid(start: int, length: int, limit: int) -> range:
    """Multiples of `GRID` in ``start .. start + length``, clipped to ``0 .. limit``."""
    return range(-(-max(0, start) // GRID) * GRID, max(0, min(limit, start + length)), GRID)


def _bandwidths(bank: ObjectBank, members: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Bandwidth [C] of a Gaussian kernel over log sizes, by Silverman's rule for each class.

    Source: Silverman, Density Estimation (1986), eq. 3.28. A class with one object gets `MIN_BANDWIDTH`.
    """
    bandwidths = np.full(len(members), MIN_BANDWIDTH)
    for index, own in enumerate(members):
        if len(own) > 1:
            logs = np.log(bank.sizes[own])
            bandwidths[index] = max(MIN_BANDWIDTH, 1.06 * float(logs.std(ddof=1)) * len(own) ** -0.2)
    return np.asarray(np.minimum(bandwidths, 0.5), np.float64)
