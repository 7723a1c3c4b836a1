"""Confusion matrices, the scores computed from them, and the evaluation of predictions."""

from trashkit.metrics.evaluate import Evaluation, evaluate
from trashkit.metrics.scores import Confusion, confusion

__all__ = [
    "Confusion",
    "Evaluation",
    "confusion",
    "evaluate",
]
