"""Cans, bottles, jugs and cups. Each function draws one object, `n` pixels long, with a random generator."""

from __future__ import annotations

import numpy as np

from trashkit.demo.drawing.noise import Plane, facets, fractal, streaks
from trashkit.demo.drawing.pen import (
    BRIGHT,
    Colour,
    Picture,
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
    to_sprite,
    turned,
)


def _label(rng: np.random.Generator, picture: Picture, u: Plane, top: float, bottom: float) -> None:
    """A printed label around a body: a colour, a stripe, a disc, some text."""
    h, w = picture.shape[:2]
    paint(picture, band(h, w, top, bottom), shade_of(rng, BRIGHT))
    middle, height = (top + bottom) / 2, bottom - top
    if rng.random() < 0.6:
        paint(
            picture,
            band(h, w, middle - height * 0.12, middle + height * 0.12),
            shade_of(rng, (*BRIGHT, (0.95, 0.95, 0.92))),
        )
    if rng.random() < 0.6:
        disc = ((u - 0.1) / 0.55) ** 2 + ((rows(h) - middle) / (height * 0.33)) ** 2 < 1
        paint(picture, disc.astype(np.float32), shade_of(rng, ((0.97, 0.96, 0.92), (0.95, 0.80, 0.2))))
    text = print_lines(
        rng, h, w, (w * 0.3, h * (bottom - height * 0.28), w * 0.75, h * (bottom - height * 0.05)), h * 0.035
    )
    paint(picture, text * 0.8, (0.95, 0.95, 0.95))


def can(rng: np.random.Generator, n: int) -> Sprite:
    """A drinks can, sometimes crushed: printed, bare metal at neck and foot, one hard reflection."""
    crushed = rng.random() < 0.35
    profile = [(0.0, 0.74), (0.04, 0.78), (0.12, 0.98), (0.9, 0.98), (0.97, 0.8), (1.0, 0.74)]
    if crushed:
        profile[2:3] = [(0.12, 0.95), (0.3, 0.9), (0.45, float(rng.uniform(0.62, 0.8))), (0.62, 0.88), (0.75, 0.97)]
    ring, u = turned(n, 0.55, profile)
    h, w = u.shape
    picture = plain(h, w, (0.72, 0.73, 0.75))
    if rng.random() < 0.85:
        paint(picture, band(h, w, 0.11, 0.92), shade_of(rng, BRIGHT))
        _label(rng, picture, u, 0.2, 0.75)
    light(picture, around(u, gloss=0.9, at=-0.45, width=0.12, dark=0.32))
    light(picture, 0.94 + 0.12 * streaks(rng, h, w, 2, 8, across=True))
    if crushed:
        tilt, crease = facets(rng, h, w, 12)
        light(picture, 1 + 0.45 * tilt - 0.3 * crease)
    lid = coverage([ellipse(w / 2, h * 0.055, w * 0.36, h * 0.042)], h, w)
    paint(picture, lid, (0.80, 0.81, 0.83))
    paint(picture, coverage([ellipse(w / 2, h * 0.06, w * 0.13, h * 0.022)], h, w), (0.45, 0.46, 0.48))
    return to_sprite(picture, [ring], lift=0.09)


def tin(rng: np.random.Generator, n: int) -> Sprite:
    """A ribbed food tin, bare or with a paper sleeve, open end shown dark."""
    ring, u = turned(n, 0.72, [(0.0, 0.95), (0.1, 0.97), (1.0, 0.97)])
    h, w = u.shape
    picture = plain(h, w, shade_of(rng, ((0.70, 0.71, 0.72), (0.72, 0.66, 0.50)), 0.03))
    light(picture, np.broadcast_to(0.9 + 0.14 * np.sin(rows(h) * np.float32(70)), (h, w)).astype(np.float32))
    if rng.random() < 0.4:
        _label(rng, picture, u, 0.3, 0.9)
    light(picture, around(u, gloss=0.85, at=-0.35, width=0.15, dark=0.35))
    mouth = ellipse(w / 2, h * 0.1, w * 0.44, h * 0.085)
    paint(picture, coverage([mouth], h, w), (0.86, 0.87, 0.88))
    paint(picture, coverage([ellipse(w / 2, h * 0.105, w * 0.38, h * 0.066)], h, w), (0.22, 0.22, 0.23))
    return to_sprite(picture, [ring], lift=0.09)


def foil(rng: np.random.Generator, n: int) -> Sprite:
    """Crumpled aluminium foil: many bright and dark faces."""
    h, w = n, max(10, int(n * rng.uniform(0.65, 0.95)))
    ring = jagged(rng, blob(rng, h, w, 0.35, 11, margin=4), n * 0.015, n * 0.06)
    tilt, crease = facets(rng, h, w, 60)
    picture = plain(h, w, (0.66, 0.67, 0.69))
    light(picture, 1 + 0.6 * tilt + 0.35 * crease)
    paint(picture, np.clip(tilt * 3 - 1.6, 0, 1).astype(np.float32), (1, 1, 1))
    return to_sprite(picture, [ring], lift=0.05)


_GLASS: tuple[Colour, ...] = ((0.08, 0.33, 0.14), (0.36, 0.17, 0.04), (0.66, 0.80, 0.78), (0.12, 0.42, 0.36))
_BOTTLES = (
    [(0.0, 0.30), (0.03, 0.36), (0.06, 0.30), (0.30, 0.34), (0.44, 0.93), (0.97, 0.95), (1.0, 0.85)],
    [(0.0, 0.34), (0.04, 0.38), (0.06, 0.32), (0.36, 0.36), (0.43, 0.80), (0.50, 0.95), (0.98, 0.95), (1.0, 0.88)],
    [(0.0, 0.40), (0.05, 0.44), (0.16, 0.40), (0.34, 0.86), (0.5, 0.95), (0.9, 0.95), (1.0, 0.80)],
)


def glass_bottle(rng: np.random.Generator, n: int) -> Sprite:
    """A bottle of green, brown or clear glass: dark walls, bright streaks, the ground shows through."""
    ring, u = turned(n, rng.uniform(0.30, 0.36), _BOTTLES[int(rng.integers(3))], 0.05)
    h, w = u.shape
    tint = shade_of(rng, _GLASS, 0.03)
    clear = tint[0] > 0.5
    picture = plain(h, w, tint)
    light(picture, 0.85 + 0.3 * fractal(rng, h, w, h / 4, 2))
    wall = np.clip((np.abs(u) - 0.62) / 0.38, 0, 1) ** 1.5
    opacity = np.clip((0.35 if clear else 0.74) + 0.45 * wall, 0, 1).astype(np.float32)
    paint(picture, (wall * 0.65).astype(np.float32), (0.35, 0.44, 0.42) if clear else (0.03, 0.06, 0.03))
    streak = np.exp(-(((u + 0.5) / 0.10) ** 2)) + 0.5 * np.exp(-(((u - 0.55) / 0.07) ** 2))
    streak = (streak * (0.55 + 0.45 * fractal(rng, h, w, h / 5, 1)) * (rows(h) > 0.08)).astype(np.float32)
    paint(picture, np.clip(streak, 0, 0.95), (0.96, 1.0, 0.97))
    opacity = np.maximum(opacity, np.clip(streak, 0, 0.95))
    if rng.random() < 0.55:
        top = float(rng.uniform(0.55, 0.62))
        before = picture.copy()
        _label(rng, picture, u, top, top + 0.27)
        light(picture, np.where(band(h, w, top, top + 0.27) > 0, around(u, gloss=0.3, dark=0.55), 1).astype(np.float32))
        picture = np.where(np.abs(u)[..., None] < 0.97, picture, before)
        opacity = np.maximum(opacity, band(h, w, top, top + 0.27) * 0.97)
    return to_sprite(picture, [ring], opacity=opacity, lift=0.08)


def jar(rng: np.random.Generator, n: int) -> Sprite:
    """A wide jar of clear glass without its lid, thick foot and rim."""
    ring, u = turned(n, 0.68, [(0.0, 0.74), (0.07, 0.76), (0.1, 0.72), (0.2, 0.95), (0.93, 0.96), (1.0, 0.82)], 0.04)
    h, w = u.shape
    picture = plain(h, w, shade_of(rng, ((0.70, 0.82, 0.80), (0.55, 0.75, 0.68)), 0.03))
    wall = np.clip((np.abs(u) - 0.7) / 0.3, 0, 1).astype(np.float32)
    ends = np.clip((np.abs(rows(h) - 0.5) - 0.42) / 0.06, 0, 1)
    opacity = np.clip(0.30 + 0.5 * np.maximum(wall, ends * 0.8), 0, 1).astype(np.float32)
    paint(picture, wall * 0.6, (0.28, 0.38, 0.36))
    streak = np.exp(-(((u + 0.55) / 0.09) ** 2)) + 0.6 * np.exp(-(((u - 0.35) / 0.05) ** 2))
    streak = (streak * (rows(h) > 0.13) * (rows(h) < 0.92)).astype(np.float32)
    paint(picture, np.clip(streak, 0, 0.95), (0.97, 1.0, 0.99))
    for at in (0.03, 0.075):
        paint(picture, band(h, w, at, at + 0.018) * 0.8, (0.9, 0.97, 0.95))
    return to_sprite(picture, [ring], opacity=np.maximum(opacity, np.clip(streak, 0, 0.9)), lift=0.08)


def pet_bottle(rng: np.random.Generator, n: int) -> Sprite:
    """A clear or bluish drinks bottle with ribs, a coloured cap and often a sleeve."""
    profile = [
        (0.0, 0.32),
        (0.075, 0.32),
        (0.08, 0.27),
        (0.12, 0.30),
        (0.28, 0.92),
        (0.45, 0.95),
        (0.5, 0.86),
        (0.56, 0.95),
        (0.9, 0.95),
        (0.95, 0.9),
        (1.0, 0.82),
    ]
    ring, u = turned(n, rng.uniform(0.34, 0.40), profile, 0.025)
    h, w = u.shape
    picture = plain(h, w, shade_of(rng, ((0.80, 0.88, 0.94), (0.62, 0.80, 0.93), (0.88, 0.92, 0.95)), 0.03))
    y = rows(h)
    ribs = np.sin(y * np.float32(2 * np.pi * 17)) * ((y > 0.3) & (y < 0.93))
    light(picture, (1 + 0.16 * ribs * np.sqrt(np.clip(1 - u * u, 0, 1))).astype(np.float32))
    tilt, crease = facets(rng, h, w, 14)
    light(picture, 1 + 0.16 * tilt)
    wall = np.clip((np.abs(u) - 0.75) / 0.25, 0, 1).astype(np.float32)
    paint(picture, wall * 0.55, (0.42, 0.52, 0.62))
    glints = np.clip(np.exp(-(((u + 0.42) / 0.13) ** 2)) * (0.4 + 0.6 * (ribs > 0)) + crease * 0.5, 0, 1).astype(
        np.float32
    )
    paint(picture, glints * 0.85, (1, 1, 1))
    opacity = np.clip(0.46 + 0.4 * wall + 0.45 * glints, 0, 0.97).astype(np.float32)
    if rng.random() < 0.65:
        _label(rng, picture, u, 0.5, 0.74)
        sleeve = band(h, w, 0.5, 0.74)
        light(picture, np.where(sleeve > 0, around(u, gloss=0.35, dark=0.55), 1).astype(np.float32))
        opacity = np.maximum(opacity, sleeve * 0.96)
    cap = band(h, w, 0, 0.077)
    paint(picture, cap, shade_of(rng, (*BRIGHT, (0.95, 0.95, 0.95))))
    light(picture, np.where(cap > 0, around(u, gloss=0.4) * (0.9 + 0.12 * np.sin(u * 22)), 1).astype(np.float32))
    return to_sprite(picture, [ring], opacity=np.maximum(opacity, cap), lift=0.08)


def detergent(rng: np.random.Generator, n: int) -> Sprite:
    """An opaque coloured jug with a handle: its grip is a hole."""
    h, w = n, max(12, int(n * 0.66))
    neck = [
        (0.57, 0.15),
        (0.60, 0.16),
        (0.90, 0.30),
        (0.95, 0.45),
        (0.95, 0.94),
        (0.90, 0.97),
        (0.10, 0.97),
        (0.05, 0.94),
        (0.05, 0.42),
        (0.16, 0.28),
        (0.27, 0.16),
        (0.29, 0.15),
    ]
    cap = box(0.29 * w, 2.5, 0.57 * w, 0.15 * h)
    outline = np.vstack([np.array(neck) * (w, h), cap[:2]])
    grip = rounded([(x * w, y * h) for x, y in ((0.66, 0.32), (0.83, 0.40), (0.83, 0.62), (0.70, 0.62))], 2)
    tint = shade_of(
        rng, ((0.92, 0.92, 0.94), (0.15, 0.40, 0.80), (0.92, 0.55, 0.12), (0.35, 0.70, 0.35), (0.85, 0.3, 0.5))
    )
    picture = plain(h, w, tint)
    across = np.broadcast_to((np.arange(w, dtype=np.float32)[None, :] / w * 2 - 1), (h, w))
    light(picture, around(across, gloss=0.35, at=-0.55, width=0.12, dark=0.5))
    light(picture, 1 - 0.45 * rim([outline, grip], h, w, n * 0.05))
    sticker = rounded([(x * w, y * h) for x, y in ((0.16, 0.52), (0.60, 0.52), (0.60, 0.88), (0.16, 0.88))], 1)
    paint(picture, coverage([sticker], h, w) * 0.95, shade_of(rng, ((0.97, 0.95, 0.9), (0.98, 0.85, 0.2))))
    paint(picture, print_lines(rng, h, w, (0.2 * w, 0.58 * h, 0.56 * w, 0.84 * h), h * 0.06), shade_of(rng, BRIGHT))
    lid = coverage([cap], h, w)
    paint(picture, lid, shade_of(rng, BRIGHT))
    light(picture, 1 - 0.3 * lid * (np.sin(across * 40) > 0))
    return to_sprite(picture, [outline, grip], lift=0.09)


def cup(rng: np.random.Generator, n: int) -> Sprite:
    """A takeaway cup of clear plastic with a lid, full or empty."""
    ring, u = turned(n, 0.66, [(0.0, 0.5), (0.07, 0.72), (0.13, 0.97), (0.17, 0.97), (0.19, 0.9), (1.0, 0.62)], 0.015)
    h, w = u.shape
    picture = plain(h, w, (0.84, 0.89, 0.93))
    opacity = np.full((h, w), 0.42, np.float32)
    if rng.random() < 0.5:
        drink = band(h, w, float(rng.uniform(0.35, 0.7)), 0.97)
        paint(picture, drink, shade_of(rng, ((0.35, 0.2, 0.1), (0.8, 0.3, 0.2), (0.75, 0.65, 0.2))))
        opacity = np.maximum(opacity, drink * 0.85)
    wall = np.clip((np.abs(u) - 0.8) / 0.2, 0, 1).astype(np.float32)
    paint(picture, wall * 0.6, (0.5, 0.56, 0.62))
    glint = np.exp(-(((u + 0.5) / 0.1) ** 2)).astype(np.float32)
    paint(picture, glint * 0.8, (1, 1, 1))
    lid = band(h, w, 0, 0.185)
    paint(picture, lid * 0.9, shade_of(rng, ((0.93, 0.95, 0.97), (0.15, 0.15, 0.17), (0.9, 0.9, 0.9)), 0.02))
    light(picture, np.where(lid > 0, around(u, gloss=0.3, dark=0.6), 1).astype(np.float32))
    emblem = ellipse(w / 2, h * 0.58, w * 0.17, w * 0.17)
    mark = coverage([emblem], h, w)
    paint(picture, mark, shade_of(rng, BRIGHT))
    return to_sprite(
        picture,
        [ring],
        opacity=np.clip(np.maximum.reduce([opacity + 0.45 * wall, glint * 0.8, lid * 0.95, mark * 0.9]), 0, 1),
        lift=0.08,
    )
