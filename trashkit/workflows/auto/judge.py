"""Judge optional steps: several predictions of the labelled photos against the one without the step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trashkit.errors import TrashkitError
from trashkit.leaderboard.choice import Judgement, judge
from trashkit.metrics.evaluate import Evaluation
from trashkit.progress import Progress, silent
from trashkit.split.files import read_split
from trashkit.workflows.score import ScoringOptions


def judge_files(
    base: Path,
    candidates: Sequence[Path],
    truth: Path,
    split: Path,
    options: ScoringOptions,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Judgement:
    """Choose among predictions (stores, CSVs, COCO files or run folders) on K-1 folds of a split, judged on the other.

    See `trashkit.leaderboard.choice.judge`. Raises TrashkitError for predictions of different images, for a split that
    does not fit, and for a single fold.
    """
    dataset = options.read_truth(truth)
    folds = read_split(split, dataset).folds
    if len(folds) < 2:
        raise TrashkitError(f"{split} has one fold", hint="a choice is judged on the fold left out: split into more")
    fold_of_id = {image_id: n for n, fold in enumerate(folds) for image_id in fold.val}

    def scored(path: Path) -> Evaluation:
        return options.evaluate([path], dataset, progress=progress)[0]

    first = scored(base)
    others = {str(path): scored(path) for path in candidates}
    for path, found in others.items():
        if found.images != first.images:
            raise TrashkitError(
                f"{base} and {path} predict different images", hint="compare predictions of one data set"
            )
    ids = [dataset.image_by_row[row].id for row in first.images]
    fold_of = np.array([fold_of_id[image_id] for image_id in ids])
    return judge(first.per_image, {name: one.per_image for name, one in others.items()}, fold_of, seed=seed)
