"""Make a split of a data set: features, groups, search, quality report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.progress import Progress
from trashkit.split.files import Fold, Split
from trashkit.split.groups import groups_by_rule, merge_groups, number_groups
from trashkit.split.objective import (
    Features,
    attainable_weights,
    image_features,
    selection_features,
    sum_by_group,
    with_weights,
)
from trashkit.split.quality import QualityReport, measure_quality, merge_repeats
from trashkit.split.search import DEFAULT_TRIALS, SearchResult, search

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class SearchInput:
    """A data set as input of the search; images are sorted by id, so the order of the file does not matter.

    order: [N] positions in ``dataset.images``. features, group: of the images in that order. shares: [K] of the folds.
    val_folds: the folds used as validation sets: all of them, or the second of two for a holdout.
    """

    order: tuple[int, ...]
    features: Features
    group: Ints
    shares: Floats
    val_folds: tuple[int, ...]


@dataclass(frozen=True)
class SplitResult:
    """A split with the results of its searches, one per repeat."""

    split: Split
    inputs: SearchInput
    searches: tuple[SearchResult, ...]


def search_input(
    dataset: Dataset,
    *,
    folds: int = 5,
    holdout: float | None = None,
    rules: Sequence[str] = (),
    photo_group: Ints | None = None,
    statistics: Floats | None = None,
    statistic_names: Sequence[str] = (),
) -> SearchInput:
    """Compute features and groups of a data set for the search.

    folds: K, at least 2. holdout: share of a single validation set instead, between 0 and 1. rules: see
    `trashkit.split.groups.groups_by_rule`; groups that overlap are merged. photo_group: [N] group numbers from photos,
    statistics: [N, S], both in file order.
    """
    images = dataset.images
    if holdout is not None and not 0 < holdout < 1:
        raise TrashkitError(
            f"--holdout {holdout:g} is not a valid share", hint="give a number between 0 and 1, such as 0.2"
        )
    if holdout is None and not 2 <= folds <= len(images):
        raise TrashkitError(
            f"{len(images)} images cannot be split into {folds} folds",
            hint=f"give --folds from 2 to {len(images)}" if len(images) > 1 else "a split needs at least two images",
        )
    group = number_groups([None] * len(images)) if photo_group is None else photo_group
    for rule in rules:
        group = merge_groups(group, groups_by_rule(dataset, rule))
    order = sorted(range(len(images)), key=lambda n: (isinstance(images[n].id, str), images[n].id))
    features = image_features(
        dataset,
        order,
        statistics=None if statistics is None else statistics[order],
        statistic_names=statistic_names,
    )
    shares = np.full(folds, 1 / folds) if holdout is None else np.array([1 - holdout, holdout])
    val_folds = tuple(range(folds)) if holdout is None else (1,)
    return SearchInput(tuple(order), features, number_groups([int(g) for g in group[order]]), shares, val_folds)


def make_split(
    dataset: Dataset,
    *,
    folds: int = 5,
    holdout: float | None = None,
    repeats: int = 1,
    seed: int = 0,
    rules: Sequence[str] = (),
    photo_group: Ints | None = None,
    statistics: Floats | None = None,
    statistic_names: Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    trials: int = DEFAULT_TRIALS,
    seconds: float | None = None,
    starts: int = 4,
    jobs: int | None = None,
    settings: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> SplitResult:
    """Search a split of a data set.

    Arguments as in `search_input` and `trashkit.split.search.search`; `trials` and `seconds` are for each of the
    `repeats` (independent splits with different seeds, whose folds follow one another). settings: recorded in the
    split's source in addition to the arguments. Ctrl-C ends the search and keeps the best split so far.
    weights: factors of the criteria's weights (keys of `trashkit.split.objective.WEIGHTS`), 1 by default.

    The same data set, arguments and seed give the same split, whatever the order of images in the file, unless
    `seconds` is given. TrashkitError if there are fewer images or groups than folds.
    """
    if repeats < 1 or starts < 1 or trials < 1:
        raise TrashkitError(
            "--repeats, --starts and --trials must be at least 1", hint="leave them out for the defaults"
        )
    inputs = search_input(
        dataset,
        folds=folds,
        holdout=holdout,
        rules=rules,
        photo_group=photo_group,
        statistics=statistics,
        statistic_names=statistic_names,
    )
    inputs = replace(inputs, features=with_weights(inputs.features, weights or {}))
    importance = np.array([(weights or {}).get(criterion, 1.0) for criterion in inputs.features.criteria])
    _enough_groups(dataset, inputs, rules, photo_group)
    units = sum_by_group(inputs.features.values, inputs.group)
    presence = sum_by_group(inputs.features.support.astype(float), inputs.group) > 0
    attainable = attainable_weights(inputs.features.weights, units, inputs.shares)
    floor, family = selection_features(inputs.features, units, inputs.shares, inputs.val_folds)
    found: list[SearchResult] = []
    reports: list[QualityReport] = []
    made: list[Fold] = []
    for repeat in range(repeats):
        one = search(
            units,
            presence,
            inputs.shares,
            attainable,
            floor=floor,
            family=family,
            importance=importance,
            seed=[seed, repeat],
            starts=starts,
            trials=trials,
            seconds=seconds,
            jobs=jobs,
            progress=progress,
        )
        fold = one.fold[inputs.group]
        found.append(one)
        made += _folds(dataset, inputs, fold)
        first = repeat * len(inputs.val_folds)
        reports.append(
            measure_quality(inputs.features, inputs.group, fold, inputs.shares, inputs.val_folds, first=first)
        )
        if one.interrupted:
            break
    report = {**merge_repeats(reports), "swaps_tried": sum(one.candidates for one in found)}
    used = {
        "folds": None if holdout is not None else folds,
        "holdout": holdout,
        "repeats": len(found),
        "groups": list(rules),
        "near_duplicates": photo_group is not None,
        "trials": trials,
        "seconds": seconds,
        "starts": starts,
        **({"weights": dict(weights)} if weights else {}),
        **(settings or {}),
    }
    path = dataset.coco.path
    source = {"path": str(path) if path else None, "sha256": dataset.coco.sha256, "settings": used}
    return SplitResult(Split(tuple(made), report, seed, source), inputs, tuple(found))


def _enough_groups(dataset: Dataset, inputs: SearchInput, rules: Sequence[str], photo_group: Ints | None) -> None:
    """TrashkitError if there are fewer groups than folds, with the number of groups after each rule."""
    wanted, have = len(inputs.shares), len(np.unique(inputs.group))
    if have >= wanted:
        return
    group = number_groups([None] * len(dataset.images)) if photo_group is None else photo_group
    steps = [f"of {len(dataset.images)} images"]
    steps += [] if photo_group is None else [f"near-duplicate photos leave {len(np.unique(group))}"]
    for rule in rules:
        group = merge_groups(group, groups_by_rule(dataset, rule))
        steps.append(f"--groups {rule} leaves {len(np.unique(group))}")
    raise TrashkitError(
        f"{have} groups of images cannot fill {wanted} folds: {', then '.join(steps)}",
        hint="use fewer --folds, or finer --groups",
    )


def _folds(dataset: Dataset, inputs: SearchInput, fold: Ints) -> list[Fold]:
    home = np.empty(len(fold), dtype=np.intp)
    home[list(inputs.order)] = fold
    return [
        Fold(
            tuple(image.id for image, k in zip(dataset.images, home, strict=True) if k != number_),
            tuple(image.id for image, k in zip(dataset.images, home, strict=True) if k == number_),
        )
        for number_ in inputs.val_folds
    ]
