"""General trash: food scraps, blister packs and heaps of mixed bits."""

from __future__ import annotations

import numpy as np

from trashkit.demo.drawing.noise import facets, fractal
from trashkit.demo.drawing.pen import (
    BRIGHT,
    Sprite,
    blob,
    box,
    coverage,
    ellipse,
    jagged,
    light,
    paint,
    plain,
    rim,
    rounded,
    rows,
    shade_of,
    soften,
    strokes,
    to_sprite,
)


def banana(rng: np.random.Generator, n: int) -> Sprite:
    """A banana peel: four arms round a stalk, yellow with brown spots."""
    h = w = n
    arms = 4
    points = []
    turn0 = rng.uniform(0, 6)
    for k in range(arms):
        turn = turn0 + k * 2 * np.pi / arms + rng.uniform(-0.1, 0.1)
        reach = rng.uniform(0.42, 0.52)
        for offset, radius in ((-0.58, 0.18), (-0.40, 0.34), (-0.14, reach), (0.14, reach), (0.40, 0.34), (0.58, 0.18)):
            points.append((0.5 + radius * np.cos(turn + offset), 0.5 + radius * np.sin(turn + offset)))
    ring = np.clip(rounded(np.array(points) * n, 2), 2, n - 2)
    picture = plain(h, w, shade_of(rng, ((0.90, 0.76, 0.18), (0.84, 0.66, 0.16)), 0.03))
    inner = rng.random() < 0.4
    if inner:
        paint(picture, soften(coverage([ring * 0.72 + n * 0.14], h, w), 1.5), (0.95, 0.90, 0.68))
    paint(picture, np.clip((fractal(rng, h, w, n / 9, 3) - 0.60) * 7, 0, 1).astype(np.float32), (0.28, 0.17, 0.06))
    yy, xx = np.indices((h, w), dtype=np.float32)
    ridge = np.cos(np.arctan2(yy - n / 2, xx - n / 2) * arms - turn0 * arms)
    light(picture, (0.86 + 0.18 * ridge).astype(np.float32))
    light(picture, 1 - 0.3 * rim([ring], h, w, n * 0.04))
    paint(picture, coverage([ellipse(n / 2, n / 2, n * 0.05, n * 0.05)], h, w), (0.25, 0.18, 0.08))
    return to_sprite(picture, [ring], lift=0.05)


def core(rng: np.random.Generator, n: int) -> Sprite:
    """An apple core: red ends, eaten pale waist, pips and a stalk."""
    h, w = n, max(12, int(n * 0.62))
    points = [
        (0.45, 0.06),
        (0.47, 0.02),
        (0.53, 0.02),
        (0.54, 0.07),
        (0.90, 0.09),
        (0.95, 0.2),
        (0.66, 0.35),
        (0.60, 0.5),
        (0.66, 0.66),
        (0.92, 0.82),
        (0.8, 0.95),
        (0.5, 0.97),
        (0.2, 0.95),
        (0.08, 0.82),
        (0.34, 0.66),
        (0.40, 0.5),
        (0.34, 0.35),
        (0.05, 0.2),
        (0.12, 0.09),
    ]
    ring = np.clip(rounded(np.array(points) * (w, h), 1), 2, (w - 2, h - 2))
    picture = plain(h, w, (0.93, 0.87, 0.62))
    y = np.arange(h, dtype=np.float32)[:, None] / h
    ends = np.clip((np.abs(y - 0.5) - 0.27) * 14, 0, 1)
    paint(
        picture,
        np.broadcast_to(ends, (h, w)).astype(np.float32),
        shade_of(rng, ((0.75, 0.12, 0.12), (0.55, 0.68, 0.2)), 0.04),
    )
    paint(
        picture,
        np.clip((fractal(rng, h, w, n / 8, 2) - 0.55) * 3, 0, 0.6).astype(np.float32) * (1 - ends),
        (0.62, 0.42, 0.16),
    )
    for x, at in ((0.46, 0.46), (0.54, 0.55)):
        paint(picture, coverage([ellipse(x * w, at * h, w * 0.045, h * 0.05)], h, w), (0.22, 0.12, 0.06))
    paint(picture, coverage([box(0.46 * w, 0, 0.54 * w, 0.09 * h)], h, w), (0.35, 0.24, 0.1))
    light(picture, 1 - 0.3 * rim([ring], h, w, n * 0.06))
    return to_sprite(picture, [ring], lift=0.08)


def blister(rng: np.random.Generator, n: int) -> Sprite:
    """A blister pack: foil sheet, two rows of domes, some pressed out."""
    h, w = max(12, int(n * 0.46)), n
    ring = rounded(box(2.5, 2.5, w - 2.5, h - 2.5), 1)
    picture = plain(h, w, shade_of(rng, ((0.74, 0.75, 0.77), (0.80, 0.76, 0.66)), 0.02))
    light(picture, 0.85 + 0.25 * fractal(rng, h, w, n / 6, 2))
    pill = shade_of(rng, (*BRIGHT, (0.95, 0.95, 0.93)), 0.04)
    for x in np.linspace(0.12, 0.88, 5):
        for y in (0.3, 0.7):
            cx, cy, r = x * w, y * h, h * 0.16
            gone = rng.random() < 0.35
            dome = coverage([ellipse(cx, cy, r * 1.1, r)], h, w)
            paint(picture, dome, (0.30, 0.28, 0.27) if gone else pill)
            paint(
                picture,
                coverage([ellipse(cx - r * 0.35, cy - r * 0.35, r * 0.35, r * 0.3)], h, w) * (0.3 if gone else 0.85),
                (1, 1, 1),
            )
    light(picture, 1 - 0.25 * rim([ring], h, w, n * 0.02))
    return to_sprite(picture, [ring], lift=0.035)


def pizza(rng: np.random.Generator, n: int) -> Sprite:
    """A bitten slice of pizza: crust, sauce, cheese, salami."""
    h, w = n, max(12, int(n * 0.8))
    points = [
        (0.04, 0.10),
        (0.3, 0.03),
        (0.7, 0.03),
        (0.96, 0.10),
        (0.90, 0.24),
        (0.70, 0.66),
        (0.60, 0.74),
        (0.52, 0.97),
        (0.44, 0.84),
        (0.10, 0.24),
    ]
    ring = np.clip(rounded(np.array(points) * (w, h), 1), 2, (w - 2, h - 2))
    picture = plain(h, w, (0.93, 0.74, 0.32))
    paint(picture, np.clip((fractal(rng, h, w, n / 7, 2) - 0.5) * 5, 0, 0.9).astype(np.float32), (0.78, 0.28, 0.10))
    for _ in range(4):
        x, y = rng.uniform(0.3, 0.7), rng.uniform(0.28, 0.68)
        paint(picture, coverage([ellipse(x * w, y * h, n * 0.07, n * 0.07)], h, w), (0.65, 0.13, 0.10))
    crust = np.broadcast_to(np.clip((0.21 - rows(h)) * 25, 0, 1), (h, w))
    paint(picture, crust, shade_of(rng, ((0.72, 0.47, 0.20),), 0.03))
    light(picture, 0.88 + 0.2 * fractal(rng, h, w, n / 12, 2))
    light(picture, 1 - 0.35 * rim([ring], h, w, n * 0.03))
    return to_sprite(picture, [ring], lift=0.04)


def heap(rng: np.random.Generator, n: int) -> Sprite:
    """Leftovers and bits stuck together: a lumpy, dirty, many-coloured patch."""
    h, w = max(12, int(n * rng.uniform(0.7, 0.95))), n
    ring = jagged(rng, blob(rng, h, w, 0.4, 13, margin=4), n * 0.014, n * 0.06)
    picture = plain(h, w, shade_of(rng, ((0.38, 0.29, 0.18), (0.45, 0.38, 0.22), (0.32, 0.32, 0.2)), 0.03))
    for _ in range(26):
        size = n * rng.uniform(0.05, 0.13)
        piece = blob(rng, max(5, int(size)), max(5, int(size * rng.uniform(0.6, 1.6))), 0.4, 7, margin=0.5)
        cover = coverage([piece + np.array([rng.uniform(0, w * 0.9), rng.uniform(0, h * 0.9)])], h, w)
        colours = (
            (0.75, 0.22, 0.12),
            (0.85, 0.62, 0.2),
            (0.35, 0.5, 0.15),
            (0.9, 0.86, 0.72),
            (0.5, 0.3, 0.15),
            (0.2, 0.15, 0.1),
        )
        paint(picture, cover * 0.9, shade_of(rng, colours))
    tilt, crease = facets(rng, h, w, 50)
    light(picture, 0.95 + 0.3 * tilt - 0.25 * crease)
    light(picture, 1 - 0.35 * rim([ring], h, w, n * 0.06))
    return to_sprite(picture, [ring], lift=0.06)


def brush(rng: np.random.Generator, n: int) -> Sprite:
    """A used toothbrush: coloured handle, worn white bristles."""
    h, w = n, max(10, int(n * 0.2))
    points = [
        (0.25, 0.03),
        (0.75, 0.03),
        (0.8, 0.24),
        (0.62, 0.32),
        (0.62, 0.45),
        (0.85, 0.62),
        (0.8, 0.95),
        (0.5, 0.98),
        (0.2, 0.95),
        (0.15, 0.62),
        (0.38, 0.45),
        (0.38, 0.32),
        (0.2, 0.24),
    ]
    ring = np.clip(rounded(np.array(points) * (w, h), 1), 2, (w - 2, h - 2))
    picture = plain(h, w, shade_of(rng, BRIGHT))
    paint(picture, coverage([box(0.28 * w, 0.05 * h, 0.72 * w, 0.22 * h)], h, w), (0.94, 0.94, 0.9))
    tufts = [np.array([[0.28 * w, y * h], [0.72 * w, y * h]]) for y in np.linspace(0.06, 0.21, 6)]
    light(picture, 1 - 0.4 * strokes(tufts, h, w, 1))
    paint(picture, coverage([box(0.42 * w, 0.55 * h, 0.58 * w, 0.9 * h)], h, w) * 0.5, (1, 1, 1))
    light(picture, 1 - 0.35 * rim([ring], h, w, n * 0.03))
    return to_sprite(picture, [ring], lift=0.06)
