"""Class probabilities of many images on disk: a zarr array [N, C, H, W] with image ids, file names and class names.

One chunk holds one image, so that a store is written, read and merged image by image and never lies whole in memory.
A chunk file appears under its own name only once it is complete, and its presence is what says that the image is done:
killing the writer at any moment loses at most the image in flight, and several processes may write to one store as
long as each has its own images.

How values are held is said in `trashkit.store_values`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.core.chunk_key_encodings import ChunkKeyEncodingLike
from zarr.storage import LocalStore

from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, remove_folder, remove_leftovers
from trashkit.store_header import (
    FORMAT,
    VERSION,
    Header,
    StoreType,
    contradiction,
    difference,
    out_of_range,
    read_header,
)
from trashkit.store_values import argmax, from_stored, resample, to_stored

__all__ = [
    "Probabilities",
    "StoreType",
    "StoreWriter",
    "create_store",
    "from_stored",
    "is_store",
    "open_store",
    "refuse_existing_store",
    "resample",
    "to_stored",
]

_STALE_SECONDS = 600.0


class Probabilities:
    """A store opened for reading; see `open_store`. Rows are the images, in the order in which the store names them.

    `size` is (height, width) of every image in the store, `native_sizes` [N, 2] int64 the (height, width) of the
    photos. Images may still be missing: `done` [N] bool says which are there, as of now.
    """

    def __init__(self, path: Path, header: Header, array: Any) -> None:
        self.path = path
        self.image_ids = header.image_ids
        self.file_names = header.file_names
        self.native_sizes = header.native_sizes
        self.classes = header.classes
        self.size = header.size
        self.dtype = header.dtype
        self.manifest = header.manifest
        self._array = array
        self._plain = _is_plain(array)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which images are on disk, [N] bool; read afresh each time, since other processes may be writing."""
        present = {entry.name for entry in os.scandir(self.path)}
        return np.array([f"c.{row}.0.0.0" in present for row in range(len(self))], dtype=bool)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over what the store says of itself: manifest, images, classes, size and dtype."""
        parts = [self.manifest, self.image_ids, self.file_names, self.classes, self.size, self.dtype]
        return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def require_complete(self) -> None:
        """Raise TrashkitError unless every image is there, saying how many are missing and which comes first."""
        missing = np.flatnonzero(~self.done)
        if len(missing):
            raise TrashkitError(
                f"{self.path} is unfinished: {len(missing)} of {len(self)} images are missing, "
                f"first {self.file_names[missing[0]]}",
                hint="repeat the command that made it, with --resume",
            )

    def stored(self, row: int) -> NDArray[Any]:
        """One image as it is stored, [C, H, W] uint8 or float16; TrashkitError if it is missing or damaged."""
        row = range(len(self))[row]
        chunk = self.path / f"c.{row}.0.0.0"
        if not chunk.exists():
            raise TrashkitError(
                f"{self.path} has no probabilities for {self.file_names[row]} yet",
                hint="repeat the command that made the store, with --resume",
            )
        try:
            values = self._unpacked(chunk) if self._plain else np.asarray(self._array[row])
        except Exception as error:  # every codec has its own errors for damaged bytes
            raise TrashkitError(
                f"{chunk} is damaged ({type(error).__name__}), it should hold {self.file_names[row]}",
                hint=f"delete that file and repeat the command that made {self.path}, with --resume",
            ) from error
        return values

    def _unpacked(self, chunk: Path) -> NDArray[Any]:
        """As zarr reads it, without the detour through its event loop, which costs as much as unpacking."""
        values = np.frombuffer(Zstd().decode(chunk.read_bytes()), np.dtype(self.dtype).newbyteorder("<"))
        return values.reshape(len(self.classes), *self.size).astype(self.dtype)

    def read(self, row: int) -> NDArray[np.float32]:
        """Probabilities of one image, float32 [C, H, W], summing to 1 over the classes."""
        values = self.stored(row)
        if values.dtype != np.uint8 and not (np.isfinite(values).all() and (values >= 0).all()):
            raise TrashkitError(
                f"{self.path} holds values that are no probabilities for {self.file_names[row]}",
                hint="predict again into a new store",
            )
        return from_stored(values)

    def label_map(self, row: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The most probable class of each pixel, uint8 [H, W], ties to the lowest class.

        `size` (height, width) asks for another size than the store's: the probabilities are resampled (`resample`)
        before the argmax.
        """
        if size is None or tuple(size) == self.size:
            return argmax(self.stored(row))
        return argmax(resample(self.read(row), size))


class StoreWriter:
    """A store opened for writing; see `create_store`. Use as a context manager, or call `close`."""

    def __init__(self, reader: Probabilities, array: Any) -> None:
        self._reader = reader
        self._array = array

    @property
    def path(self) -> Path:
        """Where the store lies."""
        return self._reader.path

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which images are on disk already, [N] bool."""
        return self._reader.done

    def write(self, row: int, probabilities: NDArray[np.floating[Any]]) -> None:
        """Store one image's probabilities, float [C, H, W]; written again, it is replaced.

        On return the image is complete on disk and counts as done. ValueError for another shape or for values that
        are no probabilities.
        """
        row = range(len(self._reader))[row]
        shape = (len(self._reader.classes), *self._reader.size)
        if probabilities.shape != shape:
            raise ValueError(f"probabilities of shape {probabilities.shape} in a store of {shape}")
        self._array[row] = to_stored(probabilities, self._reader.dtype)

    def close(self) -> None:
        """Nothing is held open between writes; this marks the end for readers of the code."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def create_store(
    path: Path,
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
) -> StoreWriter:
    """Create a store, or with `resume` continue one that was made with an equal manifest, images, classes and size.

    image_ids, file_names, native_sizes: one for each image, ids and names each unique; sizes are (height, width).
    manifest: any JSON object that says what the probabilities come from; compared on `resume`, where a store that
    does not exist yet is created. Of several processes that write to one store, one creates it and then, after a
    barrier, the others open it with ``resume=True``.
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
        # As it will be read back: tuples become lists, keys strings.
        manifest=json.loads(json.dumps(dict(manifest), allow_nan=False)),
    )
    problem = contradiction(header)
    if problem:
        raise ValueError(problem)
    if out_of_range(header.size, len(header.classes)):
        raise TrashkitError(
            f"a store of {header.size[1]}x{header.size[0]} pixels and {len(header.classes)} classes is too large",
            hint="choose a smaller --size; 512 is plenty",
        )
    if resume and path.exists():
        return _continue_store(path, header)
    refuse_existing_store(path, overwrite=overwrite)
    foreign = next((one.name for one in path.iterdir() if not _OWN.fullmatch(one.name)), "") if path.exists() else ""
    if foreign:
        raise TrashkitError(
            f"{path} holds {foreign}, which is no part of a store, so it is kept",
            hint="move it, or choose another --out",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.new.part{path.suffix}")
    try:
        _make_array(temporary, header)
        if path.exists():
            remove_folder(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return _continue_store(path, header)


_OWN = re.compile(r"zarr\.json|c\.[\d.]+|.*\.partial|\..*", re.DOTALL)
"""Names of the files in a store, and hidden ones, which file managers leave."""


def refuse_existing_store(path: Path, *, overwrite: bool) -> None:
    """As `files.refuse_existing`, pointing to --resume where what is there is an unfinished store.

    What is no store is never overwritten: a mistyped --out must not cost a folder of photos.
    """
    if not overwrite and is_store(path):
        try:
            finished = bool(open_store(path).done.all())
        except TrashkitError:
            finished = True
        if not finished:
            raise TrashkitError(
                f"{path} exists already, and is unfinished",
                hint="add --resume to go on, --overwrite to start afresh, or choose another name",
            )
    refuse_existing(path, overwrite=overwrite)
    for folder in path.absolute().parents:
        if is_store(folder):
            raise TrashkitError(f"{path} lies in the store {folder}", hint="choose another --out")
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not is_store(path)):
        kind = "file and" if path.is_file() else "folder but"
        raise TrashkitError(f"{path} is a {kind} no store, so it is not overwritten", hint="choose another --out")


def open_store(path: Path) -> Probabilities:
    """Open a store for reading, after checking that it is one and is safe to read (whoever made it).

    Raises TrashkitError if `path` is missing, is no store of probabilities, is of a later version, or contradicts
    itself. Unfinished stores open: see `Probabilities.require_complete`.
    """
    path = Path(path)
    header = read_header(path)
    return Probabilities(path, header, _open_array(path, "r"))


def is_store(path: Path) -> bool:
    """Whether `path` looks like a store: a folder with a `zarr.json`."""
    return (Path(path) / "zarr.json").is_file()


def _make_array(path: Path, header: Header) -> None:
    height, width = header.size
    channels = len(header.classes)
    # One flat folder, so that one listing says which images are done.
    encoding = cast(ChunkKeyEncodingLike, {"name": "default", "separator": "."})
    zarr.create_array(
        LocalStore(path),
        shape=(len(header.image_ids), channels, height, width),
        chunks=(1, channels, height, width),
        dtype=header.dtype,
        compressors=[ZstdCodec(level=3)],
        filters=None,
        fill_value=0,
        chunk_key_encoding=encoding,
        dimension_names=("image", "class", "height", "width"),
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
        array = zarr.open_array(LocalStore(path, read_only=mode == "r"), mode=mode, zarr_format=3)
    except Exception as error:  # zarr has many errors for metadata that it cannot follow
        raise TrashkitError(
            f"{path} cannot be opened as a zarr array ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
            hint="its zarr.json is damaged: predict again into a new store",
        ) from error
    # Without this zarr leaves out chunks that hold the fill value alone, and the image would never count as done.
    return array.with_config({"write_empty_chunks": True})


def _is_plain(array: Any) -> bool:
    """Whether chunks are little-endian values packed with zstd alone, as `_make_array` writes them."""
    codecs: tuple[Any, ...] = tuple(getattr(array.metadata, "codecs", ()))
    if len(codecs) != 2 or not (isinstance(codecs[0], BytesCodec) and isinstance(codecs[1], ZstdCodec)):
        return False
    endian = codecs[0].endian
    return endian is None or getattr(endian, "value", endian) == "little"


def _continue_store(path: Path, wanted: Header) -> StoreWriter:
    found = read_header(path)
    reason = difference(wanted, found)
    if reason:
        raise TrashkitError(
            f"{path} cannot be continued: {reason}", hint="choose another --out, or add --overwrite to start afresh"
        )
    # What a killed process left of an image in flight; the age keeps away from processes that are writing now.
    for partial in path.glob("*.partial"):
        if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
            partial.unlink(missing_ok=True)
    array = _open_array(path, "r+")
    return StoreWriter(Probabilities(path, found, array), array)
