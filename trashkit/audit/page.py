"""The audit as one self-contained HTML page: what was found, the worst of it drawn on the photos, and the data set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from trashkit.audit.engine import AuditResult
from trashkit.audit.page_data_set import data_set
from trashkit.audit.page_drawings import Facts, Pixels, draw_finding, draw_images
from trashkit.audit.registry import checks
from trashkit.coco import Coco
from trashkit.finding import Finding, Severity
from trashkit.progress import Progress, silent
from trashkit.report import html

PER_CODE = 12
"""Worst findings of each code that are drawn."""
MOST_ROWS = 2000
"""Findings that the table of all findings holds."""
COLORS = {Severity.ERROR: "#d64541", Severity.WARNING: "#e0a100", Severity.INFO: "#4a90d9"}


def audit_page(
    coco: Coco,
    result: AuditResult,
    *,
    images: Path | None = None,
    against: Coco | None = None,
    progress: Progress = silent,
) -> str:
    """A whole HTML document. Photos are read from `images`; where they are absent, a blank canvas of the image's size
    is drawn on. Never raises for what the file or the photos hold."""
    title = f"Audit of {coco.path.name if coco.path else 'annotations'}"
    facts = Facts(coco, images)
    return html.page(
        title,
        [
            *_summary(coco, result),
            html.heading("The worst findings"),
            html.paragraph(
                f"At most {PER_CODE} of each code, worst first. Red: what it is about. Blue: what that is related to, "
                "or the box that the file states. Green: what a fix would draw or add; where it changes the class, the "
                "outline has the new class's colour. Dark margins lie outside the image.",
                css="note",
            ),
            html.gallery(list(_cards(facts, _worst(result.findings), against, progress))),
            *_all_findings(result.findings),
            html.heading("The data set"),
            *data_set(coco, images=images, against=against),
        ],
    )


def _summary(coco: Coco, result: AuditResult) -> Iterable[html.Html]:
    counts = ", ".join(f"{coco.count(block):,} {block}" for block in ("images", "annotations", "categories"))
    severities = Counter(finding.severity for finding in result.findings)
    yield html.paragraph(f"{counts}.", css="lead")
    if not result.findings:
        yield html.paragraph("Nothing was found.", css="lead")
        return
    chips = [
        html.Html(
            f'<span class="chip" style="background:{COLORS[one]}">{severities[one]:,} {html.safe(one.value)}</span>'
        )
        for one in Severity
    ]
    yield html.paragraph(html.join(chips))
    by_code = Counter(finding.code for finding in result.findings)
    known = checks()
    bars = [
        (f"{code} {known[code].name}", float(number), COLORS[known[code].severity])
        for code, number in by_code.most_common()
    ]
    yield html.bars("Findings by code", bars, form="{:,.0f}")
    rows = [
        (code, known[code].name, known[code].severity.value, number, known[code].title)
        for code, number in sorted(by_code.items())
    ]
    table = html.table(("code", "name", "severity", "findings", "what it is"), rows)
    yield html.folded("What each code means", [table])


def _all_findings(findings: Sequence[Finding]) -> Iterable[html.Html]:
    """A folded table of the findings, MOST_ROWS at most, worst first."""
    if not findings:
        return
    ordered = sorted(findings, key=lambda finding: (finding.severity.rank, finding.code, _badness(finding)))
    rows = [
        (
            finding.code,
            finding.name,
            finding.severity.value,
            "" if finding.annotation_id is None else str(finding.annotation_id),
            "" if finding.image_id is None else str(finding.image_id),
            finding.file_name or "",
            finding.message,
        )
        for finding in ordered[:MOST_ROWS]
    ]
    pieces = [html.table(("code", "name", "severity", "annotation", "image", "file", "message"), rows)]
    left_out = len(ordered) - len(rows)
    if left_out > 0:
        text = f"{left_out:,} more are left out here: `trashkit audit ANN.json --json` lists all."
        pieces.insert(0, html.paragraph(text, css="note"))
    yield html.folded(f"All findings as a table ({len(rows):,} of {len(ordered):,})", pieces)


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    chosen: list[Finding] = []
    for code in sorted(by_code, key=lambda code: (by_code[code][0].severity.rank, code)):
        # Of a group, such as photos of one scene, the first stands for all.
        groups: dict[object, Finding] = {}
        for finding in by_code[code]:
            groups.setdefault(_group(finding), finding)
        chosen += sorted(groups.values(), key=_badness)[:PER_CODE]
    return chosen


def _group(finding: Finding) -> object:
    if finding.row is None or not finding.related:
        return id(finding)
    return finding.block, frozenset((finding.row, *finding.related))


def _badness(finding: Finding) -> float:
    return -finding.score if finding.score is not None and math.isfinite(finding.score) else 0.0


def _cards(facts: Facts, findings: Sequence[Finding], against: Coco | None, progress: Progress) -> Iterable[html.Card]:
    other = Facts(against, facts.folder) if against is not None else None
    for n, finding in enumerate(findings):
        progress("drawing", n, len(findings))
        facets = {"code": f"{finding.code} {finding.name}", "severity": finding.severity.value}
        drawing: Pixels | None = None
        if finding.row is not None and finding.block == "annotations":
            facets["class"] = facts.class_of(facts.annotation(finding.row))
            drawing = draw_finding(facts, finding)
        elif finding.row is not None and finding.block == "images":
            # A leak's related rows are images of the other file.
            if finding.code == "I011" and other is not None:
                drawing = draw_images([(facts, finding.row), *((other, row) for row in finding.related[:3])])
            else:
                drawing = draw_finding(facts, finding)
        where = [
            f"annotation {finding.annotation_id}" if finding.annotation_id is not None else "",
            f"image {finding.image_id}" if finding.image_id is not None else "",
            finding.file_name or "",
            "" if finding.row is None else f"{finding.block}[{finding.row}]",
            f"fix: {finding.fix}" if finding.fix else "",
        ]
        body = html.join(
            [
                html.picture(drawing, alt=finding.message) if drawing is not None else html.Html(""),
                html.paragraph(finding.message),
                _new_class(facts, finding),
                html.paragraph(" · ".join(part for part in where if part), css="note"),
            ]
        )
        yield html.Card(f"{finding.code} {finding.name}", body, facets)


def _new_class(facts: Facts, finding: Finding) -> html.Html:
    """The class that a finding proposes, on its colour."""
    new = facts.relabelled(finding) if finding.row is not None else None
    return html.Html("") if new is None else html.paragraph(html.join([html.Html("to "), html.class_chip(*new)]))
