"""The one callback through which library code tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``: a few words, and two counts with ``0 <= done <= total``."""


def silent(what: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""
