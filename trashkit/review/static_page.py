"""A review without FiftyOne: one self-contained HTML page with a checklist, which exports an edit log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from trashkit.coco.dataset import encode
from trashkit.edits.edit import Edit, change, decide, delete
from trashkit.edits.log import to_record
from trashkit.names import printable
from trashkit.progress import Progress, silent
from trashkit.report import html
from trashkit.review import drawing
from trashkit.review.decisions import is_about_class
from trashkit.review.session import ReviewSession

MAX_PICTURES = 400
"""Findings that get a picture, worst first."""
SIDE = 300
"""Longest side of a picture in pixels."""
REVIEWER, CATEGORY = "@reviewer@", "@category@"
"""Placeholders that the page's script fills in."""


def review_page(session: ReviewSession, *, progress: Progress = silent) -> str:
    """An HTML document with the open findings, worst first, each with its picture and the possible decisions.

    Decisions stay in the browser until they are exported as an edit log for `trashkit fix --edits`. Findings that the
    session's own log has decided are left out.
    """
    order = [n for n in session.order if session.status(n) == "open"]
    data: list[dict[str, Any]] = []
    cards = []
    for at, n in enumerate(order):
        progress("drawing", at, len(order))
        data.append(_choices(session, n))
        cards.append(_card(session, n, at))
    decided, number = session.progress()
    title = f"Review of {session.coco.path.name if session.coco.path else 'annotations'}"
    about = {
        "key": session.coco.sha256[:16],
        "categories": [[_text(key), printable(name)] for key, name in session.category_names.items()],
        "findings": data,
    }
    return html.page(
        title,
        [
            html.paragraph(
                f"{number} findings, {decided} already decided. Red: before the fix. Green: after the fix; a changed "
                "class has its own colour.",
                css="lead",
            ),
            html.Html(_BAR),
            html.gallery(cards),
            html.Html(f'<script type="application/json" id="review">{_embedded(about)}</script>'),
            html.Html(f"<script>{_SCRIPT}</script>"),
        ],
    )


def _card(session: ReviewSession, n: int, at: int) -> html.Card:
    finding = session.findings[n]
    drawn = drawing.picture(session, n, SIDE) if at < MAX_PICTURES else None
    where = [finding.file_name or "", f"{finding.block}[{finding.row}]"]
    facets = {"code": f"{finding.code} {finding.name}", "severity": finding.severity.value}
    if finding.block == "annotations" and finding.row is not None:
        name = session.class_name(session.record("annotations", finding.row))
        facets["class"] = name
        where += [f"annotation {finding.annotation_id}", name]
    body = html.join(
        [
            html.picture(drawn, alt=finding.message) if drawn is not None else html.Html(""),
            html.paragraph(finding.message),
            _new_class(session, n),
            html.paragraph(" · ".join(part for part in where if part), css="note"),
            html.Html(f'<p class="choice" data-n="{at}"></p>'),
        ]
    )
    return html.Card(f"{finding.code} {finding.name}", body, facets)


def _new_class(session: ReviewSession, n: int) -> html.Html:
    """The new class that a fix gives to the annotation, on its colour."""
    color = drawing.new_color(session, n)
    if color is None:
        return html.Html("")
    return html.paragraph(
        html.join([html.Html("to "), html.class_chip(session.class_name(drawing.after(session, n)), color)])
    )


def _choices(session: ReviewSession, n: int) -> dict[str, Any]:
    """The possible decisions about a finding, as lines of an edit log without their closing brace."""
    finding = session.row_finding(n)
    place = finding.place
    now, record = session.current(*place), session.record(*place)
    author = REVIEWER
    lines: dict[str, Any] = {"place": f"{finding.block}[{finding.row}]"}
    if n in session.fixes and now is None:
        fix = session.fixes[n]
        for choice, edits in (("accept", fix.edits), ("together", fix.row_edits), ("added", fix.additions)):
            lines[choice] = _lines(replace(edit, accepted_by=(author,)) for edit in edits)
    if len(session.siblings(n)) > 1:
        lines["message"] = finding.message
    lines["reject"] = _lines([decide(session.coco, "reject", *place, reason=finding.code, author=author)])
    lines["note"] = _lines([decide(session.coco, "note", *place, reason="note", author=author)])
    image = session.image_row_of(finding)
    if image is not None:
        made = decide(session.coco, "unusable", "images", image, reason="unusable-image", author=author)
        lines["unusable"] = _lines([made])
    if finding.block == "annotations" and record is not None:
        lines["delete"] = _lines([delete(session.coco, *place, reason=finding.name, author=author, current=now)])
    if finding.block == "annotations" and isinstance(record, dict):
        reason = finding.name if is_about_class(session, n) else "review"
        edit = change(session.coco, *place, {"category_id": CATEGORY}, reason=reason, author=author, current=now)
        lines["relabel"] = _lines([edit])
    return lines


def _lines(edits: Iterable[Edit]) -> list[str]:
    """Edits as text, since JavaScript would round ids above 2**53."""
    return [_text(to_record(edit))[:-1] for edit in edits]


def _text(value: Any) -> str:
    return bytes(encode(value)).decode()


def _embedded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


_BAR = """
<p class="filters"><label>Reviewer <input id="reviewer" value="reviewer"></label>
<button id="export">Save the edit log</button> <output id="decided"></output></p>
<p class="note">Next: trashkit fix ANN.json --edits review.jsonl --out REVIEWED.json</p>
"""

_SCRIPT = """
const about = JSON.parse(document.getElementById('review').textContent);
const store = 'trashkit-review-' + about.key, saved = JSON.parse(localStorage.getItem(store) || '{}');
const name = n => about.findings[n].place + '|' + about.findings[n].reject[0] + (about.findings[n].message || '');
const option = (value, text) => Object.assign(document.createElement('option'), {value, textContent: text});
const update = () => {
  const made = Object.values(saved).filter(one => one.what || one.note || one.unusable).length;
  document.getElementById('decided').textContent = made + ' of ' + about.findings.length + ' decided on this page';
  localStorage.setItem(store, JSON.stringify(saved));
};
for (const box of document.querySelectorAll('.choice')) {
  const n = +box.dataset.n, finding = about.findings[n], one = saved[name(n)] = saved[name(n)] || {};
  const what = document.createElement('select'), to = document.createElement('select');
  what.append(option('', 'undecided'));
  const labels = {
    accept: 'accept the fix', reject: 'reject the finding', relabel: 'change the class', delete: 'delete',
  };
  for (const key in labels) if (finding[key]) what.append(option(key, labels[key]));
  about.categories.forEach(([id, label]) => to.append(option(id, label)));
  const note = Object.assign(document.createElement('input'), {placeholder: 'reason or note', value: one.note || ''});
  what.value = one.what || ''; if (one.to) to.value = one.to;
  to.hidden = what.value !== 'relabel';
  const keep = () => {
    Object.assign(one, {what: what.value, to: to.value, note: note.value});
    to.hidden = what.value !== 'relabel'; update();
  };
  [what, to, note].forEach(field => field.addEventListener('change', keep));
  box.append(what, ' ', to, ' ', note);
  if (finding.unusable) {
    const bad = Object.assign(document.createElement('input'), {type: 'checkbox', checked: !!one.unusable});
    bad.addEventListener('change', () => { one.unusable = bad.checked; update(); });
    const label = document.createElement('label'); label.append(bad, ' image unusable'); box.append(' ', label);
  }
}
update();
// Lines of the edit log. A deleted row gets no other change. Several fixes of one row are exported together.
const lines = () => {
  const reviewer = JSON.stringify(document.getElementById('reviewer').value || 'reviewer').slice(1, -1);
  const time = ',"time":' + JSON.stringify(new Date().toISOString()) + '}', made = [], rows = new Map();
  const end = (line, note) => line.replaceAll('@reviewer@', () => reviewer)
    + (note ? ',"note":' + JSON.stringify(note) : '') + time;
  about.findings.forEach((finding, n) => {
    const one = saved[name(n)];
    if (!rows.has(finding.place)) rows.set(finding.place, []);
    rows.get(finding.place).push([finding, one]);
    if (one.unusable) made.push(end(finding.unusable[0], one.note));
    if (one.note && (!one.what || one.what === 'accept')) made.push(end(finding.note[0], one.note));
    if (one.what === 'reject') {
      made.push(end(finding.reject[0], [finding.message, one.note].filter(Boolean).join(': ')));
    }
  });
  for (const some of rows.values()) {
    const chosen = what => some.filter(([, one]) => one.what === what);
    const gone = chosen('delete'), fixes = chosen('accept'), named = chosen('relabel');
    if (gone.length) { made.push(end(gone[0][0].delete[0], gone[0][1].note)); continue; }
    if (fixes.length) fixes[0][0][fixes.length > 1 ? 'together' : 'accept'].forEach(line => made.push(end(line)));
    fixes.forEach(([finding]) => finding.added.forEach(line => made.push(end(line))));
    if (named.length) {
      const [finding, one] = named[named.length - 1];
      made.push(end(finding.relabel[0].replace('"@category@"', () => one.to), one.note));
    }
  }
  return [...new Set(made)];
};
document.getElementById('export').addEventListener('click', () => {
  const text = lines().map(line => line + '\\n').join('');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'application/jsonl'}));
  link.download = 'review.jsonl'; link.click();
});
"""
