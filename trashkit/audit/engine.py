"""Run the checks on a file: fields once, shapes chunk by chunk in several processes, then photos and predictions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.audit.registry import RELATED_CAP, Check, Hit, chosen
from trashkit.audit.settings import Settings
from trashkit.audit.views.parallel import measure
from trashkit.audit.views.table import Table, read_table
from trashkit.coco.dataset import Coco, is_valid_id
from trashkit.finding import Finding, Severity, finding_type
from trashkit.progress import Progress, silent

if TYPE_CHECKING:
    from trashkit.images.near_duplicates import Matching


@dataclass(frozen=True)
class AuditResult:
    """Findings ordered by code, block and row, and a summary.

    summary: ``images``, ``annotations``, ``categories`` (counts), ``findings`` (how many), ``by_severity`` and
    ``by_code`` (counts), ``checks`` (codes that ran).
    """

    findings: list[Finding]
    summary: dict[str, Any]

    def with_findings(self, findings: list[Finding], **more: Any) -> AuditResult:
        """The same audit with other findings, for example without waived ones; `more` is added to the summary."""
        return AuditResult(findings, {**self.summary, **counts(findings), **more})

    def worst(self) -> Severity | None:
        """The worst severity among the findings, None if there are none."""
        return min((finding.severity for finding in self.findings), key=lambda s: s.rank, default=None)

    def fails(self, fail_on: str) -> bool:
        """Whether there are findings of the severity ``error`` or ``warning``, or worse; never for ``never``."""
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
    near_duplicate_matching: Matching = "normal",
    predictions: Path | Sequence[Path] = (),
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> AuditResult:
    """Run the checks on a COCO file, valid or damaged.

    images: the folder of its photos; without it the checks on photos are skipped. against: another file, such as the
    test set, to find leaks between the two. near_duplicate_matching: see
    `trashkit.images.near_duplicates.near_duplicate_pairs`. predictions: stores of probabilities that together cover the
    images, or run folders, which mean their out-of-fold stores; without them the checks on predictions are skipped.
    select, ignore: codes, beginnings of codes, or names; one string may name several, separated by commas. workers:
    number of processes; None for one per CPU core, or one for small files. The same input gives the same findings in
    the same order.

    Never raises because of the file's contents; TrashkitError for unknown codes and missing folders.
    """
    running = chosen(
        [select] if isinstance(select, str) else select,
        [ignore] if isinstance(ignore, str) else ignore,
    )
    predictions = [predictions] if isinstance(predictions, Path) else predictions
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
        from trashkit.audit.views.photo_table import photo_table

        photos = photo_table(table, images, progress, matching=near_duplicate_matching)
        for check in on_photos:
            hits[check.code].extend(check.function(photos))
    on_predictions = [check for check in running if check.on == "predictions"]
    if predictions and on_predictions:
        from trashkit.audit.views.prediction_table import prediction_table
        from trashkit.predictions.reading import out_of_fold

        stores = [store for path in predictions for store in out_of_fold(path)]
        predicted = prediction_table(coco, stores, settings or Settings(), progress)
        for check in on_predictions:
            hits[check.code].extend(check.function(predicted))
    _leave_out_scaled(table, running, hits)
    _leave_out_missing(running, hits)
    findings = [finding for check in running for finding in _findings(table, check, hits[check.code])]
    given = {"photos": images is not None, "predictions": bool(predictions)}
    ran = [check.code for check in running if given.get(check.on, True)]
    size = {block: coco.count(block) for block in ("images", "annotations", "categories")}
    return AuditResult(findings, {**size, **counts(findings), "checks": ran})


SCALED = frozenset(
    {
        "out-of-bounds", "ring-outside", "axes-swapped", "annotated-at-other-scale", "x-and-y-exchanged", "zero-area",
        "tiny-area", "area-mismatch", "bbox-mismatch", "vanishes-at-training-size", "speck", "box-as-mask",
        "coarse-outline", "coordinate-not-finite",
    }
)  # fmt: skip
"""Checks of size and position, which say nothing new about annotations at another scale (G015)."""


def _leave_out_scaled(table: Table, running: Iterable[Check], hits: dict[str, list[Hit]]) -> None:
    """Where the file's coordinates are at another scale: leave out what follows from that, and fixes of shapes."""
    shaped = [check for check in running if check.on in ("shapes", "measures")]
    scale = table.scale if shaped else None
    if scale is None:
        return
    about = {"annotations": set(scale.rows.tolist()), "images": set(table.image_row[scale.rows].tolist())}
    for check in shaped:
        kept = []
        for hit in hits[check.code]:
            affected = hit.row in about.get(hit.block, ())
            if not affected or check.name == "empty-segmentation":
                kept.append(hit)
            elif not (scale.proven and check.name in SCALED):
                kept.append(hit._replace(fix=None, proposal=None))
        hits[check.code] = kept


def _leave_out_missing(running: Iterable[Check], hits: dict[str, list[Hit]]) -> None:
    """Where no annotation has an outline (G006): leave out that each of them has none."""
    by_name = {check.name: check.code for check in running}
    if hits.get(by_name.get("no-outlines", "")):
        for name in ("empty-segmentation", "missing-field"):
            if name in by_name:
                kept = [hit for hit in hits[by_name[name]] if hit.block != "annotations" or not _says_nothing(hit)]
                hits[by_name[name]] = kept


def _says_nothing(hit: Hit) -> bool:
    return hit.message in ("segmentation is empty", "segmentation is missing", "segmentation is null")


def _findings(table: Table, check: Check, hits: list[Hit]) -> Iterable[Finding]:
    if check.on != "predictions":  # these are ordered by score, worst first
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
        yield finding_type(hit.row)(
            check.code,
            check.name,
            check.severity,
            hit.block,
            hit.row,
            hit.message,
            annotation_id if is_valid_id(annotation_id) else None,
            image_id if is_valid_id(image_id) else None,
            file_name,
            hit.score,
            hit.fix,
            tuple(hit.related[:RELATED_CAP]),
            len(hit.related),
            hit.proposal,
        )
