"""Paper, bags, clothes and scraps. Each function draws one object, `n` pixels long, with a random generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from trashkit.demo.drawing.noise import facets, fractal, streaks, weave
from trashkit.demo.drawing.pen import (
    BRIGHT,
    Colour,
    Ring,
    Sprite,
    band,
    blob,
    box,
    coverage,
    ellipse,
    jagged,
    light,
    paint,
    plain,
    print_lines,
    rim,
    rounded,
    shade_of,
    soften,
    strokes,
    to_sprite,
)

_WHITE: tuple[Colour, ...] = ((0.94, 0.93, 0.90), (0.90, 0.89, 0.85), (0.95, 0.91, 0.80))
_CARD: tuple[Colour, ...] = ((0.70, 0.53, 0.34), (0.64, 0.47, 0.29), (0.76, 0.60, 0.42))


def _scaled(points: list[tuple[float, float]], w: int, h: int) -> Ring:
    return np.array(points) * (w, h)


def sheet(rng: np.random.Generator, n: int) -> Sprite:
    """A sheet of paper with printed lines, folded once or twice, corners out of square."""
    h, w = n, max(12, int(n * rng.uniform(0.66, 0.8)))
    shake = rng.uniform(0, 0.07, (4, 2)) * (1, 1)
    corners = np.array([[0.03, 0.03], [0.97, 0.03], [0.97, 0.97], [0.03, 0.97]])
    corners += shake * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    ring = jagged(rng, corners * (w, h), n * 0.004, n * 0.06)
    picture = plain(h, w, shade_of(rng, _WHITE, 0.02))
    ink = (0.25, 0.25, 0.28)
    if rng.random() < 0.35:
        paint(picture, coverage([box(0.12 * w, 0.1 * h, 0.88 * w, 0.38 * h)], h, w), shade_of(rng, BRIGHT))
        paint(picture, print_lines(rng, h, w, (0.18 * w, 0.15 * h, 0.8 * w, 0.35 * h), h * 0.1), (0.97, 0.97, 0.95))
    else:
        paint(picture, print_lines(rng, h, w, (0.14 * w, 0.1 * h, 0.7 * w, 0.2 * h), h * 0.07), ink)
    paint(picture, print_lines(rng, h, w, (0.14 * w, 0.42 * h, 0.87 * w, 0.9 * h), h * 0.042) * 0.75, ink)
    xx = np.arange(w, dtype=np.float32)[None, :] / w
    yy = np.arange(h, dtype=np.float32)[:, None] / h
    for _ in range(int(rng.integers(1, 3))):
        a, c = rng.uniform(-0.25, 0.25), rng.uniform(0.3, 0.7)
        side = (yy - c - a * (xx - 0.5)) if rng.random() < 0.6 else (xx - c - a * (yy - 0.5))
        light(
            picture,
            (1 - 0.12 * np.exp(-np.abs(side) * 9) * (side > 0) + 0.05 * np.exp(-np.abs(side) * 12)).astype(np.float32),
        )
    light(picture, 0.93 + 0.1 * fractal(rng, h, w, n / 3, 2))
    return to_sprite(picture, [ring], lift=0.025)


def ball(rng: np.random.Generator, n: int) -> Sprite:
    """A sheet of paper crumpled into a ball: white faces, grey creases."""
    h, w = max(12, int(n * rng.uniform(0.75, 1.0))), n
    ring = jagged(rng, blob(rng, h, w, 0.28, 12, margin=4), n * 0.012, n * 0.07)
    tilt, crease = facets(rng, h, w, 30)
    picture = plain(h, w, shade_of(rng, _WHITE, 0.02))
    paint(picture, print_lines(rng, h, w, (0, 0, w, h), h * 0.07) * 0.22 * (tilt > 0), (0.3, 0.3, 0.35))
    light(picture, 0.90 + 0.17 * tilt - 0.16 * crease)
    light(picture, 1 - 0.25 * rim([ring], h, w, n * 0.14))
    return to_sprite(picture, [ring], lift=0.09)


def newspaper(rng: np.random.Generator, n: int) -> Sprite:
    """A folded newspaper: grey paper, headline, columns, a picture."""
    h, w = max(12, int(n * rng.uniform(0.7, 0.85))), n
    corners = np.array([[0.02, 0.05], [0.96, 0.02], [0.98, 0.95], [0.04, 0.98]]) + rng.uniform(-0.015, 0.015, (4, 2))
    ring = jagged(rng, corners * (w, h), n * 0.006, n * 0.05)
    picture = plain(h, w, shade_of(rng, ((0.80, 0.79, 0.74),), 0.02))
    paint(picture, print_lines(rng, h, w, (0.08 * w, 0.07 * h, 0.92 * w, 0.22 * h), h * 0.15), (0.15, 0.15, 0.16))
    for k in range(4):
        x = (0.08 + 0.22 * k) * w
        paint(picture, print_lines(rng, h, w, (x, 0.28 * h, x + 0.18 * w, 0.93 * h), h * 0.035) * 0.6, (0.2, 0.2, 0.22))
    photo = coverage([box(0.52 * w, 0.3 * h, 0.92 * w, 0.58 * h)], h, w)
    paint(picture, photo, np.repeat((0.25 + 0.5 * fractal(rng, h, w, n / 6, 3))[..., None], 3, axis=2))
    fold = np.abs(np.arange(h, dtype=np.float32)[:, None] / h - 0.5)
    light(picture, np.broadcast_to(1 - 0.22 * np.exp(-fold * 30), (h, w)).astype(np.float32))
    light(picture, 0.93 + 0.1 * fractal(rng, h, w, n / 3, 2))
    return to_sprite(picture, [ring], lift=0.03)


def cardboard(rng: np.random.Generator, n: int) -> Sprite:
    """A torn piece of corrugated cardboard with a strip of tape or a printed mark."""
    h, w = max(12, int(n * rng.uniform(0.55, 0.85))), n
    corners = np.array([[0.05, 0.06], [0.7, 0.05], [0.94, 0.14], [0.94, 0.93], [0.3, 0.94], [0.05, 0.85]])
    ring = jagged(rng, (corners + rng.uniform(-0.02, 0.02, corners.shape)) * (w, h), n * 0.010, n * 0.05)
    picture = plain(h, w, shade_of(rng, _CARD, 0.03))
    ribs = np.sin(np.arange(w, dtype=np.float32) * np.float32(2 * np.pi / max(3, n / 36)))[None, :]
    light(picture, np.broadcast_to(1 + 0.055 * ribs, (h, w)).astype(np.float32))
    light(picture, 0.88 + 0.2 * streaks(rng, h, w, 2, 6, across=True))
    if rng.random() < 0.6:
        y = rng.uniform(0.25, 0.6)
        paint(picture, coverage([box(0, y * h, w, (y + 0.13) * h)], h, w) * 0.6, (0.82, 0.72, 0.52))
    else:
        paint(picture, print_lines(rng, h, w, (0.2 * w, 0.3 * h, 0.7 * w, 0.7 * h), h * 0.16) * 0.8, (0.25, 0.17, 0.1))
    seam = np.array([[0.0, 0.45 * h], [w * 1.0, 0.5 * h]])
    light(picture, 1 - 0.22 * strokes([seam], h, w, max(1, n // 60)))
    light(picture, 1 - 0.15 * rim([ring], h, w, n * 0.02))
    return to_sprite(picture, [ring], lift=0.045)


_BAG: tuple[Colour, ...] = (
    (0.92, 0.93, 0.95),
    (0.92, 0.93, 0.95),
    (0.08, 0.08, 0.10),
    (0.80, 0.84, 0.88),
    (0.25, 0.45, 0.75),
    (0.95, 0.80, 0.25),
    (0.30, 0.62, 0.42),
    (0.88, 0.45, 0.55),
)


def _film(rng: np.random.Generator, h: int, w: int, rings: list[Ring], tint: Colour) -> Sprite:
    """Crinkled plastic film cut along rings: folds shine, thin places let the ground through."""
    n = max(h, w)
    tilt, crease = facets(rng, h, w, 34)
    folds = 1 - np.abs(2 * fractal(rng, h, w, n / 3.5, 3) - 1)
    picture = plain(h, w, tint)
    light(picture, (0.80 + 0.20 * tilt + 0.22 * (folds - 0.5)).astype(np.float32))
    shine = np.clip((folds - 0.86) * 7, 0, 1) * np.clip(tilt + 0.75, 0, 1) + 0.35 * crease * (tilt > 0)
    shine = np.clip(shine, 0, 1).astype(np.float32)
    paint(picture, shine * (0.85 if max(tint) > 0.3 else 0.55), (1, 1, 1))
    light(picture, 1 - 0.22 * rim(rings, h, w, n * 0.025))
    base = float(rng.uniform(0.55, 0.75)) if min(tint) > 0.7 else float(rng.uniform(0.84, 0.97))
    opacity = np.clip(base + 0.35 * shine + 0.14 * crease + 0.25 * rim(rings, h, w, n * 0.02), 0, 1).astype(np.float32)
    return to_sprite(picture, rings, opacity=opacity, lift=0.055)


def carrier_bag(rng: np.random.Generator, n: int) -> Sprite:
    """A shopping bag with two handles: the handles' openings are holes."""
    h, w = n, max(14, int(n * rng.uniform(0.66, 0.82)))
    outline = _scaled(
        [
            (0.10, 0.30),
            (0.12, 0.04),
            (0.34, 0.03),
            (0.38, 0.26),
            (0.62, 0.27),
            (0.66, 0.03),
            (0.88, 0.05),
            (0.90, 0.32),
            (0.97, 0.60),
            (0.94, 0.96),
            (0.50, 0.98),
            (0.05, 0.95),
            (0.03, 0.60),
        ],
        w,
        h,
    )
    outline = rounded(outline + rng.uniform(-0.01, 0.01, outline.shape) * n, 1)
    low, high = outline.min(axis=0), outline.max(axis=0)
    outline = (outline - low) / (high - low) * (w - 5, h - 5) + 2.5
    grips = [
        rounded(_scaled([(x - 0.05, 0.12), (x + 0.05, 0.12), (x + 0.055, 0.27), (x - 0.055, 0.27)], w, h), 1)
        for x in (0.225, 0.775)
    ]
    tint = shade_of(rng, _BAG, 0.03)
    outline = jagged(rng, outline, n * 0.006, n * 0.035)
    # A very small bag may be too narrow at its handles for the openings.
    grips = [grip for grip in grips if shapely.Polygon(outline).contains(shapely.Polygon(grip))]
    sprite = _film(rng, h, w, [outline, *grips], tint)
    if rng.random() < 0.4:
        return _printed(rng, sprite)
    return sprite


def _printed(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """The same bag with a shop's mark on it."""
    h, w = sprite.alpha.shape
    mark = coverage([ellipse(w * 0.5, h * 0.62, w * 0.22, h * 0.12)], h, w)
    text = print_lines(rng, h, w, (w * 0.34, h * 0.57, w * 0.68, h * 0.68), h * 0.06)
    picture = sprite.rgb.astype(np.float32) / 255
    brightness = picture.mean(axis=2)
    paint(picture, mark * 0.75, shade_of(rng, BRIGHT))
    paint(picture, text * 0.9, (0.97, 0.97, 0.97))
    light(picture, np.where(mark > 0.5, 0.45 + 0.65 * brightness, 1).astype(np.float32))
    return to_sprite(
        picture, sprite.rings, opacity=np.maximum(sprite.alpha / np.float32(255), mark * 0.9), lift=sprite.lift
    )


def sack(rng: np.random.Generator, n: int) -> Sprite:
    """A full bag tied with a knot, its ears sticking out."""
    h, w = n, max(14, int(n * rng.uniform(0.75, 0.95)))
    body = blob(rng, int(h * 0.82), w, 0.18, 11, margin=3) + np.array([0, h * 0.17])
    ears = _scaled(
        [
            (0.42, 0.40),
            (0.44, 0.22),
            (0.30, 0.03),
            (0.42, 0.05),
            (0.49, 0.15),
            (0.58, 0.02),
            (0.70, 0.05),
            (0.55, 0.22),
            (0.58, 0.40),
        ],
        w,
        h,
    )
    whole: Any = shapely.union(shapely.Polygon(body), shapely.Polygon(ears))
    outline = np.asarray(whole.exterior.coords)[:-1]
    sprite = _film(rng, h, w, [jagged(rng, outline, n * 0.005, n * 0.045)], shade_of(rng, _BAG, 0.03))
    picture = sprite.rgb.astype(np.float32) / 255
    xx = np.arange(w, dtype=np.float32)[None, :] - w / 2
    yy = np.arange(h, dtype=np.float32)[:, None] - h * 0.2
    pleats = np.sin(np.arctan2(xx, np.maximum(yy, 1)) * 17) * np.exp(-np.hypot(xx, yy) / (n * 0.3))
    light(picture, (1 + 0.30 * pleats).astype(np.float32))
    light(picture, 1 - 0.35 * soften(coverage([ellipse(w / 2, h * 0.2, w * 0.09, h * 0.035)], h, w), n * 0.01))
    return to_sprite(picture, sprite.rings, opacity=sprite.alpha / np.float32(255), lift=0.09)


def wrapper(rng: np.random.Generator, n: int) -> Sprite:
    """A snack packet: bright foil print, silvery zigzag ends."""
    h, w = n, max(12, int(n * rng.uniform(0.6, 0.78)))
    teeth = np.linspace(0.06, 0.94, 15)
    top = [(x, 0.02 + 0.02 * (k % 2)) for k, x in enumerate(teeth)]
    bottom = [(x, 0.98 - 0.02 * (k % 2)) for k, x in enumerate(teeth[::-1])]
    bulge = rng.uniform(0.0, 0.05)
    ring = _scaled([*top, (0.93 - bulge, 0.3), (0.95, 0.6), *bottom, (0.05, 0.7), (0.04 + bulge, 0.4)], w, h)
    tint = shade_of(rng, BRIGHT)
    picture = plain(h, w, tint)
    paint(
        picture,
        coverage([ellipse(w / 2, h * 0.36, w * 0.36, h * 0.13)], h, w),
        shade_of(rng, ((0.98, 0.95, 0.85), (0.98, 0.85, 0.2))),
    )
    paint(picture, print_lines(rng, h, w, (0.22 * w, 0.3 * h, 0.8 * w, 0.43 * h), h * 0.1), shade_of(rng, BRIGHT))
    for _ in range(4):
        x, y = rng.uniform(0.25, 0.75) * w, rng.uniform(0.58, 0.82) * h
        paint(
            picture,
            coverage([ellipse(x, y, w * 0.13, h * 0.05)], h, w),
            shade_of(rng, ((0.93, 0.75, 0.35), (0.85, 0.6, 0.25))),
        )
    ends = band(h, w, -1, 0.08) + band(h, w, 0.92, 2)
    paint(picture, ends * 0.8, (0.80, 0.81, 0.84))
    light(picture, 1 - 0.15 * ends * (np.sin(np.arange(w, dtype=np.float32) * 2)[None, :] > 0))
    tilt, crease = facets(rng, h, w, 22)
    light(picture, 0.95 + 0.30 * tilt)
    paint(picture, np.clip(crease * 0.4 + np.clip(tilt - 0.55, 0, 1), 0, 1).astype(np.float32) * 0.8, (1, 1, 1))
    return to_sprite(picture, [ring], lift=0.05)


_CLOTH: tuple[Colour, ...] = (
    (0.20, 0.28, 0.48),
    (0.60, 0.15, 0.18),
    (0.35, 0.42, 0.30),
    (0.55, 0.55, 0.58),
    (0.85, 0.82, 0.75),
    (0.18, 0.18, 0.20),
    (0.70, 0.50, 0.62),
    (0.80, 0.62, 0.25),
    (0.30, 0.50, 0.55),
)


def _fabric(rng: np.random.Generator, h: int, w: int, ring: Ring, stripes: bool) -> Sprite:
    """Woven cloth cut along a ring: threads, soft folds, maybe stripes."""
    n = max(h, w)
    picture = plain(h, w, shade_of(rng, _CLOTH, 0.04))
    if stripes:
        y = np.arange(h, dtype=np.float32)[:, None] / h
        bars = np.broadcast_to(
            (np.sin(y * np.float32(2 * np.pi * rng.integers(5, 10))) > 0.3).astype(np.float32), (h, w)
        )
        paint(picture, bars * 0.9, shade_of(rng, ((0.93, 0.92, 0.88), *_CLOTH), 0.04))
    light(picture, 1 + 0.16 * weave(h, w, max(3.0, n / 34)))
    folds = streaks(rng, h, w, n / 7, 2.2, across=True)
    light(picture, 0.66 + 0.55 * soften(folds, n * 0.012))
    light(picture, 0.92 + 0.14 * rng.random((h, w), np.float32))
    light(picture, 1 - 0.3 * rim([ring], h, w, n * 0.03))
    return to_sprite(picture, [ring], lift=0.04)


def shirt(rng: np.random.Generator, n: int) -> Sprite:
    """A T-shirt lying flat, a neck and two sleeves."""
    h, w = max(14, int(n * 0.92)), n
    points = [
        (0.37, 0.06),
        (0.43, 0.12),
        (0.57, 0.12),
        (0.63, 0.06),
        (0.80, 0.12),
        (0.97, 0.34),
        (0.83, 0.45),
        (0.76, 0.36),
        (0.77, 0.95),
        (0.50, 0.97),
        (0.23, 0.95),
        (0.24, 0.36),
        (0.17, 0.45),
        (0.03, 0.34),
        (0.20, 0.12),
    ]
    ring = _scaled(points, w, h) + rng.uniform(-0.015, 0.015, (len(points), 2)) * n
    ring = np.clip(rounded(ring, 1), 2, (w - 2, h - 2))
    sprite = _fabric(rng, h, w, ring, rng.random() < 0.4)
    picture = sprite.rgb.astype(np.float32) / 255
    seams = [_scaled([(0.24, 0.14), (0.24, 0.36)], w, h), _scaled([(0.76, 0.14), (0.76, 0.36)], w, h)]
    light(
        picture,
        1
        - 0.4
        * strokes(
            [*seams, _scaled([(0.37, 0.06), (0.42, 0.16), (0.58, 0.16), (0.63, 0.06)], w, h)], h, w, max(1, n // 60)
        ),
    )
    return to_sprite(picture, sprite.rings, lift=0.04)


def sock(rng: np.random.Generator, n: int) -> Sprite:
    """A sock with a ribbed cuff and a heel of another colour."""
    h, w = n, max(14, int(n * 0.72))
    points = [
        (0.30, 0.03),
        (0.68, 0.03),
        (0.69, 0.50),
        (0.68, 0.72),
        (0.60, 0.88),
        (0.34, 0.97),
        (0.08, 0.95),
        (0.05, 0.80),
        (0.24, 0.70),
        (0.32, 0.52),
    ]
    ring = np.clip(rounded(_scaled(points, w, h), 2), 2, (w - 2, h - 2))
    sprite = _fabric(rng, h, w, ring, rng.random() < 0.6)
    picture = sprite.rgb.astype(np.float32) / 255
    trim = shade_of(rng, (*_CLOTH, (0.92, 0.9, 0.88)), 0.03)
    for spot in (
        ellipse(0.64 * w, 0.80 * h, 0.15 * w, 0.11 * h),
        ellipse(0.08 * w, 0.88 * h, 0.13 * w, 0.12 * h),
        box(0, 0, w, 0.13 * h),
    ):
        paint(picture, coverage([spot], h, w) * 0.85, trim)
    cuff = coverage([box(0, 0, w, 0.13 * h)], h, w)
    light(
        picture,
        (1 - 0.3 * cuff * (np.sin(np.arange(w, dtype=np.float32) * np.float32(70 / w)) > 0)[None, :]).astype(
            np.float32
        ),
    )
    return to_sprite(picture, sprite.rings, lift=0.05)


def trousers(rng: np.random.Generator, n: int) -> Sprite:
    """A pair of trousers: waistband, two legs, a seam."""
    h, w = n, max(14, int(n * 0.6))
    points = [
        (0.22, 0.03),
        (0.78, 0.03),
        (0.86, 0.35),
        (0.95, 0.95),
        (0.62, 0.97),
        (0.51, 0.42),
        (0.38, 0.97),
        (0.05, 0.95),
        (0.14, 0.35),
    ]
    ring = np.clip(rounded(_scaled(points, w, h) + rng.uniform(-0.012, 0.012, (9, 2)) * n, 1), 2, (w - 2, h - 2))
    sprite = _fabric(rng, h, w, ring, False)
    picture = sprite.rgb.astype(np.float32) / 255
    lines = [
        _scaled([(0.2, 0.09), (0.8, 0.09)], w, h),
        _scaled([(0.5, 0.03), (0.5, 0.40)], w, h),
        _scaled([(0.24, 0.12), (0.34, 0.22)], w, h),
    ]
    light(picture, 1 - 0.42 * strokes(lines, h, w, max(1, n // 60)))
    return to_sprite(picture, sprite.rings, lift=0.04)
