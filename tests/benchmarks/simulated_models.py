"""Simulate a population of models on real objects, for leaderboards: errors by class, size, scene and image.

No photos are needed: each object of a labelled data set adds a few cells to the confusion matrix of its image. A model
is right about an object if a sum of effects is above 0: its quality, its affinity to the class, the object's size, the
difficulty of scene, image and object that all models share, the model's own effects of scene and object, and the noise
of its training on these folds. Part of a scene's difficulty, and of a model's effect on it, comes from its kind (light,
ground, camera), which also shows in the features of its photos. A model that is right covers most of the object's
pixels, more for larger objects; else the object is missed or confused with another class. Background clutter is
sometimes taken for objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.split.objective import annotation_area

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

PIXELS = 256 * 256
MINIMUM = 25
"""Classes in fewer images than this are left out, since a class that a test half may lack would dominate the score."""


@dataclass(frozen=True)
class World:
    """Objects of a labelled data set: image [O], class [O] 1..C-1, pixels [O] at 256x256; scene of each image [N]."""

    images: int
    classes: int
    image: Ints
    label: Ints
    pixels: Floats
    scene: Ints

    def part(self, rows: Ints) -> World:
        """These images alone, renumbered in the order of `rows`; scenes keep their numbers."""
        place = np.full(self.images, -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.image] >= 0
        return World(len(rows), self.classes, place[self.image[kept]], self.label[kept], self.pixels[kept],
                     self.scene[rows])  # fmt: skip

    def kept(self, rows: Ints) -> NDArray[np.bool_]:
        """Which objects are in these images."""
        inside = np.zeros(self.images, bool)
        inside[rows] = True
        return inside[self.image]


def world(dataset: Dataset, rng: np.random.Generator) -> World:
    """The objects of a data set; scenes are runs of one to four photos that follow each other in one folder."""
    found = []
    for number, shown in enumerate(dataset.images):
        for annotation in dataset.annotations_of(shown.row):
            if annotation.class_index:
                share = annotation_area(annotation, shown) / (shown.width * shown.height)
                found.append((number, annotation.class_index, max(share * PIXELS, 4.0)))
    image, label, pixels = (np.array(column) for column in zip(*found, strict=True))
    support = np.array([len(np.unique(image[label == c])) for c in range(len(dataset.classes))])
    known = np.flatnonzero(support >= MINIMUM)
    new = np.zeros(len(support), np.intp)
    new[known] = np.arange(1, len(known) + 1)
    kept = new[label] > 0
    image, label, pixels = image[kept], new[label[kept]], pixels[kept]
    covered = np.bincount(image, pixels, len(dataset.images))
    pixels = pixels * np.minimum(1.0, 0.95 * PIXELS / np.maximum(covered, 1))[image]
    folders = [image.file_name.rpartition("/")[0] for image in dataset.images]
    scene, left = np.zeros(len(folders), np.intp), 0
    for n, folder in enumerate(folders):
        new_scene = n and (left == 0 or folder != folders[n - 1])
        scene[n] = scene[n - 1] + 1 if new_scene else (scene[n - 1] if n else 0)
        left = int(rng.integers(0, 4)) if new_scene or not n else left - 1
    return World(len(folders), len(known) + 1, image, label, pixels, scene)


KINDS, NUMBERS = 3, 12


def kinds(data: World, rng: np.random.Generator) -> Floats:
    """Kind of each scene: [scenes, KINDS], normal."""
    return rng.standard_normal((int(data.scene.max()) + 1, KINDS))


def photo_features(data: World, kind: Floats, rng: np.random.Generator) -> Floats:
    """Features of photos [N, NUMBERS], from the kind of the scene, the classes, and noise of the same size."""
    has = np.zeros((data.images, data.classes))
    has[data.image, data.label] = 1
    told = kind[data.scene] @ rng.standard_normal((KINDS, NUMBERS)) + has @ rng.standard_normal((data.classes, NUMBERS))
    return np.asarray(told + np.sqrt(KINDS + 1) * rng.standard_normal(told.shape))


@dataclass(frozen=True)
class Population:
    """M models: what they do to each object before the noise of a training is added.

    logit: [M, O] above 0 is right. cover: [M, O] share of the pixels then covered, spill: [M, O] pixels of background
    taken with it. other: [M, O] what it becomes if wrong. clutter: image [Q], class [Q], pixels [Q], logit [M, Q].
    """

    logit: Floats
    cover: Floats
    spill: Floats
    other: Ints
    clutter: tuple[Ints, Ints, Floats, Floats]


def population(
    data: World, rng: np.random.Generator, *, models: int = 40, spread: float = 0.25, kind: Floats | None = None
) -> Population:
    """Models whose quality has this standard deviation, in logits. kind: of each scene, drawn if not given."""
    kind = kinds(data, rng) if kind is None else kind
    objects, classes = len(data.label), data.classes
    normal = rng.standard_normal
    quality = spread * normal(models)
    size = np.log(data.pixels)
    size = (size - size.mean()) / size.std()
    slope = 0.4 + 0.1 * normal(models)
    logit = (quality + 0.9)[:, None] + slope[:, None] * size
    logit += (0.6 * normal(classes))[data.label] + (0.3 * normal((models, classes)))[:, data.label]
    scenes = len(kind)
    scene = data.scene[data.image]
    # Effects shared by all models and effects of one model, each half (in variance) by the kind of the scene.
    logit += (0.28 * kind[:, 0] + 0.28 * normal(scenes))[scene]
    logit += (0.18 / np.sqrt(KINDS) * normal((models, KINDS)) @ kind.T + 0.18 * normal((models, scenes)))[:, scene]
    logit += (0.4 * normal(data.images))[data.image] + (0.25 * normal((models, data.images)))[:, data.image]
    logit += 0.6 * normal(objects) + 0.5 * normal((models, objects))
    cover = np.clip(0.88 + 0.04 * size + 0.05 * quality[:, None] + 0.04 * normal((models, objects)), 0.3, 0.99)
    spill = data.pixels * np.clip(0.10 - 0.03 * size + 0.04 * normal((models, objects)), 0.0, 0.5)
    # What an object is mistaken for is a trait of the pair of classes, and of the object.
    frequency = np.sqrt(np.bincount(data.label, minlength=classes).astype(float))
    table = frequency * rng.gamma(0.5, 1.0, (classes, classes))
    table[:, 0] = 0
    np.fill_diagonal(table, 0)
    table[:, 0] = 0.8 * table.sum(axis=1)
    edges = np.cumsum(table / table.sum(axis=1, keepdims=True), axis=1)
    luck = np.where(rng.random((models, objects)) < 0.6, rng.random(objects), rng.random((models, objects)))
    other = np.minimum((edges[data.label][None] < luck[..., None]).sum(axis=-1), classes - 1)
    count = int(0.6 * data.images)
    place = rng.integers(0, data.images, count)
    like = rng.integers(0, objects, count)
    seen = -1.2 - 0.6 * quality[:, None] + 0.6 * normal(count) + 0.7 * normal((models, count))
    return Population(logit, cover, spill, other, (place, data.label[like], 0.5 * data.pixels[like], seen))


@dataclass(frozen=True)
class Training:
    """The noise of a training: [M, K] for a fold as a whole and [M, K, C] for each class, in logits."""

    whole: Floats
    by_class: Floats


def training(rng: np.random.Generator, models: int, folds: int, classes: int, *, luck: float = 1.0) -> Training:
    """Draw the noise of trainings. `luck` scales both parts."""
    return Training(0.12 * luck * rng.standard_normal((models, folds)),
                    0.25 * luck * rng.standard_normal((models, folds, classes)))  # fmt: skip


def matrices(
    data: World, models: Population, rows: Ints, *, fold: Ints | None = None, luck: Training | None = None
) -> NDArray[np.float32]:
    """Confusion matrices [M, len(rows), C, C] of these images, rows truth.

    fold: [len(rows)] which fold's model predicts the image, with the noise of its training; without, the plain model
    (what an average over the folds' models comes close to).
    """
    place = np.full(data.images, -1)
    place[rows] = np.arange(len(rows))
    inside = np.flatnonzero(place[data.image] >= 0)
    image, label, pixels = place[data.image[inside]], data.label[inside], data.pixels[inside]
    logit = models.logit[:, inside]
    where, kind, amount, seen = models.clutter
    chosen = np.flatnonzero(place[where] >= 0)
    where, kind, amount, seen = place[where[chosen]], kind[chosen], amount[chosen], seen[:, chosen]
    if fold is not None and luck is not None:
        logit = logit + luck.whole[:, fold[image]] + luck.by_class[:, fold[image], label]
        seen = seen - luck.whole[:, fold[where]]
    right = logit > 0
    named = np.where(right, label, models.other[:, inside])
    hit = np.where(right, models.cover[:, inside], 0.7) * pixels
    spill = np.where(named > 0, models.spill[:, inside], 0.0)
    taken = np.where(seen > 0, amount, 0.0)
    count, classes, total = len(logit), data.classes, len(rows)
    base = (np.arange(count)[:, None] * total + image) * classes**2
    clutter = (np.arange(count)[:, None] * total + where) * classes**2 + kind
    cells = [base + label * classes + named, base + label * classes, base + named, clutter]
    amounts = [hit, pixels - hit, spill, taken]
    found = np.bincount(
        np.concatenate([c.ravel() for c in cells]),
        np.concatenate([np.broadcast_to(a, c.shape).ravel() for a, c in zip(amounts, cells, strict=True)]),
        minlength=count * total * classes**2,
    ).reshape(count, total, classes, classes)
    background = PIXELS - np.bincount(image, pixels, total)
    found[:, :, 0, 0] += np.maximum(background - found[:, :, 0, 1:].sum(axis=-1), 0)
    return found.astype(np.float32)
