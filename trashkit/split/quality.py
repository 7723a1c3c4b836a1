"""How good a split is: deviations, floors, support, group integrity, and what noise to expect of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.split.objective import (
    CLASS_CRITERIA,
    Features,
    class_floors,
    deviations,
    even_enough,
    floors,
    gather,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

IMAGE_IOU_SD = 0.35
"""Assumed standard deviation, over images, of one class's IoU on one image (see `expected_sd`)."""
TELLING, NEAR = 0.1, 0.8
"""Deviations of a class above the first are explained, where the joint floor is at least this part of them."""


def expected_sd(pixels: Floats, group: Ints, fold: Ints, folds: int) -> tuple[Floats, Floats]:
    """Expected standard deviation of each fold's mIoU and of its IoU per class: [K], [K, C].

    Delta method: a class's pooled IoU is about the mean of per-image IoUs weighted by the class's pixels, so its
    variance is ``IMAGE_IOU_SD ** 2 / n`` with Kish's effective sample size ``n = (sum a)**2 / sum a**2`` over groups
    of images with a > 0. Classes count as independent: the variance of their mean is the mean variance over the
    number of classes. Background (large, stable) is left out; NaN where a fold lacks the class, and such a class is
    skipped. It says how far folds differ by their make-up alone, for one model; not a confidence interval.

    pixels: [N, C] pixel share per image and class. group: [N]. fold: [N] 0 .. folds-1, or -1 for none.
    """
    per_class = np.full((folds, pixels.shape[1]), np.nan)
    overall = np.full(folds, np.nan)
    for k in range(folds):
        inside = fold == k
        if not inside.any():
            continue
        _, members = np.unique(group[inside], return_inverse=True)
        mass = gather(pixels[inside], members)
        square = np.square(mass).sum(axis=0)
        held = square > 0
        per_class[k, held] = IMAGE_IOU_SD * np.sqrt(square[held]) / mass.sum(axis=0)[held]
        if held.any():
            overall[k] = float(np.sqrt(np.square(per_class[k, held]).sum()) / held.sum())
    return overall, per_class


def _number(value: float) -> float | None:
    return round(float(value), 6) + 0.0 if np.isfinite(value) else None  # + 0.0 turns -0.0 into 0.0


def _spread(deviation: Floats, floor: Floats, joint: Floats) -> dict[str, float | None]:
    """Worst and mean absolute deviation of columns [K, F], and the floors beside them."""
    if not deviation.size:
        return dict.fromkeys(("worst", "mean", "floor", "joint_floor", "worst_above_floor"))
    size = np.abs(deviation)
    return {
        "worst": _number(size.max()),
        "mean": _number(size.mean()),
        "floor": _number(floor.max()),
        "joint_floor": _number(np.maximum(floor, joint).max()),
        "worst_above_floor": _number((size.max(axis=0) - floor).max()),
    }


def quality(
    features: Features, group: Ints, fold: Ints, shares: Floats, report: Sequence[int], *, first: int = 0
) -> dict[str, Any]:
    """The report on one split, JSON-ready. first: number of its first fold in the split, where repeats precede it.

    group, fold: [N] of each image. shares: [K]. report: the folds that are scored on (all, or the holdout alone).
    Deviations are relative: 0.05 is five percent too much or too little of what the fold should hold. ``floor`` is a
    lower bound on the worst deviation of any split with these groups, ``joint_floor`` of any that also gives every
    fold its images of the class. ``criteria`` counts classes in at least 5 images per fold; the others stand under
    ``per_class`` with ``"counted": false``. ``explained`` says why a class is far off where no search could mend it.
    """
    folds = len(shares)
    sizes = np.bincount(group)
    homes = np.unique(np.stack([group, fold], axis=1), axis=0)[:, 0]
    broken = int((np.bincount(homes) > 1).sum())
    # Where groups are broken, what they would forbid is no floor: that of single images is.
    units = features.values if broken else gather(features.values, group)
    every = deviations(features.values, fold, shares)[list(report)]
    bound, joint = floors(units, shares), class_floors(features, units, shares)
    counted = set(even_enough(features, shares, report))
    criteria: dict[str, Any] = {}
    for criterion in dict.fromkeys(features.criteria):
        columns = features.columns(criterion)
        if criterion in CLASS_CRITERIA:
            columns = np.array([c for c in columns if features.names[c] in counted], dtype=np.intp)
        columns = columns[features.values[:, columns].sum(axis=0) > 0]
        criteria[criterion] = _spread(every[:, columns], bound[columns], joint[columns])
    pixels = features.values[:, [features.column("pixel_share", name) for name in features.classes]]
    overall, class_sd = expected_sd(pixels, group, fold, folds)
    held = np.array([features.support[fold == k].sum(axis=0) for k in range(folds)]).reshape(folds, -1)
    per_class: dict[str, Any] = {}
    for number, name in enumerate(features.classes):
        counts = features.values[:, features.column("instances", name)]
        row: dict[str, Any] = {
            "images": int(features.support[:, number].sum()),
            "instances": int(counts.sum()),
            "counted": name in counted,
            "support": [int(held[k, number]) for k in report],
            "instances_held": [int(counts[fold == k].sum()) for k in report],
            "expected_iou_sd": [_number(class_sd[k, number]) for k in report],
        }
        for criterion in CLASS_CRITERIA:
            column = features.column(criterion, name)
            row[criterion + "_deviation"] = _spread(every[:, [column]], bound[[column]], joint[[column]])
            if criterion != "support":
                key = {"pixel_share": "pixel_share", "instances": "instances_off"}[criterion]
                row[key] = [_number(value) for value in every[:, column]]
        per_class[name] = row
    return {
        "images": len(group),
        "criteria": criteria,
        "per_class": per_class,
        "folds": [
            {
                "images": int((fold == k).sum()),
                "expected_miou_sd": _number(overall[k]),
                "missing": [name for n, name in enumerate(features.classes) if held[k, n] == 0],
            }
            for k in report
        ],
        "groups": {
            "groups": len(sizes),
            "images_in_groups": int(sizes[sizes > 1].sum()),
            "largest": int(sizes.max()),
            "broken": broken,
        },
        "expected_sd_assumes": f"a class's IoU on one image has standard deviation {IMAGE_IOU_SD}; groups independent",
        "explained": _explained(features, units, every, np.maximum(bound, joint), first=first),
        "warnings": _warnings(features, group, held, shares, report=report, first=first),
    }


def _explained(features: Features, units: Floats, every: Floats, bound: Floats, *, first: int) -> list[str]:
    """One line per class and criterion that is far off because of one unit, rarest class first.

    every: [R, F] deviations of the folds reported. bound: [F] joint floors.
    """
    lines: list[str] = []
    shares_out = max(len(every), 2)
    what = "image" if (units[:, features.columns("images")] <= 1).all() else "image or group"
    for name in features.classes:
        for criterion, words in (("pixel_share", "pixels"), ("instances", "instances")):
            column = features.column(criterion, name)
            worst = int(np.abs(every[:, column]).argmax())
            off, floor = float(every[worst, column]), float(bound[column])
            if abs(off) <= TELLING or floor < NEAR * abs(off):
                continue
            held = units[:, column]
            why = (
                f"one {what} holds {held.max() / held.sum():.0%} of all {words}, and its fold needs a share of "
                "the class's other images too"
            )
            if held.max() < held.sum() / shares_out / 2:
                why = f"there are {held.sum():.0f}"
            lines.append(
                f"{name}, {words}: fold {first + worst} is {100 * off:+.1f} % off; {why}: no split that shares out "
                f"the images gets below {100 * floor:.1f} %"
            )
    return lines


def over_repeats(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report of all repeats, in the shape of each: all folds one after the other, the worst of all deviations.

    ``mean`` is the mean over the repeats. With several, the single reports stand under ``repeats``.
    """
    if len(reports) == 1:
        return reports[0]
    head = reports[0]
    per_class: dict[str, Any] = {}
    for name, row in head["per_class"].items():
        rows = [report["per_class"][name] for report in reports]
        per_class[name] = {key: _together(key, [one[key] for one in rows]) for key in row}
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


def _together(key: str, values: list[Any]) -> Any:
    if isinstance(values[0], list):
        return [one for value in values for one in value]
    return _worst(values) if key.endswith("_deviation") else values[0]


def _worst(spreads: list[dict[str, float | None]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key in spreads[0]:
        known = [value for spread in spreads if (value := spread[key]) is not None]
        found[key] = (_number(float(np.mean(known))) if key == "mean" else max(known)) if known else None
    return found


def _warnings(
    features: Features, group: Ints, held: Ints, shares: Floats, *, report: Sequence[int], first: int
) -> list[str]:
    """One line per class and the folds without it, rarest class first."""
    units = gather(features.support.astype(float), group) > 0
    lines: list[str] = []
    for number, name in enumerate(features.classes):
        empty = [str(first + n) for n, k in enumerate(report) if held[k, number] == 0]
        if not empty:
            continue
        have = int(units[:, number].sum())
        what = ("image", "images") if len(units) == len(group) else ("group of images", "groups of images")
        why = f"only 1 {what[0]} holds it" if have == 1 else f"only {have} {what[1]} hold it"
        if have >= len(held):
            why = f"although {have} {what[1]} hold it"
        lines.append(f"{name} is missing from fold {', '.join(empty)}: {why}")
    largest = int(np.bincount(group).max())
    if largest > np.ceil(len(group) * shares.max()):
        lines.append(f"one group holds {largest} of {len(group)} images, more than a fold should")
    return lines
