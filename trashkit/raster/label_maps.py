"""Label maps of many images on disk: a folder of uint8 PNG files and a header.

    FOLDER/
      maps.json      format, version, classes, size, images (id, file name, native size, PNG), manifest
      000000.png     uint8 [H, W], one class index per pixel, 255 = ignore

Pseudo-labels are stored this way, since polygons have no value for ignored pixels. All maps have one size, and pixel
(y, x) of a map stands for the pixel of the photo that ``cv2.INTER_NEAREST`` would take.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Image
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.outputs import Output, folder_kind
from trashkit.raster.masks import MOST_PIXELS
from trashkit.readers import LARGE, ContentError, checked, decode_json, png_size, read_bytes

Pixels = NDArray[np.uint8]

HEADER = "maps.json"
FORMAT = "trashkit label maps"
VERSION = 1
IGNORE = 255
LABEL_MAPS = folder_kind("folder of label maps", marker=re.escape(HEADER), files=r"\d+\.png")


@dataclass(frozen=True)
class LabelMaps:
    """An open folder of label maps, see `open_label_maps`.

    images: ids, names and native sizes; `Image.row` is the image's position here. files: PNG names, one per image.
    classes: names, background first. size: (height, width) of every map. manifest: what the maps were made from.
    fingerprint: hexadecimal SHA-256 over the header, which holds a hash of each map.
    """

    path: Path
    images: tuple[Image, ...]
    files: tuple[str, ...]
    classes: tuple[str, ...]
    size: tuple[int, int]
    manifest: Mapping[str, Any]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    def read(self, row: int) -> Pixels:
        """Return one label map, uint8 [H, W], 255 = ignore. TrashkitError for a missing or damaged file."""
        path = self.path / self.files[row]
        try:
            data = read_bytes(path)
        except OSError as error:
            raise TrashkitError(
                f"{path} cannot be read: {read_error_reason(error)}", hint="make the label maps again"
            ) from error
        try:  # nothing is decoded at another size
            is_sized = png_size(data) == self.size[::-1]
        except ContentError:
            is_sized = False
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if is_sized else None
        if found is None or found.dtype != np.uint8 or found.shape != self.size:
            raise TrashkitError(
                f"{path} is not a label map of {self.size[1]}x{self.size[0]} pixels", hint="make it again"
            )
        return np.asarray(found, np.uint8)


_Side = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class _ImageEntry(msgspec.Struct):
    id: int | str
    file_name: str
    width: _Side
    height: _Side
    map: str


class _Header(msgspec.Struct):
    images: list[_ImageEntry]
    size: tuple[_Side, _Side]
    classes: list[str]
    manifest: dict[str, Any]


def write_label_maps(
    path: Path,
    maps: Iterable[tuple[Image, Pixels]],
    *,
    classes: Sequence[str],
    size: tuple[int, int],
    manifest: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Write a folder of label maps, atomically.

    maps: images with their maps, uint8 [H, W] at `size`, taken one at a time. Raises ValueError for a map of another
    size or with a value that is neither a class nor 255, and TrashkitError where `path` exists (without `overwrite`).
    """
    with Output(path, overwrite=overwrite, kind=LABEL_MAPS).writing() as folder:
        folder.mkdir()
        listed = []
        for n, (image, labels) in enumerate(maps):
            if labels.shape != size or labels.dtype != np.uint8:
                raise ValueError(f"a label map {labels.dtype} {labels.shape} among those of uint8 {size}")
            counts = np.bincount(labels.ravel(), minlength=256)
            if counts[len(classes) : IGNORE].any():
                raise ValueError(f"the label map of {image.file_name} holds values that are not classes")
            done, data = cv2.imencode(".png", labels)
            if not done:
                raise ValueError(f"the label map of {image.file_name} could not be encoded")
            name = f"{n:06d}.png"
            (folder / name).write_bytes(data.tobytes())
            digest = hashlib.sha256(labels.tobytes()).hexdigest()
            listed.append(
                {
                    "id": image.id,
                    "file_name": image.file_name,
                    "width": image.width,
                    "height": image.height,
                    "map": name,
                    "sha256": digest,
                }
            )
        header = {
            "format": FORMAT,
            "version": VERSION,
            "classes": list(classes),
            "size": list(size),
            "manifest": dict(manifest),
            "images": listed,
        }
        (folder / HEADER).write_text(json.dumps(header, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def open_label_maps(path: Path) -> LabelMaps:
    """Open a folder that `write_label_maps` wrote. Raises TrashkitError for anything else."""
    file = path / HEADER
    hint = "make the label maps again"
    try:
        value = decode_json(read_bytes(file, most=LARGE))
    except FileNotFoundError as error:
        raise TrashkitError(
            f"{path} contains no label maps: it has no {HEADER}", hint="`trashkit pseudo` makes such folders"
        ) from error
    except (OSError, ContentError) as error:
        raise TrashkitError(f"{file} cannot be read: {read_error_reason(error)}", hint=hint) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or value.get("version") != VERSION:
        raise TrashkitError(f"{file} does not describe label maps of this version", hint=hint)
    try:
        header = checked(value, _Header)
    except ContentError as error:
        raise TrashkitError(f"{file} does not describe label maps: {error}", hint=hint) from error
    if math.prod(header.size) > MOST_PIXELS:
        raise TrashkitError(f"{file} describes label maps of more than {MOST_PIXELS:,} pixels", hint=hint)
    if any(Path(one.map).name != one.map or "\0" in one.map for one in header.images):
        raise TrashkitError(f"{file} names a map outside its folder", hint=hint)
    images = tuple(Image(row, one.id, one.file_name, one.width, one.height) for row, one in enumerate(header.images))
    files = tuple(one.map for one in header.images)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    fingerprint = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return LabelMaps(path, images, files, tuple(header.classes), header.size, header.manifest, fingerprint)


def is_label_maps(path: Path) -> bool:
    """Whether `path` looks like a folder of label maps."""
    return (path / HEADER).is_file()
