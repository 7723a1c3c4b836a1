"""Check a split, of trashkit or another tool: validity, leaks between groups, missing classes, deviations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.finding import Finding, RowFinding, Severity
from trashkit.split.files import Fold, Split, split_problems
from trashkit.split.make import SearchInput, search_input
from trashkit.split.quality import QualityReport, measure_quality

Ints = NDArray[np.intp]


NAMED = 5
"""Images of a leaking group that the message names."""


@dataclass(frozen=True)
class SplitCheck:
    """Result of `check_split`.

    findings: errors for an invalid split and for leaks, warnings for missing classes. quality: one report for each
    round of folds (each repeat); empty if the split is invalid.
    """

    findings: tuple[Finding, ...]
    quality: tuple[QualityReport, ...]

    @property
    def passed(self) -> bool:
        """Whether there are no errors."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def fold_rounds(split: Split) -> list[tuple[Fold, ...]]:
    """Group folds into rounds with disjoint validation sets: K folds each, or one holdout each."""
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


def find_leaks(split: Split, dataset: Dataset, group: Ints) -> list[Finding]:
    """One finding for each group of images that is in both train and val of a fold, with its rows in `related`."""
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
            RowFinding(
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
) -> SplitCheck:
    """Check a split against a data set: partition, leaks between groups, classes missing from folds, deviations.

    rules, photo_group: as in `trashkit.split.make.search_input`; without them there are no groups and thus no leaks.
    """
    findings = [
        Finding("unsound", "not-a-partition", Severity.ERROR, "file", None, line)
        for line in split_problems(split, [image.id for image in dataset.images])
    ]
    made = search_input(dataset, holdout=0.5, rules=rules, photo_group=photo_group)
    group = np.empty(len(made.order), dtype=np.intp)
    group[list(made.order)] = made.group
    findings += find_leaks(split, dataset, group)
    reports: list[QualityReport] = []
    if not any(finding.code == "unsound" for finding in findings):
        first = 0
        for folds in fold_rounds(split):
            reports.append(_quality(folds, dataset, made, first))
            first += len(folds)
    findings += [
        Finding("uneven", "class-missing", Severity.WARNING, "file", None, line)
        for line in dict.fromkeys(line for report in reports for line in report["warnings"])
    ]
    return SplitCheck(tuple(findings), tuple(reports))


def _quality(folds: Sequence[Fold], dataset: Dataset, made: SearchInput, first: int) -> QualityReport:
    """Quality of one round; a holdout is measured against its own share, K folds against 1/K each."""
    total = len(dataset.images)
    held = len(folds[0].val) / total
    alone = len(folds) == 1
    shares = np.array([1 - held, held]) if alone else np.full(len(folds), 1 / len(folds))
    val_folds: tuple[int, ...] = (1,) if alone else tuple(range(len(folds)))
    home: dict[Any, int] = {}
    for number, fold in zip(val_folds, folds, strict=True):
        home |= dict.fromkeys(fold.val, number)
    fold_of = np.array([home.get(dataset.images[n].id, 0) for n in made.order], dtype=np.intp)
    inputs = replace(made, shares=shares, val_folds=val_folds)
    return measure_quality(inputs.features, inputs.group, fold_of, shares, val_folds, first=first)
