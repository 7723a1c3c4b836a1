"""Features of images that each fold should hold its share of, deviations of folds from it, and their lower bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Annotation, Dataset, Image
from trashkit.coco.segmentation import run_lengths
from trashkit.errors import TrashkitError
from trashkit.raster.measures import ring_area

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SIZE_EDGES = (0.001, 0.01, 0.1)
"""Edges of the object-size bins: shares of the image's area."""
OBJECT_EDGES = (1, 2, 4, 8)
"""Edges of the bins of objects per image: none, 1, 2 to 3, 4 to 7, 8 and more."""
WEIGHTS = {
    "images": 25.0,
    "pixel_share": 4.0,
    "instances": 1.0,
    "support": 1.0,
    "object_size": 0.025,
    "objects_per_image": 0.025,
    "statistics": 0.01,
}
"""Weight of each criterion's squared relative deviations in the objective. Fold sizes come first, then the pixels of
each class, since the metric pools pixels. The last three must not cost the others anything: with ten times their
weight, small sets of near-duplicates had a fold with a quarter less of a class where 15 percent could be reached."""

CLASS_CRITERIA = ("pixel_share", "instances", "support")
"""Criteria with a feature for each class."""
COUNTED_PER_FOLD = 5
"""Worst and mean deviations over classes leave out those in fewer images per fold."""


@dataclass(frozen=True)
class Features:
    """Features of images, additive over images.

    values: [N, F] float64, not negative: shares of the image's area for ``pixel_share``, counts for all others.
    criteria: [F] key of `WEIGHTS` of each feature. names: [F] class or bin. weights: [F].
    classes: names of the C classes that occur, rarest first. support: [N, C] whether the image holds the class.
    """

    values: Floats
    criteria: tuple[str, ...]
    names: tuple[str, ...]
    weights: Floats
    classes: tuple[str, ...]
    support: NDArray[np.bool_]

    def columns(self, criterion: str) -> Ints:
        """Positions of a criterion's features."""
        return np.flatnonzero(np.array(self.criteria) == criterion)

    def column(self, criterion: str, name: str) -> int:
        """Position of one class's feature."""
        return next(int(c) for c in self.columns(criterion) if self.names[c] == name)


def annotation_area(annotation: Annotation, image: Image) -> float:
    """Area in square pixels: the file's where it is a positive number, else of the segmentation.

    For polygons the sum over the rings, for RLE the pixels. Never more than the image.
    """
    area = annotation.area
    if not (math.isfinite(area) and area > 0):
        segmentation = annotation.segmentation
        if isinstance(segmentation, dict):
            counts = segmentation["counts"]
            lengths = run_lengths(counts) if isinstance(counts, str | bytes) else counts
            area = float(sum(lengths[1::2])) if lengths is not None else 0.0
        else:
            area = sum(ring_area(ring) for ring in segmentation)
    return float(min(area, image.width * image.height))


def image_features(
    dataset: Dataset,
    order: Sequence[int] | None = None,
    *,
    statistics: Floats | None = None,
    statistic_names: Sequence[str] = (),
) -> Features:
    """Features of a data set's images: per class pixel share, instances and support, object sizes, objects per image.

    order: positions in ``dataset.images``, one per row of the result; file order by default.
    statistics: [N, S] any numbers about the images in that order (brightness, sharpness ...); each is binned by its
    quartiles. NaN belongs to no bin.
    Classes without annotations have no features. The pixel share of an image is the sum of annotation areas over the
    image's area, so overlaps count twice.
    """
    chosen = [dataset.images[n] for n in (order if order is not None else range(len(dataset.images)))]
    total = len(dataset.classes.names)
    pixels, instances = np.zeros((len(chosen), total)), np.zeros((len(chosen), total))
    sizes = np.zeros((len(chosen), len(SIZE_EDGES) + 1))
    for n, image in enumerate(chosen):
        for annotation in dataset.annotations_of(image.row):
            if annotation.class_index == 0:
                continue
            share = annotation_area(annotation, image) / (image.width * image.height)
            pixels[n, annotation.class_index] += share
            instances[n, annotation.class_index] += 1
            sizes[n, int(np.searchsorted(SIZE_EDGES, share, side="right"))] += 1
    bins = np.searchsorted(OBJECT_EDGES, instances.sum(axis=1), side="right")
    objects = np.eye(len(OBJECT_EDGES) + 1)[bins]
    support = instances > 0
    present = np.flatnonzero(support.any(axis=0))
    rarest = present[np.argsort(support[:, present].sum(axis=0), kind="stable")]
    names = [dataset.classes.names[c] for c in present]
    edges = [f"{100 * edge:g}%" for edge in SIZE_EDGES]
    blocks: list[tuple[str, Sequence[str], Floats]] = [
        ("images", ["images"], np.ones((len(chosen), 1))),
        ("pixel_share", names, pixels[:, present]),
        ("instances", names, instances[:, present]),
        ("support", names, support[:, present].astype(float)),
        ("object_size", [f"below {edges[0]}", *(f"from {edge}" for edge in edges)], sizes),
        ("objects_per_image", ["none", "1", "2 to 3", "4 to 7", "8 and more"], objects),
    ]
    if statistics is not None:
        quartiles, labels = _quartile_bins(statistics, statistic_names)
        blocks.append(("statistics", labels, quartiles))
    return Features(
        values=np.concatenate([values for _, _, values in blocks], axis=1),
        criteria=tuple(criterion for criterion, labels, _ in blocks for _ in labels),
        names=tuple(label for _, labels, _ in blocks for label in labels),
        weights=np.array([WEIGHTS[criterion] for criterion, labels, _ in blocks for _ in labels]),
        classes=tuple(dataset.classes.names[c] for c in rarest),
        support=support[:, rarest],
    )


def with_weights(features: Features, factors: Mapping[str, float]) -> Features:
    """Multiply the weights of criteria (keys of `WEIGHTS`) by factors; 0 leaves a criterion out of the search.

    TrashkitError for an unknown criterion, a negative or non-finite factor, or if all weights are 0.
    """
    for name, factor in factors.items():
        if name not in WEIGHTS:
            raise TrashkitError(f'"{name}" is not a criterion of the split', hint=f"one of {', '.join(WEIGHTS)}")
        if not (math.isfinite(factor) and factor >= 0):
            raise TrashkitError(f"--weight {name}={factor:g} is not a weight", hint="0 or more; 1 is the default")
    weights = features.weights * np.array([factors.get(criterion, 1.0) for criterion in features.criteria])
    if not (weights > 0).any():
        raise TrashkitError("all criteria have weight 0", hint="give at least one criterion a weight above 0")
    return replace(features, weights=weights)


def _quartile_bins(statistics: Floats, names: Sequence[str]) -> tuple[Floats, list[str]]:
    made: list[Floats] = []
    labels: list[str] = []
    for column, values in enumerate(statistics.T):
        known = np.isfinite(values)
        if not known.any():
            continue
        edges = np.quantile(values[known], (0.25, 0.5, 0.75))
        quarter = np.searchsorted(edges, np.where(known, values, 0.0), side="right")
        made.append(np.eye(4)[quarter] * known[:, None])
        name = names[column] if column < len(names) else f"statistic {column + 1}"
        labels += [f"{name} {n + 1}/4" for n in range(4)]
    return (np.concatenate(made, axis=1) if made else np.zeros((len(statistics), 0))), labels


def sum_by_group(values: Floats, group: Ints) -> Floats:
    """[U, F] sums over the images of each group: group [N] holds 0 .. U-1."""
    total = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(total, group, values)
    return total


def attainable_weights(weights: Floats, units: Floats, shares: Floats) -> Floats:
    """[F] weights for the search, reduced for features of which one unit holds about a fold's share or more.

    The deviation of its fold cannot be balanced, and trying to (by keeping all other images of the class out of it)
    would cost the criteria that can be met: ``weight / (1 + (2 * largest / share) ** 4)``. units: [U, F].
    """
    total = units.sum(axis=0)
    largest = units.max(axis=0) / np.where(total > 0, total, 1.0)
    return np.asarray(weights / (1 + (2 * largest / shares.max()) ** 4))


def deviations(values: Floats, fold: Ints, shares: Floats) -> Floats:
    """[K, F] relative deviation of each fold from its share: ``sum_kf / (share_k * total_f) - 1``.

    0 is exact, -1 means none; NaN for a feature that no unit has. fold: [U] fold of each row of `values`.
    """
    sums = np.zeros((len(shares), values.shape[1]))
    np.add.at(sums, fold, values)
    total = values.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(total > 0, sums / (shares[:, None] * total) - 1, np.nan))


def deviation_floors(values: Floats, shares: Floats) -> Floats:
    """[F] lower bounds of the worst fold's deviation for each feature alone: no split can be better, few reach them.

    Bounds for K equal folds, with units sorted by what they hold: the fold with the largest unit holds at least that;
    of the ``jK + 1`` largest units some fold holds ``j + 1``, which weigh at least as much as the ``j + 1`` smallest
    of them (pigeonhole); if all units are integers, a fold's sum is one too, and its share lies between two. For
    unequal folds only the first and last bound apply, against the largest share.
    """
    total = values.sum(axis=0)
    bound = np.zeros(values.shape[1])
    parts = len(shares)
    equal = bool(np.allclose(shares, shares[0]))
    for column in np.flatnonzero(total > 0):
        weights = np.sort(values[:, column])[::-1]
        weights = weights[weights > 0]
        best = weights[0] / (shares.max() * total[column]) - 1
        if equal:
            for taken in range(1, (len(weights) - 1) // parts + 1):
                last = taken * parts
                best = max(best, weights[last - taken : last + 1].sum() * parts / total[column] - 1)
        if (weights == np.round(weights)).all():
            wanted = shares * total[column]
            nearest = np.minimum(wanted - np.floor(wanted), np.ceil(wanted) - wanted) / wanted
            if equal:  # some fold must be above and some below the share, unless it is an integer
                up, down = (np.ceil(wanted[0] - 1e-9) / wanted[0] - 1), (1 - np.floor(wanted[0] + 1e-9) / wanted[0])
                best = max(best, up, down)
            best = max(best, float(nearest.max()))
        bound[column] = max(best, 0.0)
    return bound


def joint_floors(values: Floats, support: Floats, shares: Floats) -> Floats:
    """[F] lower bounds like `deviation_floors`, for splits that also give every fold its images of the class.

    values: [U, F] what the units hold of one criterion, a column for each class. support: [U, F] images with that class
    in each unit. For K equal folds; 0 for others. The fold with the largest unit still needs ``floor(images / K)``
    images of the class in total, and the least that these add is a fractional knapsack: units by what they hold per
    image, smallest first. So one photo with a fold's share of the instances puts its fold above the share by what its
    other images hold, which no search can avoid without taking images away.
    """
    bound = np.zeros(values.shape[1])
    if not np.allclose(shares, shares[0]):
        return bound
    parts = len(shares)
    for column in range(values.shape[1]):
        held = np.flatnonzero(support[:, column] > 0)
        total = values[held, column].sum()
        if not len(held) or total <= 0:
            continue
        first = held[int(values[held, column].argmax())]
        needed = np.floor(support[held, column].sum() / parts + 1e-9) - support[first, column]
        rest = held[held != first]
        weight, images = values[rest, column], support[rest, column]
        cheapest = np.argsort(weight / images, kind="stable")
        before = np.cumsum(images[cheapest]) - images[cheapest]
        part = np.clip((needed - before) / images[cheapest], 0.0, 1.0)
        least = values[first, column] + float(part @ weight[cheapest])
        bound[column] = max(0.0, least * parts / total - 1)
    return bound


def common_classes(features: Features, shares: Floats, val_folds: Sequence[int]) -> list[str]:
    """Classes in at least `COUNTED_PER_FOLD` images per fold; deviations of rarer ones say little about the search."""
    enough = COUNTED_PER_FOLD / shares[list(val_folds)].min()
    support = features.support.sum(axis=0)
    return [name for name, images in zip(features.classes, support, strict=True) if images >= enough - 1e-9]


def selection_features(
    features: Features, units: Floats, shares: Floats, val_folds: Sequence[int]
) -> tuple[Floats, Ints]:
    """[F] floors of the features that decide between splits, inf for all others, and [F] the criterion of each.

    Deciding features are the number of images, and pixel shares, instances and images of the `common_classes`, without
    criteria of weight 0. units: [U, F].
    """
    counted = common_classes(features, shares, val_folds)
    names = list(dict.fromkeys(features.criteria))
    family = np.array([names.index(criterion) for criterion in features.criteria], dtype=np.intp)
    columns = [*features.columns("images")]
    for criterion in CLASS_CRITERIA:
        columns += [c for c in features.columns(criterion) if features.names[c] in counted]
    columns = [c for c in columns if features.weights[c] > 0]
    bound = np.full(units.shape[1], np.inf)
    bound[columns] = np.maximum(deviation_floors(units, shares), class_floors(features, units, shares))[columns]
    return bound, family


def class_floors(features: Features, units: Floats, shares: Floats) -> Floats:
    """[F] `joint_floors` of pixel shares and instances, 0 for all other features."""
    joint = np.zeros(units.shape[1])
    support = [features.column("support", name) for name in features.classes]
    for criterion in ("pixel_share", "instances"):
        columns = [features.column(criterion, name) for name in features.classes]
        joint[columns] = joint_floors(units[:, columns], units[:, support], shares)
    return joint
