"""Photos: the one home of decoding, EXIF turns, sizes, thumbnails and perceptual hashes.

A photo is uint8 RGB [H, W, 3], as a viewer would show it. 8-bit grey and colour JPEG and PNG files go through OpenCV,
which is fast but ignores what it does not know; everything else goes through Pillow.
"""

from __future__ import annotations

import io
import math
import os
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from trashkit.coco import Image as ImageRow
from trashkit.errors import TrashkitError

Photo = npt.NDArray[np.uint8]

MAX_PIXELS = 175_000_000
"""Photos with more pixels are refused before they are decoded; just below the size at which Pillow refuses."""

# Pillow warns from half of that size on, through `warnings`; the limit above is the one that counts here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

_ORIENTATION_TAG = 0x0112
_JPEG = ("JPEG", "MPO")
_HINT = "replace the file, or delete its row in the annotation file"


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """What the header of a photo says.

    width, height: pixels as stored, before any EXIF turn. mode: Pillow's name (``"RGB"``, ``"L"``, ``"CMYK"``,
    ``"I;16"``, ``"P"`` ...). orientation: EXIF 1 .. 8, 1 where there is none. format: ``"JPEG"``, ``"PNG"`` ...
    """

    width: int
    height: int
    mode: str
    orientation: int
    format: str

    @property
    def turned_size(self) -> tuple[int, int]:
        """(width, height) once turned as EXIF says."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def photo_path(folder: Path, file_name: str) -> Path:
    """Return where `file_name` lies in `folder`; the file need not exist.

    Where it does not exist as written, the composed and decomposed Unicode forms of its name are tried (archives made
    on macOS decompose Korean letters). TrashkitError for names that are absolute, lead out of the folder or are empty.
    """
    if not isinstance(file_name, str) or not file_name.strip() or "\0" in file_name:
        raise TrashkitError(f"{file_name!r} is not a file name", hint="run trashkit audit on the annotation file")
    try:
        os.fsencode(file_name)
    except UnicodeEncodeError as error:
        raise TrashkitError(
            f"{file_name!r} is not a file name: it holds half a character",
            hint="run trashkit audit on the annotation file",
        ) from error
    inside = os.path.normpath(file_name.replace("\\", "/") if os.sep == "\\" else file_name)
    if Path(inside).is_absolute() or Path(inside).drive or inside == "." or Path(inside).parts[0] == "..":
        raise TrashkitError(
            f"file_name {file_name!r} leaves the image folder {folder}",
            hint="run trashkit audit on the annotation file; file names must lie inside --images",
        )
    path = Path(folder) / inside
    if not inside.isascii() and not path.exists():
        for form in ("NFC", "NFD"):
            other = Path(folder) / unicodedata.normalize(form, inside)
            if other.exists():
                return other
    return path


def photo_info(path: Path) -> PhotoInfo:
    """Read a photo's header alone. TrashkitError naming the file where it is missing, empty, huge or not a photo."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise TrashkitError(f"the photo {path} is empty", hint=_HINT)
            file.seek(0)
            return _header(file, path)[1]
    except OSError as error:
        raise _unreadable(path, error) from error


def read_photo(path: Path, size: tuple[int, int] | None = None) -> Photo:
    """Decode a photo to uint8 RGB [H, W, 3].

    size: (width, height) that the annotation file gives. With it, a photo is turned as EXIF says only if its turned
    size is that size and its stored size is not, since annotations were made on one or the other; where both are that
    size and the photo is square, EXIF is followed, as it is without `size`. Nothing is ever resized: a photo of another
    size than `size` comes back as stored.

    Grey, palette and CMYK become RGB, 16 bit become 8 (the high byte), floats are taken from their own range,
    transparent pixels lie on white, and of an animation the first frame counts. TrashkitError naming the file where it
    is missing, a folder, empty, not a photo, truncated, or above MAX_PIXELS.
    """
    data = _bytes(Path(path))
    image, info = _header(io.BytesIO(data), Path(path))
    photo = _decode(data, image, info, Path(path), reduction=1)
    return _turned(photo, info.orientation) if _follows_exif(info, size) else photo


def check_photos(images: Sequence[ImageRow], folder: Path) -> None:
    """Raise TrashkitError for the first photo that is missing, is no photo, would leave its folder, or has a size that
    is not the data set's, as stored or turned by EXIF: labels and predictions would lie elsewhere on it."""
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="check --images")
    for image in images:
        path = photo_path(folder, image.file_name)
        info = photo_info(path)
        if (image.width, image.height) not in ((info.width, info.height), info.turned_size):
            raise TrashkitError(
                f"the photo {path} is {info.width}x{info.height}, and the data set says {image.width}x{image.height}",
                hint="use the photos that were annotated; `trashkit audit ANN.json --images DIR` lists all such photos",
            )


def thumbnail(path: Path, longest: int, size: tuple[int, int] | None = None) -> Photo:
    """Decode a photo to uint8 RGB whose longer side is at most `longest` pixels; smaller photos are not enlarged.

    JPEGs are decoded at a half, a quarter or an eighth where that is enough, then averaged down. `size` and errors as
    in `read_photo`.
    """
    data = _bytes(Path(path))
    image, info = _header(io.BytesIO(data), Path(path))
    reduction = next((part for part in (8, 4, 2) if max(info.width, info.height) // part >= longest), 1)
    photo = _decode(data, image, info, Path(path), reduction=reduction)
    if _follows_exif(info, size):
        photo = _turned(photo, info.orientation)
    return shrink(photo, longest)


def shrink(photo: Photo, longest: int) -> Photo:
    """Average a photo down so that its longer side is at most `longest` pixels; it is never enlarged."""
    height, width = photo.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return photo
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, target, interpolation=cv2.INTER_AREA), np.uint8)


def dhash(photos: Sequence[Photo]) -> npt.NDArray[np.uint64]:
    """Return the difference hash of each photo, uint64 [N]: whether each of 8x8 cells is darker than its right one.

    Equal for scaled copies, a few bits apart for recompressed ones. Photos may be RGB [H, W, 3] or grey [H, W] and of
    any size. Source: N. Krawetz, "Kind of Like That", 2013.
    """
    cells = _cells(photos, 9, 8)
    return _packed(cells[:, :, 1:] > cells[:, :, :-1])


def phash(photos: Sequence[Photo]) -> npt.NDArray[np.uint64]:
    """Return the DCT hash of each photo, uint64 [N]: which of the 8x8 lowest frequencies lie above their median.

    From 32x32 grey cells; slower than `dhash` and steadier under changes of brightness and compression. The constant
    term is left out of the median. Source: C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010, in the form of the imagehash package.
    """
    cells = _cells(photos, 32, 32)
    rows = np.arange(8)[:, None] * (2 * np.arange(32)[None, :] + 1)
    basis = np.cos(math.pi * rows / 64)
    low = basis @ cells @ basis.T
    flat = low.reshape(len(low), 64)
    median = np.median(flat[:, 1:], axis=1) if len(flat) else np.zeros(0)
    return _packed(low > median[:, None, None])


def hash_distances(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return in how many of 64 bits each hash of `first` [N] differs from each of `second` [M]: uint8 [N, M]."""
    return np.asarray(np.bitwise_count(first[:, None] ^ second[None, :]), np.uint8)


def _cells(photos: Sequence[Photo], wide: int, high: int) -> npt.NDArray[np.float64]:
    """Mean brightness in a grid of cells, float64 [N, high, wide]."""
    cells = np.zeros((len(photos), high, wide))
    for number, photo in enumerate(photos):
        grey = photo if photo.ndim == 2 else cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        cells[number] = cv2.resize(grey, (wide, high), interpolation=cv2.INTER_AREA)
    return cells


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """[N, 8, 8] to uint64 [N], the first bit highest."""
    return np.packbits(bits.reshape(len(bits), 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise TrashkitError(f"the photo {path} is empty", hint=_HINT)
    return data


def _where(path: Path) -> str:
    """How to find a photo that is not there: names that begin with the folder's own name belong to the one above."""
    for folder in reversed(path.parents):
        below = path.relative_to(folder)
        if len(below.parts) > 1 and (folder.parent / below).is_file():
            return f"it is in the folder above: --images {folder.parent}"
    return "check --images and the file_name"


def _unreadable(path: Path, error: OSError) -> TrashkitError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return TrashkitError(f"the photo {path} does not exist", hint=_where(path))
    if isinstance(error, IsADirectoryError):
        return TrashkitError(f"{path} is a folder, not a photo", hint="check --images and the file_name")
    return TrashkitError(f"the photo {path} cannot be read: {error.strerror or error}", hint=_HINT)


def _header(file: IO[bytes], path: Path) -> tuple[Image.Image, PhotoInfo]:
    """Open without decoding."""
    try:
        image = Image.open(file)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except Exception as error:  # Pillow's plugins raise SyntaxError, struct.error, ValueError ... on odd bytes
        raise TrashkitError(f"{path} is not a photo that can be read", hint=_HINT) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path, image.width, image.height)
    orientation = _orientation(image)
    return image, PhotoInfo(image.width, image.height, image.mode, orientation, image.format or "")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 .. 8 that is still to be undone; 1 where there is none or it makes no sense."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1  # Pillow turns TIFFs itself, and would decode a whole PNG to look for EXIF behind its pixels
    try:
        found = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF says nothing about orientation, and pixels may be fine
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _too_large(path: Path, width: int = 0, height: int = 0) -> TrashkitError:
    size = f"{width}x{height}, " if width else ""
    return TrashkitError(
        f"the photo {path} is too large ({size}more than {MAX_PIXELS // 1_000_000} megapixels)",
        hint="scale it down, or delete its row in the annotation file",
    )


def _follows_exif(info: PhotoInfo, size: tuple[int, int] | None) -> bool:
    if info.orientation == 1:
        return False
    if size is None or info.width == info.height:
        return True
    return info.turned_size == tuple(size) and (info.width, info.height) != tuple(size)


def _turned(photo: Photo, orientation: int) -> Photo:
    """Undo an EXIF orientation (TIFF 6.0 tag 274): 5 .. 8 swap rows and columns, then sides are flipped."""
    if orientation >= 5:
        photo = photo.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        photo = photo[::-1]
    if orientation in (2, 3, 6, 7):
        photo = photo[:, ::-1]
    return np.ascontiguousarray(photo)


def _decode(data: bytes, image: Image.Image, info: PhotoInfo, path: Path, *, reduction: int) -> Photo:
    """Decode as stored; `reduction` 2, 4 or 8 is used where the format can."""
    if info.format in _JPEG and info.mode in ("RGB", "L"):
        # OpenCV may fill the missing part of a cut file with grey, in silence. Thumbnails inside the header end with
        # the same two bytes, so only what follows the last start of scan counts.
        # Videos that phones append may hold those bytes as well, so Pillow, slower but strict, has the last word.
        if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            _load(image, info, path)
        return _decode_opencv(data, path, reduction)
    if info.format == "PNG" and info.mode in ("RGB", "L") and "transparency" not in image.info:
        if data.rfind(b"IEND") < 0:
            raise _truncated(path)
        # 16-bit RGB files are "RGB" to Pillow; byte 24 is the bit depth.
        if data[24] == 8:
            return _decode_opencv(data, path, 1)
    loaded = _load(image, info, path)
    try:
        return _as_rgb(loaded)
    except ValueError as error:  # Pillow converts no LAB
        raise TrashkitError(f"the photo {path} has colours that cannot be converted: {error}", hint=_HINT) from error


def _load(image: Image.Image, info: PhotoInfo, path: Path) -> Image.Image:
    """Decode with Pillow, which refuses what is cut short."""
    try:
        image.load()
    except MemoryError as error:
        raise _too_large(path, info.width, info.height) from error
    except Exception as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise _truncated(path) from error
        raise TrashkitError(f"the photo {path} is damaged: {error}", hint=_HINT) from error
    return image


def _truncated(path: Path) -> TrashkitError:
    return TrashkitError(f"the photo {path} is truncated: its end is missing", hint=_HINT)


def _decode_opencv(data: bytes, path: Path, reduction: int) -> Photo:
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduction]
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise TrashkitError(f"the photo {path} is damaged", hint=_HINT) from error
    if found is None:
        raise TrashkitError(f"the photo {path} is damaged or truncated", hint=_HINT)
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def _as_rgb(image: Image.Image) -> Photo:
    """Convert any Pillow mode."""
    if image.mode.startswith(("I", "F")):
        grey = _to_eight_bits(np.asarray(image), image.mode)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        seen = Image.new("RGBA", image.size, (255, 255, 255, 255))
        seen.alpha_composite(image.convert("RGBA"))
        image = seen
    return np.array(image.convert("RGB"), np.uint8)


def _to_eight_bits(values: npt.NDArray[np.generic], mode: str) -> npt.NDArray[np.uint8]:
    """16-bit values by their high byte, other wide values stretched over their own range."""
    numbers = values.astype(np.float64)
    if mode.startswith("I;16") or (mode == "I" and numbers.size and numbers.min() >= 0 and numbers.max() <= 65535):
        return (values.astype(np.int64) >> 8).astype(np.uint8)
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = (np.nan_to_num(numbers, nan=low, posinf=high, neginf=low) - low) * (
        255 / (high - low) if high > low else 0
    )
    return scaled.round().astype(np.uint8)
