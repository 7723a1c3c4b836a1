"""Decisions of a reviewer, without the App."""

from __future__ import annotations

from trashkit.edits.log import read_log
from trashkit.review import decisions
from trashkit.review.session import ReviewSession


def test_an_accepted_fix_names_the_check_and_the_reviewer(session: ReviewSession) -> None:
    n = next(n for n in session.order if n in session.fixes and session.fixes[n].edits)
    made = decisions.make(session, decisions.accept([n]))
    assert made and read_log(session.log).edits == made
    assert {edit.accepted_by for edit in made} == {(session.reviewer,)}
    assert session.reviewer not in {edit.author for edit in made}
    assert session.status(n) == "fixed"


def test_accepting_everything_names_the_reviewer(session: ReviewSession) -> None:
    made = decisions.make(session, decisions.accept_all(session.order))
    assert made and all(edit.people == (session.reviewer,) for edit in made)
