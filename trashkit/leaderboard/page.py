"""HTML page of a ledger: validation against leaderboard scores, and estimates of the hidden score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trashkit.leaderboard.assessment import Assessment, SubmissionEstimate
from trashkit.leaderboard.ledger import Ledger
from trashkit.metrics.summary import without_background
from trashkit.report.html import Html, escape, heading, page, paragraph, table

Point = tuple[str, float, float]
"""Name, x, y."""

COLORS = {"public": "#2f7ed8", "private": "#e4572e"}
_WIDE, _HIGH, _EDGE = 620, 420, 56
_NAMED = 24
"""Most points with a visible name; more would overlap. All points have their name as tooltip."""


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def scatter(title: str, series: Mapping[str, Sequence[Point]], *, x: str, y: str) -> Html:
    """Scatter plot with names as tooltips, equal axes and the line of equality."""
    points = [point for values in series.values() for point in values]
    if not points:
        return Html("")
    low = min(min(a, b) for _, a, b in points) - 0.01
    high = max(max(a, b) for _, a, b in points) + 0.01

    def across(value: float) -> float:
        return _EDGE + (value - low) / (high - low) * (_WIDE - _EDGE - 10)

    def up(value: float) -> float:
        return _HIGH - 40 - (value - low) / (high - low) * (_HIGH - 60)

    parts = [
        f'<path d="M{_EDGE} 10V{_HIGH - 40}H{_WIDE}" fill="none" stroke="#999"/>',
        f'<path d="M{across(low):.1f} {up(low):.1f}L{across(high):.1f} {up(high):.1f}" stroke="#bbb" '
        'stroke-dasharray="4 4"/>',
        f'<text x="{_EDGE}" y="{_HIGH - 22}" class="value">{low:.3f}</text>',
        f'<text x="{_WIDE}" y="{_HIGH - 22}" text-anchor="end" class="value">{high:.3f} {escape(x)}</text>',
        f'<text x="{_EDGE - 6}" y="{_HIGH - 42}" text-anchor="end" class="value">{low:.3f}</text>',
        f'<text x="{_EDGE - 6}" y="20" text-anchor="end" class="value">{high:.3f}</text>',
        f'<text x="{_EDGE + 8}" y="20" class="value">{escape(y)}</text>',
    ]
    for n, (name, values) in enumerate(series.items()):
        color = COLORS.get(name, "#3a9d5d")
        place = _HIGH - 78 + 16 * n
        parts.append(f'<rect x="{_WIDE - 110}" y="{place - 9}" width="9" height="9" fill="{color}"/>')
        parts.append(f'<text x="{_WIDE - 96}" y="{place}">{escape(name)}</text>')
        for label, a, b in values:
            tooltip = escape(f"{label}: {a:.4f}, {name} {b:.4f}")
            parts.append(
                f'<circle cx="{across(a):.1f}" cy="{up(b):.1f}" r="5" fill="{color}" fill-opacity="0.75">'
                f"<title>{tooltip}</title></circle>"
            )
            if len(points) <= _NAMED:
                right = across(a) > _WIDE * 2 / 3
                at, anchor = (across(a) - 8, ' text-anchor="end"') if right else (across(a) + 8, "")
                parts.append(
                    f'<text x="{at:.1f}" y="{up(b) + 4:.1f}"{anchor} class="value">{escape(_short(label))}</text>'
                )
    svg = f'<svg viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}" role="img">{"".join(parts)}</svg>'
    return Html(f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>")


MARKS = (("out_of_fold", "out of fold", "#777"), ("public", "public", "#2f7ed8"), ("private", "private", "#e4572e"))


def estimates(title: str, submissions: Sequence[SubmissionEstimate]) -> Html:
    """Expected hidden scores with their intervals, best first; ticks for known scores.

    submissions: those without an estimate are left out. A candidate has no public score.
    """
    known = [one.as_json() for one in submissions if one.interval is not None]
    if not known:
        return Html("")
    values = [v for row in known for v in (*row["interval"], *(row.get(key) for key, _, _ in MARKS)) if v is not None]
    low, high = float(min(values)) - 0.005, float(max(values)) + 0.005
    left, step = 190, 26
    height = step * len(known) + 60

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDE - left - 20)

    parts: list[str] = []
    place = 4
    shown_marks = [(words, color) for key, words, color in MARKS if any(row.get(key) is not None for row in known)]
    for words, color in (("expected, with interval; hollow: a candidate", "#3a9d5d"), *shown_marks):
        parts.append(f'<rect x="{place}" y="5" width="9" height="9" fill="{color}"/>')
        parts.append(f'<text x="{place + 14}" y="14">{words}</text>')
        place += 34 + 7 * len(words)
    for n, row in enumerate(known):
        y = 36 + step * n
        ends = [across(v) for v in row["interval"]]
        candidate = " (candidate)" if row.get("public") is None else ""
        scores = [f"{words} {row[key]:.4f}" for key, words, _ in MARKS if row.get(key) is not None]
        scores.append(f"expected {row['expected']:.4f}, {row['interval'][0]:.4f} to {row['interval'][1]:.4f}")
        name = str(row["name"])
        shown = _short(name)
        parts.append(
            f"<g><title>{escape(name + candidate + ': ' + ', '.join(scores))}</title>"
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(shown + candidate)}</text>'
            f'<path d="M{ends[0]:.1f} {y}H{ends[1]:.1f}" stroke="#3a9d5d" stroke-width="3" stroke-opacity="0.5"/>'
        )
        for key, _, color in MARKS:
            if row.get(key) is not None:
                parts.append(f'<path d="M{across(row[key]):.1f} {y - 7}v14" stroke="{color}" stroke-width="2"/>')
        fill = "#fff" if candidate else "#3a9d5d"
        parts.append(f'<circle cx="{across(row["expected"]):.1f}" cy="{y}" r="5" fill="{fill}" stroke="#3a9d5d"/></g>')
    base = height - 16
    parts.append(f'<path d="M{left} {base - 14}H{_WIDE - 20}" stroke="#999"/>')
    parts.append(f'<text x="{left}" y="{base + 4}" class="value">{low:.3f}</text>')
    parts.append(f'<text x="{_WIDE - 20}" y="{base + 4}" text-anchor="end" class="value">{high:.3f}</text>')
    svg = f'<svg viewBox="0 0 {_WIDE} {height}" width="{_WIDE}" height="{height}" role="img">{"".join(parts)}</svg>'
    return Html(f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>")


def ledger_page(ledger: Ledger, assessment: Assessment | None, *, level: float = 0.95) -> str:
    """The page: charts, advice and a table of the submissions.

    assessment: None if no submission has validation. level: of its intervals.
    """
    entries = ledger.entries
    against = {
        side: [
            (entry.name, entry.miou, score)
            for entry in entries
            if entry.miou is not None and (score := getattr(entry, side)) is not None
        ]
        for side in ("public", "private")
    }
    both = [
        (entry.name, entry.public, entry.private)
        for entry in entries
        if entry.public is not None and entry.private is not None
    ]
    rows = [
        (n, entry.name, entry.time[:16].replace("T", " "), entry.miou, without_background(entry.iou),
         entry.public, entry.private, "" if entry.run is None else entry.run.name)
        for n, entry in enumerate(entries, 1)
    ]  # fmt: skip
    pieces: list[object] = [
        paragraph(f"{len(entries)} submissions. Points on the dashed line have equal scores on both axes.", css="lead"),
        scatter(
            "Validation against leaderboard",
            {side: points for side, points in against.items() if points},
            x="out-of-fold mIoU",
            y="leaderboard mIoU",
        ),
    ]
    if both:
        pieces.append(scatter("Public against private half", {"private": both}, x="public", y="private"))
    if assessment is not None:
        pieces.append(estimates(f"Expected hidden score, {level:.0%} intervals", assessment.submissions))
        pieces += [heading("Advice"), *(paragraph(line) for line in assessment.says)]
    pieces += [
        heading("Submissions"),
        table(["#", "submission", "added", "out of fold", "without background", "public", "private", "run"], rows),
    ]
    return page(f"Leaderboard {ledger.path.name}", pieces)
