"""One store of probabilities from several: combined image by image, weighted by evidence."""

from __future__ import annotations

from trashkit.ensemble.combine import METHODS, Ensemble, Method, Mix, ensemble, geometric, mean, tempered, vote
from trashkit.ensemble.repeat import Repeated, repeat

__all__ = [
    "METHODS",
    "Ensemble",
    "Method",
    "Mix",
    "Repeated",
    "ensemble",
    "geometric",
    "mean",
    "repeat",
    "tempered",
    "vote",
]
