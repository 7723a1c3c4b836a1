"""What to do with the estimates: which two submissions to choose, and what not to read into the public half."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trashkit.leaderboard.nested import Trial
from trashkit.leaderboard.proxy import ENOUGH, Estimate, final_two, sureness
from trashkit.scores import Floats


def too_few(public: Floats) -> str:
    """Why the ledger knows too little, of public scores [M], NaN where unknown; empty where it knows enough."""
    known = int(np.isfinite(public).sum())
    if known >= ENOUGH:
        return ""
    return (
        f"{known} of {len(public)} submissions have validation and a public score: below {ENOUGH} that says too "
        "little about the leaderboard, so there are no estimates of the hidden score; trust the out-of-fold score"
    )


def choice(names: Sequence[str], found: Estimate) -> list[str]:
    """The two to choose as final, in words."""
    first, second, gain = final_two(found)
    if len(names) == 1:
        return [f"choose {names[0]}: there is no other"]
    return [
        f"choose {names[first]} and {names[second]}: the better of the two is expected to score {gain:.4f} more than "
        f"{names[first]} alone",
        f"two neighbours in this order stand the right way with probability {sureness(found):.0%} on average",
    ]


def cautions(names: Sequence[str], public: Floats, found: Estimate) -> list[str]:
    """What the public half cannot say, in words."""
    lines: list[str] = []
    if np.isfinite(public).sum() >= 2:
        leader, best = int(np.nanargmax(public)), int(found.expected.argmax())
        if leader != best:
            lines.append(
                f"{names[leader]} leads on the public half, but {names[best]} is expected to score higher on the "
                f"hidden one (probability {found.better(best, leader):.0%}): do not choose by the public half"
            )
        if np.isfinite(found.half_sd):
            lines.append(
                f"luck of the public half alone moves two submissions against each other by {found.half_sd:.4f} "
                "(standard deviation): smaller leads there mean little"
            )
    errors = found.errors
    if errors and errors["proxy"] >= min(errors["plain_offset"], errors["mean"]):
        better = "the plain out-of-fold score" if errors["plain_offset"] <= errors["mean"] else "the mean of the others"
        lines.append(
            f"on these submissions {better} predicts a left-out public score at least as well as the estimate does: "
            "there is nothing in the ledger yet that validation alone does not say"
        )
    return lines


def of_bare(bare: int, count: int) -> str:
    """How weak the evidence of scores alone is, in words. bare: of `count` submissions have nothing else."""
    return (
        f"weak evidence: of {bare} of {count} submissions only a validation score is known (--validation), so neither "
        "classes nor images are weighed, and how noisy scores are is assumed from other teams' reports; --oof STORE "
        "--truth ANN.json tell more"
    )


def of_history(trial: Trial | None) -> str:
    """What came of the search for a subset, in words; empty where none was made."""
    if trial is None:
        return ""
    subset = trial.subset
    told = f"of {subset.tried} validation subsets a search, {subset.what} follow the public scores best"
    if trial.used:
        return (
            f"{told} and are used: chosen anew without each submission, the estimate errs by {trial.error:.4f} on it "
            f"(on all images {trial.error_of_all:.4f})"
        )
    return f"{told}; all images are used all the same: {trial.why}"
