"""Submissions: made from a store, checked before they leave, compared, voted on, and turned into COCO and back."""

from trashkit.submit.check import Problem, Report, check, profile_of
from trashkit.submit.compare import Difference, diff, vote
from trashkit.submit.exchange import from_coco, to_coco
from trashkit.submit.make import Made, make, trace

__all__ = [
    "Difference",
    "Made",
    "Problem",
    "Report",
    "check",
    "diff",
    "from_coco",
    "make",
    "profile_of",
    "to_coco",
    "trace",
    "vote",
]
