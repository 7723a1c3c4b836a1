"""Check the calibration of scores alone against reported pairs of validation and leaderboard scores.

    python tests/benchmarks/reported_pairs.py [--repetitions 400]

Teams of a trash competition reported 59 pairs, of which only a summary is known: models more than 0.05 apart are ranked
well, within 0.02 the rank correlation is 0.44, within one model's five folds 0.2, and the offset depends on the fold.
So pairs that agree with the summary are simulated: 59 models, each validated on one of its team's five folds, with
sampling noise of the fold (a part that a team's models share, and a part of each model), of each training and of the
public half. Then a team with twelve models and eight public scores: how well its ways to validate predict the other
four.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from trashkit.leaderboard.calibrate import calibrate, leave_one_out
from trashkit.leaderboard.score_only import estimate_from_scores

PAIRS, FOLDS, MODELS, KNOWN = 59, 5, 12, 8
SPREAD = 0.045
"""Standard deviation of the models' qualities."""
LEVEL, OWN, TRAINING, HALF = 0.007, 0.005, 0.003, 0.006
"""Standard deviations of a fold's level, a model on a fold, one training, and a model on the public half."""
Floats = NDArray[np.float64]


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation; NaN below three."""
    if len(first) < 3:
        return float("nan")
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])


def draw(rng: np.random.Generator, models: int, spread: float = SPREAD) -> tuple[Floats, Floats, Floats]:
    """One team: its models' scores on each fold [M, K], public scores of each fold's model [M, K], hidden ones [M]."""
    quality = 0.70 + spread * rng.standard_normal(models)
    trained = quality[:, None] + TRAINING * rng.standard_normal((models, FOLDS))
    folds = trained + LEVEL * rng.standard_normal(FOLDS) + OWN * rng.standard_normal((models, FOLDS))
    public = trained + HALF * rng.standard_normal((models, 1)) + HALF / 2 * rng.standard_normal((models, FOLDS))
    return folds, public, trained.mean(axis=1)


def summary(rng: np.random.Generator) -> dict[str, float]:
    """The figures of the summary, for simulated pairs: one model of each team, on one fold."""
    drawn = [draw(rng, 1) for _ in range(PAIRS)]
    mine = np.array([folds[0, 0] for folds, _, _ in drawn])
    public = np.array([shown[0, 0] for _, shown, _ in drawn])
    close = []
    for centre in np.quantile(mine, np.linspace(0.1, 0.9, 9)):
        inside = np.abs(mine - centre) < 0.01
        close.append(spearman(mine[inside], public[inside]))
    upper = np.triu_indices(PAIRS, 1)
    apart = np.abs(mine[:, None] - mine[None])[upper]
    agrees = (np.sign(mine[:, None] - mine[None]) == np.sign(public[:, None] - public[None]))[upper]
    return {
        "rank correlation within 0.02": float(np.nanmean(close)),
        "rank correlation in one model's five folds": float(np.mean([spearman(f[0], p[0]) for f, p, _ in drawn])),
        "pairs in the right order, within 0.02": float(agrees[apart < 0.02].mean()),
        "pairs in the right order, beyond 0.05": float(agrees[apart > 0.05].mean()),
    }


def team(rng: np.random.Generator, spread: float) -> dict[str, float]:
    """Errors of a team's estimates for models it did not submit, from eight public scores, by each way to validate."""
    folds, public, hidden = draw(rng, MODELS, spread)
    shown = public.mean(axis=1)
    seen, rest = np.arange(MODELS) < KNOWN, np.arange(MODELS) >= KNOWN
    nearest = int(np.abs(folds - shown[:, None])[seen].mean(axis=0).argmin())
    whole = folds.mean(axis=1)
    own, common = OWN**2 / FOLDS + HALF**2, LEVEL**2 / FOLDS
    line = calibrate(whole, np.where(seen, shown, np.nan), own_variance=own, common_variance=common, scale=1.0)
    ways = {
        "a fold at random": folds[:, 0],
        "the fold nearest to the leaderboard": folds[:, nearest],
        "all folds": whole,
        "all folds, calibrated by the ledger": line.hidden(whole, float(whole.mean())),
    }
    found = {}
    known = np.where(seen, shown, np.nan)
    half = hidden + HALF * rng.standard_normal(MODELS)
    for name, scores in (("a fold at random", folds[:, 0]), ("all folds", whole)):
        alone = estimate_from_scores(scores, known)
        ways[f"{name}, from scores alone"] = alone.expected
        found[f"{name}, from scores alone: private scores in the 95 % interval"] = float(
            ((alone.low <= half) & (half <= alone.high)).mean()
        )
        found[f"{name}, from scores alone: error of those with public score"] = float(
            np.abs(alone.expected - hidden)[seen].mean()
        )
        found[f"{name}: error of those with public score"] = float(np.abs(scores - hidden)[seen].mean())
    for name, score in ways.items():
        found[f"{name}: rank correlation"] = spearman(score[rest], hidden[rest])
        found[f"{name}: error"] = float(np.abs(score - hidden)[rest].mean())
    errors = leave_one_out(whole, whole, np.where(seen, shown, np.nan), own, common)
    return found | {f"left-out public score, {name}": value for name, value in errors.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    asked = parser.parse_args()
    makers = {
        "the summary": summary,
        f"a team whose models differ by {SPREAD:g}": lambda rng: team(rng, SPREAD),
        "a team whose models differ by 0.01": lambda rng: team(rng, 0.01),
    }
    for title, maker in makers.items():
        print(title)
        drawn = [maker(np.random.default_rng(seed)) for seed in range(asked.repetitions)]
        for name in drawn[0]:
            values = np.array([one[name] for one in drawn])
            half = 1.96 * np.nanstd(values, ddof=1) / np.sqrt(len(values))
            print(f"  {name:58} {np.nanmean(values):.4f} ± {half:.4f}")
