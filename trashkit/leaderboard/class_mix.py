"""Estimate label shift: the share of each class in the test photos, from the predictions of the submissions."""

from __future__ import annotations

import numpy as np

from trashkit.metrics.scores import Floats

ROUNDS = 200
PRIOR = 0.1
"""Weight of the training mix as prior; without it rare classes drift to 0."""


def class_mix(tables: Floats, shown: Floats, *, prior: float = PRIOR) -> Floats:
    """Estimate the true share of each class in the test pixels, [C], summing to 1.

    tables: [M, C, C] out-of-fold confusion of M submissions, rows truth, pixels. shown: [M, C] predicted pixels of each
    class on the test photos. If P(prediction | truth) is the same on the test photos as out of fold, the share
    predicted as j is ``sum_i mix_i P_m(j | i)`` for every submission. The mix that explains them all best is found by
    expectation maximisation, which keeps it positive, and mixed with `prior` of the training mix.

    Source: M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", 2002, on hard predictions as in Z. Lipton, Y. Wang, A. Smola, "Detecting and correcting for label
    shift with black box predictors", 2018.
    """
    totals = tables.sum(axis=2)
    start = totals.sum(axis=0) / totals.sum()
    given = np.divide(tables, totals[..., None], out=np.zeros_like(tables), where=totals[..., None] > 0)
    seen = shown / shown.sum(axis=1, keepdims=True)
    mix = start.copy()
    for _ in range(ROUNDS):
        joint = mix[None, :, None] * given
        predicted = joint.sum(axis=1, keepdims=True)
        part = np.divide(joint, predicted, out=np.zeros_like(joint), where=predicted > 0)
        new = (part * seen[:, None, :]).sum(axis=2).mean(axis=0)
        new = (1 - prior) * new / max(new.sum(), 1e-12) + prior * start
        if np.abs(new - mix).max() < 1e-9:
            break
        mix = new
    return np.asarray(mix)


def row_factors(tables: Floats, mix: Floats) -> Floats:
    """Factors of the true classes, [C], that give the out-of-fold pixels this mix; 1 for absent classes."""
    totals = tables.sum(axis=(0, 2))
    share = totals / totals.sum()
    return np.asarray(np.divide(mix, share, out=np.ones_like(share), where=share > 0))
