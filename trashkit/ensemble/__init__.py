"""Ensembles: one probability store from several, with given or fitted weights."""

from __future__ import annotations

from trashkit.ensemble.combine import METHODS, Ensemble, Method, Mix, ensemble, geometric, mean, tempered, vote
from trashkit.ensemble.transfer import TransferredMix, transfer_mix

__all__ = [
    "METHODS",
    "Ensemble",
    "Method",
    "Mix",
    "TransferredMix",
    "ensemble",
    "geometric",
    "mean",
    "tempered",
    "transfer_mix",
    "vote",
]
