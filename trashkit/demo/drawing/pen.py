"""Drawing on a small canvas: outlines, anti-aliased fills, shading of round bodies. All objects use it.

Coordinates are continuous pixels, x to the right and y down, pixel i covers i..i+1. Colours are RGB in 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.demo.drawing.noise import Plane

Ring = NDArray[np.float64]
Picture = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]
_SHIFT = 4
BRIGHT: tuple[Colour, ...] = (
    (0.82, 0.10, 0.12),
    (0.08, 0.28, 0.68),
    (0.05, 0.50, 0.25),
    (0.95, 0.70, 0.08),
    (0.93, 0.45, 0.08),
    (0.50, 0.15, 0.52),
    (0.90, 0.35, 0.55),
    (0.10, 0.55, 0.68),
)


@dataclass(frozen=True, slots=True)
class Sprite:
    """One object before it is placed.

    rgb: uint8 [h, w, 3], coloured also outside the outline, so that its border mixes cleanly.
    alpha: uint8 [h, w], opacity; 255 is opaque. rings: outline and holes, even-odd, each float64 [n, 2] of x, y.
    lift: how far the shadow falls, as a share of the object's length.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    rings: tuple[Ring, ...]
    lift: float


def coverage(rings: Sequence[Ring], h: int, w: int) -> Plane:
    """How much of each pixel lies inside the rings (even-odd), 0..1, float32 [h, w]."""
    out = np.zeros((h, w), np.uint8)
    fixed = [np.round((ring - 0.5) * (1 << _SHIFT)).astype(np.int32) for ring in rings]
    cv2.fillPoly(out, fixed, 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    return out.astype(np.float32) * np.float32(1 / 255)


def strokes(lines: Sequence[Ring], h: int, w: int, thickness: int = 1) -> Plane:
    """Coverage 0..1 of open anti-aliased lines."""
    out = np.zeros((h, w), np.uint8)
    fixed = [np.round((line - 0.5) * (1 << _SHIFT)).astype(np.int32) for line in lines]
    cv2.polylines(out, fixed, False, 255, thickness=thickness, lineType=cv2.LINE_AA, shift=_SHIFT)
    return out.astype(np.float32) * np.float32(1 / 255)


def plain(h: int, w: int, colour: Colour) -> Picture:
    """A canvas [h, w, 3] of one colour."""
    return np.broadcast_to(np.array(colour, np.float32), (h, w, 3)).copy()


def paint(picture: Picture, cover: Plane, colour: Colour | Picture) -> None:
    """Paint `colour` onto the picture in place, with opacity `cover` (0..1)."""
    picture += (np.asarray(colour, np.float32) - picture) * cover[..., None]


def light(picture: Picture, shade: Plane | float) -> None:
    """Multiply the picture by a brightness in place."""
    picture *= shade[..., None] if isinstance(shade, np.ndarray) else np.float32(shade)


def to_sprite(picture: Picture, rings: Sequence[Ring], *, opacity: Plane | float = 1.0, lift: float = 0.06) -> Sprite:
    """Turn a picture into a sprite: clip its colours and cut it out along its rings."""
    h, w = picture.shape[:2]
    alpha = coverage(rings, h, w) * np.asarray(opacity, np.float32)
    return Sprite(
        np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8),
        np.clip(alpha * 255 + 0.5, 0, 255).astype(np.uint8),
        tuple(np.asarray(ring, np.float64) for ring in rings),
        lift,
    )


def rim(rings: Sequence[Ring], h: int, w: int, width: float) -> Plane:
    """1 on the outline falling to 0 at `width` pixels inside it."""
    inside = (coverage(rings, h, w) > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    return np.asarray(np.clip(1 - distance / np.float32(max(width, 1)), 0, 1), np.float32)


def soften(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur of a plane."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.3)), np.float32)


def rounded(points: Sequence[tuple[float, float]] | Ring, steps: int = 2) -> Ring:
    """Chaikin's corner cutting of a closed ring, `steps` times."""
    ring = np.asarray(points, np.float64)
    for _ in range(steps):
        after = np.roll(ring, -1, axis=0)
        ring = np.stack([0.75 * ring + 0.25 * after, 0.25 * ring + 0.75 * after], axis=1).reshape(-1, 2)
    return ring


def box(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """A rectangle as a ring."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def ellipse(cx: float, cy: float, rx: float, ry: float, points: int = 28) -> Ring:
    """An ellipse as a ring."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([cx + rx * np.cos(turn), cy + ry * np.sin(turn)], axis=1)


def blob(rng: np.random.Generator, h: int, w: int, rough: float, lobes: int = 9, *, margin: float = 2.0) -> Ring:
    """A wobbly closed shape that fills the canvas; `rough` 0 is an ellipse."""
    turn = np.linspace(0, 2 * np.pi, lobes, endpoint=False) + rng.uniform(-0.12, 0.12, lobes)
    radius = 1 - rough * rng.random(lobes)
    ring = np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1)
    ring = rounded(ring, 3)
    low, high = ring.min(axis=0), ring.max(axis=0)
    size = np.array([w - 2 * margin, h - 2 * margin])
    return np.asarray((ring - low) / (high - low) * size + margin)


def jagged(rng: np.random.Generator, ring: Ring, amount: float, step: float) -> Ring:
    """A ring resampled every `step` pixels with each point moved by up to `amount` pixels: torn or crushed edges."""
    closed = np.vstack([ring, ring[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(6, int(travelled[-1] / max(step, 1.5)))
    at = np.linspace(0, travelled[-1], count, endpoint=False)
    points = np.stack([np.interp(at, travelled, closed[:, k]) for k in (0, 1)], axis=1)
    return np.asarray(points + rng.uniform(-amount, amount, points.shape))


def turned(n: int, aspect: float, profile: Sequence[tuple[float, float]], smooth: float = 0.02) -> tuple[Ring, Plane]:
    """The outline of an upright body of revolution, and the position of each pixel across it.

    `profile`: (height 0 at the top .. 1 at the foot, half width 0..1). Returns the ring and u [n, w], -1 at the left
    edge, 1 at the right, beyond outside. The canvas is n high and n * aspect wide.
    """
    w = max(10, round(n * aspect))
    rows = np.arange(n) + 0.5
    spots = (rows - 2) / max(n - 4, 1)
    half = np.interp(spots, [p[0] for p in profile], [p[1] for p in profile])
    window = max(1, int(n * smooth))
    if window > 1:
        padded = np.pad(half, window, mode="edge")
        half = np.convolve(padded, np.ones(window) / window, mode="same")[window:-window]
    half = np.maximum(half * (w / 2 - 2), 1.0)
    pick = np.unique(np.concatenate([np.arange(2, n - 2, max(1, n // 60)), [n - 3]]))
    left = np.stack([w / 2 - half[pick], rows[pick]], axis=1)
    right = np.stack([w / 2 + half[pick], rows[pick]], axis=1)[::-1]
    across = (np.arange(w, dtype=np.float32)[None, :] + 0.5 - w / 2) / half[:, None].astype(np.float32)
    return np.vstack([left, right]), across.astype(np.float32)


def around(u: Plane, *, gloss: float = 0.6, at: float = -0.4, width: float = 0.16, dark: float = 0.5) -> Plane:
    """Brightness of a lit round body: darker to its sides, with one streak of reflected light at `at`."""
    body = dark + (1 - dark) * np.sqrt(np.clip(1 - u * u, 0, 1))
    streak = np.exp(-(((u - at) / width) ** 2)) * gloss
    back = np.exp(-(((u - 0.78) / 0.1) ** 2)) * gloss * 0.35
    return np.asarray(body + streak + back, np.float32)


def shade_of(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 0.06) -> Colour:
    """One of the colours, slightly varied."""
    r, g, b = np.clip(np.array(colours[int(rng.integers(len(colours)))]) + rng.normal(0, spread, 3), 0.02, 0.98)
    return float(r), float(g), float(b)


def print_lines(
    rng: np.random.Generator, h: int, w: int, area: tuple[float, float, float, float], pitch: float
) -> Plane:
    """Coverage 0..1 of lines that resemble text, inside x0, y0, x1, y1."""
    x0, y0, x1, y1 = area
    lines: list[Ring] = []
    y = y0 + pitch / 2
    while y < y1:
        x, end = x0, x0 + (x1 - x0) * (1.0 if rng.random() < 0.8 else rng.uniform(0.3, 0.9))
        while x < end - pitch * 0.4:
            word = min(pitch * rng.uniform(0.8, 2.6), end - x)
            lines.append(np.array([[x, y], [x + word, y]]))
            x += word + pitch * 0.55
        y += pitch
    if not lines:
        return np.zeros((h, w), np.float32)
    return strokes(lines, h, w, max(1, round(pitch * 0.38)))


def rows(h: int) -> Plane:
    """Height of the middle of each row, 0 at the top, 1 at the foot, [h, 1]."""
    return ((np.arange(h, dtype=np.float32) + 0.5) / h)[:, None]


def band(h: int, w: int, top: float, bottom: float) -> Plane:
    """1 in the rows between two heights, 0 elsewhere, [h, w]."""
    y = rows(h)
    return np.broadcast_to(((y > top) & (y < bottom)).astype(np.float32), (h, w)).copy()
