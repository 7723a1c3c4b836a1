"""Names and notes of others show as they read, whatever Markdown or HTML they contain."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashkit.review.app_text import as_chart_text, as_markdown

markdown_it = pytest.importorskip("markdown_it")

HOSTILE = [
    "**bold** _it_ ~~gone~~ `code`",
    "![](http://evil.example/a.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "# heading",
    "1. list",
    "- list",
    "> quote",
    "| a | b |",
    "    code",
    "```\ncode",
    "a\n\n# second paragraph",
    "line  \nbreak\r\nnext\u2028next",
    "https://evil.example/x",
    "www.evil.example",
    "WWW.evil.example",
    "me@evil.example",
    "&lt;b&gt; &copy; &#35;",
    "[x]: http://evil.example",
    "\\*not escaped\\*",
    "a\u200b\u202e\x1b[31mb",
    "$x^2$",
    "[^1]",
    "---",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_reads_as_the_text(text: str) -> None:
    html = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(as_markdown(text))
    assert re.fullmatch(r"<p>[^<>]*</p>\n?", html), html
    shown = re.sub(r"</?p>", "", html).replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    shown = shown.replace("&amp;", "&").replace("\u2060", "").strip()
    assert shown == " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    assert not re.search(r"(https?://|www\.)\w|\w@\w", html, re.IGNORECASE), "the App would make a link of it"


@given(st.text(max_size=60))
def test_any_text_is_one_paragraph_without_markup(text: str) -> None:
    html = markdown_it.MarkdownIt("commonmark").render(f"**a** · {as_markdown(text)} · **b**")
    assert re.fullmatch(r"<p><strong>a</strong> · [^<>]*· <strong>b</strong></p>\n?", html), html


@pytest.mark.parametrize("value", [None, 3, 2.5, {"a": 1}, ""])
def test_other_values_are_shown_as_text(value: Any) -> None:
    assert "<" not in as_markdown(value)


def test_charts_show_tags_as_text() -> None:
    assert as_chart_text([{"x": ['<a href="https://evil.example">a</a>', 3], "y": (1.5, None)}]) == [
        {"x": ['&lt;a href="https://evil.example"&gt;a&lt;/a&gt;', 3], "y": [1.5, None]}
    ]
    assert as_chart_text("a & b &lt; c") == "a &amp; b &amp;lt; c"
