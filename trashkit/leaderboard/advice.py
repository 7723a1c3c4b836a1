"""Advice from estimates: which two submissions to choose as final, and how far to trust a lead on the public half."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trashkit.leaderboard.proxy import MIN_PUBLIC_SCORES, Estimate, final_two, order_confidence
from trashkit.leaderboard.subset_validation import SubsetValidation
from trashkit.metrics.scores import Floats


def too_few_scores(public: Floats) -> str:
    """Why there are no estimates, from public scores [M], NaN if unknown; empty if there are enough scores."""
    known = int(np.isfinite(public).sum())
    if known >= MIN_PUBLIC_SCORES:
        return ""
    return (
        f"{known} of {len(public)} submissions have validation and a public score; fewer than {MIN_PUBLIC_SCORES} "
        "say too little about the leaderboard, so the hidden score is not estimated: trust the out-of-fold score"
    )


def final_choice(names: Sequence[str], found: Estimate) -> list[str]:
    """Advice on which two submissions to choose as final."""
    first, second, gain = final_two(found)
    if len(names) == 1:
        return [f"choose {names[0]}: it is the only one"]
    return [
        f"choose {names[first]} and {names[second]}: the better of the two is expected to score {gain:.4f} more than "
        f"{names[first]} alone",
        f"adjacent submissions in this order are ranked correctly with probability {order_confidence(found):.0%} on "
        "average",
    ]


def cautions(names: Sequence[str], public: Floats, found: Estimate) -> list[str]:
    """Describe what the public half does not show."""
    lines: list[str] = []
    if np.isfinite(public).sum() >= 2:
        leader, best = int(np.nanargmax(public)), int(found.expected.argmax())
        if leader != best:
            lines.append(
                f"{names[leader]} leads on the public half, but {names[best]} is expected to score higher on the "
                f"hidden one (probability {found.probability_better(best, leader):.0%}): do not choose by the public "
                "half"
            )
        if np.isfinite(found.public_half_sd):
            lines.append(
                f"the sampling of the public half alone changes the difference of two submissions by "
                f"{found.public_half_sd:.4f} (standard deviation): smaller leads there mean little"
            )
    errors = found.errors
    if errors and errors["proxy"] >= min(errors["plain_offset"], errors["mean"]):
        better = "the plain out-of-fold score" if errors["plain_offset"] <= errors["mean"] else "the mean of the others"
        lines.append(
            f"on these submissions {better} predicts a left-out public score at least as well as the estimate does: "
            "so far the ledger adds nothing to validation alone"
        )
    return lines


def score_only_caution(score_only: int, count: int) -> str:
    """Caution about evidence from scores alone. score_only: submissions of `count` without confusion matrices."""
    return (
        f"weak evidence: of {score_only} of {count} submissions only a validation score is known (--validation), so "
        "neither classes nor images can be weighted, and the noise of scores is taken from other teams' reports; "
        "--oof STORE --data ANN.json give better estimates"
    )


def subset_summary(found: SubsetValidation | None) -> str:
    """Describe the result of the search for a validation subset; empty if none was made."""
    if found is None:
        return ""
    subset = found.subset
    start = f"of {subset.tried} validation subsets per search, {subset.what} follow the public scores best"
    if found.used:
        return (
            f"{start} and are used: with the subset chosen anew without each submission, the estimate of its public "
            f"score is off by {found.error:.4f} (on all images {found.error_of_all:.4f})"
        )
    return f"{start}; all images are used nevertheless: {found.why}"
