"""A finding: what a check reports about a file or about one of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal

FixKind = Literal["safe", "unsafe"]


class Severity(StrEnum):
    """Severity of a finding. Errors make `audit` fail by default."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for errors, 1 for warnings, 2 for information: sorts worst first."""
        return ("error", "warning", "info").index(self.value)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one check, about a block or the file as a whole; a `RowFinding` is about one row.

    code, name: the check's, for example ``"G003"``, ``"invalid-ring"``.
    block: the top-level list it is about (``"images"``, ``"annotations"``, ``"categories"`` ...) or ``"file"``.
    row: None here; see `RowFinding`.
    annotation_id, image_id: scalars exactly as in the file, None where the finding is not about one.
    score: larger is worse, in the unit that the check's page names; None if the check has no score.
    fix: "safe" or "unsafe" if a fix is proposed, else None.
    related: rows of the same block that belong to the finding (the other one of a pair), at most 20 of them;
    `related_count` is the full number.
    proposal: the fix itself where it cannot be computed from the row, as plain values: {"delete": True},
    {"set": {field: value}} or {"add": [annotations without id]}; else None.
    """

    code: str
    name: str
    severity: Severity
    block: str
    row: int | None
    message: str
    annotation_id: Any = None
    image_id: Any = None
    file_name: str | None = None
    score: float | None = None
    fix: FixKind | None = None
    related: tuple[int, ...] = ()
    related_count: int = 0
    proposal: Any = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Keep the types apart: with `isinstance(finding, RowFinding)` the row is known to be there."""
        if (self.row is not None) != isinstance(self, RowFinding):
            raise TypeError("use RowFinding for a finding with a row, and Finding for one without")


@dataclass(frozen=True, slots=True)
class RowFinding(Finding):
    """A finding about one row. `row` is its position in the block of the source file, counted from 0."""

    row: int

    @property
    def place(self) -> tuple[str, int]:
        """Block and row."""
        return self.block, self.row


def finding_type(row: int | None) -> type[Finding]:
    """The type to construct for a finding that has this row, or none."""
    return Finding if row is None else RowFinding


def about_row(whole: Finding, row: int, block: str | None = None) -> RowFinding:
    """The same finding, about one row."""
    values = {one.name: getattr(whole, one.name) for one in fields(whole)}
    return RowFinding(**{**values, "row": row, "block": block or whole.block})
