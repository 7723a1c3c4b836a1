"""The generated reference matches the docstrings of the checks."""

from __future__ import annotations

from pathlib import Path

from trashkit.audit.reference import reference_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "checks.md"


def test_the_page_is_up_to_date() -> None:
    is_current = PAGE.read_text(encoding="utf-8") == reference_page()
    assert is_current, "run python scripts/checks_page.py"
