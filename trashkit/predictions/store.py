"""Class probabilities of many images on disk: a zarr array [N, C, H, W] with image ids, file names and class names.

One chunk holds one image, so a store is written, read and merged image by image and is never in memory as a whole. A
chunk file gets its name only once it is complete, and the file's presence says that the image is done: a killed writer
loses at most the image in flight, and several processes may write to one store as long as each has its own images.

`trashkit.predictions.quantisation` says how values are stored, `trashkit.predictions.zarr_api` what is used of zarr.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from operator import index
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.files import remove_folder
from trashkit.outputs import Output
from trashkit.predictions.folder import STORE, is_store
from trashkit.predictions.header import (
    FORMAT,
    VERSION,
    Header,
    StoreType,
    contradiction,
    difference,
    native_out_of_range,
    out_of_range,
    read_header,
)
from trashkit.predictions.quantisation import argmax, from_stored, resample, to_stored
from trashkit.predictions.zarr_api import create_array, is_plain, open_array, unpacked_size
from trashkit.readers import ContentError, read_bytes

__all__ = [
    "Probabilities",
    "StoreType",
    "StoreWriter",
    "create_store",
    "from_stored",
    "is_store",
    "open_store",
    "resample",
    "to_stored",
]

_STALE_SECONDS = 600.0


class Probabilities:
    """A store opened for reading; see `open_store`. Rows are the images, in the order in which the store names them.

    `size` is (height, width) of every image in the store, `native_sizes` [N, 2] int64 the (height, width) of the
    photos. Images may still be missing: `done` [N] bool says which are there now.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.image_ids = header.image_ids
        self.file_names = header.file_names
        self.native_sizes = header.native_sizes
        self.classes = header.classes
        self.size = header.size
        self.dtype = header.dtype
        self.manifest = header.manifest

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which images are on disk, [N] bool; read again each time, since other processes may be writing."""
        present = {entry.name for entry in os.scandir(self.path)}
        return np.array([f"c.{row}.0.0.0" in present for row in range(len(self))], dtype=bool)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over the store's manifest, images, classes, size and dtype."""
        parts = [self.manifest, self.image_ids, self.file_names, self.classes, self.size, self.dtype]
        return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def require_complete(self) -> None:
        """Raise TrashkitError with the number of missing images and the first of them, unless all are there."""
        missing = np.flatnonzero(~self.done)
        if len(missing):
            raise TrashkitError(
                f"{self.path} is unfinished: {len(missing)} of {len(self)} images are missing, "
                f"first {self.file_names[missing[0]]}",
                hint="repeat the command that made it, with --resume",
            )

    def stored(self, row: int) -> NDArray[Any]:
        """Return the stored values of one image, [C, H, W] uint8 or float16.

        Raises IndexError if there is no such row, and TrashkitError if the image is missing or damaged.
        """
        row = _row_of(row, len(self), self.path)
        chunk = self.path / f"c.{row}.0.0.0"
        if not chunk.exists():
            raise TrashkitError(
                f"{self.path} has no probabilities for {self.file_names[row]} yet",
                hint="repeat the command that made the store, with --resume",
            )
        try:
            return self._unpacked(chunk)
        except Exception as error:  # numcodecs has several errors for damaged bytes
            raise TrashkitError(
                f"{chunk} is damaged ({type(error).__name__}), it should hold {self.file_names[row]}",
                hint=f"delete that file and repeat the command that made {self.path}, with --resume",
            ) from error

    def _unpacked(self, chunk: Path) -> NDArray[Any]:
        """Read a chunk without zarr's event loop, which costs as much as unpacking."""
        values = np.zeros((len(self.classes), *self.size), np.dtype(self.dtype).newbyteorder("<"))
        packed = read_bytes(chunk, most=2 * values.nbytes + (1 << 16))
        declared = unpacked_size(packed)
        if declared not in (None, values.nbytes):
            raise ContentError(f"it has {declared} bytes instead of {values.nbytes}")
        # Never more than the array takes; zstd refuses other sizes.
        Zstd().decode(packed, values.reshape(-1).view(np.uint8))
        return values.astype(self.dtype, copy=False)

    def read(self, row: int) -> NDArray[np.float32]:
        """Return the probabilities of one image, float32 [C, H, W], summing to 1 over the classes."""
        values = self.stored(row)
        if values.dtype != np.uint8 and not (np.isfinite(values).all() and (values >= 0).all()):
            raise TrashkitError(
                f"{self.path} holds values that are not probabilities for {self.file_names[row]}",
                hint="predict again into a new store",
            )
        return from_stored(values)

    def label_map(self, row: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return the most probable class of each pixel, uint8 [H, W], ties to the lowest class.

        size: (height, width), the store's by default; probabilities are resampled (`resample`) before the argmax.
        """
        if size is None or tuple(size) == self.size:
            return argmax(self.stored(row))
        return argmax(resample(self.read(row), size))


def _row_of(row: int, count: int, path: Path) -> int:
    """Return a row as an int; IndexError unless it is in a store of `count` images."""
    row = index(row)
    if not 0 <= row < count:
        raise IndexError(f"{path} has no row {row}: its {count} images are rows 0 to {count - 1}")
    return row


class StoreWriter:
    """A store opened for writing; see `create_store`. Use as a context manager, or call `close`.

    A new store is removed where a TrashkitError leaves the block before any image was written.
    """

    def __init__(self, reader: Probabilities, array: Any, *, is_new: bool = False, keep_part: bool = True) -> None:
        self._reader = reader
        self._array = array
        self._is_new = is_new
        self._keep_part = keep_part

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self._reader.path

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which images are already on disk, [N] bool."""
        return self._reader.done

    def write(self, row: int, probabilities: NDArray[np.floating[Any]]) -> None:
        """Store one image's probabilities, float [C, H, W]; an earlier write of the image is replaced.

        On return the image is complete on disk and counts as done. IndexError if there is no such row, ValueError for
        another shape and for values that are not probabilities.
        """
        row = _row_of(row, len(self._reader), self.path)
        shape = (len(self._reader.classes), *self._reader.size)
        if probabilities.shape != shape:
            raise ValueError(f"probabilities of shape {probabilities.shape} in a store of {shape}")
        self._array[row] = to_stored(probabilities, self._reader.dtype)

    def close(self) -> None:
        """Do nothing: no file is open between writes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        failed = self._is_new and kind is not None and issubclass(kind, TrashkitError)
        if failed and not (self._keep_part and self.done.any()):
            remove_folder(self.path)


def create_store(
    path: str | Path,
    *,
    image_ids: Sequence[int | str],
    file_names: Sequence[str],
    native_sizes: Sequence[tuple[int, int]] | NDArray[np.integer[Any]],
    classes: Sequence[str],
    size: tuple[int, int] = (256, 256),
    dtype: StoreType = "uint8",
    manifest: Mapping[str, Any],
    resume: bool = False,
    overwrite: bool = False,
    keep_part: bool = True,
) -> StoreWriter:
    """Create a store, or with `resume` continue one that was made with an equal manifest, images, classes and size.

    image_ids, file_names, native_sizes: one for each image, ids unique; sizes are (height, width). manifest: any JSON
    object that says what the probabilities come from; with `resume` it must be equal, and a store that does not exist
    is created. Of several processes that write to one store, one creates it and, after a barrier, the others open it
    with ``resume=True``. keep_part: False removes a new store where a TrashkitError leaves the writer's block, also
    after some images, for stores that are quick to make again.
    Raises TrashkitError if `path` exists (without `resume` or `overwrite`) or was made from something else, and
    ValueError for arguments that contradict each other.
    """
    path = Path(path)
    header = Header(
        image_ids=tuple(image_ids),
        file_names=tuple(file_names),
        native_sizes=np.asarray(native_sizes, dtype=np.int64).reshape(-1, 2),
        classes=tuple(classes),
        size=(int(size[0]), int(size[1])),
        dtype=dtype,
        # As JSON gives it back: tuples become lists, keys strings.
        manifest=json.loads(json.dumps(dict(manifest), allow_nan=False)),
    )
    for row in native_out_of_range(header.native_sizes)[:1]:
        height, width = native_sizes[row]
        raise TrashkitError(
            f"{file_names[row]} has {width}x{height} pixels, more than photos can have",
            hint="correct the size of the image in the data",
        )
    problem = contradiction(header)
    if problem:
        raise ValueError(problem)
    if out_of_range(header.size, len(header.classes)):
        raise TrashkitError(
            f"a store of {header.size[1]}x{header.size[0]} pixels and {len(header.classes)} classes is too large",
            hint="choose a smaller --size; 512 is usually enough",
        )
    if resume and path.exists():
        return _continue_store(path, header)
    with Output(path, overwrite=overwrite, kind=STORE).writing() as temporary:
        _make_array(temporary, header)
    return _continue_store(path, header, is_new=True, keep_part=keep_part)


def open_store(path: str | Path) -> Probabilities:
    """Open a store for reading, after checking that it is one and safe to read.

    Raises TrashkitError if `path` is missing, is not a store, has a later version, or contradicts itself. Unfinished
    stores open: see `Probabilities.require_complete`.
    """
    path = Path(path)
    header = read_header(path)
    _open_array(path, "r")
    return Probabilities(path, header)


def _make_array(path: Path, header: Header) -> None:
    create_array(
        path,
        shape=(len(header.image_ids), len(header.classes), *header.size),
        dtype=header.dtype,
        attributes={
            "format": FORMAT,
            "version": VERSION,
            "image_ids": list(header.image_ids),
            "file_names": list(header.file_names),
            "native_sizes": header.native_sizes.tolist(),
            "classes": list(header.classes),
            "manifest": header.manifest,
        },
    )


def _open_array(path: Path, mode: Literal["r", "r+"]) -> Any:
    try:
        array = open_array(path, mode)
        if not is_plain(array):
            raise ValueError("its values are not little-endian and packed with zstd")
        return array
    except Exception as error:  # zarr has many errors for metadata that it cannot follow
        raise TrashkitError(
            f"{path} cannot be opened as a zarr array ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
            hint="its zarr.json is damaged: predict again into a new store",
        ) from error


def _continue_store(path: Path, wanted: Header, *, is_new: bool = False, keep_part: bool = True) -> StoreWriter:
    found = read_header(path)
    reason = difference(wanted, found)
    if reason:
        raise TrashkitError(
            f"{path} cannot be continued: {reason}", hint="choose another --out, or add --overwrite to start again"
        )
    # Leftovers of killed writers; recent ones may belong to a process that is writing now.
    for partial in path.glob("*.partial"):
        with contextlib.suppress(FileNotFoundError):  # it was renamed meanwhile
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                partial.unlink()
    array = _open_array(path, "r+")
    return StoreWriter(Probabilities(path, found), array, is_new=is_new, keep_part=keep_part)
