"""Where the score is lost, as tables of a page: kinds of errors, what each costs, and their classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trashkit.metrics.error_kinds import NEAR, ErrorCounts, summaries
from trashkit.metrics.scores import Confusion
from trashkit.report.html import paragraph, table

WORST = 3
"""Number of photos named for each kind."""


def error_tables(errors: ErrorCounts, confusion: Confusion, files: Sequence[str]) -> Iterable[object]:
    """A line and two tables. confusion: of the same images. files: their names."""
    kinds = summaries(errors, confusion)
    wrong = max(1, sum(one.pixels for one in kinds))
    yield paragraph(
        f"{wrong / max(1, confusion.matrix.sum()):.1%} of all pixels are wrong. Boundary errors are edges drawn up to "
        f"{NEAR:.0%} of the diagonal away from the true one.",
        css="note",
    )
    yield table(
        ["error", "share of wrong pixels", "mIoU if fixed", "gain", "photos with most"],
        [
            [
                one.kind,
                f"{one.share:.1%}",
                f"{one.miou:.3f}",
                f"{one.gain:+.3f}",
                ", ".join(files[row] for row in errors.worst(number, WORST)) or "–",
            ]
            for number, one in enumerate(kinds)
        ],
    )
    names = [name for name in confusion.names if any(one.per_class[name] for one in kinds)]
    columns = ["share of wrong pixels", *(one.kind for one in kinds)]
    yield table(columns, [[name, *(f"{one.per_class[name] / wrong:.1%}" for one in kinds)] for name in names])
