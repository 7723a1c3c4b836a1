"""Quality report of a split: deviations, lower bounds, support, group integrity, and expected noise of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from trashkit.split.objective import (
    CLASS_CRITERIA,
    Features,
    class_floors,
    common_classes,
    deviation_floors,
    deviations,
    sum_by_group,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

IMAGE_IOU_SD = 0.35
"""Assumed standard deviation, over images, of one class's IoU on one image (see `expected_sd`)."""
EXPLAINED_FROM, NEAR_FLOOR = 0.1, 0.8
"""Deviations of a class above the first are explained if the joint floor is at least the second times as large."""

DeviationReport = dict[str, float | None]
"""Relative deviations ``worst``, ``mean`` and ``worst_above_floor``, and lower bounds ``floor`` and ``joint_floor``."""


class FoldReport(TypedDict):
    """Images of a fold, expected standard deviation of its mIoU, and classes that it lacks."""

    images: int
    expected_miou_sd: float | None
    missing: list[str]


class GroupReport(TypedDict):
    """Number of groups, images in groups of several, size of the largest, and groups that are in several folds."""

    groups: int
    images_in_groups: int
    largest: int
    broken: int


class QualityReport(TypedDict):
    """Quality of a split, JSON-ready.

    criteria: deviations by criterion, over classes in at least 5 images per fold. per_class: for each class, rarest
    first, its images, instances, deviations and noise. explained: reasons for large deviations that no search can
    avoid. swaps_tried: by the search. repeats: reports of the single repeats, if there are several.
    """

    images: int
    criteria: dict[str, DeviationReport]
    per_class: dict[str, dict[str, Any]]
    folds: list[FoldReport]
    groups: GroupReport
    expected_sd_assumes: str
    explained: list[str]
    warnings: list[str]
    repeats: NotRequired[list[QualityReport]]
    swaps_tried: NotRequired[int]


def expected_sd(pixels: Floats, group: Ints, fold: Ints, folds: int) -> tuple[Floats, Floats]:
    """Expected standard deviation of each fold's mIoU and of its IoU per class: [K], [K, C].

    Delta method: a class's pooled IoU is about the mean of per-image IoUs weighted by the class's pixels, so its
    variance is ``IMAGE_IOU_SD ** 2 / n`` with Kish's effective sample size ``n = (sum a)**2 / sum a**2`` over groups
    of images with a > 0. Classes are treated as independent: the variance of their mean is their mean variance divided
    by the number of classes. Background (large, stable) is left out; a class that a fold lacks is NaN and skipped. It
    measures how much folds differ by their composition alone, for one model; it is not a confidence interval.

    pixels: [N, C] pixel share per image and class. group: [N]. fold: [N] 0 .. folds-1, or -1 for none.
    """
    per_class = np.full((folds, pixels.shape[1]), np.nan)
    overall = np.full(folds, np.nan)
    for k in range(folds):
        inside = fold == k
        if not inside.any():
            continue
        _, members = np.unique(group[inside], return_inverse=True)
        mass = sum_by_group(pixels[inside], members)
        square = np.square(mass).sum(axis=0)
        held = square > 0
        per_class[k, held] = IMAGE_IOU_SD * np.sqrt(square[held]) / mass.sum(axis=0)[held]
        if held.any():
            overall[k] = float(np.sqrt(np.square(per_class[k, held]).sum()) / held.sum())
    return overall, per_class


def _number(value: float) -> float | None:
    return round(float(value), 6) + 0.0 if np.isfinite(value) else None  # + 0.0 turns -0.0 into 0.0


def _deviation_report(deviation: Floats, floor: Floats, joint: Floats) -> DeviationReport:
    """Worst and mean absolute deviation of columns [K, F], with their lower bounds."""
    if not deviation.size:
        return dict.fromkeys(("worst", "mean", "floor", "joint_floor", "worst_above_floor"))
    size = np.abs(deviation)
    return {
        "worst": _number(size.max()),
        "mean": _number(size.mean()),
        "floor": _number(floor.max()),
        "joint_floor": _number(min(np.maximum(floor, joint).max(), size.max())),
        "worst_above_floor": _number((size.max(axis=0) - floor).max()),
    }


def measure_quality(
    features: Features, group: Ints, fold: Ints, shares: Floats, val_folds: Sequence[int], *, first: int = 0
) -> QualityReport:
    """Measure the quality of one round of folds.

    group, fold: [N] of each image. shares: [K]. val_folds: the folds used as validation sets (all, or the holdout).
    first: number of the first of them in the split, if repeats precede it.
    Deviations are relative: 0.05 is five percent more or less than the fold should hold. ``floor`` is a lower bound on
    the worst deviation of any split with these groups, ``joint_floor`` of any that also gives every fold its images of
    the class. Classes in fewer than 5 images per fold do not count in ``criteria``; they are in ``per_class`` with
    ``"counted": false``.
    """
    folds = len(shares)
    sizes = np.bincount(group)
    homes = np.unique(np.stack([group, fold], axis=1), axis=0)[:, 0]
    broken = int((np.bincount(homes) > 1).sum())
    # If groups are broken, the lower bounds are those of single images.
    units = features.values if broken else sum_by_group(features.values, group)
    every = deviations(features.values, fold, shares)[list(val_folds)]
    bound, joint = deviation_floors(units, shares), class_floors(features, units, shares)
    counted = set(common_classes(features, shares, val_folds))
    criteria: dict[str, DeviationReport] = {}
    for criterion in dict.fromkeys(features.criteria):
        columns = features.columns(criterion)
        if criterion in CLASS_CRITERIA:
            columns = np.array([c for c in columns if features.names[c] in counted], dtype=np.intp)
        columns = columns[features.values[:, columns].sum(axis=0) > 0]
        criteria[criterion] = _deviation_report(every[:, columns], bound[columns], joint[columns])
    pixels = features.values[:, [features.column("pixel_share", name) for name in features.classes]]
    overall, class_sd = expected_sd(pixels, group, fold, folds)
    support = np.array([features.support[fold == k].sum(axis=0) for k in range(folds)]).reshape(folds, -1)
    return {
        "images": len(group),
        "criteria": criteria,
        "per_class": {
            name: _class_report(
                features,
                number,
                fold=fold,
                val_folds=val_folds,
                every=every,
                bound=bound,
                joint=joint,
                support=support,
                class_sd=class_sd,
                counted=name in counted,
            )
            for number, name in enumerate(features.classes)
        },
        "folds": [
            {
                "images": int((fold == k).sum()),
                "expected_miou_sd": _number(overall[k]),
                "missing": [name for n, name in enumerate(features.classes) if support[k, n] == 0],
            }
            for k in val_folds
        ],
        "groups": {
            "groups": len(sizes),
            "images_in_groups": int(sizes[sizes > 1].sum()),
            "largest": int(sizes.max()),
            "broken": broken,
        },
        "expected_sd_assumes": f"a class's IoU on one image has standard deviation {IMAGE_IOU_SD}; groups independent",
        "explained": _explained(features, units, every, np.maximum(bound, joint), first=first),
        "warnings": _warnings(features, group, support, shares, val_folds=val_folds, first=first),
    }


def _class_report(
    features: Features,
    number: int,
    *,
    fold: Ints,
    val_folds: Sequence[int],
    every: Floats,
    bound: Floats,
    joint: Floats,
    support: Ints,
    class_sd: Floats,
    counted: bool,
) -> dict[str, Any]:
    """Report on class `number`; arguments as in `measure_quality`. support: images, class_sd: noise by fold, [K, C]."""
    name = features.classes[number]
    counts = features.values[:, features.column("instances", name)]
    row: dict[str, Any] = {
        "images": int(features.support[:, number].sum()),
        "instances": int(counts.sum()),
        "counted": counted,
        "support": [int(support[k, number]) for k in val_folds],
        "instances_held": [int(counts[fold == k].sum()) for k in val_folds],
        "expected_iou_sd": [_number(class_sd[k, number]) for k in val_folds],
    }
    for criterion in CLASS_CRITERIA:
        column = features.column(criterion, name)
        row[criterion + "_deviation"] = _deviation_report(every[:, [column]], bound[[column]], joint[[column]])
        if criterion != "support":
            key = {"pixel_share": "pixel_share", "instances": "instances_off"}[criterion]
            row[key] = [_number(value) for value in every[:, column]]
    return row


def _explained(features: Features, units: Floats, every: Floats, bound: Floats, *, first: int) -> list[str]:
    """One line per class and criterion with a large deviation that its lower bound explains, rarest class first.

    every: [R, F] deviations of the validation folds. bound: [F] joint floors.
    """
    lines: list[str] = []
    shares_out = max(len(every), 2)
    what = "image" if (units[:, features.columns("images")] <= 1).all() else "image or group"
    for name in features.classes:
        for criterion, words in (("pixel_share", "pixels"), ("instances", "instances")):
            column = features.column(criterion, name)
            worst = int(np.abs(every[:, column]).argmax())
            off, floor = float(every[worst, column]), float(bound[column])
            if abs(off) <= EXPLAINED_FROM or floor < NEAR_FLOOR * abs(off):
                continue
            held = units[:, column]
            why = (
                f"one {what} holds {held.max() / held.sum():.0%} of all {words}, and its fold needs its share of "
                "the class's other images too"
            )
            if held.max() < held.sum() / shares_out / 2:
                why = f"there are only {held.sum():.0f}"
            # A split that beats the floor gives some fold fewer images than its share: what it reaches is a bound, too.
            floor = min(floor, abs(off))
            lines.append(
                f"{name}, {words}: fold {first + worst} is off by {100 * off:+.1f} %; {why}: no split that "
                f"distributes the images evenly gets below {100 * floor:.1f} %"
            )
    return lines


def merge_repeats(reports: Sequence[QualityReport]) -> QualityReport:
    """Merge the reports of repeats into one: all folds one after another, and the worst deviations.

    ``mean`` is the mean over the repeats. With several repeats, their reports are kept under ``repeats``.
    """
    if len(reports) == 1:
        return reports[0]
    head = reports[0]
    per_class: dict[str, Any] = {}
    for name, row in head["per_class"].items():
        rows = [report["per_class"][name] for report in reports]
        per_class[name] = {key: _merged(key, [one[key] for one in rows]) for key in row}
    return {
        **head,
        "criteria": {key: _worst([report["criteria"][key] for report in reports]) for key in head["criteria"]},
        "per_class": per_class,
        "folds": [fold for report in reports for fold in report["folds"]],
        "groups": {**head["groups"], "broken": max(report["groups"]["broken"] for report in reports)},
        "explained": list(dict.fromkeys(line for report in reports for line in report["explained"])),
        "warnings": list(dict.fromkeys(line for report in reports for line in report["warnings"])),
        "repeats": list(reports),
    }


def _merged(key: str, values: list[Any]) -> Any:
    if isinstance(values[0], list):
        return [one for value in values for one in value]
    return _worst(values) if key.endswith("_deviation") else values[0]


def _worst(spreads: list[DeviationReport]) -> DeviationReport:
    found: dict[str, float | None] = {}
    for key in spreads[0]:
        known = [value for spread in spreads if (value := spread[key]) is not None]
        found[key] = (_number(float(np.mean(known))) if key == "mean" else max(known)) if known else None
    return found


def _warnings(
    features: Features, group: Ints, held: Ints, shares: Floats, *, val_folds: Sequence[int], first: int
) -> list[str]:
    """One line per class that folds lack, rarest class first, and one for a group that is too large."""
    units = sum_by_group(features.support.astype(float), group) > 0
    lines: list[str] = []
    for number, name in enumerate(features.classes):
        empty = [str(first + n) for n, k in enumerate(val_folds) if held[k, number] == 0]
        if not empty:
            continue
        have = int(units[:, number].sum())
        what = ("image", "images") if len(units) == len(group) else ("group of images", "groups of images")
        why = f"only 1 {what[0]} has it" if have == 1 else f"only {have} {what[1]} have it"
        if have >= len(held):
            why = f"although {have} {what[1]} have it"
        lines.append(f"{name} is missing from fold {', '.join(empty)}: {why}")
    largest = int(np.bincount(group).max())
    if largest > np.ceil(len(group) * shares.max()):
        lines.append(f"one group has {largest} of {len(group)} images, more than a fold's share")
    return lines
