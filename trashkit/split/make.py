"""From a data set to a split: features, groups, search, report."""

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
from trashkit.split.groups import joined, named_groups, number
from trashkit.split.objective import Features, attainable_weights, gather, headline, image_features, weighted
from trashkit.split.quality import over_repeats, quality
from trashkit.split.search import DEFAULT_TRIALS, Found, search

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Plan:
    """A data set as the search sees it: images sorted by id, so that the order of the file does not matter.

    order: [N] positions in ``dataset.images``. features, group: of the images in that order. shares: [K].
    report: the folds that are validated on: all of them, or the second of two for a holdout.
    """

    order: tuple[int, ...]
    features: Features
    group: Ints
    shares: Floats
    report: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """A split with what the search did, once per repeat."""

    split: Split
    plan: Plan
    found: tuple[Found, ...]


def plan(
    dataset: Dataset,
    *,
    folds: int = 5,
    holdout: float | None = None,
    rules: Sequence[str] = (),
    photo_group: Ints | None = None,
    statistics: Floats | None = None,
    statistic_names: Sequence[str] = (),
) -> Plan:
    """Features and groups of a data set, and the folds wanted.

    folds: K from 2. holdout: share of one validation set instead, between 0 and 1. rules: see
    `trashkit.split.groups.named_groups`; groups that overlap are joined. photo_group: [N] group numbers from photos,
    statistics: [N, S], both in file order.
    """
    images = dataset.images
    if holdout is not None and not 0 < holdout < 1:
        raise TrashkitError(f"--holdout {holdout:g} is no share", hint="give a number between 0 and 1, such as 0.2")
    if holdout is None and not 2 <= folds <= len(images):
        raise TrashkitError(
            f"{len(images)} images cannot be split into {folds} folds",
            hint=f"give --folds from 2 to {len(images)}" if len(images) > 1 else "a split needs two images or more",
        )
    group = number([None] * len(images)) if photo_group is None else photo_group
    for rule in rules:
        group = joined(group, named_groups(dataset, rule))
    order = sorted(range(len(images)), key=lambda n: (isinstance(images[n].id, str), images[n].id))
    features = image_features(
        dataset,
        order,
        statistics=None if statistics is None else statistics[order],
        statistic_names=statistic_names,
    )
    shares = np.full(folds, 1 / folds) if holdout is None else np.array([1 - holdout, holdout])
    report = tuple(range(folds)) if holdout is None else (1,)
    return Plan(tuple(order), features, number([int(g) for g in group[order]]), shares, report)


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
) -> Made:
    """Search a split of a data set.

    Arguments as in `plan` and `trashkit.split.search.search`; `trials` and `seconds` are for each of the `repeats`
    (the same folds searched anew from another seed; their folds follow each other). settings: written into the
    split's source beside those that made it. Ctrl-C ends the search with the best so far.
    weights: factor of each criterion's weight (keys of `trashkit.split.objective.WEIGHTS`), 1 for those not named.

    The same data set, arguments and seed give the same split, whatever the order of images in the file, as long as
    `seconds` is None. TrashkitError where there are fewer images or groups than folds.
    """
    if repeats < 1 or starts < 1 or trials < 1:
        raise TrashkitError(
            "--repeats, --starts and --trials must be 1 or more", hint="leave them out for the defaults"
        )
    planned = plan(
        dataset,
        folds=folds,
        holdout=holdout,
        rules=rules,
        photo_group=photo_group,
        statistics=statistics,
        statistic_names=statistic_names,
    )
    planned = replace(planned, features=weighted(planned.features, weights or {}))
    importance = np.array([(weights or {}).get(criterion, 1.0) for criterion in planned.features.criteria])
    _enough_groups(dataset, planned, rules, photo_group)
    units = gather(planned.features.values, planned.group)
    presence = gather(planned.features.support.astype(float), planned.group) > 0
    attainable = attainable_weights(planned.features.weights, units, planned.shares)
    floor, family = headline(planned.features, units, planned.shares, planned.report)
    found: list[Found] = []
    reports: list[dict[str, Any]] = []
    made: list[Fold] = []
    for repeat in range(repeats):
        one = search(
            units,
            presence,
            planned.shares,
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
        fold = one.fold[planned.group]
        found.append(one)
        made += _folds(dataset, planned, fold)
        first = repeat * len(planned.report)
        reports.append(quality(planned.features, planned.group, fold, planned.shares, planned.report, first=first))
        if one.interrupted:
            break
    report = {**over_repeats(reports), "swaps_tried": sum(one.candidates for one in found)}
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
    return Made(Split(tuple(made), report, seed, source), planned, tuple(found))


def _enough_groups(dataset: Dataset, planned: Plan, rules: Sequence[str], photo_group: Ints | None) -> None:
    """TrashkitError that says which rule leaves how many groups, where they are fewer than the folds."""
    wanted, have = len(planned.shares), len(np.unique(planned.group))
    if have >= wanted:
        return
    group = number([None] * len(dataset.images)) if photo_group is None else photo_group
    steps = [f"of {len(dataset.images)} images"]
    steps += [] if photo_group is None else [f"near-duplicate photos leave {len(np.unique(group))}"]
    for rule in rules:
        group = joined(group, named_groups(dataset, rule))
        steps.append(f"--groups {rule} leaves {len(np.unique(group))}")
    raise TrashkitError(
        f"{have} groups of images cannot fill {wanted} folds: {', then '.join(steps)}",
        hint="ask for fewer --folds, or for finer --groups",
    )


def _folds(dataset: Dataset, planned: Plan, fold: Ints) -> list[Fold]:
    home = np.empty(len(fold), dtype=np.intp)
    home[list(planned.order)] = fold
    return [
        Fold(
            tuple(image.id for image, k in zip(dataset.images, home, strict=True) if k != number_),
            tuple(image.id for image, k in zip(dataset.images, home, strict=True) if k == number_),
        )
        for number_ in planned.report
    ]
