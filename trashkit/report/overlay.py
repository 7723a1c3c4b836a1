"""Draw coloured regions, outlines and legends on photos."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trashkit.coco import ClassMap
from trashkit.names import printable, shortened

Pixels = NDArray[np.uint8]
LONGEST_NAME = 60
"""Longer names of classes are shortened in legends; drawing 100,000 characters takes half a minute."""


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def overlay(photo: Pixels, label_map: Pixels, classes: ClassMap, *, opacity: float = 0.45) -> Pixels:
    """Colour and outline the regions of a photo by class.

    photo: RGB uint8 [H, W, 3]. label_map: uint8 [H, W]; 0 = background and 255 = ignore are left unchanged.
    Returns a new RGB uint8 [H, W, 3].
    """
    if photo.shape[:2] != label_map.shape:
        raise ValueError(f"a photo of {photo.shape[:2]} and a label map of {label_map.shape}")
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = classes.shown_colors
    region = (label_map > 0) & (label_map < 255)
    mixed = cv2.addWeighted(photo, 1 - opacity, colors[label_map], opacity, 0)
    drawn: Pixels = np.where(region[..., None], mixed, photo)
    width = max(1, round(max(photo.shape[:2]) / 400))
    for index in np.unique(label_map[region]):
        outlines, _ = cv2.findContours((label_map == index).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        drawn = np.ascontiguousarray(drawn)
        cv2.drawContours(drawn, outlines, -1, (255, 255, 255), width + 1, cv2.LINE_AA)
        cv2.drawContours(drawn, outlines, -1, colors[index].tolist(), width, cv2.LINE_AA)
    return drawn


def class_shares(label_map: Pixels, classes: ClassMap) -> list[tuple[int, float]]:
    """Classes of a label map without background, as (index, share of all pixels), largest first."""
    counts = np.bincount(label_map.ravel(), minlength=256)
    shares = [(index, counts[index] / label_map.size) for index in range(1, len(classes)) if counts[index]]
    return sorted(shares, key=lambda item: (-item[1], item[0]))


def with_legend(
    picture: Pixels,
    classes: ClassMap,
    shares: Sequence[tuple[int, float]],
    *,
    title: str = "",
    empty: str = "nothing found",
) -> Pixels:
    """Add a strip below a picture with the name, colour and share of each class.

    shares: class index and share between 0 and 1, as from `class_shares`; `empty` is the text if there are none.
    Returns RGB uint8 [H + strip, W, 3].
    """
    width = picture.shape[1]
    size = max(11, min(40, round(width / 32)))
    colors = classes.shown_colors
    entries = [(colors[index], f"{_legend_name(classes.names[index])} {share:.1%}") for index, share in shares]
    lines: list[list[tuple[int, tuple[int, int, int] | None, str]]] = [[]]
    x, gap = size // 2, size // 2
    texts: list[tuple[tuple[int, int, int] | None, str]] = [(None, _legend_name(title))] if title else []
    texts += entries if entries else [(None, empty)]
    for color, text in texts:
        needed = round(_font(size).getlength(text)) + (size + gap if color else 0) + 2 * gap
        if x + needed > width and lines[-1]:
            lines.append([])
            x = size // 2
        lines[-1].append((x, color, text))
        x += needed
    step = round(size * 1.5)
    strip = Image.new("RGB", (width, step * len(lines) + gap), (24, 26, 30))
    draw = ImageDraw.Draw(strip)
    for n, line in enumerate(lines):
        top = gap // 2 + n * step
        for left, color, text in line:
            at = left
            if color:
                draw.rectangle((at, top + size * 0.2, at + size, top + size * 1.2), fill=color, outline="white")
                at += size + gap
            draw.text((at, top), text, fill="white", font=_font(size))
    return np.vstack([picture, np.asarray(strip, np.uint8)])


def _legend_name(name: str) -> str:
    """A name on one line, of at most `LONGEST_NAME` characters."""
    return shortened(printable(name), LONGEST_NAME)


def side_by_side(pictures: Sequence[Pixels], *, gap: int = 4) -> Pixels:
    """Pictures side by side; lower ones are padded at the bottom with the colour of the legend."""
    height = max(picture.shape[0] for picture in pictures)
    parts: list[Pixels] = []
    for n, picture in enumerate(pictures):
        padded = np.full((height, picture.shape[1] + (gap if n else 0), 3), 24, np.uint8)
        padded[: picture.shape[0], (gap if n else 0) :] = picture
        parts.append(padded)
    return np.hstack(parts)


def sheet(pictures: Sequence[Pixels], *, columns: int, gap: int = 4) -> Pixels:
    """Pictures in rows of `columns`, each row as high as its tallest picture."""
    rows = [side_by_side(pictures[n : n + columns], gap=gap) for n in range(0, len(pictures), columns)]
    width = max(row.shape[1] for row in rows)
    out: list[Pixels] = []
    for row in rows:
        padded = np.full((row.shape[0] + gap, width, 3), 24, np.uint8)
        padded[: row.shape[0], : row.shape[1]] = row
        out.append(padded)
    return np.vstack(out)
