"""Pages are self-contained, and nothing from outside becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from trashkit.report import html

EVIL = "<script>alert(1)</script>\"'&"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.text = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_everything_from_outside_is_escaped() -> None:
    made = html.page(
        EVIL,
        [
            html.heading(EVIL),
            html.paragraph(EVIL),
            html.table([EVIL], [[EVIL], [1.5], [None]]),
            html.bars(EVIL, [(EVIL, 1.0, EVIL), ("none", float("nan"), "red")]),
            html.lines(EVIL, {EVIL: [(0, 1), (1, 2)]}, x=EVIL, y=EVIL),
            html.color_key({EVIL: (1, 2, 3)}),
            html.gallery([html.Card(EVIL, html.picture(np.zeros((4, 4, 3), np.uint8), alt=EVIL), {EVIL: EVIL})]),
            EVIL,
        ],
    )
    tags = Tags()
    tags.feed(made)
    assert tags.opened.count("script") == 1
    assert tags.text.count(EVIL) >= 10
    assert all(address.startswith("data:") for address in tags.addresses)


def test_charts_of_nothing() -> None:
    assert "nothing to draw" in html.lines("empty", {"a": []})
    assert "<svg" in html.bars("empty", [])
    assert "polyline" in html.lines("one point", {"a": [(1, 1)]})


def test_a_single_point_of_a_chart_is_seen() -> None:
    assert html.lines("IoU", {"Metal": [(1, 0.5)], "Glass": [(1, 0.2)]}).count("<circle") == 2
    assert "<circle" not in html.lines("IoU", {"Metal": [(1, 0.5), (2, 0.6)]})
