"""Write docs/reference/checks.md from the docstrings of the audit's checks, or check that it is up to date.

python scripts/checks_page.py            writes the page
python scripts/checks_page.py --check    exits 1 if the page is stale
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from trashkit.audit.reference import reference_page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "checks.md"


def main() -> int:
    """Write or check; returns the exit code."""
    try:
        new = reference_page()
    except ValueError as error:
        sys.stdout.write(f"trashkit/audit/settings.py: {error}\n")
        return 1
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
        sys.stdout.write(f"wrote {PAGE}\n")
        return 0
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if old == new:
        return 0
    changes = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "page", "checks", lineterm=""))[:40]
    lines = [f"{PAGE} is stale: run python scripts/checks_page.py", *changes]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1


if __name__ == "__main__":
    sys.exit(main())
