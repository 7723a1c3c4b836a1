"""The static review page: it is complete, and its exported log applies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trashkit.edits.apply import apply
from trashkit.edits.log import from_record, read_log
from trashkit.review.session import ReviewSession
from trashkit.review.static_page import review_page


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="review">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_every_line_of_the_page_is_an_edit_that_applies(session: ReviewSession) -> None:
    about = embedded(review_page(session))
    order = list(session.order)
    assert len(about["findings"]) == len(order)
    for n, choices in zip(order, about["findings"], strict=True):
        for what in ("accept", "together", "reject", "note", "unusable", "delete"):
            edits = [from_record(json.loads(line + "}")) for line in choices.get(what, ())]
            changed = apply(session.coco, edits)
            assert (changed is session.coco) == (what in ("reject", "note", "unusable") or not edits)
        assert ("accept" in choices) == (n in session.fixes)
        accepted = [
            json.loads(line + "}") for what in ("accept", "together", "added") for line in choices.get(what, ())
        ]
        assert all(edit["accepted_by"] == ["@reviewer@"] and edit["author"] != "@reviewer@" for edit in accepted)


def test_the_page_loads_nothing(session: ReviewSession) -> None:
    page = review_page(session)
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_names_of_classes_that_nobody_would_see_are_escaped(session: ReviewSession) -> None:
    session.category_names[max(session.category_names)] = "a\u202eb\u200b"
    assert embedded(review_page(session))["categories"][-1][1] == "a\\u202eb\\u200b"


@pytest.mark.browser
def test_choices_on_the_page_are_exported_as_a_log(session: ReviewSession, tmp_path: Path, browser: Any) -> None:
    (tmp_path / "review.html").write_text(review_page(session), encoding="utf-8")
    order = list(session.order)
    fixable = next(
        at for at, n in enumerate(order) if n in session.fixes and session.findings[n].block == "annotations"
    )
    taken = session.findings[order[fixable]].row
    named = next(
        at
        for at, n in enumerate(order)
        if session.findings[n].block == "annotations" and session.findings[n].row != taken and at != fixable
    )
    page = browser.new_page()
    page.goto((tmp_path / "review.html").as_uri())
    page.fill("#reviewer", 'Ann "A"')
    page.locator(f'.choice[data-n="{fixable}"] select').first.select_option("accept")
    page.locator(f'.choice[data-n="{named}"] select').first.select_option("relabel")
    page.locator(f'.choice[data-n="{named}"] select').nth(1).select_option(label="Battery")
    page.locator(f'.choice[data-n="{named}"] input').first.fill('it says "AA"')
    page.locator(f'.choice[data-n="{named}"] input').first.press("Tab")
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "log.jsonl")
    page.close()
    edits = read_log(tmp_path / "log.jsonl").edits
    assert {edit.row for edit in edits} == {taken, session.findings[order[named]].row}
    relabel = next(edit for edit in edits if edit.kind == "relabel")
    assert {edit.accepted_by for edit in edits if edit is not relabel} == {('Ann "A"',)}
    assert (relabel.author, relabel.note) == ('Ann "A"', 'it says "AA"')
    fixed = apply(session.coco, edits)
    battery = next(key for key, name in session.category_names.items() if name == "Battery")
    assert fixed.record("annotations", relabel.row or 0)["category_id"] == battery or taken is not None
    again = ReviewSession(
        session.coco, session.findings, session.fixes, tmp_path / "log.jsonl", reviewer="ann", images=session.images
    )
    assert again.status(order[fixable]) == "fixed"


@pytest.mark.browser
def test_filters_show_only_matching_findings(session: ReviewSession, tmp_path: Path, browser: Any) -> None:
    (tmp_path / "review.html").write_text(review_page(session), encoding="utf-8")
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "review.html").as_uri())
    page.locator(".choice select").first.select_option("reject")  # a decision is not a filter
    assert page.locator("article.card:visible").count() == len(session.order)
    titles = [f"{session.findings[n].code} {session.findings[n].name}" for n in session.order]
    for title in ("G011 ring-outside", "I001 missing-photo"):
        page.locator('select[data-facet="code"]').select_option(title)
        assert page.locator("article.card:visible h3").all_text_contents() == [title] * titles.count(title)
    page.close()
    assert not errors
