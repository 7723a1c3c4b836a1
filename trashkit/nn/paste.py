"""Copy-paste: objects of the training photos, pasted into others while they are loaded.

Which class is pasted is drawn by how rare it is, and how large it becomes by the sizes that the class has in the data.
Objects are cut out with the exact mask of their annotation, and where another annotation hides a part, without it.
Only masks are held in memory, one bit a pixel; the pixels come from the cache. Everything is drawn from a generator
that the caller makes of seed, epoch and image, so that neither workers nor a resumed run change it.
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
from trashkit.masks import mask, resize_nearest
from trashkit.nn.cache import JoinedCaches, PhotoCache

Pixels = NDArray[np.uint8]
Balance = Literal["inverse", "sqrt", "uniform"]

IGNORE = 255
MOST_PER_CLASS = 500
"""So many objects of a class are enough to choose from; of more, these are drawn by seed."""
FEWEST_PIXELS = 64
"""Objects smaller than this in the cached photo are left out: pasting adds nothing that can be seen."""
MOST_FILLED = 0.98
"""A mask that covers more of its box than this is a box."""
SCALES = (0.4, 1.6)
"""An object is never made smaller or larger than this: it would look sharper, or blurred, as no photo does."""
MOST_HIDDEN = 0.5
"""Of what is labelled in a photo at most this share may be covered by one pasted object."""
TRIES = 8
GRID = 4
"""Pixels are counted on such a grid while a place is looked for."""
SMALLEST_SPREAD = 0.1
"""Standard deviation of the logarithm of sizes that is added to a drawn size, at least: one object has one size."""


class Settings(Protocol):
    """What `Paster` is told; see `trashkit.config.CopyPasteSettings`."""

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
class Cutouts:
    """Objects that can be pasted, of the images of one cache.

    positions: image in the cache, int [N]. classes: class index, uint8 [N]. boxes: top, left, bottom, right in the
    cached photo, int [N, 4]. sizes: square root of the share of the photo's pixels, float [N]. masks: visible pixels of
    the boxes, one bit each, one object after the other; starts: where each begins, int [N + 1].
    counts: annotations of each class in these images, also of objects that cannot be pasted, int [C].
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
        """Visible pixels of object `n` in its box, uint8 [h, w] of 0 and 1."""
        top, left, bottom, right = self.boxes[n].tolist()
        bits = np.unpackbits(self.masks[self.starts[n] : self.starts[n + 1]], count=(bottom - top) * (right - left))
        return bits.reshape(bottom - top, right - left)


def cut_out(dataset: Dataset, cache: PhotoCache, *, seed: int = 0) -> Cutouts:
    """Find the objects of a cache's images that can be pasted: whole ones, where their class has any.

    dataset: what the cache was made from; objects come from the cache's images alone, so a cache of the training images
    never gives a validation image's object. An object is whole where it does not touch the border and nothing hides
    more than a twentieth of it. Of a class whose whole objects all are bare boxes, these are taken; of one without any
    whole object, all.
    """
    found: list[tuple[int, int, int, tuple[int, int, int, int], float, Pixels]] = []
    for position, annotation in _chosen(dataset, cache, seed):
        image = cache.images[position]
        labels = cache.labels(position)
        covered = resize_nearest(mask(annotation.segmentation, image.height, image.width).view(np.uint8), labels.shape)
        visible = covered & (labels == annotation.class_index)
        pixels = int(visible.sum())
        if pixels < FEWEST_PIXELS:
            continue
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        inside = box[0] > 0 and box[1] > 0 and box[2] < labels.shape[0] and box[3] < labels.shape[1]
        whole = inside and pixels > 0.95 * int(covered.sum())
        bits = np.packbits(visible[box[0] : box[2], box[1] : box[3]])
        # A mask that fills its box is mostly a box drawn around an object, with what lies behind it.
        boxed = pixels > MOST_FILLED * (box[2] - box[0]) * (box[3] - box[1])
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
    return Cutouts(
        positions=np.array([one[1] for one in kept], np.int64),
        classes=np.array([one[2] for one in kept], np.uint8),
        boxes=np.array([one[3] for one in kept], np.int64).reshape(-1, 4),
        sizes=np.array([one[4] for one in kept], np.float64),
        masks=np.concatenate([np.zeros(0, np.uint8), *(one[5] for one in kept)]),
        starts=np.cumsum([0, *(len(one[5]) for one in kept)]),
        counts=class_counts(dataset, cache.images),
    )


def join(parts: Sequence[tuple[int, Cutouts]]) -> Cutouts:
    """The cut-outs of several caches as those of one cache that joins them; each with its cache's first position."""
    banks = [bank for _, bank in parts]
    before = np.cumsum([0, *(len(bank.masks) for bank in banks)])
    return Cutouts(
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


def class_counts(dataset: Dataset, images: Sequence[Image]) -> NDArray[np.int64]:
    """Annotations of each class in these images, int [C]; none count as background."""
    counts = np.zeros(len(dataset.classes), np.int64)
    for image in images:
        for annotation in dataset.annotations_of(image.row):
            if 0 < annotation.class_index < len(counts):
                counts[annotation.class_index] += 1
    return counts


def _chosen(dataset: Dataset, cache: PhotoCache, seed: int) -> list[tuple[int, Annotation]]:
    """Annotations to look at, by position in the cache, at most `MOST_PER_CLASS` of each class."""
    by_class: dict[int, list[tuple[int, Annotation]]] = {}
    for position, image in enumerate(cache.images):
        for annotation in dataset.annotations_of(image.row):
            if annotation.class_index in (0, IGNORE) or annotation.iscrowd:
                continue
            by_class.setdefault(annotation.class_index, []).append((position, annotation))
    chosen = []
    for class_index, members in sorted(by_class.items()):
        generator = np.random.default_rng(np.random.SeedSequence([seed, class_index]))
        few = np.sort(generator.permutation(len(members))[:MOST_PER_CLASS])
        chosen += [members[n] for n in few.tolist()]
    return sorted(chosen, key=lambda one: (one[0], one[1].row))


def class_weights(
    counts: NDArray[np.int64], present: NDArray[np.bool_], balance: Balance, factors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability [C] of each class that is `present` among the cut-outs: 1/n, 1/sqrt(n) or 1 times its factor.

    Zeros where nothing may be pasted.
    """
    power = {"inverse": 1.0, "sqrt": 0.5, "uniform": 0.0}[balance]
    weights = np.where(present, factors / np.maximum(counts, 1) ** power, 0.0)
    total = weights.sum()
    return np.asarray(weights / total if total > 0 else weights, np.float64)


def check_classes(settings: Settings, names: Sequence[str]) -> None:
    """Raise TrashkitError for a name in ``copy_paste.classes`` that is none of the classes (background first)."""
    for name in settings.classes:
        if name not in names[1:]:
            problem = f'data.copy_paste.classes names "{name}", which is no class'
            raise TrashkitError(problem, hint=f"choose of {', '.join(names[1:])}")


class Paster:
    """Pastes cut-outs into photos; see `paste`."""

    def __init__(
        self, cutouts: Cutouts, cache: PhotoCache | JoinedCaches, settings: Settings, names: Sequence[str]
    ) -> None:
        """cache: that the cut-outs' positions count in. names: of the classes, background first.

        Raises TrashkitError for a name in the settings that is none.
        """
        check_classes(settings, names)
        factors = np.array([settings.classes.get(name, 1.0) for name in names])
        self.cutouts, self.cache, self.settings = cutouts, cache, settings
        self.members = [np.flatnonzero(cutouts.classes == index) for index in range(len(names))]
        present = np.array([len(members) > 0 for members in self.members])
        self.weights = class_weights(cutouts.counts, present, settings.balance, factors)
        self.spreads = _spreads(cutouts, self.members)

    def paste(self, photo: Pixels, labels: Pixels, generator: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Photo uint8 [H, W, 3] and label map uint8 [H, W] with objects pasted in, or the very same arrays.

        Inputs are not changed. The label map takes the object's class exactly where its mask lies, 255 included.
        """
        if generator.random() >= self.settings.p or not self.weights.any():
            return photo, labels
        made, map_ = photo.copy(), labels.copy()
        for _ in range(int(generator.integers(1, self.settings.max_objects + 1))):
            class_index = int(generator.choice(len(self.weights), p=self.weights))
            n = int(generator.choice(self.members[class_index]))
            pixels, covered = self._object(n, labels.shape, generator)
            place = _place(map_, covered, generator)
            if place is not None:
                blend((made, map_), (pixels, covered), place, class_index, self.settings)
        return made, map_

    def _object(self, n: int, shape: tuple[int, ...], generator: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Object `n`, scaled, mirrored and turned: its pixels [h, w, 3] and mask [h, w], cut to the mask's box."""
        top, left, bottom, right = self.cutouts.boxes[n].tolist()
        class_index = int(self.cutouts.classes[n])
        like = float(self.cutouts.sizes[generator.choice(self.members[class_index])])
        size = like * float(np.exp(generator.normal(0.0, self.spreads[class_index])))
        covered = self.cutouts.mask(n)
        factor = size * np.sqrt(shape[0] * shape[1] / max(1, int(covered.sum())))
        factor = float(np.clip(factor, *SCALES))
        factor = min(factor, 0.9 * shape[0] / (bottom - top), 0.9 * shape[1] / (right - left))
        mirrored = generator.random() < 0.5
        angle = float(generator.uniform(-self.settings.rotate, self.settings.rotate))
        pixels = self.cache.photo(int(self.cutouts.positions[n]))[top:bottom, left:right]
        return transformed(pixels, covered, factor, angle, mirrored=mirrored)


def blend(
    into: tuple[Pixels, Pixels], what: tuple[Pixels, Pixels], place: tuple[int, int], class_index: int, how: Settings
) -> None:
    """Draw an object, its pixels [h, w, 3] and mask [h, w], into a photo [H, W, 3] and label map [H, W], in place.

    place: (y, x) of its box, which may lie outside the photo in part.
    """
    (photo, labels), (pixels, covered) = into, what
    (y, x), (high, wide) = place, covered.shape
    top, left = max(0, y), max(0, x)
    bottom, right = min(labels.shape[0], y + high), min(labels.shape[1], x + wide)
    cut = (slice(top - y, bottom - y), slice(left - x, right - x))
    there = (slice(top, bottom), slice(left, right))
    if top >= bottom or left >= right:
        return
    side = 2 * how.edge + 1
    # The edge is soft inwards alone: nothing of the photo that the object comes from is seen around it.
    alpha = cv2.blur(covered.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    alpha = np.ascontiguousarray((alpha * covered)[cut])
    pixels = brightened(pixels, covered, photo[there], how.match)
    mixed = cv2.blendLinear(np.ascontiguousarray(pixels[cut]), np.ascontiguousarray(photo[there]), alpha, 1.0 - alpha)
    photo[there] = mixed
    labels[there][covered[cut] > 0] = class_index


def transformed(
    pixels: Pixels, covered: Pixels, factor: float, angle: float, *, mirrored: bool
) -> tuple[Pixels, Pixels]:
    """An object [h, w, 3] and its mask [h, w], scaled by `factor`, mirrored, turned by `angle` degrees, cut to its box.

    The mask is resampled by nearest neighbour, centres of pixels upon each other as in the photo. An object that
    vanishes comes back as it was.
    """
    high, wide = covered.shape
    size = max(1, round(wide * factor)), max(1, round(high * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    made = np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
    map_ = np.asarray(cv2.resize(covered, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    if mirrored:
        made, map_ = made[:, ::-1], map_[:, ::-1]
    if angle:
        made, map_ = _turned(np.ascontiguousarray(made), np.ascontiguousarray(map_), angle)
    rows, columns = np.flatnonzero(map_.any(axis=1)), np.flatnonzero(map_.any(axis=0))
    if not len(rows):
        return pixels, covered
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return made[box], map_[box]


def _turned(pixels: Pixels, covered: Pixels, angle: float) -> tuple[Pixels, Pixels]:
    high, wide = covered.shape
    matrix = cv2.getRotationMatrix2D(((wide - 1) / 2, (high - 1) / 2), angle, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = int(np.ceil(high * sin + wide * cos)), int(np.ceil(high * cos + wide * sin))
    matrix[:, 2] += (size[0] - wide) / 2, (size[1] - high) / 2
    made = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    map_ = cv2.warpAffine(covered, matrix, size, flags=cv2.INTER_NEAREST)
    return np.asarray(made, np.uint8), np.asarray(map_, np.uint8)


def brightened(pixels: Pixels, covered: Pixels, around: Pixels, match: float) -> Pixels:
    """An object brought nearer to the brightness of the place that it comes to; match 0 leaves it, 1 goes all the way.

    At most by a factor of 1.5, darker or brighter.
    """
    if match <= 0 or around.size == 0:
        return pixels
    own, there = (float(np.mean(value[:3])) for value in (cv2.mean(pixels, mask=covered), cv2.mean(around)))
    gain = float(np.clip((max(there, 1.0) / max(own, 1.0)) ** match, 1 / 1.5, 1.5))
    table = np.clip(np.arange(256) * gain, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def _place(labels: Pixels, covered: Pixels, generator: np.random.Generator) -> tuple[int, int] | None:
    """Where an object (mask [h, w]) goes: the (y, x) of its box that hides least of several drawn; None where all hide
    too much. Its centre stays inside the photo by a quarter of its size."""
    (height, width), (high, wide) = labels.shape, covered.shape
    coarse = labels[::GRID, ::GRID]
    labelled = (coarse > 0) & (coarse != IGNORE)
    total = int(labelled.sum())
    best, place = 2.0, None
    for _ in range(TRIES):
        y = int(np.floor(generator.uniform(-high / 4, height - high * 3 / 4)))
        x = int(np.floor(generator.uniform(-wide / 4, width - wide * 3 / 4)))
        if total == 0:
            return y, x
        # On a coarse grid: a sixteenth of the work, and a choice of places needs no single pixels.
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
    return place if best <= MOST_HIDDEN else None


def _grid(start: int, length: int, limit: int) -> range:
    """The multiples of `GRID` inside a photo's side of `limit` pixels that a span of `length` from `start` covers."""
    return range(-(-max(0, start) // GRID) * GRID, max(0, min(limit, start + length)), GRID)


def _spreads(cutouts: Cutouts, members: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Bandwidth [C] of a Gaussian kernel over the logarithm of sizes: Silverman's rule for each class.

    Source: Silverman, Density Estimation (1986), eq. 3.28. A class with one object takes the smallest.
    """
    spreads = np.full(len(members), SMALLEST_SPREAD)
    for index, own in enumerate(members):
        if len(own) > 1:
            logs = np.log(cutouts.sizes[own])
            spreads[index] = max(SMALLEST_SPREAD, 1.06 * float(logs.std(ddof=1)) * len(own) ** -0.2)
    return np.asarray(np.minimum(spreads, 0.5), np.float64)
