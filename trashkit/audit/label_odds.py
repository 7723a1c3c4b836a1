"""Probabilities of errors from features: additive logistic models against errors made on purpose, and their priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_KNOTS = (0.1, 0.35, 0.65, 0.9)
_RIDGE = 8.0
_STEPS = 25
_PRIOR = 0.03
_MOST = 0.4
_FOLDS = 3
_LARGEST = 8.0
_DOUBTFUL = 1.5


@dataclass(frozen=True)
class Bent:
    """Features as an additive model sees them: each in units of its spread, with a bend at each knot.

    middle, spread: float64 [F]. knots: float64 [K, F]. NaN (unknown) counts as the middle.
    """

    middle: Floats
    spread: Floats
    knots: Floats

    @classmethod
    def of(cls, features: Floats) -> Bent:
        """Middle (median), spread (quartiles) and knots (quantiles) of features [N, F]."""
        known = np.where(np.isnan(features), np.nanmedian(_some(features), axis=0), features)
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], axis=0)
        deviation = known.std(axis=0)
        spread = np.maximum((high - low) / 1.35, 0.2 * deviation)
        spread = np.where(spread > 1e-9, spread, 1.0)
        return cls(middle, spread, (np.quantile(known, _KNOTS, axis=0) - middle) / spread)

    def __call__(self, features: Floats) -> Floats:
        """Float64 [N, 1 + F * (1 + K)]: a constant, the features, and how far each is beyond each knot."""
        z = np.nan_to_num(np.clip((features - self.middle) / self.spread, -8, 8))
        return np.concatenate([np.ones((len(z), 1)), z, *(np.maximum(z - knot, 0) for knot in self.knots)], axis=1)


def _some(features: Floats) -> Floats:
    """Features with a 0 where a column is unknown throughout."""
    empty = np.isnan(features).all(axis=0)
    if empty.any():
        features = features.copy()
        features[:, empty] = 0.0
    return features


def logistic(x: Floats, y: NDArray[np.bool_], ridge: float = _RIDGE) -> Floats:
    """Weights [D] of a ridge logistic regression, both classes counted equally; the first column is the constant.

    Newton's method (iteratively reweighted least squares), T. Hastie et al., "The Elements of Statistical Learning",
    section 4.4.1. Both classes must be there.
    """
    count = np.array([(~y).sum(), y.sum()], np.float64)
    weight = np.where(y, len(y) / (2 * count[1]), len(y) / (2 * count[0]))
    beta = np.zeros(x.shape[1])
    penalty = np.full(x.shape[1], ridge)
    penalty[0] = 1e-6
    for _ in range(_STEPS):
        p = _sigmoid(x @ beta)
        curve = weight * np.maximum(p * (1 - p), 1e-6)
        gradient = x.T @ (weight * (y - p)) - penalty * beta
        step = np.linalg.solve((x * curve[:, None]).T @ x + np.diag(penalty), gradient)
        # A long step overshoots where the classes are nearly separable.
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-4:
            break
    return beta


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))


def log_odds(
    real: Floats, planted: Floats, groups: NDArray[np.int64], origin: NDArray[np.int64], rounds: int = 2
) -> Floats:
    """Log-likelihood ratio "made wrong in this way" against "as annotators left it" of each real row: float64 [N].

    real: float64 [N, F] features as found, mostly right. planted: float64 [M, F] features of errors made on purpose.
    groups, origin: int [N], [M], the image of each row. Rows are scored by models that saw nothing of their image,
    and in a second round real rows that look wrong are left out of what counts as right.
    """
    found, made = np.zeros(len(real)), np.zeros(len(planted))
    if not len(planted) or not len(real):
        return found - _LARGEST
    bent = Bent.of(np.concatenate([real, planted]))
    x_real, x_planted = bent(real), bent(planted)
    kept = np.ones(len(real), bool)
    for _ in range(rounds):
        for fold in range(_FOLDS):
            mine, theirs = groups % _FOLDS == fold, origin % _FOLDS == fold
            right, wrong = kept & ~mine, ~theirs
            if not right.any() or not wrong.any():
                right, wrong = kept, np.ones(len(planted), bool)
            weights = logistic(*_joined(x_real[right], x_planted[wrong]))
            found[mine], made[theirs] = x_real[mine] @ weights, x_planted[theirs] @ weights
        found, made = _sharpened(found, made, kept)
        # Of the rows that look most like errors, at most a tenth.
        kept = (found < _DOUBTFUL) | (found < np.quantile(found, 0.9))
    return found


def _joined(right: Floats, wrong: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    return np.concatenate([right, wrong]), np.repeat([False, True], [len(right), len(wrong)])


def _sharpened(found: Floats, made: Floats, kept: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Scores of rows that the models did not see, scaled to log-likelihood ratios: the ridge makes them too timid.

    J. Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    x, y = _joined(found[kept, None], made[:, None])
    constant, slope = logistic(np.concatenate([np.ones((len(x), 1)), x], axis=1), y, ridge=0.5)
    slope = max(float(slope), 0.0)
    return np.clip(constant + slope * found, -_LARGEST, _LARGEST), constant + slope * made


def posteriors(odds: Mapping[str, Floats] | Sequence[Floats], steps: int = 50) -> tuple[Floats, Floats]:
    """Probability of each kind of error for each row, float64 [N, K], and the share of each kind, float64 [K].

    odds: log-likelihood ratios of each kind against "right", [N] each. Shares are found by expectation maximisation
    (M. Saerens et al., "Adjusting the outputs of a classifier to new a priori probabilities", 2002), starting at 3 %
    in all; together they stay below 40 %.
    """
    columns = list(odds.values()) if isinstance(odds, Mapping) else list(odds)
    ratio = np.exp(np.stack(columns, axis=1))
    count, kinds = ratio.shape
    share = np.full(kinds, _PRIOR / kinds)
    probability = np.zeros_like(ratio)
    for _ in range(steps):
        joint = ratio * share
        probability = joint / (1 - share.sum() + joint.sum(axis=1, keepdims=True))
        # One pseudo-error per kind and two hundred right ones: small files cannot say that a kind never happens.
        share = (probability.sum(axis=0) + 0.5) / (count + 100)
        if share.sum() > _MOST:
            share *= _MOST / share.sum()
    return probability, share
