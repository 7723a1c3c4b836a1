"""Test a split, made here or elsewhere: is it sound, does it leak, how even is it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.finding import Finding, Severity
from trashkit.split.files import Fold, Split, problems
from trashkit.split.make import Plan, plan
from trashkit.split.quality import quality

Ints = NDArray[np.intp]


NAMED = 5
"""Images of a leaking group that its message names."""


@dataclass(frozen=True)
class Checked:
    """findings: errors for an unsound split and for leaks, warnings for missing classes. quality: one report for each
    round of folds (each repeat); empty where the split is unsound."""

    findings: tuple[Finding, ...]
    quality: tuple[dict[str, Any], ...]

    @property
    def passed(self) -> bool:
        """No errors."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def rounds(split: Split) -> list[tuple[Fold, ...]]:
    """Folds in runs whose val are disjoint: K folds each, or each holdout alone."""
    if split.holdout:
        return [(fold,) for fold in split.folds]
    made: list[list[Fold]] = []
    seen: set[Any] = set()
    for fold in split.folds:
        if not made or seen & set(fold.val):
            made.append([])
            seen = set()
        made[-1].append(fold)
        seen |= set(fold.val)
    return [tuple(folds) for folds in made]


def leaks(split: Split, dataset: Dataset, group: Ints) -> list[Finding]:
    """One finding for each group of images that stands on both sides of a fold, with its rows in `related`."""
    group_of = {image.id: int(g) for image, g in zip(dataset.images, group, strict=True)}
    members: dict[int, list[int]] = {}
    for image, g in zip(dataset.images, group, strict=True):
        members.setdefault(int(g), []).append(image.row)
    broken: dict[int, list[int]] = {}
    for number, fold in enumerate(split.folds):
        train = {group_of[i] for i in fold.train if i in group_of}
        for g in sorted(train & {group_of[i] for i in fold.val if i in group_of}):
            broken.setdefault(g, []).append(number)
    found: list[Finding] = []
    for g, folds in broken.items():
        first = dataset.image_by_row[members[g][0]]
        where = ", ".join(map(str, folds))
        names = ", ".join(dataset.image_by_row[row].file_name for row in members[g][:NAMED])
        more = f" and {len(members[g]) - NAMED} more" if len(members[g]) > NAMED else ""
        found.append(
            Finding(
                "leak",
                "group-in-train-and-val",
                Severity.ERROR,
                "images",
                first.row,
                f"a group of {len(members[g])} images is in train and in val of fold {where}: {names}{more}",
                image_id=first.id,
                file_name=first.file_name,
                related=tuple(members[g][1:21]),
                related_count=len(members[g]) - 1,
            )
        )
    return found


def check_split(
    split: Split, dataset: Dataset, *, rules: Sequence[str] = (), photo_group: Ints | None = None
) -> Checked:
    """Test a split against a data set: partition, leaks between groups, classes missing from folds, deviations.

    rules, photo_group: as in `trashkit.split.make.plan`; without them there are no groups and so no leaks.
    """
    findings = [
        Finding("unsound", "not-a-partition", Severity.ERROR, "file", None, line)
        for line in problems(split, [image.id for image in dataset.images])
    ]
    made = plan(dataset, holdout=0.5, rules=rules, photo_group=photo_group)
    group = np.empty(len(made.order), dtype=np.intp)
    group[list(made.order)] = made.group
    findings += leaks(split, dataset, group)
    reports: list[dict[str, Any]] = []
    if not any(finding.code == "unsound" for finding in findings):
        first = 0
        for folds in rounds(split):
            reports.append(_quality(folds, dataset, made, first))
            first += len(folds)
    findings += [
        Finding("uneven", "class-missing", Severity.WARNING, "file", None, line)
        for line in dict.fromkeys(line for report in reports for line in report["warnings"])
    ]
    return Checked(tuple(findings), tuple(reports))


def _quality(folds: Sequence[Fold], dataset: Dataset, made: Plan, first: int) -> dict[str, Any]:
    """A holdout is measured against its own share, K folds against 1/K each."""
    total = len(dataset.images)
    held = len(folds[0].val) / total
    alone = len(folds) == 1
    shares = np.array([1 - held, held]) if alone else np.full(len(folds), 1 / len(folds))
    report: tuple[int, ...] = (1,) if alone else tuple(range(len(folds)))
    home: dict[Any, int] = {}
    for number, fold in zip(report, folds, strict=True):
        home |= dict.fromkeys(fold.val, number)
    fold_of = np.array([home.get(dataset.images[n].id, 0) for n in made.order], dtype=np.intp)
    planned = replace(made, shares=shares, report=report)
    return quality(planned.features, planned.group, fold_of, shares, report, first=first)
