"""Estimate probabilities of label errors: additive logistic models fitted on injected errors, and error priors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_KNOTS = (0.1, 0.35, 0.65, 0.9)
_RIDGE = 8.0
_STEPS = 25
_MAX_SHARE = 0.4
_FOLDS = 3
_MAX_SCORE = 12.0
_DOUBTFUL = 1.5


@dataclass(frozen=True)
class PiecewiseLinearBasis:
    """Basis of an additive model: each feature scaled by its spread, piecewise linear with a bend at each knot.

    middle, spread: float64 [F]. knots: float64 [K, F]. NaN (unknown) is replaced by the middle.
    """

    middle: Floats
    spread: Floats
    knots: Floats

    @classmethod
    def fit(cls, features: Floats) -> PiecewiseLinearBasis:
        """Take middle (median), spread (quartiles) and knots (quantiles) from features [N, F]."""
        known = np.where(np.isnan(features), np.nanmedian(_without_empty_columns(features), axis=0), features)
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], axis=0)
        deviation = known.std(axis=0)
        spread = np.maximum((high - low) / 1.35, 0.2 * deviation)
        spread = np.where(spread > 1e-9, spread, 1.0)
        return cls(middle, spread, (np.quantile(known, _KNOTS, axis=0) - middle) / spread)

    def __call__(self, features: Floats) -> Floats:
        """Expand features to float64 [N, 1 + F * (1 + K)]: constant, features, and their excess over each knot."""
        z = np.nan_to_num(np.clip((features - self.middle) / self.spread, -8, 8))
        return np.concatenate([np.ones((len(z), 1)), z, *(np.maximum(z - knot, 0) for knot in self.knots)], axis=1)


def _without_empty_columns(features: Floats) -> Floats:
    """Features with columns that are NaN throughout set to 0."""
    empty = np.isnan(features).all(axis=0)
    if empty.any():
        features = features.copy()
        features[:, empty] = 0.0
    return features


def fit_logistic(x: Floats, y: NDArray[np.bool_], ridge: float = _RIDGE, counts: Floats | None = None) -> Floats:
    """Fit a ridge logistic regression with balanced classes; returns weights [D]. The first column is the constant.

    counts: float64 [N], weight of each row within its class, 1 by default. Newton's method (iteratively reweighted
    least squares), T. Hastie et al., "The Elements of Statistical Learning", section 4.4.1. Both classes must occur.
    """
    each = np.ones(len(y)) if counts is None else counts
    total = np.array([each[~y].sum(), each[y].sum()])
    weight = each * np.where(y, len(y) / (2 * total[1]), len(y) / (2 * total[0]))
    beta = np.zeros(x.shape[1])
    penalty = np.full(x.shape[1], ridge)
    penalty[0] = 1e-6
    for _ in range(_STEPS):
        p = _sigmoid(x @ beta)
        curve = weight * np.maximum(p * (1 - p), 1e-6)
        gradient = x.T @ (weight * (y - p)) - penalty * beta
        step = np.linalg.solve((x * curve[:, None]).T @ x + np.diag(penalty), gradient)
        # A long step overshoots if the classes are nearly separable.
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-4:
            break
    return beta


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))


@dataclass(frozen=True)
class Samples:
    """Rows with their features [N, F], position of their image [N], and weight for each kind of error [N, K].

    reliability: see `trashkit.label_errors.class_reliability.ClassReliability.weights_for`.
    """

    features: Floats
    image: NDArray[np.int64]
    reliability: Floats


def error_probabilities(real: Samples, injected: Sequence[Samples]) -> tuple[Floats, Floats]:
    """Probability of each kind of error for each real row, float64 [N, K], and the share of each kind, float64 [K].

    real: rows of the file, mostly correct. injected: for each kind, rows with that error injected. Models are
    cross-validated over images. Shares are among rows that can be judged: the prior of a row is the share times its
    reliability, so a row with reliability 0 has probability 0.
    """
    fold = real.image % _FOLDS
    scores, odds = [], []
    for wrong in injected:
        contrast = ErrorClassifier(real.features, fold, wrong.features, wrong.image % _FOLDS)
        everyone = np.ones(len(fold))
        weights = contrast.fit(everyone)
        first = contrast.score(real.features, fold, weights)
        scores.append((first, [contrast.score(one.features, one.image % _FOLDS, weights) for one in injected]))
        # Rows that look most like errors, at most a tenth, are not used as correct ones in the second round.
        kept = (first < _DOUBTFUL) | (first < np.quantile(first, 0.9)) if len(first) else np.ones(0, bool)
        odds.append(contrast.score(real.features, fold, contrast.fit(kept.astype(np.float64))))
    share = estimate_shares(
        np.stack([mine for mine, _ in scores], axis=1),
        [np.stack([theirs[k] for _, theirs in scores], axis=1) for k in range(len(injected))],
        reliability=(real.reliability, [one.reliability for one in injected]),
    )
    return posteriors(odds, share * real.reliability), share


class ErrorClassifier:
    """Cross-validated classifier of injected errors of one kind against the rows of the file.

    real, injected: float64 [N, F], [M, F]. fold, origin: int [N], [M], the fold of each row.
    """

    def __init__(self, real: Floats, fold: NDArray[np.int64], injected: Floats, origin: NDArray[np.int64]) -> None:
        self._fold, self._origin = fold, origin
        self._known = bool(len(injected)) and bool(len(real))
        if self._known:
            self._basis = PiecewiseLinearBasis.fit(np.concatenate([real, injected]))
            self._real, self._planted = self._basis(real), self._basis(injected)

    def fit(self, right: Floats) -> list[Floats]:
        """Weights for each fold, fitted on the others. right: float64 [N], weight of each real row as a correct one.

        They are rescaled so that held-out scores are log-likelihood ratios, since the ridge shrinks them. J. Platt,
        "Probabilistic outputs for support vector machines", 1999.
        """
        if not self._known:
            return []
        found, made = np.zeros(len(self._real)), np.zeros(len(self._planted))
        weights = []
        for fold in range(_FOLDS):
            mine, theirs = self._fold == fold, self._origin == fold
            kept, wrong = ~mine, ~theirs
            if not right[kept].any() or not wrong.any():
                kept, wrong = np.ones(len(right), bool), np.ones(len(made), bool)
            counts = np.concatenate([right[kept], np.ones(int(wrong.sum()))])
            weights.append(fit_logistic(*_labelled(self._real[kept], self._planted[wrong]), counts=counts))
            found[mine], made[theirs] = self._real[mine] @ weights[-1], self._planted[theirs] @ weights[-1]
        x, y = _labelled(found[:, None], made[:, None])
        counts = np.concatenate([right, np.ones(len(made))])
        constant, slope = fit_logistic(np.concatenate([np.ones((len(x), 1)), x], axis=1), y, ridge=0.5, counts=counts)
        slope = max(float(slope), 0.0)
        return [slope * one + constant * (np.arange(len(one)) == 0) for one in weights]

    def score(self, features: Floats, fold: NDArray[np.int64], weights: Sequence[Floats]) -> Floats:
        """Log-likelihood ratio of "has this error" to "correct" for rows [N, F], each by the weights of its fold."""
        found = np.full(len(features), -_MAX_SCORE)
        if not weights or not len(features):
            return found
        expanded = self._basis(features)
        for number, one in enumerate(weights):
            found[fold == number] = expanded[fold == number] @ one
        return np.asarray(np.clip(found, -_MAX_SCORE, _MAX_SCORE))


def estimate_shares(
    real: Floats,
    injected: Sequence[Floats],
    least: float = 0.2,
    reliability: tuple[Floats, Sequence[Floats]] | None = None,
) -> Floats:
    """Estimate the share of each kind of error among real rows, float64 [K], from the scores of all kinds' models.

    real: float64 [N, K]. injected: for each kind float64 [M, K]. If a region of scores holds a share q of the injected
    errors of a kind and a share r of the real rows, at most r / q of the real rows can be errors of that kind; in the
    region with the smallest bound (with one standard error added) hardly any row is correct. Regions are tails of the
    kind's score, where it is the highest of all, with at least `least` of the injected errors. S. Garg et al., "Mixture
    proportion estimation and PU learning: a modern approach", 2021. The sum of shares is limited to 40 %.
    reliability: weights of rows, [N, K] and for each kind [M, K], 1 by default.
    """
    share = np.zeros(len(injected))
    for kind, scores in enumerate(injected):
        weight = np.ones(len(real)) if reliability is None else reliability[0][:, kind]
        their = np.ones(len(scores)) if reliability is None else reliability[1][kind][:, kind]
        count, made = float(weight.sum()), float(their.sum())
        if count < 1 or made < 1:
            continue
        mine, found = _tail(real, kind, weight)
        theirs, above = _tail(scores, kind, their)
        found = found[np.searchsorted(mine, theirs)]
        q, r = np.minimum(above[:-1] / made, 1), found / count
        low = q - np.sqrt(q * (1 - q) / made)
        usable = (q >= least) & (low > 0)
        if not usable.any():
            continue
        bound = np.where(usable, (r + np.sqrt(np.maximum(r, 1 / count) / count)) / np.where(usable, low, 1), np.inf)
        best = int(bound.argmin())
        share[kind] = (found[best] + 0.5) / (count + 1) / q[best]
    return np.asarray(share * min(1.0, _MAX_SHARE / max(float(share.sum()), 1e-12)))


def _tail(scores: Floats, kind: int, weight: Floats) -> tuple[Floats, Floats]:
    """Scores of a kind in rows where it is the highest, ascending, and the total weight from each on, ending with 0."""
    chosen = np.flatnonzero(scores.argmax(axis=1) == kind)
    chosen = chosen[np.argsort(scores[chosen, kind], kind="stable")]
    return scores[chosen, kind], np.append(np.cumsum(weight[chosen][::-1])[::-1], 0.0)


def _labelled(right: Floats, wrong: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    return np.concatenate([right, wrong]), np.repeat([False, True], [len(right), len(wrong)])


def posteriors(odds: Sequence[Floats], share: Floats) -> Floats:
    """Probability of each kind of error for each row, float64 [N, K].

    odds: log-likelihood ratios of each kind to "correct", [N] each. share: prior of each kind, float64 [K], or [N, K]
    for each row.
    """
    joint = np.exp(np.stack(list(odds), axis=1)) * share
    return np.asarray(joint / (1 - share.sum(axis=-1, keepdims=True) + joint.sum(axis=1, keepdims=True)))
