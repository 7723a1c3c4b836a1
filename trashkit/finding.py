"""What a check, a reviewer and a report share: one finding about one place in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

FixKind = Literal["safe", "unsafe"]


class Severity(StrEnum):
    """How bad a finding is. Errors make `audit` fail by default."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for errors, 1 for warnings, 2 for information: sorts worst first."""
        return ("error", "warning", "info").index(self.value)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one check.

    code, name: the check's, for example ``"G003"``, ``"invalid-ring"``.
    block: the top-level list it is about (``"images"``, ``"annotations"``, ``"categories"`` ...) or ``"file"``.
    row: position in that list in the source file, counted from 0; None where the finding is about the whole file.
    annotation_id, image_id: scalars as they stand in the file, None where the finding is not about one.
    score: how bad, larger is worse, in the unit that the check's page names; None where there is no such number.
    fix: whether a proposed fix exists and of which kind.
    related: rows of the same block that belong to the finding (the other one of a pair), at most 20 of them;
    `related_count` is how many there are in all.
    proposal: the fix itself where the row does not say it, as plain values: {"delete": True}, {"set": {field: value}},
    {"add": [annotations without id]}; None where the fix follows from the row.
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
