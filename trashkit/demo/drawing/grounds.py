"""Backgrounds (floors, grass, concrete, tables, a conveyor) and clutter (leaves, stones, stains)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from trashkit.demo.drawing.noise import fractal, streaks
from trashkit.demo.drawing.pen import (
    Picture,
    Ring,
    Sprite,
    blob,
    coverage,
    light,
    paint,
    plain,
    rim,
    rounded,
    shade_of,
    soften,
    strokes,
    to_sprite,
)


def _speckle(rng: np.random.Generator, n: int, grain: float) -> Picture:
    """Fine grain around 1, [n, n]."""
    return np.asarray(1 + grain * (rng.random((n, n), np.float32) - 0.5), np.float32)


def concrete(rng: np.random.Generator, n: int) -> Picture:
    """Grey concrete with blotches, grit and a crack."""
    picture = plain(n, n, shade_of(rng, ((0.58, 0.57, 0.54), (0.48, 0.48, 0.47), (0.66, 0.63, 0.58)), 0.02))
    light(picture, 0.82 + 0.3 * fractal(rng, n, n, n / 3, 5))
    light(picture, _speckle(rng, n, 0.16))
    if rng.random() < 0.6:
        walk = np.cumsum(rng.normal(0, n / 60, 24)) + rng.uniform(0.2, 0.8) * n
        line = np.stack([np.linspace(0, n, 24), walk], axis=1)
        light(picture, 1 - 0.45 * strokes([line if rng.random() < 0.5 else line[:, ::-1]], n, n, max(1, n // 150)))
    return picture


def asphalt(rng: np.random.Generator, n: int) -> Picture:
    """Dark asphalt with light chippings, sometimes a painted line."""
    picture = plain(n, n, shade_of(rng, ((0.27, 0.27, 0.28), (0.34, 0.33, 0.33)), 0.015))
    light(picture, 0.85 + 0.25 * fractal(rng, n, n, n / 2, 3))
    chips = cv2.GaussianBlur(rng.random((n, n), np.float32), (0, 0), max(0.6, n / 420))
    light(picture, (1 + 2.2 * (chips - 0.5)).astype(np.float32))
    if rng.random() < 0.35:
        x, tilt = rng.uniform(0.1, 0.8) * n, rng.uniform(-0.3, 0.3) * n
        stripe = coverage([np.array([[x, 0], [x + 0.1 * n, 0], [x + tilt + 0.1 * n, n], [x + tilt, n]])], n, n)
        paint(picture, stripe * np.clip(fractal(rng, n, n, n / 12, 3) * 1.6 - 0.1, 0, 0.85), (0.85, 0.83, 0.76))
    return picture


def grass(rng: np.random.Generator, n: int) -> Picture:
    """A lawn: many blades of several greens over soil."""
    picture = plain(n, n, (0.20, 0.27, 0.10))
    light(picture, 0.7 + 0.6 * fractal(rng, n, n, n / 3, 3))
    dry = float(rng.uniform(0, 0.5))
    canvas = np.ascontiguousarray(np.clip(picture * 255, 0, 255).astype(np.uint8))
    count = 1500
    at = rng.uniform(-0.02, 1.02, (count, 2)) * n
    lean = rng.normal(0, 0.7, count)
    size = rng.uniform(0.02, 0.055, count) * n
    ends = at + np.stack([np.sin(lean), -np.cos(lean)], axis=1) * size[:, None]
    tone = rng.random((count, 3))
    green = np.array([0.20, 0.36, 0.10]) + tone[:, :1] * np.array([0.22, 0.30, 0.12])
    colour = green + dry * tone[:, 1:2] * np.array([0.30, 0.12, 0.10])
    for a, b, c in zip(
        (at * 16).astype(int).tolist(), (ends * 16).astype(int).tolist(), (colour * 255).tolist(), strict=True
    ):
        cv2.line(canvas, a, b, c, 1 if n < 320 else 2, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def planks(rng: np.random.Generator, n: int) -> Picture:
    """A wooden table top."""
    picture = plain(n, n, shade_of(rng, ((0.55, 0.38, 0.22), (0.66, 0.50, 0.32), (0.40, 0.27, 0.17)), 0.03))
    light(picture, 0.75 + 0.25 * streaks(rng, n, n, n / 90, 24) + 0.25 * streaks(rng, n, n, n / 25, 10))
    wide = n / rng.uniform(3, 6)
    for k in range(int(n / wide) + 1):
        y = int(k * wide)
        picture[y : int((k + 1) * wide)] *= np.float32(rng.uniform(0.86, 1.1))
        light(picture, 1 - 0.55 * strokes([np.array([[0, y], [n, y]], float)], n, n, max(1, n // 120)))
    return picture


def tiles(rng: np.random.Generator, n: int) -> Picture:
    """A tiled floor with grout."""
    picture = plain(n, n, shade_of(rng, ((0.72, 0.69, 0.62), (0.60, 0.63, 0.66), (0.50, 0.40, 0.34)), 0.03))
    pitch = n / rng.uniform(2.2, 5)
    shift = rng.uniform(0, pitch, 2)
    yy, xx = np.indices((n, n), dtype=np.float32)
    cells = ((yy + shift[0]) // pitch * 13 + (xx + shift[1]) // pitch).astype(int)
    light(picture, rng.uniform(0.9, 1.06, int(cells.max()) + 1).astype(np.float32)[cells])
    light(picture, 0.88 + 0.2 * fractal(rng, n, n, n / 5, 4))
    joint = np.minimum((yy + shift[0]) % pitch, (xx + shift[1]) % pitch) < max(1.5, n / 90)
    paint(picture, soften(joint.astype(np.float32), n / 400) * 0.8, (0.40, 0.38, 0.36))
    return picture


def conveyor(rng: np.random.Generator, n: int) -> Picture:
    """The rubber belt of a sorting line, cleats across and dust along it."""
    picture = plain(n, n, shade_of(rng, ((0.16, 0.17, 0.18), (0.12, 0.20, 0.19), (0.22, 0.21, 0.20)), 0.012))
    pitch = n / rng.uniform(4, 8)
    wave = (np.arange(n, dtype=np.float32) + np.float32(rng.uniform(0, pitch))) % np.float32(pitch)
    cleat = np.exp(-((wave - pitch / 2) ** 2) / (n / 90) ** 2)
    light(
        picture, np.broadcast_to((1 + 0.6 * cleat - 0.3 * np.roll(cleat, n // 60))[:, None], (n, n)).astype(np.float32)
    )
    light(picture, 0.8 + 0.5 * streaks(rng, n, n, n / 40, 8, across=True))
    paint(picture, np.clip(fractal(rng, n, n, n / 5, 4) - 0.45, 0, 0.3).astype(np.float32), (0.55, 0.52, 0.46))
    light(picture, _speckle(rng, n, 0.15))
    return picture


def soil(rng: np.random.Generator, n: int) -> Picture:
    """Bare earth or sand with pebbles."""
    picture = plain(n, n, shade_of(rng, ((0.42, 0.33, 0.23), (0.70, 0.61, 0.45), (0.36, 0.30, 0.25)), 0.02))
    light(picture, 0.7 + 0.55 * fractal(rng, n, n, n / 6, 5))
    light(picture, _speckle(rng, n, 0.35))
    return picture


def paving(rng: np.random.Generator, n: int) -> Picture:
    """Bricks in running bond."""
    picture = plain(n, n, shade_of(rng, ((0.56, 0.34, 0.27), (0.55, 0.50, 0.46)), 0.03))
    high = n / rng.uniform(6, 10)
    yy, xx = np.indices((n, n), dtype=np.float32)
    row = (yy // high).astype(int)
    along = xx + (row % 2) * high
    cells = row * 17 + (along // (2 * high)).astype(int)
    light(picture, rng.uniform(0.78, 1.12, int(cells.max()) + 1).astype(np.float32)[cells])
    joint = ((yy % high) < max(1, n / 110)) | ((along % (2 * high)) < max(1, n / 110))
    paint(picture, joint.astype(np.float32) * 0.75, (0.45, 0.42, 0.38))
    light(picture, 0.85 + 0.25 * fractal(rng, n, n, n / 8, 4))
    light(picture, _speckle(rng, n, 0.15))
    return picture


GROUNDS: dict[str, Callable[[np.random.Generator, int], Picture]] = {
    "concrete": concrete,
    "asphalt": asphalt,
    "grass": grass,
    "planks": planks,
    "tiles": tiles,
    "conveyor": conveyor,
    "soil": soil,
    "paving": paving,
}


def leaf(rng: np.random.Generator, n: int) -> Sprite:
    """A fallen leaf with its veins: clutter, not trash."""
    h, w = n, max(8, int(n * rng.uniform(0.4, 0.62)))
    points = np.array(
        [
            (0.5, 0.02),
            (0.78, 0.2),
            (0.96, 0.45),
            (0.8, 0.72),
            (0.54, 0.86),
            (0.53, 0.98),
            (0.47, 0.98),
            (0.46, 0.86),
            (0.2, 0.72),
            (0.04, 0.45),
            (0.22, 0.2),
        ]
    )
    ring: Ring = rounded(points * (w, h), 1)
    picture = plain(
        h, w, shade_of(rng, ((0.45, 0.26, 0.08), (0.62, 0.42, 0.10), (0.28, 0.38, 0.12), (0.50, 0.16, 0.08)), 0.04)
    )
    veins = [np.array([[0.5, 0.04], [0.5, 0.98]]) * (w, h)]
    veins += [
        np.array([[0.5, y], [0.5 + side * 0.36, y - 0.17]]) * (w, h) for y in (0.3, 0.45, 0.6, 0.75) for side in (-1, 1)
    ]
    light(picture, 1 - 0.3 * strokes(veins, h, w, 1))
    light(picture, 0.8 + 0.35 * fractal(rng, h, w, max(4, n / 3), 2))
    return to_sprite(picture, [ring], lift=0.05)


def stone(rng: np.random.Generator, n: int) -> Sprite:
    """A rounded stone lit from above left."""
    h, w = max(8, int(n * rng.uniform(0.6, 0.95))), n
    ring = blob(rng, h, w, 0.28, 8, margin=1.5)
    picture = plain(h, w, shade_of(rng, ((0.48, 0.46, 0.43), (0.36, 0.35, 0.34), (0.58, 0.52, 0.44)), 0.03))
    yy, xx = np.indices((h, w), dtype=np.float32)
    light(picture, 1.25 - 0.55 * (xx / w + yy / h) / 2 * 1.4)
    light(picture, 0.8 + 0.35 * fractal(rng, h, w, max(3, n / 4), 3))
    light(picture, 1 - 0.3 * rim([ring], h, w, n * 0.12))
    return to_sprite(picture, [ring], lift=0.09)


def twig(rng: np.random.Generator, n: int) -> Sprite:
    """A thin stick with a fork."""
    h, w = n, max(8, int(n * 0.35))
    t = max(0.04, 1.2 / w)
    points = np.array(
        [
            (0.5 - t, 0.98),
            (0.5 - t, 0.5),
            (0.2, 0.2),
            (0.26, 0.17),
            (0.5, 0.42),
            (0.62, 0.02),
            (0.70, 0.03),
            (0.5 + t, 0.5),
            (0.5 + t, 0.98),
        ]
    )
    picture = plain(h, w, shade_of(rng, ((0.30, 0.21, 0.13), (0.42, 0.33, 0.22)), 0.03))
    light(picture, 0.8 + 0.3 * fractal(rng, h, w, max(3, n / 8), 2))
    return to_sprite(picture, [points * (w, h)], lift=0.05)


CLUTTER: tuple[Callable[[np.random.Generator, int], Sprite], ...] = (leaf, stone, twig)
