"""Submissions: made from a store, checked before they leave, compared, voted on, and turned into COCO and back."""

from trashkit.submit.check import Problem, Report, check, profile_of
from trashkit.submit.compare import Difference, diff, vote
from trashkit.submit.exchange import from_coco, to_coco
from trashkit.submit.forms import FORMS, Form, read_form
from trashkit.submit.make import Made, check_form, make, make_form
from trashkit.submit.trace import trace

__all__ = [
    "FORMS",
    "Difference",
    "Form",
    "Made",
    "Problem",
    "Report",
    "check",
    "check_form",
    "diff",
    "from_coco",
    "make",
    "make_form",
    "profile_of",
    "read_form",
    "to_coco",
    "trace",
    "vote",
]
