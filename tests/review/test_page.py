"""The page to decide on without FiftyOne: complete, and its exported log applies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco.edit_log import from_record, read_log
from trashkit.coco.edits import apply
from trashkit.review.page import review_page
from trashkit.review.room import Room


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="review">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_every_line_of_the_page_is_an_edit_that_applies(room: Room) -> None:
    about = embedded(review_page(room))
    order = list(room.order)
    assert len(about["findings"]) == len(order)
    for n, choices in zip(order, about["findings"], strict=True):
        for what in ("accept", "together", "reject", "note", "unusable", "delete"):
            edits = [from_record(json.loads(line + "}")) for line in choices.get(what, ())]
            changed = apply(room.coco, edits)
            assert (changed is room.coco) == (what in ("reject", "note", "unusable") or not edits)
        assert ("accept" in choices) == (n in room.fixes)


def test_the_page_loads_nothing(room: Room) -> None:
    page = review_page(room)
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.browser
def test_what_is_chosen_on_the_page_is_exported_as_a_log(room: Room, tmp_path: Path, browser: Any) -> None:
    (tmp_path / "review.html").write_text(review_page(room), encoding="utf-8")
    order = list(room.order)
    fixable = next(at for at, n in enumerate(order) if n in room.fixes and room.findings[n].block == "annotations")
    taken = room.findings[order[fixable]].row
    named = next(
        at
        for at, n in enumerate(order)
        if room.findings[n].block == "annotations" and room.findings[n].row != taken and at != fixable
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
    assert {edit.row for edit in edits} == {taken, room.findings[order[named]].row}
    relabel = next(edit for edit in edits if edit.kind == "relabel")
    assert (relabel.author, relabel.note) == ('Ann "A"', 'it says "AA"')
    fixed = apply(room.coco, edits)
    battery = next(key for key, name in room.names.items() if name == "Battery")
    assert fixed.record("annotations", relabel.row or 0)["category_id"] == battery or taken is not None
    again = Room(room.coco, room.findings, room.fixes, tmp_path / "log.jsonl", reviewer="ann", images=room.images)
    assert again.status(order[fixable]) == "fixed"


@pytest.mark.browser
def test_filters_show_what_they_name_and_nothing_else(room: Room, tmp_path: Path, browser: Any) -> None:
    (tmp_path / "review.html").write_text(review_page(room), encoding="utf-8")
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "review.html").as_uri())
    page.locator(".choice select").first.select_option("reject")  # what is decided is no filter
    assert page.locator("article.card:visible").count() == len(room.order)
    titles = [f"{room.findings[n].code} {room.findings[n].name}" for n in room.order]
    for title in ("G011 ring-outside", "I001 missing-photo"):
        page.locator('select[data-facet="code"]').select_option(title)
        assert page.locator("article.card:visible h3").all_text_contents() == [title] * titles.count(title)
    page.close()
    assert not errors
