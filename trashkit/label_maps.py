"""Label maps of many images on disk: a folder of uint8 PNG files with what they are maps of.

    FOLDER/
      maps.json      format, version, classes, size, images (id, file name, native size, PNG), manifest
      000000.png     uint8 [H, W], one class index per pixel, 255 = ignore

It is how pseudo-labels reach training: pixels that are left out have a value of their own, which polygons lack. All
maps have one size, and pixel (y, x) of a map stands for the pixel of the photo that ``cv2.INTER_NEAREST`` would take.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Image
from trashkit.errors import TrashkitError
from trashkit.files import replacing

Pixels = NDArray[np.uint8]

HEADER = "maps.json"
FORMAT = "trashkit label maps"
VERSION = 1
IGNORE = 255


@dataclass(frozen=True)
class LabelMaps:
    """A folder of label maps that was opened, see `open_label_maps`.

    images: ids, names and native sizes; `Image.row` is the image's position here. files: PNG names, one per image.
    classes: names, background first. size: (height, width) of every map. manifest: what the maps come from.
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
        """One label map, uint8 [H, W], 255 = ignore. TrashkitError for a file that is missing or no such map."""
        path = self.path / self.files[row]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="make the label maps again") from error
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        if found is None or found.dtype != np.uint8 or found.shape != self.size:
            raise TrashkitError(f"{path} is no label map of {self.size[1]}x{self.size[0]} pixels", hint="make it again")
        return np.asarray(found, np.uint8)


def write_label_maps(
    path: Path,
    maps: Iterable[tuple[Image, Pixels]],
    *,
    classes: Sequence[str],
    size: tuple[int, int],
    manifest: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Write a folder of label maps, whole or not at all.

    maps: images with their maps, uint8 [H, W] at `size`, taken one at a time. Raises ValueError for a map of another
    size or with a value that is neither a class nor 255, and TrashkitError where `path` exists (without `overwrite`).
    """
    with replacing(path, overwrite=overwrite, ours=r"\d+\.png", mark=re.escape(HEADER)) as folder:
        folder.mkdir()
        listed = []
        for n, (image, labels) in enumerate(maps):
            if labels.shape != size or labels.dtype != np.uint8:
                raise ValueError(f"a label map {labels.dtype} {labels.shape} among those of uint8 {size}")
            counts = np.bincount(labels.ravel(), minlength=256)
            if counts[len(classes) : IGNORE].any():
                raise ValueError(f"the label map of {image.file_name} holds values that are no classes")
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
    try:
        header = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise TrashkitError(
            f"{path} holds no label maps: it has no {HEADER}", hint="`trashkit pseudo` makes such folders"
        ) from error
    except (OSError, ValueError) as error:
        raise TrashkitError(f"{file} cannot be read: {error}", hint="make the label maps again") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise TrashkitError(f"{file} does not describe label maps of this version", hint="make the label maps again")
    try:
        images = tuple(
            Image(row, one["id"], str(one["file_name"]), int(one["width"]), int(one["height"]))
            for row, one in enumerate(header["images"])
        )
        files = tuple(str(one["map"]) for one in header["images"])
        height, width = header["size"]
        classes = tuple(str(name) for name in header["classes"])
        manifest = dict(header["manifest"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrashkitError(f"{file} does not describe label maps", hint="make the label maps again") from error
    if any(Path(name).name != name for name in files):
        raise TrashkitError(f"{file} names a map outside its folder", hint="make the label maps again")
    text = json.dumps(header, sort_keys=True, ensure_ascii=False)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return LabelMaps(path, images, files, classes, (int(height), int(width)), manifest, fingerprint)


def is_label_maps(path: Path) -> bool:
    """Whether `path` looks like a folder of label maps."""
    return (path / HEADER).is_file()
