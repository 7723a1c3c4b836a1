"""Text of files and people as the App shows it: never as Markdown or HTML of theirs."""

from __future__ import annotations

import re
from typing import Any

_WORD_JOINER = "\u2060"
MOST_LETTERS = 10_000
"""Of a text in the database. Its documents may have 16 MB, and few people read on."""


def as_markdown(text: object) -> str:
    """Markdown that reads as this text, in one line.

    Names in annotation files and notes of teammates must neither format the panel nor put pictures and links into it.
    Every ASCII punctuation mark gets a backslash. The App also makes links of bare addresses, which an invisible
    character prevents. What cannot be printed becomes a space.
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    line = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", line)
    return re.sub(r"(https?\\:|www|\\@)", rf"\1{_WORD_JOINER}", line, flags=re.IGNORECASE)


def as_stored(text: str) -> str:
    """A text as the App's database can store it: lone surrogates are escaped, and the end of a long text is cut off."""
    text = text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def all_stored(value: Any) -> Any:
    """A document with all its texts as `as_stored` gives them. Lists of anything else, such as points, are kept."""
    if isinstance(value, str):
        return as_stored(value)
    if isinstance(value, dict):
        return {key: all_stored(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], str | dict):
        return [all_stored(inner) for inner in value]
    return value


def as_chart_text(value: Any) -> Any:
    """A chart's traces or layout with every text as it reads: Plotly takes tags such as ``<a href>`` for formatting."""
    if isinstance(value, str):
        return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if isinstance(value, dict):
        return {key: as_chart_text(inner) for key, inner in value.items()}
    return [as_chart_text(inner) for inner in value] if isinstance(value, list | tuple) else value
