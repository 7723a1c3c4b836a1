"""The audit as one self-contained HTML page: the findings, the worst of them drawn on photos, and the data set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from trashkit.audit.engine import AuditResult
from trashkit.audit.output.page_drawings import Pixels, RowLookup, draw_finding, draw_images
from trashkit.audit.output.page_statistics import statistics_section
from trashkit.audit.registry import checks
from trashkit.coco import Coco
from trashkit.finding import Finding, RowFinding, Severity
from trashkit.progress import Progress, silent
from trashkit.report import html

PER_CODE = 12
"""How many findings of each code are drawn, worst first."""
MOST_ROWS = 2000
"""Most findings in the table of all findings."""
COLORS = {Severity.ERROR: "#d64541", Severity.WARNING: "#e0a100", Severity.INFO: "#4a90d9"}


def audit_page(
    coco: Coco,
    result: AuditResult,
    *,
    images: Path | None = None,
    against: Coco | None = None,
    progress: Progress = silent,
) -> str:
    """A complete HTML document. Photos are read from `images`; drawings of missing ones have a blank background.

    Never raises because of the contents of the file or the photos.
    """
    title = f"Audit of {coco.path.name if coco.path else 'annotations'}"
    lookup = RowLookup(coco, images)
    return html.page(
        title,
        [
            *_summary(coco, result),
            html.heading("The worst findings"),
            html.paragraph(
                f"At most {PER_CODE} of each code, worst first. Red: the annotation. Blue: related annotations, or the "
                "box given in the file. Green: what a fix would change or add; if it changes the class, the outline "
                "has the colour of the new class. Dark margins are outside the image.",
                css="note",
            ),
            html.gallery(list(_cards(lookup, _worst(result.findings), against, progress))),
            *_all_findings(result.findings),
            html.heading("The data set"),
            *statistics_section(coco, images=images, against=against),
        ],
    )


def _summary(coco: Coco, result: AuditResult) -> Iterable[html.Html]:
    counts = ", ".join(f"{coco.count(block):,} {block}" for block in ("images", "annotations", "categories"))
    severities = Counter(finding.severity for finding in result.findings)
    yield html.paragraph(f"{counts}.", css="lead")
    if not result.findings:
        yield html.paragraph("No findings.", css="lead")
        return
    chips = [
        html.Html(f'<span class="chip" style="background:{COLORS[one]}">{severities[one]:,} {_plural(one)}</span>')
        for one in Severity
    ]
    yield html.paragraph(html.join(chips))
    by_code = Counter(finding.code for finding in result.findings)
    known = checks()
    for one in Severity:
        bars = [
            (f"{code} {known[code].name}", float(number), COLORS[one])
            for code, number in by_code.most_common()
            if known[code].severity is one
        ]
        yield html.bars(_plural(one).capitalize(), bars, form="{:,.0f}", longest=max(by_code.values()))
    rows = [
        (code, known[code].name, known[code].severity.value, number, known[code].title)
        for code, number in sorted(by_code.items())
    ]
    table = html.table(("code", "name", "severity", "findings", "meaning"), rows)
    yield html.collapsible("What each code means", [table])


def _plural(severity: Severity) -> str:
    return severity.value if severity is Severity.INFO else f"{severity.value}s"


def _all_findings(findings: Sequence[Finding]) -> Iterable[html.Html]:
    """A collapsed table of at most MOST_ROWS findings, worst first."""
    if not findings:
        return
    ordered = sorted(findings, key=lambda finding: (finding.severity.rank, finding.code, _sort_key(finding)))
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
        text = f"{left_out:,} more are not shown: `trashkit audit ANN.json --json` lists all."
        pieces.insert(0, html.paragraph(text, css="note"))
    yield html.collapsible(f"All findings as a table ({len(rows):,} of {len(ordered):,})", pieces)


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    chosen: list[Finding] = []
    for code in sorted(by_code, key=lambda code: (by_code[code][0].severity.rank, code)):
        # Only the first finding of a group is drawn, for example of photos of one scene.
        groups: dict[object, Finding] = {}
        for finding in by_code[code]:
            groups.setdefault(_group(finding), finding)
        chosen += sorted(groups.values(), key=_sort_key)[:PER_CODE]
    return chosen


def _group(finding: Finding) -> object:
    if not isinstance(finding, RowFinding) or not finding.related:
        return id(finding)
    return finding.block, frozenset((finding.row, *finding.related))


def _sort_key(finding: Finding) -> float:
    return -finding.score if finding.score is not None and math.isfinite(finding.score) else 0.0


def _cards(
    lookup: RowLookup, findings: Sequence[Finding], against: Coco | None, progress: Progress
) -> Iterable[html.Card]:
    other = RowLookup(against, lookup.folder) if against is not None else None
    for n, finding in enumerate(findings):
        progress("drawing", n, len(findings))
        facets = {"code": f"{finding.code} {finding.name}", "severity": finding.severity.value}
        drawing: Pixels | None = None
        if isinstance(finding, RowFinding) and finding.block == "annotations":
            facets["class"] = lookup.class_of(lookup.annotation(finding.row))
            drawing = draw_finding(lookup, finding)
        elif isinstance(finding, RowFinding) and finding.block == "images":
            # The related rows of a leak are images of the other file.
            if finding.code == "I011" and other is not None:
                drawing = draw_images([(lookup, finding.row), *((other, row) for row in finding.related[:3])])
            else:
                drawing = draw_finding(lookup, finding)
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
                _new_class(lookup, finding),
                html.paragraph(" · ".join(part for part in where if part), css="note"),
            ]
        )
        yield html.Card(f"{finding.code} {finding.name}", body, facets)


def _new_class(lookup: RowLookup, finding: Finding) -> html.Html:
    """The class that a finding proposes, with its colour."""
    new = lookup.relabelled(finding) if finding.row is not None else None
    return html.Html("") if new is None else html.paragraph(html.join([html.Html("to "), html.class_chip(*new)]))
