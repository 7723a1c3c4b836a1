"""The header of a probability store in its `zarr.json`: read, check and compare it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.images.photos import MAX_PIXELS
from trashkit.readers import ContentError, checked, decode_json, read_bytes

StoreType = Literal["uint8", "float16"]

FORMAT = "trashkit-probabilities"
VERSION = 1
# What `trashkit.predictions.zarr_api` writes. Others may run code from the file, as numcodecs' pickle does, or unpack
# to more bytes than a chunk has.
_CODECS = ("bytes", "zstd")
_MAX_SIDE = 32_768
_MAX_CHUNK = 1 << 28
"""Most values of an image: 11 classes of 4,900 x 4,900 pixels. They take four bytes each once they are read."""
_MAX_NATIVE_SIDE = 65_535


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a store: its images, classes, size (height, width), value type, and what it was made from."""

    image_ids: tuple[int | str, ...]
    file_names: tuple[str, ...]
    native_sizes: NDArray[np.int64]
    classes: tuple[str, ...]
    size: tuple[int, int]
    dtype: StoreType
    manifest: dict[str, Any]


def entries(manifest: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects in a list of a manifest, such as its ``sources``; any program may have written a manifest."""
    found = manifest.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def difference(wanted: Header, found: Header) -> str:
    """Return the first difference between a wanted header and a found one, as a clause; empty if there is none."""
    if wanted.classes != found.classes:
        return f"it has the classes {', '.join(found.classes)} instead of {', '.join(wanted.classes)}"
    forms = [f"{header.size[1]}x{header.size[0]} {header.dtype}" for header in (found, wanted)]
    if forms[0] != forms[1]:
        return f"it is {forms[0]} instead of {forms[1]}"
    return _other_images(wanted, found) or _other_manifest(wanted.manifest, found.manifest)


def _other_images(wanted: Header, found: Header) -> str:
    if len(wanted.image_ids) != len(found.image_ids):
        return f"it is for {len(found.image_ids)} images instead of {len(wanted.image_ids)}"
    rows = zip(found.file_names, found.image_ids, wanted.file_names, wanted.image_ids, strict=True)
    for row, (name, image_id, wanted_name, wanted_id) in enumerate(rows):
        if name != wanted_name or image_id != wanted_id:
            return f"image {row} is {name} (id {image_id}) instead of {wanted_name} (id {wanted_id})"
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
    """Return the header of a store; TrashkitError if `path` is missing, not a store, unsafe or of a later version."""
    if not path.exists():
        raise TrashkitError(f"there is no store at {path}", hint="make one with trashkit predict")
    try:
        text = decode_json(read_bytes(path / "zarr.json"))
        if not isinstance(text, dict):
            raise ContentError("it is not an object")
    except (FileNotFoundError, NotADirectoryError):
        raise _no_store(path, "it has no zarr.json") from None
    except (OSError, ValueError) as error:
        raise _no_store(path, f"its zarr.json does not parse ({read_error_reason(error)})") from error
    attributes = text.get("attributes")
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise _no_store(path, "its zarr.json does not say that it was made by trashkit")
    if attributes.get("version") != VERSION:
        raise TrashkitError(
            f"{path} is a store of version {attributes.get('version')}, this trashkit reads version {VERSION}",
            hint="upgrade trashkit, or predict again",
        )
    try:
        return _parse_header(text)
    except (ValueError, OverflowError) as error:
        raise _no_store(path, str(error)) from error


def _no_store(path: Path, reason: str) -> TrashkitError:
    return TrashkitError(
        f"{path} is not a probability store: {reason}", hint="give the folder that trashkit predict or ensemble wrote"
    )


class _ChunkShape(TypedDict):
    chunk_shape: list[int]


class _ChunkGrid(TypedDict):
    configuration: _ChunkShape


class _Separator(TypedDict):
    separator: str


class _KeyEncoding(TypedDict):
    name: str
    configuration: _Separator


class _Codec(TypedDict):
    name: str


class _Attributes(TypedDict):
    image_ids: list[int | str]
    file_names: list[str]
    native_sizes: list[tuple[int, int]]
    classes: list[str]
    manifest: dict[str, Any]


class _ZarrForm(TypedDict):
    shape: tuple[int, int, int, int]
    node_type: str
    data_type: Any
    chunk_grid: _ChunkGrid
    chunk_key_encoding: _KeyEncoding
    codecs: list[_Codec]
    storage_transformers: NotRequired[list[Any]]
    attributes: _Attributes


def _parse_header(content: dict[str, Any]) -> Header:
    """The header from `zarr.json`; ValueError or OverflowError for whatever is not as `_make_array` writes it."""
    text: _ZarrForm = checked(content, _ZarrForm)
    attributes = text["attributes"]
    try:
        json.dumps(attributes, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("it has a text with an unpaired surrogate") from error
    except ValueError as error:
        raise ValueError("it has a number that is not finite") from error
    count, channels, height, width = text["shape"]
    if text["node_type"] != "array" or text.get("storage_transformers"):
        raise ValueError("it is not a plain zarr array")
    if text["data_type"] not in ("uint8", "float16"):
        raise ValueError(f"its values are {text['data_type']}, not uint8 or float16")
    if list(text["chunk_grid"]["configuration"]["chunk_shape"]) != [1, channels, height, width]:
        raise ValueError("its chunks are not one image each")
    encoding = text["chunk_key_encoding"]
    if encoding["name"] != "default" or encoding["configuration"]["separator"] != ".":
        raise ValueError("its chunks are not named as trashkit names them")
    for codec in text["codecs"]:
        if codec["name"] not in _CODECS:
            raise ValueError(f"it is compressed with {codec['name']!r}, which trashkit does not support")
    if [codec["name"] for codec in text["codecs"]] != list(_CODECS):
        raise ValueError("its values are not packed with zstd alone")
    if out_of_range((height, width), channels):
        raise ValueError(f"its size {width}x{height} is out of range")
    header = Header(
        image_ids=tuple(attributes["image_ids"]),
        file_names=tuple(attributes["file_names"]),
        native_sizes=np.asarray(attributes["native_sizes"], dtype=np.int64).reshape(-1, 2),
        classes=tuple(attributes["classes"]),
        size=(height, width),
        dtype=text["data_type"],
        manifest=attributes["manifest"],
    )
    problem = contradiction(header)
    for row in () if problem else native_out_of_range(header.native_sizes)[:1]:
        high, wide = header.native_sizes[row]
        raise ValueError(f"the native size of {header.file_names[row]}, {wide}x{high}, is out of range")
    if problem or (count, channels) != (len(header.image_ids), len(header.classes)):
        raise ValueError(problem or "its array does not fit its images and classes")
    return header


def out_of_range(size: tuple[int, int], channels: int) -> bool:
    """Whether images of this (height, width) with this many classes are too large for a store."""
    height, width = size
    return not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE) or channels * height * width > _MAX_CHUNK


def native_out_of_range(sizes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows of native sizes [N, 2] of at least 1 that no photo has: trashkit reads none of them."""
    # Clipped, so that the product fits.
    pixels = np.minimum(sizes, 1 << 20).prod(axis=1)
    return np.flatnonzero((sizes.max(axis=1, initial=0) > _MAX_NATIVE_SIDE) | (pixels > MAX_PIXELS))


def contradiction(header: Header) -> str:
    """Return what is inconsistent in a header, as a clause; empty if nothing is."""
    ids, names, classes, sizes = header.image_ids, header.file_names, header.classes, header.native_sizes
    checks = (
        (len(ids) > 0, "it has no images"),
        (len(names) == len(ids) == len(sizes), "image ids, file names and native sizes differ in number"),
        (all(type(image_id) in (int, str) for image_id in ids), "image ids must be integers or text"),
        (len(set(ids)) == len(ids), "an image id occurs twice"),
        (all(isinstance(name, str) for name in (*names, *classes)), "file names and class names must be text"),
        (
            2 <= len(classes) <= 255 and len(set(classes)) == len(classes),
            "it needs 2 to 255 classes with different names",
        ),
        (bool((sizes > 0).all()) and min(header.size) > 0, "a size is not positive"),
        (header.dtype in ("uint8", "float16"), f"dtype must be uint8 or float16, not {header.dtype}"),
    )
    return next((words for holds, words in checks if not holds), "")
