"""Pixels of photos: decoding what a header announced, EXIF rotation, and conversion of any mode to 8-bit RGB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.readers import ContentError, png_size

if TYPE_CHECKING:
    from trashkit.images.photos import Photo, PhotoInfo

REPLACE_HINT = "replace the file, or delete its row in the annotation file"
_JPEG = ("JPEG", "MPO")
_BAND = 1 << 20
"""Pixels that are converted at a time."""


def oriented(photo: Photo, orientation: int) -> Photo:
    """Apply an EXIF orientation (TIFF 6.0 tag 274): 5 .. 8 swap rows and columns, then sides are flipped."""
    if orientation >= 5:
        photo = photo.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        photo = photo[::-1]
    if orientation in (2, 3, 6, 7):
        photo = photo[:, ::-1]
    return np.ascontiguousarray(photo)


def decoded(data: bytes, image: Image.Image, info: PhotoInfo, path: Path, *, reduction: int) -> Photo:
    """Decode the file whose `data`, opened as `image`, has this header, to uint8 RGB [H, W, 3], as stored.

    reduction: 2, 4 or 8 is used if the format supports it. TrashkitError for damaged and truncated files, MemoryError
    where memory is short.
    """
    if info.format in _JPEG and info.mode in ("RGB", "L"):
        # OpenCV may silently fill the missing part of a truncated file with grey. Thumbnails in the header end with
        # the same two bytes, so only what follows the last start of scan counts. Videos that phones append may contain
        # those bytes as well, so Pillow, slower but strict, decides.
        if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            _load(image, info, path).close()
        return _decode_opencv(data, info, path, reduction)
    if info.format == "PNG" and info.mode in ("RGB", "L") and "transparency" not in image.info:
        try:
            png_size(data)
        except ContentError as error:
            raise _truncated(path) from error
        # 16-bit RGB files are "RGB" to Pillow; byte 24 is the bit depth.
        if data[24] == 8:
            return _decode_opencv(data, info, path, 1)
    loaded = _load(image, info, path)
    try:
        return _as_rgb(loaded)
    except ValueError as error:  # Pillow converts no LAB
        raise TrashkitError(
            f"the photo {path} has colours that cannot be converted: {error}", hint=REPLACE_HINT
        ) from error
    finally:
        loaded.close()


def _load(image: Image.Image, info: PhotoInfo, path: Path) -> Image.Image:
    """Decode with Pillow, which refuses truncated files."""
    try:
        image.load()
    except MemoryError:  # the machine's fault, not the file's
        raise
    except Exception as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise _truncated(path) from error
        raise TrashkitError(f"the photo {path} is damaged: {read_error_reason(error)}", hint=REPLACE_HINT) from error
    if image.size != (info.width, info.height):  # the file's parts disagree
        raise TrashkitError(f"the photo {path} is damaged: its size is given twice", hint=REPLACE_HINT)
    return image


def _truncated(path: Path) -> TrashkitError:
    return TrashkitError(f"the photo {path} is truncated", hint=REPLACE_HINT)


def _decode_opencv(data: bytes, info: PhotoInfo, path: Path, reduction: int) -> Photo:
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduction]
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(f"there is too little memory to decode the photo {path}") from error
        raise TrashkitError(f"the photo {path} is damaged", hint=REPLACE_HINT) from error
    if found is None or found.shape[:2] != (-(-info.height // reduction), -(-info.width // reduction)):
        raise TrashkitError(f"the photo {path} is damaged or truncated", hint=REPLACE_HINT)
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB, dst=found), np.uint8)


def _as_rgb(image: Image.Image) -> Photo:
    """Convert any Pillow mode, some rows at a time."""
    width, height = image.size
    rows = max(1, _BAND // width)
    bands = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    out = np.empty((height, width, 3), np.uint8)
    wide = image.mode.startswith(("I", "F"))
    low, high = _value_range(image, bands) if wide else (0.0, 0.0)
    for top, bottom in bands:
        band = image.crop((0, top, width, bottom))
        if wide:
            out[top:bottom] = _to_eight_bits(np.asarray(band), image.mode, low, high)[:, :, None]
            continue
        if band.has_transparency_data:
            seen = Image.new("RGBA", band.size, (255, 255, 255, 255))
            seen.alpha_composite(band.convert("RGBA"))
            band = seen
        out[top:bottom] = np.asarray(band.convert("RGB"), np.uint8)
    return out


def _value_range(image: Image.Image, bands: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The lowest and highest finite value; 0 and 0 if there is none."""
    ends: list[float] = []
    for top, bottom in bands:
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        finite = values[np.isfinite(values)]
        ends += [float(finite.min()), float(finite.max())] if finite.size else []
    return (min(ends), max(ends)) if ends else (0.0, 0.0)


def _to_eight_bits(values: npt.NDArray[np.generic], mode: str, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Reduce 16-bit values to their high byte; stretch other wide values from their own range, `low` to `high`."""
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and high <= 65535):
        return (values.astype(np.int64) >> 8).astype(np.uint8)
    numbers = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    return ((numbers - low) * (255 / (high - low) if high > low else 0)).round().astype(np.uint8)
