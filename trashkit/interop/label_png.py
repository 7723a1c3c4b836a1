"""Label maps as PNG files: palette images whose pixel value is the class index."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from trashkit.coco.classes import Color, palette
from trashkit.errors import TrashkitError
from trashkit.masks import LabelMap
from trashkit.photos import photo_info

GREY = (224, 224, 192)
"""Colour of the ignored pixels (255) in palettes, as in Pascal VOC."""


def write_label_png(path: Path, labels: LabelMap, colors: Sequence[Color]) -> None:
    """Write a label map uint8 [H, W] as a palette PNG: values stay, `colors` (RGB by class) are how it is shown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [*colors, *palette(256)[len(colors) : 255], GREY]
    image = Pillow.fromarray(labels)
    image.putpalette([channel for color in table[:256] for channel in color])
    image.save(path, format="PNG", compress_level=3)


def read_label_png(path: Path, colors: Mapping[Color, int] | None = None) -> LabelMap:
    """Read a label map uint8 [H, W] from a PNG: palette indices, grey values, or colours.

    colors: class index of each RGB colour, for colour PNGs; Pascal VOC's palette by default. EXIF is not followed.
    TrashkitError naming the file where it is no PNG, damaged or huge, has values above 255 or a colour without class.
    """
    info = photo_info(path)
    if info.format != "PNG":
        raise TrashkitError(
            f"{path} is a {info.format or 'file of unknown kind'}, a label map is a PNG", hint="use PNG"
        )
    try:
        image = Pillow.open(io.BytesIO(path.read_bytes()))
        image.load()
    except Exception as error:  # Pillow has many errors for damaged files
        raise TrashkitError(f"{path} is damaged: {error}", hint="write it again") from error
    if image.mode in ("P", "L"):
        return np.array(image, np.uint8)
    if image.mode == "1":
        return np.array(image, np.uint8)
    if image.mode.startswith("I"):
        values = np.array(image)
        if values.min() < 0 or values.max() > 255:
            raise TrashkitError(
                f"{path} has the value {values.max()}", hint="class indices are 0 to 254, 255 is ignored"
            )
        return values.astype(np.uint8)
    return _from_colors(np.array(image.convert("RGB"), np.uint32), colors, path)


def _from_colors(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint32]], colors: Mapping[Color, int] | None, path: Path
) -> LabelMap:
    if colors is None:
        colors = {color: index for index, color in enumerate(palette(255))}
        colors = {**colors, GREY: 255}
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    found, places = np.unique(codes, return_inverse=True)
    values = np.zeros(len(found), np.uint8)
    for position, code in enumerate(found.tolist()):
        color = (code >> 16, code >> 8 & 255, code & 255)
        if color not in colors:
            raise TrashkitError(
                f"{path} has the colour {color}, which is no class", hint="give labelmap.txt with name:r,g,b lines"
            )
        values[position] = colors[color]
    return values[places].reshape(codes.shape)
