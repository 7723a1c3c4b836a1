"""Pages are self-contained, and nothing from outside becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

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


def test_charts_without_values_are_left_out() -> None:
    assert html.lines("empty", {"a": []}) == "" == html.lines("unknown", {"a": [(1, float("nan"))]})
    assert html.bars("empty", []) == "" == html.bars("unknown", [("a", float("nan"), "red")])
    assert "polyline" in html.lines("one point", {"a": [(1, 1)]})


def test_a_single_point_of_a_chart_is_visible() -> None:
    assert html.lines("IoU", {"Metal": [(1, 0.5)], "Glass": [(1, 0.2)]}).count("<circle") == 2
    assert "<circle" not in html.lines("IoU", {"Metal": [(1, 0.5), (2, 0.6)]})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(6.8, "6.8", id="seconds"),
        pytest.param(6.8000001, "6.8", id="rounding error"),
        pytest.param(0.62134, "0.6213", id="score"),
        pytest.param(1.0, "1", id="one"),
        pytest.param(0.5, "0.5", id="half"),
        pytest.param(41.26, "41.3", id="tens"),
        pytest.param(12345.6, "12346", id="thousands"),
        pytest.param(0.00003, "3e-05", id="tiny"),
        pytest.param(float("nan"), "–", id="unknown"),
        pytest.param(-0.25, "-0.25", id="negative"),
    ],
)
def test_a_number_gets_the_digits_it_deserves(value: float, shown: str) -> None:
    assert html.safe(value) == shown


def test_the_numbers_of_a_column_have_equally_many_digits() -> None:
    made = html.table(["score", "seconds"], [[0.5, 6.8], [0.62134, 121.25], [None, 3]])
    assert [cell in made for cell in (">0.5000<", ">0.6213<", ">6.8<", ">121.2<", ">3<")] == [True] * 5


def test_long_names_break_at_separators_only() -> None:
    name = "runs/five-folds/cpu-medium/fold_0.json"
    made = html.breakable(name)
    assert made.replace("<wbr>", "") == name
    assert made.split("<wbr>") == ["runs/", "five-", "folds/", "cpu-", "medium/", "fold_", "0.", "json"]
    assert "<wbr>" not in html.breakable("short/name.jpg") + html.breakable(
        "a sentence of many words - without long ones"
    )
    assert html.breakable("<i>/" * 9).count("<wbr>") == 8 and "<i>" not in html.breakable("<i>/" * 9)
