"""Adversarial validation: how well training and test photos can be distinguished, and weights of training photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.split.photo_statistics import PhotoStatistics

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CLIP = 10.0
"""Weights are clipped to 1/10 .. 10."""
RIDGE = 1.0
"""L2 penalty of the classifier on standardised features, in units of one image."""
COMPONENTS = 32
"""Principal components kept of an encoder's features: hundreds would outnumber the photos of a small data set."""
FEWEST_PHOTOS = 5
"""Photos on either side: as many as the parts of the cross-validation."""


@dataclass(frozen=True)
class AdversarialValidation:
    """Result of a cross-validated classifier of test against training photos.

    auc: 0.5 if the two cannot be distinguished, 1 if they always can. auc_sd: its standard error (Hanley and McNeil
    1982). train, test: [N], [M] held-out probability of being a test photo, prior one half. weights: [N] importance
    weights of the training photos, density ratio test over train, clipped to 1/10 .. 10, mean 1; all 1 if the two
    cannot be distinguished, since the ratio is then noise. effective: Kish's effective sample size of these weights.
    """

    auc: float
    auc_sd: float
    train: Floats
    test: Floats
    weights: Floats
    effective: float

    @property
    def distinguishable(self) -> bool:
        """Whether training and test photos can be distinguished: 0.5 is below the interval of the AUC."""
        return distinguishable(self.auc, self.auc_sd)

    @property
    def summary(self) -> str:
        """The difference as a phrase."""
        if not self.distinguishable:
            return "train and test photos cannot be distinguished"
        grade = "slightly" if self.auc < 0.65 else "clearly" if self.auc < 0.85 else "strongly"
        return f"train and test photos differ {grade}"


def distinguishable(auc: float, auc_sd: float) -> bool:
    """Whether an AUC is more than two standard errors above 0.5."""
    return auc > 0.5 + 2 * auc_sd


def adversarial_validation(
    train: PhotoStatistics,
    test: PhotoStatistics,
    *,
    encoded: tuple[Floats, Floats] | None = None,
    group: Ints | None = None,
    seed: int = 0,
) -> AdversarialValidation:
    """Classify training against test photos by ridge logistic regression on statistics, their squares and histograms.

    encoded: features of an encoder, [N, F] and [M, F] in the same order; their first `COMPONENTS` are added.
    group: [N] groups of training photos, each kept in one cross-validation fold, so that near-duplicates do not leak.
    ValueError for fewer than 5 photos on either side. The same input and seed give the same result.
    """
    statistics = _standard(np.concatenate([train.statistics, test.statistics]))
    colour_histograms = np.concatenate([train.colour_histograms(), test.colour_histograms()])
    parts = [_standard(np.concatenate([statistics, np.square(statistics), colour_histograms], axis=1))]
    if encoded is not None:
        parts.append(_components(np.concatenate(encoded)))
    features = np.concatenate(parts, axis=1)
    return compare_features(features[: len(train.features)], features[len(train.features) :], group=group, seed=seed)


def compare_features(
    train: Floats, test: Floats, *, group: Ints | None = None, seed: int = 0, parts: int = FEWEST_PHOTOS
) -> AdversarialValidation:
    """Adversarial validation on any features [N, F] and [M, F], such as an encoder's, standardised by the caller."""
    count, other = len(train), len(test)
    if min(count, other) < parts:
        raise ValueError(
            f"comparing training with test photos needs at least {parts} photos of each, not {count} and {other}"
        )
    rng = np.random.default_rng(seed)
    group = np.arange(count) if group is None else group
    part = np.concatenate([(rng.permutation(int(group.max()) + 1) % parts)[group], rng.permutation(other) % parts])
    label = np.concatenate([np.zeros(count), np.ones(other)])
    rows = np.concatenate([np.ones((count + other, 1)), np.concatenate([train, test])], axis=1)
    weight = np.where(label == 1, count, other) * (2 / (count + other)) / 2  # balanced classes
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
    weights = ratio / ratio.mean() if distinguishable(auc, sd) else np.ones(count)
    probability = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    return AdversarialValidation(auc, sd, probability[:count], probability[count:], weights, effective)


def _standard(values: Floats) -> Floats:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0))


def _components(values: Floats) -> Floats:
    """The first principal components of features [N, F], standardised: [N, at most `COMPONENTS`].

    It does not use the labels (training or test), so cross-validation afterwards is unbiased.
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
    """Probability that a positive scores above a negative; ties count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(below.mean() / 2 / len(negative))


def _auc_sd(auc: float, negatives: int, positives: int) -> float:
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (negatives * positives)))
