"""Read photos: decoding, EXIF orientation, sizes and thumbnails.

A photo is uint8 RGB [H, W, 3], as a viewer would show it. 8-bit grey and colour JPEG and PNG files are decoded by
OpenCV, which is fast but ignores what it does not know; everything else is decoded by Pillow.
"""

from __future__ import annotations

import io
import os
import threading
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from trashkit.coco import Image as ImageRow
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import exists
from trashkit.images.pixels import REPLACE_HINT, decoded, oriented
from trashkit.readers import HEAD, PointerError, open_file, other_form, read_bytes, unread_picture

Photo = npt.NDArray[np.uint8]

MAX_PIXELS = 175_000_000
"""Photos with more pixels are refused before they are decoded; just below Pillow's own limit."""
MAX_BYTES = 1 << 30
"""Larger files are refused before they are read."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read. It knows more, some of which start other programs (EPS)."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
    | {".avif", ".heic", ".heif", ".hif"}
)
"""Lower-case ends of the names of photos."""
HEIF_PACKAGES = ("pi_heif", "pillow_heif")
"""Packages that teach Pillow to read HEIC photos, where the user has installed one. Their wheels contain LGPL and GPL
parts, so neither is a dependency."""
_LARGE_PIXELS = 16_000_000
_LARGE = threading.RLock()

# Pillow warns from half of its limit on; only the limit above applies here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about damaged parts, on stderr

# Nor does OpenCV, which logs to stderr; its errors are found by what it returns.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_ORIENTATION_TAG = 0x0112


class UnusablePhotoError(TrashkitError):
    """A photo that is there, but not in a form that is read here: a package is missing, or it only stands for another.

    Its annotations are as good as any others, so no fix deletes its image.
    """


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """Header of a photo.

    width, height: pixels as stored, before EXIF rotation. mode: Pillow's name (``"RGB"``, ``"L"``, ``"CMYK"``,
    ``"I;16"``, ``"P"`` ...). orientation: EXIF 1 .. 8, 1 if absent. format: ``"JPEG"``, ``"PNG"`` ...
    """

    width: int
    height: int
    mode: str
    orientation: int
    format: str

    @property
    def oriented_size(self) -> tuple[int, int]:
        """(width, height) after EXIF rotation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def photo_path(folder: Path, file_name: str) -> Path:
    """Path of `file_name` in `folder`; the file need not exist.

    If it does not exist as written, the composed and decomposed Unicode forms of its name are tried (archives made on
    macOS decompose Korean letters). TrashkitError for names that are absolute, empty or lead out of the folder.
    """
    if not isinstance(file_name, str) or not file_name.strip() or "\0" in file_name:
        raise TrashkitError(f"{file_name!r} is not a file name", hint="run trashkit audit on the annotation file")
    try:
        os.fsencode(file_name)
    except UnicodeEncodeError as error:
        raise TrashkitError(
            f"{file_name!r} is not a file name: it contains an unpaired surrogate",
            hint="run trashkit audit on the annotation file",
        ) from error
    inside = os.path.normpath(file_name.replace("\\", "/") if os.sep == "\\" else file_name)
    if Path(inside).is_absolute() or Path(inside).drive or inside == "." or Path(inside).parts[0] == "..":
        raise TrashkitError(
            f"file_name {file_name!r} leaves the image folder {folder}",
            hint="run trashkit audit on the annotation file; file names must lie inside --images",
        )
    path = Path(folder) / inside
    if not inside.isascii() and not exists(path):
        for form in ("NFC", "NFD"):
            other = Path(folder) / unicodedata.normalize(form, inside)
            if exists(other):
                return other
    return path


def photo_info(path: Path) -> PhotoInfo:
    """Read only a photo's header. TrashkitError if the file is missing, empty, too large or not a photo."""
    path = Path(path)
    try:
        with open_file(path) as file:
            if not file.read(1):
                raise TrashkitError(f"the photo {path} is empty", hint=REPLACE_HINT)
            file.seek(0)
            return _header(file, path)[1]
    except OSError as error:
        raise _unreadable(path, error) from error


def photo_info_of(data: bytes, name: Path) -> PhotoInfo:
    """The header of a photo that is inside another file. TrashkitError, with that `name`, if it is not a photo."""
    return _header(io.BytesIO(data), name)[1]


@contextmanager
def limited_memory(info: PhotoInfo) -> Iterator[None]:
    """Let only one thread of this process at a time into the block if the photo is large (more than 16 megapixels).

    Around the decoding and use of a photo: decoded, a file of 200 kB can take a gigabyte.
    """
    if info.width * info.height <= _LARGE_PIXELS:
        yield
        return
    with _LARGE:
        yield


def read_photo(path: Path, size: tuple[int, int] | None = None) -> Photo:
    """Decode a photo to uint8 RGB [H, W, 3].

    size: (width, height) in the annotation file. Without it, EXIF orientation is applied. With it, EXIF orientation is
    applied only if the rotated size equals `size` and the stored size does not, since annotations were drawn on one or
    the other; for square photos it is always applied. Nothing is resized: a photo of any other size is returned as
    stored.

    Grey, palette and CMYK photos become RGB, 16-bit values become 8-bit (the high byte), floats are scaled from their
    own range, transparent pixels are put on white, and animations give their first frame. HEIC is read where one of
    HEIF_PACKAGES is installed. TrashkitError if the file is missing, a folder, empty, not a photo, truncated, or larger
    than MAX_PIXELS; MemoryError where memory is short, which says nothing about the file.
    """
    data = _bytes(Path(path))
    image, info = _header(io.BytesIO(data), Path(path))
    with limited_memory(info):
        photo = decoded(data, image, info, Path(path), reduction=1)
        return oriented(photo, info.orientation) if _applies_exif(info, size) else photo


def check_photos(images: Sequence[ImageRow], folder: Path) -> None:
    """Check that every photo exists, can be read and has the size that the data set gives, as stored or after EXIF
    rotation. TrashkitError for the first that fails: its labels and predictions would be misplaced."""
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="check --images")
    for image in images:
        path = photo_path(folder, image.file_name)
        info = photo_info(path)
        if (image.width, image.height) not in ((info.width, info.height), info.oriented_size):
            raise TrashkitError(
                f"the photo {path} is {info.width}x{info.height}, but the data set says {image.width}x{image.height}",
                hint="use the photos that were annotated; `trashkit audit ANN.json --images DIR` lists all mismatches",
            )


def thumbnail(path: Path, longest: int, size: tuple[int, int] | None = None) -> Photo:
    """Decode a photo to uint8 RGB with its longer side at most `longest` pixels; smaller photos are not enlarged.

    JPEGs are decoded at 1/2, 1/4 or 1/8 scale if that is large enough, then averaged down. `size` and errors as in
    `read_photo`.
    """
    data = _bytes(Path(path))
    image, info = _header(io.BytesIO(data), Path(path))
    reduction = next((part for part in (8, 4, 2) if max(info.width, info.height) // part >= longest), 1)
    with limited_memory(info):
        photo = shrink(decoded(data, image, info, Path(path), reduction=reduction), longest)
    return oriented(photo, info.orientation) if _applies_exif(info, size) else photo


def shrink(photo: Photo, longest: int) -> Photo:
    """Downscale a photo by area averaging so that its longer side is at most `longest` pixels; never enlarges."""
    height, width = photo.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return photo
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, target, interpolation=cv2.INTER_AREA), np.uint8)


def _bytes(path: Path) -> bytes:
    try:
        data = read_bytes(path, most=MAX_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise TrashkitError(f"the photo {path} is empty", hint=REPLACE_HINT)
    return data


def _missing_hint(path: Path) -> str:
    """Hint for a missing photo: file names that begin with the folder's own name are relative to its parent."""
    for folder in reversed(path.parents):
        below = path.relative_to(folder)
        if len(below.parts) > 1 and (folder.parent / below).is_file():
            return f"it is in the parent folder: --images {folder.parent}"
    return "check --images and the file_name"


def _unreadable(path: Path, error: OSError) -> TrashkitError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return TrashkitError(f"the photo {path} does not exist", hint=_missing_hint(path))
    if isinstance(error, IsADirectoryError):
        return TrashkitError(f"{path} is a folder, not a photo", hint="check --images and the file_name")
    if isinstance(error, PointerError):
        return UnusablePhotoError(f"the photo {path} cannot be read: {read_error_reason(error)}", hint=error.hint)
    return TrashkitError(f"the photo {path} cannot be read: {read_error_reason(error)}", hint=REPLACE_HINT)


def _header(file: IO[bytes], path: Path) -> tuple[Image.Image, PhotoInfo]:
    """Open an image without decoding it."""
    start = file.read(HEAD)
    file.seek(0)
    other = other_form(start)
    is_heif = other is not None and "HEIC" in other.reason
    if is_heif and not _registers_heif():
        raise UnusablePhotoError(
            f"{path} is a HEIC photo, which needs a package to be read", hint="pip install pi-heif"
        )
    try:
        image = Image.open(file, formats=[*FORMATS, "HEIF"] if is_heif else FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise SyntaxError, struct.error, ValueError ... on odd bytes
        if unread := unread_picture(start):
            raise UnusablePhotoError(f"{path} {unread.reason}", hint=unread.hint) from error
        if other is not None and "picture" not in other.reason:
            raise TrashkitError(f"{path} is not a photo: {other.reason}", hint=other.hint) from error
        raise TrashkitError(f"{path} is not a photo that can be read", hint=REPLACE_HINT) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path, image.width, image.height)
    orientation = _orientation(image)
    return image, PhotoInfo(image.width, image.height, image.mode, orientation, image.format or "")


def _registers_heif() -> bool:
    """Teach Pillow to read HEIC with the first of HEIF_PACKAGES that is installed; False where none is."""
    for name in HEIF_PACKAGES:
        try:
            import_module(name).register_heif_opener()
        except ImportError:
            continue
        return True
    return False


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 .. 8 still to be applied; 1 if absent or invalid."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1  # Pillow rotates TIFFs itself, and would decode a whole PNG to look for EXIF after its pixels
    try:
        found = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF gives no orientation, but the pixels may be fine
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _too_large(path: Path, width: int = 0, height: int = 0) -> TrashkitError:
    size = f"{width}x{height}, " if width else ""
    return TrashkitError(
        f"the photo {path} is too large ({size}more than {MAX_PIXELS // 1_000_000} megapixels)",
        hint="scale it down, or delete its row in the annotation file",
    )


def _applies_exif(info: PhotoInfo, size: tuple[int, int] | None) -> bool:
    if info.orientation == 1:
        return False
    if size is None or info.width == info.height:
        return True
    return info.oriented_size == tuple(size) and (info.width, info.height) != tuple(size)
