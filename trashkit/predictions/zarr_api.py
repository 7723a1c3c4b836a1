"""The adapter to zarr: everything that trashkit uses of it, private API included.

`tests/predictions/test_zarr_api.py` names what changed if a new version of zarr breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import zarr
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.core.chunk_key_encodings import ChunkKeyEncodingLike
from zarr.storage import LocalStore

LEVEL = 3
"""Level of the zstd compression."""


def create_array(path: Path, *, shape: tuple[int, int, int, int], dtype: str, attributes: Mapping[str, Any]) -> None:
    """Create an empty array [N, C, H, W] with one chunk per image, all chunks in one flat folder."""
    # Chunks named "c.0.0.0.0" are in one folder, so that one listing shows which images are done.
    encoding = cast(ChunkKeyEncodingLike, {"name": "default", "separator": "."})
    zarr.create_array(
        LocalStore(path),
        shape=shape,
        chunks=(1, *shape[1:]),
        dtype=dtype,
        compressors=[ZstdCodec(level=LEVEL)],
        filters=None,
        fill_value=0,
        chunk_key_encoding=encoding,
        dimension_names=("image", "class", "height", "width"),
        attributes=dict(attributes),
    )


def open_array(path: Path, mode: Literal["r", "r+"]) -> Any:
    """Open an array whose empty chunks are written too.

    zarr leaves out chunks that hold the fill value only, and the image would never count as done.
    """
    array = zarr.open_array(LocalStore(path, read_only=mode == "r"), mode=mode, zarr_format=3)
    return array.with_config({"write_empty_chunks": True})


def is_plain(array: Any) -> bool:
    """Whether chunks are little-endian values packed with zstd alone, as `create_array` writes them."""
    codecs: tuple[Any, ...] = tuple(getattr(array.metadata, "codecs", ()))
    if len(codecs) != 2 or not (isinstance(codecs[0], BytesCodec) and isinstance(codecs[1], ZstdCodec)):
        return False
    endian = codecs[0].endian
    return endian is None or getattr(endian, "value", endian) == "little"


def unpacked_size(packed: bytes) -> int | None:
    """The number of bytes to which a zstd frame says it unpacks (RFC 8878, section 3.1.1.1); None if it does not."""
    if len(packed) < 5 or packed[:4] != b"\x28\xb5\x2f\xfd":
        return None
    size_flag, single, dictionary = packed[4] >> 6, packed[4] >> 5 & 1, packed[4] & 3
    start = 5 + (not single) + (0, 1, 2, 4)[dictionary]
    width = (1 if single else 0, 2, 4, 8)[size_flag]
    if not width or len(packed) < start + width:
        return None
    return int.from_bytes(packed[start : start + width], "little") + (256 if width == 2 else 0)
