"""The review without FiftyOne: one self-contained page with a checklist that exports an edit log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from trashkit.coco.dataset import encode
from trashkit.coco.edit import Edit, change, decide, delete
from trashkit.coco.edit_log import to_record
from trashkit.progress import Progress, silent
from trashkit.report import html
from trashkit.review import drawing
from trashkit.review.decisions import is_about_class
from trashkit.review.room import Room

PICTURES = 400
"""Findings that are drawn, worst first; the others have their words alone."""
SIDE = 300
REVIEWER, CATEGORY = "@reviewer@", "@category@"


def review_page(room: Room, *, progress: Progress = silent) -> str:
    """A whole HTML document: findings worst first, each with its picture and what can be decided about it.

    Decisions stay in the browser until they are exported as an edit log for `trashkit fix --edits`. What the room's
    own log has decided already is left out.
    """
    order = [n for n in room.order if room.status(n) == "open"]
    data: list[dict[str, Any]] = []
    cards = []
    for at, n in enumerate(order):
        progress("drawing", at, len(order))
        data.append(_choices(room, n))
        cards.append(_card(room, n, at))
    decided, number = room.progress()
    title = f"Review of {room.coco.path.name if room.coco.path else 'annotations'}"
    about = {
        "key": room.coco.sha256[:16],
        "categories": [[_text(key), name] for key, name in room.names.items()],
        "findings": data,
    }
    return html.page(
        title,
        [
            html.paragraph(
                f"{number} findings, {decided} decided before. Red: as it is. Green: after the fix; a new class has "
                "its own colour.",
                css="lead",
            ),
            html.Html(_BAR),
            html.gallery(cards),
            html.Html(f'<script type="application/json" id="review">{_embedded(about)}</script>'),
            html.Html(f"<script>{_SCRIPT}</script>"),
        ],
    )


def _card(room: Room, n: int, at: int) -> html.Card:
    finding = room.findings[n]
    drawn = drawing.picture(room, n, SIDE) if at < PICTURES else None
    where = [finding.file_name or "", f"{finding.block}[{finding.row}]"]
    facets = {"code": f"{finding.code} {finding.name}", "severity": finding.severity.value}
    if finding.block == "annotations" and finding.row is not None:
        name = room.class_name(room.record("annotations", finding.row))
        facets["class"] = name
        where += [f"annotation {finding.annotation_id}", name]
    body = html.join(
        [
            html.picture(drawn, alt=finding.message) if drawn is not None else html.Html(""),
            html.paragraph(finding.message),
            _new_class(room, n),
            html.paragraph(" · ".join(part for part in where if part), css="note"),
            html.Html(f'<p class="choice" data-n="{at}"></p>'),
        ]
    )
    return html.Card(f"{finding.code} {finding.name}", body, facets)


def _new_class(room: Room, n: int) -> html.Html:
    """The class that a finding's fix gives its annotation, on its colour."""
    color = drawing.new_color(room, n)
    if color is None:
        return html.Html("")
    return html.paragraph(
        html.join([html.Html("to "), html.class_chip(room.class_name(drawing.after(room, n)), color)])
    )


def _choices(room: Room, n: int) -> dict[str, Any]:
    """What can be decided about a finding, as lines of an edit log without their closing brace."""
    finding = room.findings[n]
    assert finding.row is not None
    place = (finding.block, finding.row)
    now, record = room.current(*place), room.record(*place)
    author = REVIEWER
    lines: dict[str, Any] = {"place": f"{finding.block}[{finding.row}]"}
    if n in room.fixes and now is None:
        lines["accept"] = _lines(room.fixes[n].alone)
        lines["together"] = _lines(room.fixes[n].together)
        lines["added"] = _lines(room.fixes[n].added)
    if len(room.siblings(n)) > 1:
        lines["told"] = finding.message
    lines["reject"] = _lines([decide(room.coco, "reject", *place, reason=finding.code, author=author)])
    lines["note"] = _lines([decide(room.coco, "note", *place, reason="note", author=author)])
    image = room.image_row_of(finding)
    if image is not None:
        made = decide(room.coco, "unusable", "images", image, reason="unusable-image", author=author)
        lines["unusable"] = _lines([made])
    if finding.block == "annotations" and record is not None:
        lines["delete"] = _lines([delete(room.coco, *place, reason=finding.name, author=author, current=now)])
    if finding.block == "annotations" and isinstance(record, dict):
        reason = finding.name if is_about_class(room, n) else "review"
        edit = change(room.coco, *place, {"category_id": CATEGORY}, reason=reason, author=author, current=now)
        lines["relabel"] = _lines([edit])
    return lines


def _lines(edits: Iterable[Edit]) -> list[str]:
    """Edits as text: JavaScript would round ids above 2**53 if it read and wrote them as values."""
    return [_text(to_record(edit))[:-1] for edit in edits]


def _text(value: Any) -> str:
    return bytes(encode(value)).decode()


def _embedded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


_BAR = """
<p class="filters"><label>Reviewer <input id="reviewer" value="reviewer"></label>
<button id="export">Save the edit log</button> <output id="decided"></output></p>
<p class="note">Then: trashkit fix ANN.json --edits review.jsonl --out REVIEWED.json</p>
"""

_SCRIPT = """
const about = JSON.parse(document.getElementById('review').textContent);
const store = 'trashkit-review-' + about.key, saved = JSON.parse(localStorage.getItem(store) || '{}');
const name = n => about.findings[n].place + '|' + about.findings[n].reject[0] + (about.findings[n].told || '');
const option = (value, text) => Object.assign(document.createElement('option'), {value, textContent: text});
const tell = () => {
  const made = Object.values(saved).filter(one => one.what || one.note || one.unusable).length;
  document.getElementById('decided').textContent = made + ' of ' + about.findings.length + ' decided here';
  localStorage.setItem(store, JSON.stringify(saved));
};
for (const box of document.querySelectorAll('.choice')) {
  const n = +box.dataset.n, finding = about.findings[n], one = saved[name(n)] = saved[name(n)] || {};
  const what = document.createElement('select'), to = document.createElement('select');
  what.append(option('', 'undecided'));
  const words = {accept: 'accept the fix', reject: 'right as it is', relabel: 'change the class', delete: 'delete'};
  for (const key in words) if (finding[key]) what.append(option(key, words[key]));
  about.categories.forEach(([id, label]) => to.append(option(id, label)));
  const note = Object.assign(document.createElement('input'), {placeholder: 'reason or note', value: one.note || ''});
  what.value = one.what || ''; if (one.to) to.value = one.to;
  to.hidden = what.value !== 'relabel';
  const keep = () => {
    Object.assign(one, {what: what.value, to: to.value, note: note.value});
    to.hidden = what.value !== 'relabel'; tell();
  };
  [what, to, note].forEach(field => field.addEventListener('change', keep));
  box.append(what, ' ', to, ' ', note);
  if (finding.unusable) {
    const bad = Object.assign(document.createElement('input'), {type: 'checkbox', checked: !!one.unusable});
    bad.addEventListener('change', () => { one.unusable = bad.checked; tell(); });
    const label = document.createElement('label'); label.append(bad, ' image unusable'); box.append(' ', label);
  }
}
tell();
// Lines of the edit log. Deleting a row is its only change; fixes of one row that build on each other go together.
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
      made.push(end(finding.reject[0], [finding.told, one.note].filter(Boolean).join(': ')));
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
