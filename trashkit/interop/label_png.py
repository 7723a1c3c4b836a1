"""Label maps as PNG files: palette images whose pixel value is the class index."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from trashkit.coco.classes import Color, palette
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.images.photos import MAX_BYTES, photo_info
from trashkit.raster.masks import LabelMap
from trashkit.readers import read_bytes

GREY = (224, 224, 192)
"""Colour of the ignored pixels (255) in palettes, as in Pascal VOC."""
_BAND = 1 << 20
"""Pixels that are converted at a time."""


class DamagedLabelError(TrashkitError):
    """A label map whose PNG file cannot be decoded."""


def write_label_png(path: Path, labels: LabelMap, colors: Sequence[Color]) -> None:
    """Write a label map uint8 [H, W] as a palette PNG. colors: RGB by class; they only affect how it looks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [*colors, *palette(256)[len(colors) : 255], GREY]
    image = Pillow.fromarray(labels)
    image.putpalette([channel for color in table[:256] for channel in color])
    image.save(path, format="PNG", compress_level=3)


def label_png_size(path: Path) -> tuple[int, int]:
    """(width, height) of a label map, from its header. Raises TrashkitError for files that are not PNG or are huge."""
    info = photo_info(path)
    if info.format != "PNG":
        raise TrashkitError(
            f"{path} is a {info.format or 'file of unknown kind'}, but label maps must be PNG", hint="convert it to PNG"
        )
    return info.width, info.height


def read_label_png(path: Path, colors: Mapping[Color, int] | None = None) -> LabelMap:
    """Read a label map uint8 [H, W] from a PNG: palette indices, grey values, or colours.

    colors: class index by RGB colour, for colour PNGs and for palettes that consist of these colours; Pascal VOC's
    palette by default. EXIF is ignored. Raises TrashkitError for other files, damaged or huge PNGs, values above 255,
    and colours that are not a class.
    """
    image = _decoded(path)
    if image.mode in ("P", "L", "1"):
        labels = np.array(image, np.uint8)
        by_color = _palette(image, labels, colors)
        return labels if by_color is None else np.asarray(by_color[labels], np.uint8)
    grey = colors is None and not image.mode.startswith("I") and _is_grey(image)
    labels = np.empty((image.height, image.width), np.uint8)
    for top, band in _bands(image):
        rows = slice(top, top + band.height)
        if image.mode.startswith("I"):
            labels[rows] = _from_integers(np.asarray(band), path)
        elif grey:
            labels[rows] = np.asarray(band.convert("RGB"))[..., 0]
        else:
            labels[rows] = _from_colors(np.array(band.convert("RGB"), np.uint32), colors, path)
    return labels


def numbers_in(path: Path, colors: Mapping[Color, int] | None = None) -> set[int]:
    """The class numbers of a label map; none where it has colours instead. Arguments and errors as `read_label_png`."""
    image = _decoded(path)
    if colors is not None and image.mode not in ("P", "L", "1") and not image.mode.startswith("I"):
        return set()
    if image.mode == "P" and _palette(image, np.array(image, np.uint8), colors) is not None:
        return set()
    return set(np.unique(read_label_png(path, colors)).tolist())


def _decoded(path: Path) -> Pillow.Image:
    size = label_png_size(path)
    try:
        image = Pillow.open(io.BytesIO(read_bytes(path, most=MAX_BYTES)), formats=["PNG"])
        image.load()
        if image.size != size:
            raise ValueError("its size is given twice")
    except Exception as error:  # Pillow has many errors for damaged files
        raise DamagedLabelError(f"{path} is damaged: {read_error_reason(error)}", hint="export it again") from error
    return image


def _palette(
    image: Pillow.Image, labels: LabelMap, colors: Mapping[Color, int] | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    """Class index by palette index, if each palette index that occurs has a colour of its own among `colors`."""
    palette_bytes = image.getpalette("RGB") if image.mode == "P" and colors is not None else None
    if palette_bytes is None or colors is None:
        return None
    table = np.zeros(256, np.uint8)
    seen: set[Color] = set()
    for index in np.unique(labels).tolist():
        red, green, blue = (*palette_bytes[3 * index : 3 * index + 3], -1, -1, -1)[:3]
        if (red, green, blue) not in colors or (red, green, blue) in seen:
            return None
        seen.add((red, green, blue))
        table[index] = colors[red, green, blue]
    return table


def _bands(image: Pillow.Image) -> Iterator[tuple[int, Pillow.Image]]:
    """Parts of an image, with the row at which each starts."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _is_grey(image: Pillow.Image) -> bool:
    """Whether a colour image has grey pixels only, and not only greys of Pascal VOC's palette."""
    values: set[int] = set()
    for _, band in _bands(image):
        pixels = np.asarray(band.convert("RGB"))
        if (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
            return False
        values.update(np.unique(pixels[..., 0]).tolist())
    known = {*palette(255), GREY}
    return any((value, value, value) not in known for value in values)


def _from_integers(values: np.ndarray[tuple[int, ...], np.dtype[np.int32]], path: Path) -> LabelMap:
    if values.min() < 0 or values.max() > 255:
        raise TrashkitError(f"{path} has the value {values.max()}", hint="class indices are 0 to 254; 255 is ignored")
    return values.astype(np.uint8)


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
                f"{path} has the colour {color}, which is not a class", hint="give labelmap.txt with name:r,g,b lines"
            )
        values[position] = colors[color]
    return values[places].reshape(codes.shape)
