"""Search the colours in which classes are shown, and say how far apart they are.

    python scripts/class_colors.py [--rounds 400] [--seeds 5]

The colours of `trashkit.coco.classes` were found with it: every two differ by at least `APART`, by at least
`APART_SIMULATED` as people without red or green cones see them, and each stands out on white and on grey.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COUNT = 10
APART, APART_SIMULATED = 15.0, 8.0
GREYS = (24, 96, 128, 160)
"""Backgrounds other than white: of legends and dark pages, of pages without photos, and of pavements."""
FROM_GREY = 15.0
"""Least CIEDE2000 difference of a class from white and from each of `GREYS`."""
ON_WHITE = 2.0
"""Least contrast ratio with white."""

# Severity 1.0. Source: G. Machado, M. Oliveira, L. Fernandes, "A Physiologically-based Model for Simulation of Color
# Vision Deficiency", IEEE Transactions on Visualization and Computer Graphics 15 (6), 2009, table 1.
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def linear(colors: Floats) -> Floats:
    """sRGB values 0..255 [..., 3] as linear light 0..1. Source: IEC 61966-2-1."""
    part = np.asarray(colors, np.float64) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(light: Floats) -> Floats:
    """CIELAB (D65) of linear sRGB [..., 3]. Sources: IEC 61966-2-1 for XYZ; CIE 15:2004, section 8.2.1 for L*a*b*."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = light @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def ciede2000(one: Floats, other: Floats) -> Floats:
    """CIEDE2000 difference of CIELAB colours [..., 3], with all three weights 1.

    Source: G. Sharma, W. Wu, E. Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary
    Test Data, and Mathematical Observations", Color Research and Application 30 (1), 2005, equations 2 to 22.
    """
    l1, a1, b1 = np.moveaxis(np.asarray(one, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(other, np.float64), -1, 0)
    mean_c = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 1.5 - 0.5 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    c1, c2 = np.hypot(g * a1, b1), np.hypot(g * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, g * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    # The formula takes a turn of exactly 180 degrees forwards.
    turn = np.where(grey, 0, np.where(turn == -180, 180, turn))
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    far, whole = np.abs(h1 - h2) > 180, h1 + h2
    mean_h = np.where(grey, whole, np.where(far, (whole + np.where(whole < 360, 360, -360)) / 2, whole / 2))
    t = 1 - 0.17 * _cos(mean_h - 30) + 0.24 * _cos(2 * mean_h) + 0.32 * _cos(3 * mean_h + 6)
    t = t - 0.20 * _cos(4 * mean_h - 63)
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    r_c = 2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    r_t = -np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))) * r_c
    squared = (d_l / s_l) ** 2 + (d_c / s_c) ** 2 + (d_h / s_h) ** 2 + r_t * (d_c / s_c) * (d_h / s_h)
    difference: Floats = np.sqrt(np.maximum(squared, 0))
    return difference


def _cos(degrees: Floats) -> Floats:
    return np.cos(np.radians(degrees))


def contrast(one: Floats, other: Floats) -> Floats:
    """Contrast ratio of sRGB colours 0..255 [..., 3], 1 to 21. Source: WCAG 2.1, "contrast ratio"."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    first, second = linear(one) @ weights, linear(other) @ weights
    ratio: Floats = (np.maximum(first, second) + 0.05) / (np.minimum(first, second) + 0.05)
    return ratio


def smallest_difference(colors: Floats, seen: Floats | None = None) -> float:
    """Smallest CIEDE2000 difference of any two of sRGB colours [N, 3]. seen: `PROTANOPIA` or `DEUTERANOPIA`."""
    light = linear(colors)
    if seen is not None:
        light = np.clip(light @ seen.T, 0, 1)
    points = lab(light)
    a, b = np.triu_indices(len(points), 1)
    return float(ciede2000(points[a], points[b]).min())


def from_backgrounds(colors: Floats) -> float:
    """Smallest CIEDE2000 difference of sRGB colours [N, 3] from white and from `GREYS`."""
    grounds = lab(linear(np.repeat(np.array([255, *GREYS])[:, None], 3, axis=1)))
    return float(ciede2000(lab(linear(colors))[:, None], grounds[None]).min())


def margins(candidates: Floats, others: Floats) -> Floats:
    """How far candidates [M, 3] for one colour exceed the bounds next to `others` [N, 3]: smallest quotients [M]."""
    found: Floats = contrast(candidates, np.array([255.0] * 3)) / ON_WHITE
    grounds = lab(linear(np.repeat(np.array([255, *GREYS])[:, None], 3, axis=1)))
    found = np.minimum(found, ciede2000(lab(linear(candidates))[:, None], grounds[None]).min(axis=1) / FROM_GREY)
    for seen, apart in ((np.eye(3), APART), (PROTANOPIA, APART_SIMULATED), (DEUTERANOPIA, APART_SIMULATED)):
        mine, theirs = (lab(np.clip(linear(part) @ seen.T, 0, 1)) for part in (candidates, others))
        found = np.minimum(found, ciede2000(mine[:, None], theirs[None]).min(axis=1) / apart)
    return found


def search(rounds: int, seed: int, tries: int = 256) -> Floats:
    """Colours [COUNT, 3] with a large smallest margin: in turn, each moves to the best of some places near and far."""
    generator = np.random.default_rng(seed)
    colors = generator.integers(0, 256, (COUNT, 3)).astype(np.float64)
    for n in range(rounds):
        row = n % COUNT
        others = np.delete(colors, row, axis=0)
        near = colors[row] + generator.normal(0, 12, (tries, 3))
        far = generator.uniform(0, 255, (tries, 3))
        candidates = np.rint(np.clip(np.concatenate([colors[row : row + 1], near, far]), 0, 255))
        colors[row] = candidates[margins(candidates, others).argmax()]
    return colors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for seed in range(options.seeds):
        colors = search(options.rounds, seed)
        print(
            f"seed {seed}: normal {smallest_difference(colors):.1f}, "
            f"protanopia {smallest_difference(colors, PROTANOPIA):.1f}, "
            f"deuteranopia {smallest_difference(colors, DEUTERANOPIA):.1f}, "
            f"backgrounds {from_backgrounds(colors):.1f}, "
            f"contrast on white {contrast(colors, np.array([255.0] * 3)).min():.2f}"
        )
        for color in colors.astype(int).tolist():
            print(f"    {tuple(color)},")


if __name__ == "__main__":
    main()
