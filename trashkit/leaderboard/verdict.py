"""All that a ledger says, in one JSON-ready value: estimates, their order, advice, and what came of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.advice import cautions, choice, of_bare, of_history, too_few
from trashkit.leaderboard.bare import from_scores, is_bare, scores_count
from trashkit.leaderboard.calibrate import Calibration
from trashkit.leaderboard.ledger import Entry, Ledger
from trashkit.leaderboard.nested import SEARCHES, Trial, try_history
from trashkit.leaderboard.proxy import Estimate, estimate
from trashkit.leaderboard.standing import ImageId, Standing, standing
from trashkit.scores import Floats


def verdict(
    ledger: Ledger,
    *,
    likeness: Mapping[ImageId, float] | None = None,
    folds: Sequence[Sequence[ImageId]] = (),
    public_share: float = 0.5,
    history: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge the submissions of a ledger.

    likeness: weights of validated images by id. folds: ids that each fold validates on, tried as subsets.
    public_share: part of the test photos in the public half. history: whether subsets are searched
    (`trashkit.leaderboard.nested`); ``errors`` are then of subsets chosen without the left-out submission.
    Keys: ``enough`` (public scores), ``submissions`` (best first), ``calibration``, ``errors`` (of left-out public
    scores), ``class_mix`` of the test photos, ``weighted_by_likeness``, ``history``, ``public_half_sd``, ``says``, and
    ``evidence``: "matrices", or "scores" where too few submissions have more than a bare score and others have one
    (`trashkit.leaderboard.bare`). TrashkitError where no submission has any validation.
    """
    if scores_count(ledger):
        return _of_scores(ledger, level, seed)
    held = standing(ledger)
    weights = held.weights(likeness or {})
    public_images = max(1, round(held.test_images * public_share))

    def judged(chosen: NDArray[np.bool_], public: Floats, draw: int = 0) -> Estimate:
        return estimate(
            held.matrices[:, chosen],
            public=public,
            shown=held.shown,
            weights=None if weights is None else weights[chosen],
            public_images=public_images,
            private_images=max(1, held.test_images - public_images),
            level=level,
            seed=draw,
        )

    found = judged(np.ones(len(held.image_ids), bool), held.public, seed)
    simple = min((found.errors[guess] for guess in ("plain_offset", "mean") if guess in found.errors), default=np.inf)
    trial = try_history(held.matrices, held.public, judged, fold=held.fold(folds), simple=simple) if history else None
    if trial is not None and trial.error is not None and trial.used:
        # The plain score stays that of all images, and the errors those of subsets that had not seen the submission.
        errors = {**found.errors, "proxy": trial.error}
        found = replace(judged(trial.subset.images, held.public, seed), plain=found.plain, errors=errors)
    few = too_few(held.public)
    names = [entry.name for entry in held.entries]
    says = [few] if few else [*choice(names, found), *cautions(names, held.public, found), of_history(trial)]
    says += [f"left out: {name}, {why}" for name, why in held.left_out.items()]
    return {
        "enough": not few,
        "evidence": "matrices",
        "submissions": _rows(held.entries, found, known=not few),
        "calibration": _line(found.calibration),
        "errors": {} if few else found.errors,
        "class_mix": None if found.mix is None else dict(zip(held.names, found.mix.tolist(), strict=True)),
        "weighted_by_likeness": weights is not None,
        "history": _plain_history(trial, held),
        "public_half_sd": found.half_sd,
        "says": [told for told in says if told],
    }


def _of_scores(ledger: Ledger, level: float, seed: int) -> dict[str, Any]:
    """`verdict` where validation is scores alone."""
    entries = [entry for entry in ledger.entries if entry.miou is not None]
    public = np.array([np.nan if entry.public is None else entry.public for entry in entries])
    found = from_scores(np.array([entry.miou for entry in entries]), public, level=level, seed=seed)
    few = too_few(public)
    names = [entry.name for entry in entries]
    says = [few] if few else [*choice(names, found), *cautions(names, public, found)]
    says.append(of_bare(sum(map(is_bare, entries)), len(entries)))
    says += [f"left out: {entry.name}, added without validation" for entry in ledger.entries if entry.miou is None]
    return {
        "enough": not few,
        "evidence": "scores",
        "submissions": _rows(entries, found, known=not few),
        "calibration": _line(found.calibration),
        "errors": {} if few else found.errors,
        "class_mix": None,
        "weighted_by_likeness": False,
        "history": None,
        "public_half_sd": None,
        "says": says,
    }


def _line(line: Calibration) -> dict[str, Any]:
    return {
        "submissions": line.count,
        "offset": line.offset,
        "trusted_offset": line.trusted,
        "slope": line.slope,
        "residual_sd": line.residual_sd,
    }


def _rows(entries: Sequence[Entry], found: Estimate, *, known: bool) -> list[dict[str, Any]]:
    order = np.argsort(-(found.expected if known else found.plain), kind="stable").tolist()
    rows: list[dict[str, Any]] = []
    for place, n in enumerate(order):
        row: dict[str, Any] = {
            "name": entries[n].name,
            "out_of_fold": entries[n].miou,
            "public": entries[n].public,
            "private": entries[n].private,
        }
        if known:
            after = order[place + 1] if place + 1 < len(order) else None
            row |= {
                "expected": float(found.expected[n]),
                "interval": [float(found.low[n]), float(found.high[n])],
                "ahead_of_next": None if after is None else found.better(n, after),
            }
        rows.append(row)
    return rows


def _plain_history(trial: Trial | None, held: Standing) -> dict[str, Any] | None:
    if trial is None:
        return None
    subset = trial.subset
    keys = ["what", "fit", "plain_fit", "error", "plain_error", "agreement", "plain_agreement", "sureness", "tried"]
    return {
        **{key: getattr(subset, key) for key in keys},
        "images": int(subset.images.sum()),
        "image_ids": [held.image_ids[n] for n in np.flatnonzero(subset.images)],
        "searches": SEARCHES,
        "searches_won": trial.won,
        "used": trial.used,
        "why_not": trial.why,
        "estimate_error": trial.error,
        "estimate_error_of_all": trial.error_of_all,
    }
