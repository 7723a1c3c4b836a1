"""Suggested training settings, from the data set, its audit, and the out-of-fold errors of a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trashkit.errors import TrashkitError
from trashkit.progress import Log, Progress, discard, silent
from trashkit.runs.folder import OOF
from trashkit.workflows.train_inputs import TrainInputs, read_recipes, recipe_of_run

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.metrics.scores import Confusion
    from trashkit.nn.experiments.suggest import Suggestion


@dataclass(frozen=True)
class Suggestions:
    """Suggestions for a data set. recipe: that they are relative to, None for the default one."""

    recipe: str | None
    suggestions: tuple[Suggestion, ...]


def suggest_settings(
    inputs: TrainInputs, *, device: str = "auto", log: Log = discard, progress: Progress = silent
) -> Suggestions:
    """Suggest settings for a request, each with the measurement behind it.

    The settings to improve are those of the request's recipe, or of the run in its `out`. The photo folder is optional:
    without it, brightness is not measured. If `out` holds a trained run, its out-of-fold errors are used.
    """
    from trashkit.audit import audit
    from trashkit.nn.experiments.suggest import collect_facts, suggest

    request, dataset = inputs.request, inputs.dataset
    recipes = list(request.recipes) or recipe_of_run(request.out, log)
    config = next(iter(read_recipes(recipes, request.assignments, device=device, log=log).values()))
    findings = audit(dataset.coco, images=request.images, progress=progress).findings
    errors = _out_of_fold_errors(dataset, request.out, log)
    facts = collect_facts(dataset, config, findings=findings, images=request.images, errors=errors, progress=progress)
    if errors is None:
        log("no out-of-fold errors were used; to use those of a trained run, add --out RUN")
    return Suggestions(recipes[0] if recipes else None, tuple(suggest(facts)))


def _out_of_fold_errors(dataset: Dataset, out: Path | None, log: Log) -> Confusion | None:
    """Confusion matrix of a run's out-of-fold store, or of all folds below a folder of runs."""
    if out is None:
        return None
    if not out.exists():
        log(f"there is no run at {out}")
        return None
    from trashkit.metrics.evaluate import evaluate
    from trashkit.predictions.reading import open_predictions

    stores = [place for place in (out / OOF, *sorted(out.glob(f"*/{OOF}"))) if place.exists()]
    if not stores:
        raise TrashkitError(f"{out} has no out-of-fold predictions", hint="give a trained run, or leave out --out")
    log(f"errors of {stores[0]}")
    return evaluate(open_predictions(stores[0], dataset), partial=True).confusion
