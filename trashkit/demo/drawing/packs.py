"""Cartons, foam and batteries. Each function draws one object, `n` pixels long, with a random generator."""

from __future__ import annotations

import numpy as np

from trashkit.demo.drawing.noise import beads, fractal
from trashkit.demo.drawing.pen import (
    BRIGHT,
    Sprite,
    around,
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
    rows,
    shade_of,
    soften,
    strokes,
    to_sprite,
    turned,
)


def carton(rng: np.random.Generator, n: int) -> Sprite:
    """A gable-top milk carton, two sides showing."""
    h, w = n, max(12, int(n * 0.52))
    left, split, right = 0.05 * w, 0.66 * w, 0.95 * w
    crimp, gable, foot = 0.09 * h, 0.27 * h, 0.975 * h
    outline = np.array(
        [
            [0.16 * w, 3.0],
            [0.80 * w, 3.0],
            [0.80 * w, crimp],
            [right, gable],
            [right, foot - 0.03 * h],
            [split, foot],
            [left, foot - 0.015 * h],
            [left, gable],
            [0.16 * w, crimp],
        ]
    )
    picture = plain(h, w, (0.95, 0.94, 0.91))
    tint = shade_of(rng, BRIGHT)
    paint(picture, coverage([box(0, 0.30 * h, w, 0.42 * h)], h, w), tint)
    paint(picture, coverage([box(0, 0.86 * h, w, h)], h, w), tint)
    paint(picture, coverage([np.array([[0, crimp], [w, crimp], [w, gable], [0, gable]])], h, w) * 0.9, tint)
    spot = shade_of(rng, BRIGHT)
    paint(picture, coverage([ellipse(0.35 * w, 0.61 * h, 0.2 * w, 0.13 * h)], h, w), spot)
    paint(picture, coverage([ellipse(0.30 * w, 0.57 * h, 0.06 * w, 0.03 * h)], h, w) * 0.7, (1, 1, 1))
    paint(picture, print_lines(rng, h, w, (0.12 * w, 0.325 * h, 0.6 * w, 0.40 * h), h * 0.045), (0.98, 0.98, 0.98))
    paint(picture, print_lines(rng, h, w, (0.70 * w, 0.46 * h, 0.9 * w, 0.82 * h), h * 0.03) * 0.7, (0.35, 0.35, 0.4))
    light(
        picture, 1 - 0.30 * coverage([np.array([[split, gable], [right, gable], [right, foot], [split, foot]])], h, w)
    )
    fold = np.array([[0.80 * w, crimp], [right, gable], [split, gable]])
    light(picture, 1 - 0.42 * coverage([fold], h, w))
    creases = [
        np.array([[split, gable], [split, foot]]),
        np.array([[left, gable], [right, gable]]),
        np.array([[0.16 * w, crimp], [0.80 * w, crimp]]),
        np.array([[0.80 * w, crimp], [split, gable]]),
    ]
    light(picture, 1 - 0.4 * strokes(creases, h, w, max(1, n // 70)))
    light(picture, 0.93 + 0.12 * fractal(rng, h, w, n / 5, 2))
    if rng.random() < 0.4:
        paint(picture, coverage([ellipse(0.45 * w, 0.19 * h, 0.11 * w, 0.05 * h)], h, w), shade_of(rng, BRIGHT))
    return to_sprite(picture, [outline], lift=0.09)


def brick(rng: np.random.Generator, n: int) -> Sprite:
    """A drinks brick with a straw hole and folded ears."""
    h, w = n, max(12, int(n * 0.6))
    outline = np.array(
        [
            [0.06 * w, 0.08 * h],
            [0.14 * w, 2.5],
            [0.95 * w, 2.5],
            [0.95 * w, 0.92 * h],
            [0.86 * w, h - 2.5],
            [0.06 * w, h - 2.5],
        ]
    )
    picture = plain(h, w, shade_of(rng, ((0.95, 0.9, 0.75), (0.9, 0.95, 0.85), *BRIGHT)))
    tint = shade_of(rng, BRIGHT)
    wave = 0.62 + 0.07 * np.sin(np.linspace(0, 5, w, dtype=np.float32) + rng.uniform(0, 6))[None, :]
    paint(picture, (rows(h) > wave).astype(np.float32), tint)
    fruit = shade_of(rng, ((0.95, 0.75, 0.1), (0.85, 0.15, 0.2), (0.5, 0.75, 0.2), (0.55, 0.3, 0.15)))
    for x, y in ((0.36, 0.56), (0.58, 0.62)):
        paint(picture, coverage([ellipse(x * w, y * h, 0.17 * w, 0.17 * w)], h, w), fruit)
        paint(picture, coverage([ellipse((x - 0.05) * w, y * h - 0.06 * w, 0.04 * w, 0.04 * w)], h, w) * 0.7, (1, 1, 1))
    paint(
        picture,
        print_lines(rng, h, w, (0.16 * w, 0.18 * h, 0.7 * w, 0.36 * h), h * 0.08),
        shade_of(rng, (*BRIGHT, (1, 1, 1))),
    )
    side = np.array([[0.77 * w, 0.09 * h], [0.95 * w, 2.5], [0.95 * w, 0.92 * h], [0.77 * w, h]])
    light(picture, 1 - 0.35 * coverage([side], h, w))
    top = np.array([[0.06 * w, 0.08 * h], [0.14 * w, 2.5], [0.95 * w, 2.5], [0.77 * w, 0.09 * h]])
    paint(picture, coverage([top], h, w), (0.93, 0.92, 0.9))
    paint(picture, coverage([ellipse(0.34 * w, 0.045 * h, 0.04 * w, 0.018 * h)], h, w), (0.6, 0.62, 0.65))
    light(picture, 0.93 + 0.12 * fractal(rng, h, w, n / 5, 2))
    return to_sprite(picture, [outline], lift=0.08)


def foam_tray(rng: np.random.Generator, n: int) -> Sprite:
    """A white foam tray, its bevelled bottom inside a raised rim."""
    h, w = max(12, int(n * rng.uniform(0.6, 0.8))), n
    outer = rounded(box(2.5, 2.5, w - 2.5, h - 2.5), 1)
    inset = 0.13 * h
    inner = rounded(box(inset, inset, w - inset, h - inset), 1)
    picture = plain(h, w, shade_of(rng, ((0.95, 0.95, 0.94),), 0.02))
    light(picture, 0.86 + 0.15 * beads(rng, h, w, max(2.5, n / 34)))
    depth = soften(coverage([inner], h, w), n * 0.015)
    yy, xx = np.indices((h, w), dtype=np.float32)
    light(picture, 1 - depth * (0.13 + 0.10 * (1 - (xx / w + yy / h) / 2)))
    light(picture, 1 - 0.18 * soften(rim([inner], h, w, n * 0.02), 1) * (coverage([inner], h, w) > 0.5))
    light(picture, 1 - 0.2 * rim([outer], h, w, n * 0.02))
    if rng.random() < 0.4:
        paint(
            picture,
            coverage([blob(rng, h, w, 0.5, 8, margin=h * 0.28)], h, w) * 0.35,
            shade_of(rng, ((0.6, 0.2, 0.1), (0.5, 0.35, 0.1))),
        )
    outer = jagged(rng, outer, n * 0.004, n * 0.05)
    return to_sprite(picture, [outer], lift=0.05)


def foam_block(rng: np.random.Generator, n: int) -> Sprite:
    """A packing block of beaded foam with cut-outs that show the ground, one corner broken off."""
    h, w = max(12, int(n * rng.uniform(0.55, 0.85))), n
    m = 2.5 + 0.011 * n
    outer = box(m, m, w - m, h - m)
    if rng.random() < 0.7:
        cut = rng.uniform(0.15, 0.3)
        outer = np.vstack([outer[:2], [[w - m, h * (1 - cut)], [w * (1 - cut * 0.8), h - m]], outer[3:]])
    outer = jagged(rng, outer, n * 0.010, n * 0.04)
    holes = []
    for k in range(int(rng.integers(1, 3))):
        x, y = w * (0.17 + 0.36 * k), h * 0.28
        holes.append(
            jagged(rng, box(x, y, x + w * rng.uniform(0.16, 0.26), y + h * rng.uniform(0.25, 0.4)), n * 0.006, n * 0.05)
        )
    picture = plain(h, w, shade_of(rng, ((0.96, 0.96, 0.95),), 0.015))
    light(picture, 0.80 + 0.22 * beads(rng, h, w, max(2.5, n / 26)))
    light(picture, 1 - 0.28 * rim([outer, *holes], h, w, n * 0.03))
    return to_sprite(picture, [outer, *holes], lift=0.10)


def foam_bowl(rng: np.random.Generator, n: int) -> Sprite:
    """A round foam bowl from above: rim, inner wall, bottom."""
    h = w = n
    outer = ellipse(n / 2, n / 2, n / 2 - 2.5, n / 2 - 2.5, 48)
    picture = plain(h, w, (0.95, 0.95, 0.93))
    light(picture, 0.86 + 0.15 * beads(rng, h, w, max(2.5, n / 34)))
    yy, xx = np.indices((h, w), dtype=np.float32)
    slope = ((xx + yy) / n - 1) * np.float32(0.5)
    wall = coverage([ellipse(n / 2, n / 2, n * 0.42, n * 0.42, 40)], h, w)
    light(picture, 1 + wall * (slope * 0.5 - 0.16))
    light(picture, 1 + coverage([ellipse(n / 2, n / 2, n * 0.26, n * 0.26, 40)], h, w) * (-slope * 0.4 + 0.05))
    light(picture, 1 - 0.2 * rim([outer], h, w, n * 0.03))
    if rng.random() < 0.5:
        paint(
            picture,
            coverage([blob(rng, h, w, 0.4, 8, margin=n * 0.3)], h, w) * 0.5,
            shade_of(rng, ((0.75, 0.35, 0.1), (0.6, 0.2, 0.1))),
        )
    return to_sprite(picture, [outer], lift=0.07)


def battery(rng: np.random.Generator, n: int) -> Sprite:
    """A round cell: dark body, copper or gold shoulder, a nub at the plus end."""
    aspect = float(rng.choice([0.30, 0.36, 0.5]))
    ring, u = turned(n, aspect, [(0.0, 0.32), (0.055, 0.34), (0.06, 0.95), (0.98, 0.95), (1.0, 0.9)], 0.0)
    h, w = u.shape
    picture = plain(h, w, shade_of(rng, ((0.08, 0.08, 0.09), (0.10, 0.12, 0.30), (0.05, 0.22, 0.12)), 0.02))
    shoulder = float(rng.uniform(0.28, 0.4))
    paint(picture, band(h, w, 0.06, shoulder), shade_of(rng, ((0.85, 0.50, 0.22), (0.88, 0.70, 0.25)), 0.03))
    paint(picture, band(h, w, shoulder, shoulder + 0.025), (0.92, 0.92, 0.9))
    paint(picture, print_lines(rng, h, w, (w * 0.3, h * 0.5, w * 0.7, h * 0.9), h * 0.1) * 0.9, (0.95, 0.92, 0.85))
    paint(picture, np.maximum(band(h, w, 0, 0.062), band(h, w, 0.965, 1)), (0.78, 0.79, 0.80))
    light(picture, around(u, gloss=0.9, at=-0.4, width=0.17, dark=0.4))
    return to_sprite(picture, [ring], lift=0.10)


def coin_cell(rng: np.random.Generator, n: int) -> Sprite:
    """A button cell: a steel disc with a stamped ring and a plus."""
    h = w = n
    outer = ellipse(n / 2, n / 2, n / 2 - 2.5, n / 2 - 2.5, 40)
    picture = plain(h, w, (0.74, 0.75, 0.77))
    yy, xx = np.indices((h, w), dtype=np.float32)
    angle = np.arctan2(yy - n / 2, xx - n / 2)
    light(picture, (0.85 + 0.25 * np.cos(2 * angle + rng.uniform(0, 6))).astype(np.float32))
    light(picture, 1 - 0.35 * rim([outer], h, w, n * 0.06))
    bar = n * 0.2
    plus = [
        np.array([[n / 2 - bar, n / 2], [n / 2 + bar, n / 2]]),
        np.array([[n / 2, n / 2 - bar], [n / 2, n / 2 + bar]]),
    ]
    paint(picture, strokes(plus, h, w, max(1, n // 16)), (0.3, 0.3, 0.32))
    return to_sprite(picture, [outer], lift=0.06)


def block_cell(rng: np.random.Generator, n: int) -> Sprite:
    """A nine-volt block with two terminals on its head."""
    h, w = n, max(10, int(n * 0.56))
    body = box(2.5, 0.12 * h, w - 2.5, h - 2.5)
    knobs = np.array(
        [
            [w - 2.5, 0.12 * h],
            [0.85 * w, 0.12 * h],
            [0.85 * w, 2.5],
            [0.58 * w, 2.5],
            [0.58 * w, 0.12 * h],
            [0.42 * w, 0.12 * h],
            [0.42 * w, 2.5],
            [0.15 * w, 2.5],
            [0.15 * w, 0.12 * h],
        ]
    )
    outline = np.vstack([[body[3], body[0]], knobs[::-1], [body[1], body[2]]])
    picture = plain(h, w, shade_of(rng, ((0.09, 0.09, 0.10), (0.12, 0.14, 0.32)), 0.02))
    paint(picture, band(h, w, 0.12, 0.38), shade_of(rng, ((0.85, 0.52, 0.22), (0.88, 0.72, 0.25)), 0.03))
    paint(picture, band(h, w, 0, 0.125), (0.8, 0.81, 0.82))
    paint(picture, print_lines(rng, h, w, (w * 0.2, h * 0.5, w * 0.8, h * 0.9), h * 0.12) * 0.9, (0.95, 0.92, 0.85))
    light(picture, 1.05 - 0.25 * rim([outline], h, w, n * 0.05))
    return to_sprite(picture, [outline], lift=0.09)
