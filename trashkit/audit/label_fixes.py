"""The cure of a finding that proposes one itself, as findings about predictions do."""

from __future__ import annotations

from typing import Any

from trashkit.audit.workbench import Workbench
from trashkit.coco.edit import add
from trashkit.finding import Finding


def take_proposal(bench: Workbench, finding: Finding) -> None:
    """Do what the finding's `proposal` says: delete its row, set fields of it, add annotations. All of it is unsafe."""
    proposal: Any = finding.proposal
    if not isinstance(proposal, dict):
        return
    if proposal.get("delete") is True and finding.block == "annotations":
        bench.remove(finding)
        return
    fields = proposal.get("set")
    if isinstance(fields, dict) and finding.block == "annotations":
        shape = fields.get("segmentation")
        if shape is not None:
            bench.reshape(finding, shape, kind="unsafe")
        rest = {key: value for key, value in fields.items() if key != "segmentation"}
        if rest:
            bench.set(finding, rest, kind="unsafe")
    for record in proposal.get("add", ()):
        if isinstance(record, dict) and bench.allowed(finding, "unsafe"):
            row = {"id": bench.fresh_id("annotations"), **record}
            edit = add(bench.coco, "annotations", row, reason=finding.name, author=finding.code, note=finding.message)
            bench.edits.append(edit)
