"""What a store of probabilities says about itself in its `zarr.json`: reading, checking and comparing it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError

StoreType = Literal["uint8", "float16"]

FORMAT = "trashkit-probabilities"
VERSION = 1
# Codecs that only move or compress bytes. Others, such as numcodecs' pickle, may run code from the file.
_CODECS = frozenset({"bytes", "zstd", "gzip", "blosc", "crc32c", "transpose"})
_MAX_SIDE = 32_768
_MAX_CHUNK = 1 << 32


@dataclass(frozen=True, slots=True)
class Header:
    """What a store says about itself in its `zarr.json`."""

    image_ids: tuple[int | str, ...]
    file_names: tuple[str, ...]
    native_sizes: NDArray[np.int64]
    classes: tuple[str, ...]
    size: tuple[int, int]
    dtype: StoreType
    manifest: dict[str, Any]


def difference(wanted: Header, found: Header) -> str:
    """The first thing in which a store that was found differs from the one that is wanted, in words; empty if none."""
    if wanted.classes != found.classes:
        return f"it holds the classes {', '.join(found.classes)}, wanted are {', '.join(wanted.classes)}"
    forms = [f"{header.size[1]}x{header.size[0]} {header.dtype}" for header in (found, wanted)]
    if forms[0] != forms[1]:
        return f"it is {forms[0]}, wanted is {forms[1]}"
    return _other_images(wanted, found) or _other_manifest(wanted.manifest, found.manifest)


def _other_images(wanted: Header, found: Header) -> str:
    if len(wanted.image_ids) != len(found.image_ids):
        return f"it is for {len(found.image_ids)} images, wanted are {len(wanted.image_ids)}"
    rows = zip(found.file_names, found.image_ids, wanted.file_names, wanted.image_ids, strict=True)
    for row, (name, image_id, wanted_name, wanted_id) in enumerate(rows):
        if name != wanted_name or image_id != wanted_id:
            return f"image {row} is {name} (id {image_id}), wanted is {wanted_name} (id {wanted_id})"
    if not np.array_equal(wanted.native_sizes, found.native_sizes):
        return "its images have other native sizes"
    return ""


def _other_manifest(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    for key in sorted({*wanted, *found}):
        if found.get(key) != wanted.get(key):
            return f"it was made with {key} = {_short(found.get(key))}, now it is {_short(wanted.get(key))}"
    return ""


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def read_header(path: Path) -> Header:
    """The header of the store at `path`; TrashkitError if it is missing, no store, unsafe or of a later version."""
    if not path.exists():
        raise TrashkitError(f"there is no store at {path}", hint="make one with trashkit predict")
    try:
        text = json.loads((path / "zarr.json").read_bytes())
        if not isinstance(text, dict):
            raise ValueError("its zarr.json is no object")
    except OSError:
        raise _no_store(path, "it has no zarr.json") from None
    except ValueError as error:
        raise _no_store(path, f"its zarr.json does not parse ({error})") from error
    attributes = text.get("attributes")
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise _no_store(path, "its zarr.json does not say that it was made by trashkit")
    if attributes.get("version") != VERSION:
        raise TrashkitError(
            f"{path} is a store of version {attributes.get('version')}, this trashkit reads version {VERSION}",
            hint="update trashkit, or predict again",
        )
    try:
        header = _parse_header(text, attributes)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise _no_store(path, reason) from error
    return header


def _no_store(path: Path, reason: str) -> TrashkitError:
    return TrashkitError(
        f"{path} is no store of probabilities: {reason}", hint="give the folder that trashkit predict or ensemble wrote"
    )


def _parse_header(text: dict[str, Any], attributes: dict[str, Any]) -> Header:
    """The header from `zarr.json`; ValueError, KeyError or TypeError for whatever is not as `_make_array` writes it."""
    count, channels, height, width = (int(length) for length in text["shape"])
    if text["node_type"] != "array" or text.get("storage_transformers"):
        raise ValueError("it is no plain zarr array")
    if text["data_type"] not in ("uint8", "float16"):
        raise ValueError(f"its values are {text['data_type']}, not uint8 or float16")
    if list(text["chunk_grid"]["configuration"]["chunk_shape"]) != [1, channels, height, width]:
        raise ValueError("its chunks are not one image each")
    encoding = text["chunk_key_encoding"]
    if encoding["name"] != "default" or encoding["configuration"]["separator"] != ".":
        raise ValueError("its chunks are not named as trashkit names them")
    for codec in text["codecs"]:
        if codec["name"] not in _CODECS:
            raise ValueError(f"it is packed with {codec['name']!r}, which trashkit does not open")
    if out_of_range((height, width), channels):
        raise ValueError(f"its size {width}x{height} is out of range")
    header = Header(
        image_ids=tuple(attributes["image_ids"]),
        file_names=tuple(attributes["file_names"]),
        native_sizes=np.asarray(attributes["native_sizes"], dtype=np.int64).reshape(-1, 2),
        classes=tuple(attributes["classes"]),
        size=(height, width),
        dtype=text["data_type"],
        manifest=dict(attributes["manifest"]),
    )
    problem = contradiction(header)
    if problem or (count, channels) != (len(header.image_ids), len(header.classes)):
        raise ValueError(problem or "its array does not fit its images and classes")
    return header


def out_of_range(size: tuple[int, int], channels: int) -> bool:
    """Whether images of this (height, width) and so many classes are more than a store holds or a reader trusts."""
    height, width = size
    return not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE) or channels * height * width > _MAX_CHUNK


def contradiction(header: Header) -> str:
    """What is wrong with a header in itself, in words; empty if nothing is."""
    ids, names, classes, sizes = header.image_ids, header.file_names, header.classes, header.native_sizes
    checks = (
        (len(ids) > 0, "it is for no image"),
        (len(names) == len(ids) == len(sizes), "image ids, file names and native sizes differ in number"),
        (all(type(image_id) in (int, str) for image_id in ids), "image ids must be whole numbers or texts"),
        (len(set(ids)) == len(ids), "an image id occurs twice"),
        (all(isinstance(name, str) for name in (*names, *classes)), "file names and class names must be texts"),
        (
            2 <= len(classes) <= 255 and len(set(classes)) == len(classes),
            "it needs 2 to 255 classes, named differently",
        ),
        (bool((sizes > 0).all()) and min(header.size) > 0, "a size is not positive"),
        (header.dtype in ("uint8", "float16"), f"dtype must be uint8 or float16, not {header.dtype}"),
    )
    return next((words for holds, words in checks if not holds), "")
