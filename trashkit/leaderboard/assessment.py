"""Assess a ledger: estimates of the hidden score, their order, advice, and the result of the subset search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.advice import cautions, final_choice, score_only_caution, subset_summary, too_few_scores
from trashkit.leaderboard.calibrate import ScoreCalibration
from trashkit.leaderboard.comparable import ImageId, comparable_entries
from trashkit.leaderboard.ledger import Entry, Ledger
from trashkit.leaderboard.proxy import Estimate, estimate
from trashkit.leaderboard.score_only import estimate_from_scores, use_scores_only
from trashkit.leaderboard.subset_validation import SEARCHES, SubsetValidation, validate_subset
from trashkit.metrics.scores import Floats


@dataclass(frozen=True)
class SubmissionEstimate:
    """Scores of one submission, and the estimate of its hidden score, None with too few public scores.

    interval: of the hidden score. ahead_of_next: probability that it scores higher than the next one in the list.
    """

    name: str
    out_of_fold: float | None
    public: float | None
    private: float | None
    expected: float | None = None
    interval: tuple[float, float] | None = None
    ahead_of_next: float | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON object; without the keys of the estimate if there is none."""
        row = {"name": self.name, "out_of_fold": self.out_of_fold, "public": self.public, "private": self.private}
        if self.interval is None:
            return row
        return {**row, "expected": self.expected, "interval": list(self.interval), "ahead_of_next": self.ahead_of_next}


@dataclass(frozen=True)
class SubsetReport:
    """Result of the subset search with the ids of the chosen images."""

    validation: SubsetValidation
    image_ids: tuple[ImageId, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON object."""
        subset = self.validation.subset
        return {
            "what": subset.what,
            "fit": subset.fit,
            "plain_fit": subset.plain_fit,
            "error": subset.error,
            "plain_error": subset.plain_error,
            "agreement": subset.agreement,
            "plain_agreement": subset.plain_agreement,
            "sureness": subset.standard_errors,
            "tried": subset.tried,
            "images": len(self.image_ids),
            "image_ids": list(self.image_ids),
            "searches": SEARCHES,
            "searches_won": self.validation.won,
            "used": self.validation.used,
            "why_not": self.validation.why,
            "estimate_error": self.validation.error,
            "estimate_error_of_all": self.validation.error_of_all,
        }


@dataclass(frozen=True)
class Assessment:
    """What a ledger says about the hidden score.

    enough: whether there are enough public scores for estimates. evidence: "matrices", or "scores" if too few
    submissions have confusion matrices and others have only a score (`trashkit.leaderboard.score_only`). submissions:
    best first. errors: mean absolute errors of left-out public scores. class_mix: estimated share of each class in the
    test photos. weighted: whether images are weighted by their similarity to the test photos. subset: None if none was
    searched. says: advice and cautions.
    """

    enough: bool
    evidence: str
    submissions: tuple[SubmissionEstimate, ...]
    calibration: ScoreCalibration
    errors: Mapping[str, float]
    class_mix: Mapping[str, float] | None
    weighted: bool
    subset: SubsetReport | None
    public_half_sd: float | None
    says: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "enough": self.enough,
            "evidence": self.evidence,
            "submissions": [one.as_json() for one in self.submissions],
            "calibration": {
                "submissions": self.calibration.count,
                "offset": self.calibration.offset,
                "trusted_offset": self.calibration.trusted,
                "slope": self.calibration.slope,
                "residual_sd": self.calibration.residual_sd,
            },
            "errors": dict(self.errors),
            "class_mix": None if self.class_mix is None else dict(self.class_mix),
            "weighted_by_likeness": self.weighted,
            "history": None if self.subset is None else self.subset.as_json(),
            "public_half_sd": self.public_half_sd,
            "says": list(self.says),
        }


def assess(
    ledger: Ledger,
    *,
    image_weights: Mapping[ImageId, float] | None = None,
    folds: Sequence[Sequence[ImageId]] = (),
    public_share: float = 0.5,
    history: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> Assessment:
    """Estimate the hidden scores of the submissions of a ledger.

    image_weights: weights of validated images by id. folds: validation image ids of each fold, tried as subsets.
    public_share: share of the test photos in the public half. history: whether to search a validation subset
    (`trashkit.leaderboard.subset_validation`); if it is used, ``errors`` are those of subsets chosen without the
    left-out submission. level: of the intervals. TrashkitError if no submission has any validation.
    """
    if use_scores_only(ledger):
        return _assess_scores(ledger, level, seed)
    held = comparable_entries(ledger)
    weights = held.weights(image_weights or {})
    public_images = max(1, round(held.test_images * public_share))

    def estimate_on(chosen: NDArray[np.bool_], public: Floats, draw: int = 0) -> Estimate:
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

    found = estimate_on(np.ones(len(held.image_ids), bool), held.public, seed)
    simple = min((found.errors[guess] for guess in ("plain_offset", "mean") if guess in found.errors), default=np.inf)
    subset = None
    if history:
        subset = validate_subset(held.matrices, held.public, estimate_on, fold=held.fold(folds), simple=simple)
    if subset is not None and subset.error is not None and subset.used:
        # The plain score remains that of all images, and the error that of subsets chosen without the submission.
        errors = {**found.errors, "proxy": subset.error}
        found = replace(estimate_on(subset.subset.images, held.public, seed), plain=found.plain, errors=errors)
    few = too_few_scores(held.public)
    names = [entry.name for entry in held.entries]
    says = [few] if few else [*final_choice(names, found), *cautions(names, held.public, found), subset_summary(subset)]
    says += [f"left out: {name}, {why}" for name, why in held.left_out.items()]
    return Assessment(
        enough=not few,
        evidence="matrices",
        submissions=_submissions(held.entries, found, known=not few),
        calibration=found.calibration,
        errors={} if few else found.errors,
        class_mix=None if found.mix is None else dict(zip(held.names, found.mix.tolist(), strict=True)),
        weighted=weights is not None,
        subset=None
        if subset is None
        else SubsetReport(subset, tuple(held.image_ids[n] for n in np.flatnonzero(subset.subset.images))),
        public_half_sd=found.public_half_sd,
        says=tuple(line for line in says if line),
    )


def _assess_scores(ledger: Ledger, level: float, seed: int) -> Assessment:
    """`assess` where validation is scores alone."""
    entries = [entry for entry in ledger.entries if entry.miou is not None]
    public = np.array([np.nan if entry.public is None else entry.public for entry in entries])
    found = estimate_from_scores(np.array([entry.miou for entry in entries]), public, level=level, seed=seed)
    few = too_few_scores(public)
    names = [entry.name for entry in entries]
    says = [few] if few else [*final_choice(names, found), *cautions(names, public, found)]
    says.append(score_only_caution(sum(entry.score_only for entry in entries), len(entries)))
    says += [f"left out: {entry.name}, added without validation" for entry in ledger.entries if entry.miou is None]
    return Assessment(
        enough=not few,
        evidence="scores",
        submissions=_submissions(entries, found, known=not few),
        calibration=found.calibration,
        errors={} if few else found.errors,
        class_mix=None,
        weighted=False,
        subset=None,
        public_half_sd=None,
        says=tuple(says),
    )


def _submissions(entries: Sequence[Entry], found: Estimate, *, known: bool) -> tuple[SubmissionEstimate, ...]:
    """Submissions in the order of their estimates, or of the plain score if estimates are not `known`."""
    order = np.argsort(-(found.expected if known else found.plain), kind="stable").tolist()
    rows: list[SubmissionEstimate] = []
    for place, n in enumerate(order):
        row = SubmissionEstimate(entries[n].name, entries[n].miou, entries[n].public, entries[n].private)
        if known:
            after = order[place + 1] if place + 1 < len(order) else None
            row = replace(
                row,
                expected=float(found.expected[n]),
                interval=(float(found.low[n]), float(found.high[n])),
                ahead_of_next=None if after is None else found.probability_better(n, after),
            )
        rows.append(row)
    return tuple(rows)
