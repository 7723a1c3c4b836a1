"""Textures: smooth noise, ridges, crumpled facets, weave, beads. All are float32 [h, w]."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]


def fractal(rng: np.random.Generator, h: int, w: int, cell: float, octaves: int = 3) -> Plane:
    """Smooth noise scaled to 0..1; `cell` is the size in pixels of its coarsest blotches."""
    total = np.zeros((h, w), np.float32)
    weight = 1.0
    for _ in range(octaves):
        rows, columns = max(2, int(h / cell) + 2), max(2, int(w / cell) + 2)
        grid = rng.random((rows, columns), np.float32)
        total += np.float32(weight) * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        weight *= 0.5
        cell = max(1.0, cell / 2)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - np.float32(low)) / np.float32(max(high - low, 1e-6)))


def streaks(rng: np.random.Generator, h: int, w: int, cell: float, stretch: float, *, across: bool = False) -> Plane:
    """Noise stretched along x (along y with `across`), 0..1: wood grain, folds of cloth, brushed metal."""
    if across:
        return np.ascontiguousarray(streaks(rng, w, h, cell, stretch).T)
    rows, columns = max(2, int(h / cell) + 2), max(2, int(w / (cell * stretch)) + 2)
    coarse = cv2.resize(rng.random((rows, columns), np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse, 0, 1).astype(np.float32)


def facets(rng: np.random.Generator, h: int, w: int, count: int) -> tuple[Plane, Plane]:
    """A crumpled surface: brightness of its tilted faces (-1..1), and its creases (1 on a crease, 0 off it)."""
    seeds = np.full((h, w), 255, np.uint8)
    count = max(3, min(count, h * w // 4))
    ys, xs = rng.integers(0, h, count), rng.integers(0, w, count)
    seeds[ys, xs] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    top = int(labels.max()) + 1
    slope = rng.normal(0, 1.0, (top, 2)).astype(np.float32) * (count**0.5) / max(h, w)
    level = rng.uniform(-0.7, 0.7, top).astype(np.float32)
    centre = np.zeros((top, 2), np.float32)
    at = labels[ys, xs]
    centre[at, 0], centre[at, 1] = ys, xs
    yy, xx = np.indices((h, w), dtype=np.float32)
    tilt = level[labels] + slope[labels, 0] * (yy - centre[labels, 0]) + slope[labels, 1] * (xx - centre[labels, 1])
    edge = np.zeros((h, w), np.float32)
    edge[:, 1:] += labels[:, 1:] != labels[:, :-1]
    edge[1:] += labels[1:] != labels[:-1]
    tilt = cv2.GaussianBlur(np.clip(tilt, -1, 1), (3, 3), 0)
    return tilt.astype(np.float32), cv2.GaussianBlur(np.minimum(edge, 1), (3, 3), 0).astype(np.float32)


def weave(h: int, w: int, pitch: float) -> Plane:
    """Threads crossing over and under, -1..1, `pitch` pixels apart."""
    yy = np.arange(h, dtype=np.float32)[:, None] * np.float32(2 * np.pi / pitch)
    xx = np.arange(w, dtype=np.float32)[None, :] * np.float32(2 * np.pi / pitch)
    return np.asarray(np.sin(yy) * np.sin(xx), np.float32)


def beads(rng: np.random.Generator, h: int, w: int, pitch: float) -> Plane:
    """Packed foam beads: 1 in the middle of a bead, 0 in the grooves."""
    rows, columns = max(2, round(h / pitch)), max(2, round(w / pitch))
    ys = (np.arange(rows)[:, None] + 0.5 + rng.uniform(-0.35, 0.35, (rows, columns))) * h / rows
    xs = (np.arange(columns)[None, :] + 0.5 + rng.uniform(-0.35, 0.35, (rows, columns))) * w / columns
    seeds = np.full((h, w), 255, np.uint8)
    seeds[np.clip(ys, 0, h - 1).astype(int), np.clip(xs, 0, w - 1).astype(int)] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 3)
    return np.asarray(np.clip(1.15 - distance / np.float32(pitch * 0.62), 0, 1), np.float32)
