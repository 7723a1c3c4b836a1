"""Self-contained HTML pages: one file without external resources, all text escaped.

Pieces are `Html` values; any other value is escaped when it is inserted. Charts are inline SVG, pictures are embedded
JPEGs.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isnan

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.names import printable

Pixels = NDArray[np.uint8]


class Html(str):
    """Text that is already HTML and is not escaped again."""

    __slots__ = ()


def escape(text: str) -> str:
    """Escape a text for HTML, and what a reader would not see, such as characters that turn the text around."""
    return html.escape(printable(text, page=True))


def safe(value: object, digits: int | None = None) -> Html:
    """Convert a value to HTML: escaped, unless it is `Html`. None and NaN become a dash.

    digits: decimals of a float, by default those of `decimals`.
    """
    if isinstance(value, Html):
        return value
    if value is None or (isinstance(value, float) and isnan(value)):
        return Html("–")
    if isinstance(value, float):
        shown = f"{value:.{decimals([value]) if digits is None else digits}f}"
        return Html(f"{value:.2g}" if value and not shown.strip("-0.") else shown)
    return Html(escape(str(value)))


def decimals(values: Iterable[float]) -> int:
    """Decimals that numbers of one column deserve: as few as show them, up to four for scores, less for large ones.

    Up to 1 in size: 4 (IoU 0.6213); below 10: 2; below 1000: 1 (seconds, 6.8); else none.
    """
    known = [value for value in values if isfinite(value)]
    largest = max(map(abs, known), default=0.0)
    most = 4 if largest <= 1 else 2 if largest < 10 else 1 if largest < 1000 else 0
    shown = (f"{value:.{most}f}".rstrip("0").partition(".")[2] for value in known)
    return max(map(len, shown), default=0) if most else 0


_SEPARATORS = re.compile(r"(?<=[/\\_.:-])(?=[^/\\_.:;-])")


def breakable(value: object, digits: int | None = None) -> Html:
    """As `safe`; a long name without spaces may break after its separators, and so rarely within a word."""
    if isinstance(value, Html) or not isinstance(value, str) or max(map(len, value.split()), default=0) <= _LONG:
        return safe(value, digits)
    return Html("<wbr>".join(escape(part) for part in _SEPARATORS.split(value)))


_LONG = 20
"""Longest word that is never broken."""


def join(pieces: Iterable[object]) -> Html:
    """Concatenate pieces."""
    return Html("".join(safe(piece) for piece in pieces))


def heading(text: object, level: int = 2) -> Html:
    """A heading."""
    return Html(f"<h{level}>{safe(text)}</h{level}>")


def class_chip(name: str, color: tuple[int, int, int]) -> Html:
    """The name of a class on its colour (RGB), in black or white for contrast."""
    red, green, blue = color
    text = "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"
    return Html(f'<span class="chip" style="background:rgb({red},{green},{blue});color:{text}">{safe(name)}</span>')


def paragraph(text: object, *, css: str = "") -> Html:
    """A paragraph, with an optional CSS class of the page's style (``note``, ``lead``)."""
    return Html(f'<p class="{escape(css)}">{safe(text)}</p>')


def table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table; a click on a column header sorts by it."""
    head = join(Html(f"<th>{safe(column)}</th>") for column in columns)
    body: list[Html] = []
    filled = [list(row) for row in rows]
    digits = [
        decimals(row[n] for row in filled if n < len(row) and isinstance(row[n], float))  # type: ignore[misc]
        for n in range(max(map(len, filled), default=0))
    ]
    for row in filled:
        cells = [
            Html(f'<td class="{"number" if isinstance(value, int | float) else ""}">{breakable(value, digits[n])}</td>')
            for n, value in enumerate(row)
        ]
        body.append(Html(f"<tr>{join(cells)}</tr>"))
    return Html(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{join(body)}</tbody></table></div>')


def rgb(color: tuple[int, int, int]) -> str:
    """A colour in CSS syntax."""
    return f"rgb({color[0]},{color[1]},{color[2]})"


def bars(
    title: object, values: Sequence[tuple[str, float, str]], *, form: str = "{:.3g}", longest: float | None = None
) -> Html:
    """Horizontal bar chart of (label, value, CSS colour). NaN is drawn as a dash. longest: the value of a full bar.

    Empty without any value.
    """
    finite = [value for _, value, _ in values if not isnan(value)]
    if not finite:
        return Html("")
    full = longest or max([*finite, 0.0]) or 1.0
    height = 22 * len(values)
    # Labels are drawn at 12 px, where a letter of the usual typefaces is about 7 px wide.
    label_width = max(48, min(420, 7 * max(len(label) for label, _, _ in values) + 8))
    parts: list[str] = []
    for n, (label, value, color) in enumerate(values):
        y = 22 * n
        parts.append(f'<text x="{label_width}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        length = 0.0 if isnan(value) else max(0.0, min(1.0, value / full)) * 180
        parts.append(
            f'<rect x="{label_width + 8}" y="{y + 3}" width="{length:.1f}" height="15" rx="2" fill="{escape(color)}"/>'
        )
        shown = "–" if isnan(value) else form.format(value)
        parts.append(f'<text x="{label_width + 14 + length:.1f}" y="{y + 15}" class="value">{escape(shown)}</text>')
    wide = label_width + 252
    return _chart(title, parts, wide, height)


def _chart(title: object, parts: Iterable[str], width: int, height: int) -> Html:
    """SVG parts with a title above; shrunk on a page that is narrower."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    svg = f'<svg class="fits" {size} role="img">{"".join(parts)}</svg>'
    return Html(f"<figure><figcaption>{safe(title)}</figcaption>{svg}</figure>")


def short(value: float) -> str:
    """A number in at most seven characters."""
    text = f"{value:.3g}"
    return text if len(text) < 7 else f"{value:.1e}"


def lines(
    title: object,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str = "",
    y: str = "",
    colors: Mapping[str, str] | None = None,
) -> Html:
    """A line chart: points (x, y) by name of the series; up to eight have distinct colours. Empty without any.

    colors: CSS colours by name of the series, in place of these.
    """
    usual = ["#2f7ed8", "#e4572e", "#3a9d5d", "#8e44ad", "#c98b00", "#16a2b8", "#555", "#d6336c"]
    points = [point for values in series.values() for point in values if not isnan(point[1])]
    if not points:
        return Html("")
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    wide, high = (x1 - x0) or 1.0, (y1 - y0) or 1.0
    left, right, base = 56, 360, 190  # narrow enough for a phone; on a wide page several are side by side
    parts = [
        f'<text x="{left - 6}" y="14" text-anchor="end" class="value">{short(y1)}</text>',
        f'<text x="{left - 6}" y="{base}" text-anchor="end" class="value">{short(y0)}</text>',
        f'<text x="{left}" y="{base + 18}" class="value">{x0:.4g}</text>',
        f'<text x="{right}" y="{base + 18}" text-anchor="end" class="value">{x1:.4g} {escape(x)}</text>',
        f'<text x="{left + 6}" y="18" class="value">{escape(y)}</text>',
        f'<path d="M{left} 8V{base}H{right}" fill="none" stroke="#999"/>',
    ]
    for n, (name, values) in enumerate(series.items()):
        color = escape((colors or {}).get(name, usual[n % len(usual)]))
        places = [
            (left + (right - left) * (a - x0) / wide, base - (base - 8) * (b - y0) / high)
            for a, b in values
            if not isnan(b)
        ]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        if len(places) == 1:  # a line of one point is invisible
            parts.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="4" fill="{color}"/>')
        below = base + 36 + 16 * n
        parts.append(f'<rect x="{left}" y="{below - 8}" width="14" height="4" fill="{color}"/>')
        parts.append(f'<text x="{left + 20}" y="{below}">{escape(name)}</text>')
    width, height = max(right + 10, left + 30 + 7 * max(map(len, series), default=0)), base + 28 + 16 * len(series)
    return _chart(title, parts, width, height)


def picture(pixels: Pixels, *, alt: str = "", quality: int = 82) -> Html:
    """An embedded JPEG of RGB uint8 [H, W, 3]."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture could not be encoded")
    encoded = base64.b64encode(data.tobytes()).decode()
    return Html(f'<img loading="lazy" alt="{escape(alt)}" src="data:image/jpeg;base64,{encoded}">')


def color_key(colors: Mapping[str, tuple[int, int, int]]) -> Html:
    """Legend of region colours: RGB by name."""
    entries = join(
        Html(
            '<span style="white-space:nowrap;margin-right:1em"><span style="display:inline-block;width:.9em;'
            f'height:.9em;border:1px solid #999;background:rgb({r},{g},{b})"></span> {safe(name)}</span> '
        )
        for name, (r, g, b) in colors.items()
    )
    return Html(f"<p>{entries}</p>")


def figure(caption: object, body: object) -> Html:
    """Content with a caption above it."""
    return Html(f"<figure><figcaption>{safe(caption)}</figcaption>{safe(body)}</figure>")


def block(title: object, pieces: Iterable[object]) -> Html:
    """Small pieces side by side under one title."""
    return Html(f'<section class="block"><h3>{safe(title)}</h3><div class="tiles">{join(pieces)}</div></section>')


def collapsible(title: object, pieces: Iterable[object]) -> Html:
    """Pieces that are shown after a click on the title."""
    return Html(f"<details><summary>{safe(title)}</summary>{join(pieces)}</details>")


def matrix(title: object, shares: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]) -> Html:
    """A heat map table of shares [R, C] from 0 to 1; NaN cells are empty."""
    head = join(Html(f'<th class="turned"><span>{safe(name)}</span></th>') for name in columns)
    body = []
    for name, values in zip(rows, shares, strict=True):
        cells = [
            Html("<td></td>")
            if isnan(value)
            else Html(f'<td style="background:rgba(47,126,216,{min(max(value, 0), 1):.2f})">{value:.0%}</td>')
            for value in values
        ]
        body.append(Html(f"<tr><th>{safe(name)}</th>{join(cells)}</tr>"))
    table = f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{join(body)}</tbody></table>'
    return figure(title, Html(f'<div class="scroll">{table}</div>'))


@dataclass(frozen=True)
class Card:
    """One entry of a gallery.

    facets: values that the gallery can be filtered by, such as ``{"code": "G003", "class": "Glass"}``.
    """

    title: str
    body: Html
    facets: Mapping[str, str] = field(default_factory=dict)


def gallery(cards: Sequence[Card]) -> Html:
    """Cards with a filter for each facet."""
    names = list(dict.fromkeys(name for card in cards for name in card.facets))
    boxes: list[Html] = []
    for name in names:
        values = sorted({card.facets[name] for card in cards if name in card.facets})
        options = join(Html(f'<option value="{escape(value)}">{escape(value)}</option>') for value in values)
        boxes.append(
            Html(
                f'<label>{escape(name)} <select data-facet="{escape(name)}">'
                f'<option value="">all</option>{options}</select></label>'
            )
        )
    shown: list[Html] = []
    for card in cards:
        facets = " ".join(f'data-{_attribute(name)}="{escape(value)}"' for name, value in card.facets.items())
        shown.append(Html(f'<article class="card" {facets}><h3>{breakable(card.title)}</h3>{card.body}</article>'))
    return Html(
        f'<div class="gallery"><div class="filters">{join(boxes)} <output></output></div>'
        f'<div class="cards">{join(shown)}</div></div>'
    )


def _attribute(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.casefold())


def page(title: str, pieces: Iterable[object], *, refresh: int = 0) -> str:
    """A complete HTML document. refresh: seconds after which a browser reloads it, 0 for never."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"{again}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{breakable(title)}</h1>{join(pieces)}</main><script>{_SCRIPT}</script></body></html>\n"
    )


_STYLE = """
:root{--ink:#1c2126;--soft:#67717c;--line:#dfe3e7;--paper:#fff;--card:#f7f8f9}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5b0;--line:#363c43;--paper:#15181b;--card:#1e2226}.warning{color:#ff8a80!important}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main{box-sizing:border-box;margin:0 auto;padding:24px}p{max-width:110ch}figcaption{max-width:70ch}
@media(max-width:500px){main{padding:12px}figure{margin-right:0}}
h1{font-size:26px;overflow-wrap:anywhere}
h2{margin-top:36px;border-bottom:1px solid var(--line)}h3{font-size:14px;margin:0 0 6px}
.lead{font-size:17px}.note{color:var(--soft)}.warning{color:#b3261e;font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{cursor:pointer;white-space:nowrap}td.number{text-align:right;white-space:nowrap}
figure{margin:12px 12px 12px 0;display:inline-block;vertical-align:top;max-width:100%}
figcaption{font-weight:600;margin-bottom:4px}svg{max-width:100%;height:auto;font-size:12px}
@media(max-width:700px){figure{overflow-x:auto}figure>svg{max-width:none}figure>svg.fits{max-width:100%}}
svg text{fill:var(--ink)}svg text.value{fill:var(--soft)}
.tiles{display:flex;flex-wrap:wrap}.tiles figure{margin:6px 14px 6px 0}.tiles figcaption{font-weight:400;font-size:13px}
.tiles img{width:128px}.pair{display:flex;gap:6px}.pair figure{margin:0;flex:1}
.pair figcaption{font-weight:400;font-size:12px}.pair img{width:100%}
details{margin:12px 0}summary{cursor:pointer;font-weight:600}
.matrix{font-size:12px}.matrix th{cursor:default;font-weight:400;padding:2px 8px;border:0;text-align:right}
.matrix th.turned{height:112px;vertical-align:bottom;padding:2px;text-align:left}
.matrix th.turned span{writing-mode:vertical-rl;transform:rotate(180deg)}
.matrix td{padding:3px 6px;text-align:right;min-width:34px;border:1px solid var(--line)}
.chip{display:inline-block;border-radius:14px;padding:4px 14px;margin:0 8px 0 0;color:#fff;font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px;overflow-wrap:anywhere}
.card[hidden]{display:none}.card p{margin:6px 0 0;font-size:13px}
img{max-width:100%;border-radius:4px;display:block}
.filters{position:sticky;top:0;background:var(--paper);padding:8px 0;z-index:1}.filters label{margin-right:14px}
pre{background:var(--card);padding:10px;overflow-x:auto;border-radius:6px}
"""

_SCRIPT = """
for (const gallery of document.querySelectorAll('.gallery')) {
  const boxes = [...gallery.querySelectorAll('select[data-facet]')], cards = [...gallery.querySelectorAll('.card')];
  const key = name => 'data-' + name.toLowerCase().replace(/[^\\p{L}\\p{N}]/gu, '-');
  const update = () => {
    let shown = 0;
    for (const card of cards) {
      card.hidden = boxes.some(b => b.value && card.getAttribute(key(b.dataset.facet)) !== b.value);
      shown += !card.hidden;
    }
    gallery.querySelector('output').textContent = shown + ' of ' + cards.length;
  };
  boxes.forEach(b => b.addEventListener('change', update));
  update();
}
for (const th of document.querySelectorAll('table:not(.matrix) th')) th.addEventListener('click', () => {
  const body = th.closest('table').tBodies[0], n = th.cellIndex, down = th.dataset.down === '1';
  th.dataset.down = down ? '' : '1';
  const rows = [...body.rows].sort((a, b) => {
    const x = a.cells[n].textContent, y = b.cells[n].textContent, p = parseFloat(x), q = parseFloat(y);
    const order = isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q;
    return down ? -order : order;
  });
  body.append(...rows);
});
"""
