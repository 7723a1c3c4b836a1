"""Write docs/reference/checks.md from the docstrings of the audit's checks."""

from __future__ import annotations

from pathlib import Path

from trashkit.audit.reference import reference_page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "checks.md"

if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
