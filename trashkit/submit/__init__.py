"""Submissions: written from a store, checked, compared, voted, and converted to COCO and back."""

from trashkit.submit.check import Problem, Report, check, layout_for
from trashkit.submit.compare import Difference, diff, vote
from trashkit.submit.exchange import from_coco, to_coco
from trashkit.submit.make import WrittenSubmission, check_with_profile, make, make_with_profile
from trashkit.submit.profiles import PROFILES, SubmissionProfile, read_profile
from trashkit.submit.trace import trace

__all__ = [
    "PROFILES",
    "Difference",
    "Problem",
    "Report",
    "SubmissionProfile",
    "WrittenSubmission",
    "check",
    "check_with_profile",
    "diff",
    "from_coco",
    "layout_for",
    "make",
    "make_with_profile",
    "read_profile",
    "to_coco",
    "trace",
    "vote",
]
