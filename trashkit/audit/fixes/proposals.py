"""The fix that a finding itself proposes, as findings about predictions do."""

from __future__ import annotations

from typing import Any

from trashkit.audit.fixes.fix_run import FixRun
from trashkit.finding import RowFinding


def take_proposal(run: FixRun, finding: RowFinding) -> None:
    """Carry out the finding's `proposal`: delete its row, set fields of it, add annotations. All of it is unsafe."""
    proposal: Any = finding.proposal
    if not isinstance(proposal, dict):
        return
    if proposal.get("delete") is True and finding.block == "annotations":
        run.remove(finding)
        return
    fields = proposal.get("set")
    if isinstance(fields, dict) and finding.block == "annotations":
        shape = fields.get("segmentation")
        if shape is not None:
            run.reshape(finding, shape, kind="unsafe")
        rest = {key: value for key, value in fields.items() if key != "segmentation"}
        if rest:
            run.set(finding, rest, kind="unsafe")
    for record in proposal.get("add", ()):
        if isinstance(record, dict) and run.allowed(finding, "unsafe"):
            row = {"id": run.rows.fresh_id("annotations"), **record}
            run.rows.add("annotations", row, reason=finding.name, author=finding.code, note=finding.message)
