"""Test-likeness: how far the training photos are from the test photos, and which of them look like test photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.split.appearance import Appearance

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CLIP = 10.0
"""Weights are kept between 1/10 and 10."""
RIDGE = 1.0
"""L2 penalty of the classifier on standardised features, in units of one image."""
COMPONENTS = 32
"""Principal components that are kept of an encoder's features: hundreds would outnumber the photos of a small set."""


@dataclass(frozen=True)
class Likeness:
    """What a classifier of train against test found, all by cross-validation: each photo is judged by a classifier
    that has not seen it.

    auc: 0.5 the two cannot be told apart, 1 always. auc_sd: its standard error (Hanley and McNeil 1982).
    train, test: [N], [M] probability of being a test photo, prior one half. weights: [N] of training photos, density
    ratio test over train, clipped to 1/10 .. 10, mean 1; all 1 where the two cannot be told apart, since the ratio is
    then noise. effective: Kish's effective number of training photos so weighted, of N.
    """

    auc: float
    auc_sd: float
    train: Floats
    test: Floats
    weights: Floats
    effective: float

    @property
    def told(self) -> bool:
        """Whether the two can be told apart: 0.5 is below the interval of the AUC."""
        return told_apart(self.auc, self.auc_sd)

    @property
    def words(self) -> str:
        """The distance in words."""
        if not self.told:
            return "train and test photos cannot be told apart"
        grade = "little" if self.auc < 0.65 else "clearly" if self.auc < 0.85 else "strongly"
        return f"train and test photos differ {grade}"


def told_apart(auc: float, auc_sd: float) -> bool:
    """Whether an AUC is above 0.5 by two standard errors."""
    return auc > 0.5 + 2 * auc_sd


def likeness(
    train: Appearance,
    test: Appearance,
    *,
    encoded: tuple[Floats, Floats] | None = None,
    group: Ints | None = None,
    seed: int = 0,
) -> Likeness:
    """Tell training from test photos by ridge logistic regression on statistics, their squares and colour histograms.

    encoded: features of an encoder, [N, F] and [M, F] in the same order; their first `COMPONENTS` join the others.
    group: [N] groups of training photos, each kept in one cross-validation part, so that near-duplicates do not judge
    each other. Needs 5 photos or more on both sides (ValueError else). The same input and seed give the same result.
    """
    statistics = _standard(np.concatenate([train.statistics, test.statistics]))
    histograms = np.concatenate([train.histograms(), test.histograms()])
    parts = [_standard(np.concatenate([statistics, np.square(statistics), histograms], axis=1))]
    if encoded is not None:
        parts.append(_components(np.concatenate(encoded)))
    features = np.concatenate(parts, axis=1)
    return separate(features[: len(train.looks)], features[len(train.looks) :], group=group, seed=seed)


def separate(train: Floats, test: Floats, *, group: Ints | None = None, seed: int = 0, parts: int = 5) -> Likeness:
    """As `likeness`, on any features [N, F] and [M, F], such as an encoder's, standardised by the caller."""
    count, other = len(train), len(test)
    if min(count, other) < parts:
        raise ValueError(f"test-likeness needs {parts} photos or more on both sides, not {count} and {other}")
    rng = np.random.default_rng(seed)
    group = np.arange(count) if group is None else group
    part = np.concatenate([(rng.permutation(int(group.max()) + 1) % parts)[group], rng.permutation(other) % parts])
    label = np.concatenate([np.zeros(count), np.ones(other)])
    rows = np.concatenate([np.ones((count + other, 1)), np.concatenate([train, test])], axis=1)
    weight = np.where(label == 1, count, other) * (2 / (count + other)) / 2  # both sides weigh the same
    logit = np.zeros(len(label))
    for number in range(parts):
        inside = part != number
        if not 0 < label[inside].sum() < inside.sum():
            continue
        logit[~inside] = rows[~inside] @ _fit(rows[inside], label[inside], weight[inside])
    score, positive = logit[:count], logit[count:]
    auc = _auc(score, positive)
    ratio = np.clip(np.exp(np.clip(score, -20, 20)), 1 / CLIP, CLIP)
    sd = _auc_sd(auc, count, other)
    weights = ratio / ratio.mean() if told_apart(auc, sd) else np.ones(count)
    probability = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    return Likeness(auc, sd, probability[:count], probability[count:], weights, effective)


def _standard(values: Floats) -> Floats:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0))


def _components(values: Floats) -> Floats:
    """The first principal components of features [N, F], standardised: [N, at most `COMPONENTS`].

    Which side a photo is of has no part in it, so cross-validation afterwards stays honest.
    """
    left, sizes, right = np.linalg.svd(_standard(values), full_matrices=False)
    kept = min(COMPONENTS, int((sizes > sizes[0] * 1e-6).sum()) if sizes[0] > 0 else 0)
    # The sign of a component is arbitrary and differs between machines.
    sign = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(axis=1)])
    return _standard(left[:, :kept] * sizes[:kept] * sign)


def _fit(rows: Floats, label: Floats, weight: Floats) -> Floats:
    """Coefficients [F + 1] of ridge logistic regression by Newton's method; the intercept is not penalised."""
    coefficients = np.zeros(rows.shape[1])
    ridge = np.full(rows.shape[1], RIDGE)
    ridge[0] = 1e-6
    for _ in range(25):
        probability = 1 / (1 + np.exp(-np.clip(rows @ coefficients, -30, 30)))
        gradient = rows.T @ (weight * (label - probability)) - ridge * coefficients
        curve = (rows * (weight * probability * (1 - probability))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curve, gradient)
        coefficients += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def _auc(negative: Floats, positive: Floats) -> float:
    """Probability that a positive scores above a negative, ties half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(below.mean() / 2 / len(negative))


def _auc_sd(auc: float, negatives: int, positives: int) -> float:
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (negatives * positives)))
