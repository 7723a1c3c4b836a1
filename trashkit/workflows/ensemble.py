"""Fit an ensemble on out-of-fold stores, after checking that no member was trained on the images it is fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trashkit.coco import Dataset, read_dataset
from trashkit.ensemble.combine import Mix
from trashkit.ensemble.fit import FITTED, Fit, fit
from trashkit.errors import TrashkitError
from trashkit.label_errors.leakage import trained_image_ids
from trashkit.metrics.evaluate import require_labels
from trashkit.predictions.store import Probabilities
from trashkit.progress import Progress, silent


@dataclass(frozen=True)
class FittedEnsemble:
    """Result of `fit_ensemble`. mix: the one to use. unknown: stores whose training images are not recorded."""

    fit: Fit
    mix: Mix
    unknown: tuple[Path, ...]


def fit_ensemble(
    stores: Sequence[Probabilities],
    truth: Path,
    *,
    method: str | None = None,
    seed: int = 0,
    classes: str | None = None,
    progress: Progress = silent,
) -> FittedEnsemble:
    """Find how to combine out-of-fold stores by the annotations `truth`, see `trashkit.ensemble.fit.fit`.

    method: use this mix (``mean`` or one of `trashkit.ensemble.fit.FITTED`) instead of the chosen one.
    Raises TrashkitError for an unknown method, and where a member was trained on annotated images: it would be weighted
    by what it remembers.
    """
    choices = ("mean", *FITTED)
    if method is not None and method not in choices:
        raise TrashkitError(f"--fit has no method {method}", hint=f"choose --method from: {', '.join(choices)}")
    dataset = read_dataset(truth, classes=classes)
    require_labels(dataset)
    unknown = _check_unseen(stores, dataset)
    found = fit(stores, dataset, seed=seed, progress=progress)
    candidate = found.chosen if method is None else next(one for one in found.candidates if one.name == method)
    assert candidate.mix is not None, "only single stores have no mix"
    return FittedEnsemble(found, candidate.mix, unknown)


def _check_unseen(stores: Sequence[Probabilities], dataset: Dataset) -> tuple[Path, ...]:
    """Refuse stores of models that were trained on these images; return those whose training images are unknown."""
    annotated = {image.id for image in dataset.images}
    unknown = []
    for store in stores:
        seen = trained_image_ids(store)
        if seen is None:
            unknown.append(store.path)
        elif seen & annotated:
            raise TrashkitError(
                f"{store.path} was predicted by models that were trained on {len(seen & annotated)} of these images, "
                "so its weight would reflect what they memorised",
                hint="give out-of-fold stores, RUN/oof or RUN/RECIPE/oof, to --fit",
            )
    return tuple(unknown)
