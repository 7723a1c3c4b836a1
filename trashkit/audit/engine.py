"""Runs the checks over a file: columns once, shapes chunk by chunk in several processes, findings at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trashkit.audit.chunks import measure
from trashkit.audit.registry import RELATED_CAP, Check, Hit, chosen
from trashkit.audit.settings import Settings
from trashkit.audit.table import Table, read_table
from trashkit.coco.dataset import Coco, ids_in
from trashkit.finding import Finding, Severity
from trashkit.progress import Progress, silent


@dataclass(frozen=True)
class AuditResult:
    """Findings by code, block and row, and what they come to.

    summary: ``images``, ``annotations``, ``categories`` (counts), ``findings`` (how many), ``by_severity`` and
    ``by_code`` (counts), ``checks`` (codes that ran).
    """

    findings: list[Finding]
    summary: dict[str, Any]

    def with_findings(self, findings: list[Finding], **more: Any) -> AuditResult:
        """The same audit with other findings (waived ones taken out, say), counted again; `more` joins the summary."""
        return AuditResult(findings, {**self.summary, **counts(findings), **more})

    def worst(self) -> Severity | None:
        """The worst severity among the findings, None where there is none."""
        return min((finding.severity for finding in self.findings), key=lambda s: s.rank, default=None)

    def fails(self, fail_on: str) -> bool:
        """Whether the gate ``error``, ``warning`` or ``never`` fails."""
        worst = self.worst()
        return fail_on != "never" and worst is not None and worst.rank <= Severity(fail_on).rank


def counts(findings: Iterable[Finding]) -> dict[str, Any]:
    """Counts of findings for the summary."""
    by_code = Counter((finding.code, finding.severity) for finding in findings)
    by_severity = {severity.value: 0 for severity in Severity}
    for (_, severity), number in by_code.items():
        by_severity[severity.value] += number
    return {
        "findings": sum(by_code.values()),
        "by_severity": by_severity,
        "by_code": {code: number for (code, _), number in sorted(by_code.items())},
    }


def audit(
    coco: Coco,
    *,
    settings: Settings | None = None,
    images: Path | None = None,
    against: Coco | None = None,
    predictions: Sequence[Path] = (),
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> AuditResult:
    """Findings about a COCO file, sound or damaged.

    images: the folder of its photos; without it the checks on photos are left out. against: another file, such as the
    test set, for leaks between the two. predictions: stores of probabilities that cover the images together; without
    them the checks on predictions are left out. select, ignore: codes, beginnings of codes, or names. workers:
    processes; None for one per CPU core, fewer for small files. The same input gives the same findings in the same
    order.

    Never raises for what the file holds; TrashkitError for codes that do not exist and folders that are none.
    """
    running = chosen(select, ignore)
    table = read_table(coco, settings or Settings(), against)
    hits: dict[str, list[Hit]] = {check.code: [] for check in running}
    on_file = [check for check in running if check.on == "file"]
    for done, check in enumerate(on_file):
        progress("checking fields", done, len(on_file))
        hits[check.code].extend(check.function(table))
    on_shapes = [check for check in running if check.on == "shapes"]
    on_measures = [check for check in running if check.on == "measures"]
    if on_shapes or on_measures:
        found, measures = measure(table, on_shapes, workers or os.cpu_count() or 1, progress)
        for code, more in found:
            hits[code].extend(more)
        measured = replace(table, measures=measures)
        for check in on_measures:
            hits[check.code].extend(check.function(measured))
    on_photos = [check for check in running if check.on == "photos"]
    if images is not None and on_photos:
        from trashkit.audit.photo_table import photo_table

        photos = photo_table(table, images, progress)
        for check in on_photos:
            hits[check.code].extend(check.function(photos))
    on_predictions = [check for check in running if check.on == "predictions"]
    if predictions and on_predictions:
        from trashkit.audit.predicted_table import predicted_table

        predicted = predicted_table(coco, predictions, settings or Settings(), progress)
        for check in on_predictions:
            hits[check.code].extend(check.function(predicted))
    findings = [finding for check in running for finding in _findings(table, check, hits[check.code])]
    given = {"photos": images is not None, "predictions": bool(predictions)}
    ran = [check.code for check in running if given.get(check.on, True)]
    size = {block: coco.count(block) for block in ("images", "annotations", "categories")}
    return AuditResult(findings, {**size, **counts(findings), "checks": ran})


def _findings(table: Table, check: Check, hits: list[Hit]) -> Iterable[Finding]:
    if check.on != "predictions":  # these come worst first
        hits.sort(key=lambda hit: (hit.block, -1 if hit.row is None else hit.row))
    for hit in hits:
        annotation_id = image_id = file_name = None
        if hit.row is not None and hit.block == "annotations":
            annotation_id = table.annotation_ids[hit.row]
            image = int(table.image_row[hit.row])
        else:
            image = hit.row if hit.row is not None and hit.block == "images" else -1
        if image >= 0:
            image_id, file_name = table.image_ids[image], table.file_names[image]
        yield Finding(
            check.code,
            check.name,
            check.severity,
            hit.block,
            hit.row,
            hit.message,
            annotation_id if ids_in(annotation_id) else None,
            image_id if ids_in(image_id) else None,
            file_name,
            hit.score,
            hit.fix,
            tuple(hit.related[:RELATED_CAP]),
            len(hit.related),
            hit.proposal,
        )
