"""Callbacks through which library code reports its progress and its decisions."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``: a short name, and two counts with ``0 <= done <= total``."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the default progress callback."""


def time_text(seconds: float) -> str:
    """A time in words, with the digits that an estimate deserves: "45 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


Log = Callable[[str], None]
"""Called with one line of text about what library code does or decides, such as a choice and its reason."""


def discard(message: str) -> None:
    """The log callback that drops all messages."""
