"""One store of probabilities from several: combined image by image, weighted by evidence."""

from __future__ import annotations

from trashkit.ensemble.combine import METHODS, Ensemble, Method, Mix, ensemble, geometric, mean, tempered, vote

__all__ = ["METHODS", "Ensemble", "Method", "Mix", "ensemble", "geometric", "mean", "tempered", "vote"]
