"""Imports predictions of other frameworks as a store, for ensembles, pseudo-labels and audits.

One file per image: a PNG label map (as mmsegmentation's ``IoUMetric`` writes them), or an ``.npy`` or ``.npz`` file
with a label map [H, W] of integers, or with probabilities or logits [C, H, W] or [H, W, C]. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.files import without_suffix
from trashkit.interop.folders import files_in, read_json
from trashkit.interop.label_png import read_label_png
from trashkit.names import composed
from trashkit.predictions.store import StoreType, create_store, resample
from trashkit.progress import Progress, silent
from trashkit.raster.masks import resize_nearest
from trashkit.readers import ContentError, checked
from trashkit.readers.npz import array_header

MAX_BYTES = 4 << 30
"""Larger arrays are refused before they are read. 4 GiB are 100 classes at 3000x3500 pixels in float32."""
_UNPACKED, _MOST_RATIO = 256 << 20, 200
"""Archives may unpack to so many bytes, or to this multiple of their size: deflate reaches 1000 with zeros only."""


@dataclass(frozen=True, slots=True)
class ImportedPredictions:
    """Result of `import_predictions`. kinds: how many files were label maps, probabilities or logits.

    unused: files that belong to no image.
    """

    path: Path
    images: int
    kinds: dict[str, int]
    unused: tuple[str, ...]


def import_predictions(
    source: Path,
    dataset: Dataset,
    out: Path,
    *,
    names: Path | None = None,
    classes: Sequence[str] | None = None,
    logits: bool = False,
    size: tuple[int, int] = (256, 256),
    dtype: StoreType = "uint8",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ImportedPredictions:
    """Make a store of the images of `dataset` from a folder of predictions.

    A prediction is matched by the image's file name: the same path, the path with "__" for slashes, or the base name if
    it is unique. names: a JSON file ``{"name of the prediction": "file_name"}``, as the mmsegmentation export writes
    it, which takes precedence. classes: the model's class names in its order; by default those of the data. logits:
    arrays with three dimensions are logits. size: (height, width) of the store; label maps are sampled with
    ``cv2.INTER_NEAREST`` and become probabilities of 0 and 1. Raises TrashkitError for images without a prediction
    (naming the first), for files that cannot be read, and for arrays that are not what they should be.
    """
    paths, unused = _find(source, dataset, _stems(names if names is not None else _default_name_map(source)))
    model_classes = tuple(classes) if classes is not None else dataset.classes.names
    listing = [(path.relative_to(source).as_posix(), path.stat().st_size) for path in paths]
    manifest = {
        "made_by": "data import predictions",
        "source": str(source.absolute()),
        "files_sha256": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
        "data_sha256": dataset.coco.sha256,
        "logits": logits,
    }
    # Read the first file before writing anything, so that a wrong folder leaves nothing behind; read all of them before
    # replacing a store.
    for path, image in zip(paths if out.exists() and not resume else paths[:1], dataset.images, strict=False):
        _read(path, image, len(model_classes), logits, size)
    writer = create_store(
        out,
        image_ids=[image.id for image in dataset.images],
        file_names=[image.file_name for image in dataset.images],
        native_sizes=[(image.height, image.width) for image in dataset.images],
        classes=model_classes,
        size=size,
        dtype=dtype,
        manifest=manifest,
        resume=resume,
        overwrite=overwrite,
    )
    done, kinds = writer.done, dict.fromkeys(("label maps", "probabilities", "logits"), 0)
    try:
        with writer:
            for row, (path, image) in enumerate(zip(paths, dataset.images, strict=True)):
                if not done[row]:
                    kind, probabilities = _read(path, image, len(model_classes), logits, size)
                    kinds[kind] += 1
                    writer.write(row, probabilities)
                progress("importing predictions", row + 1, len(paths))
    except TrashkitError:
        if not done.any():  # this call started the store: fixed predictions would not match its manifest
            shutil.rmtree(out)
        raise
    return ImportedPredictions(out, len(paths), {kind: count for kind, count in kinds.items() if count}, unused)


def _default_name_map(source: Path) -> Path | None:
    path = source / "names.json"
    return path if path.is_file() else None


def _stems(path: Path | None) -> dict[str, str]:
    """Name of the prediction by file name."""
    if path is None:
        return {}
    value = read_json(path)
    try:
        names: dict[str, str] = checked(value, dict[str, str])
    except ContentError as error:
        raise TrashkitError(
            f"{path} is not a map of names", hint='write {"name of the prediction": "file_name", ...}'
        ) from error
    return {composed(file_name): composed(stem) for stem, file_name in names.items()}


def _find(source: Path, dataset: Dataset, stems: Mapping[str, str]) -> tuple[list[Path], tuple[str, ...]]:
    """The prediction of each image, and the files that belong to no image."""
    files: dict[str, PurePosixPath] = {}
    for path in files_in(source, [".png", ".npy", ".npz"]):
        stem = composed(path.with_suffix("").as_posix())
        if stem in files:
            raise TrashkitError(
                f"{source} contains both {files[stem]} and {path}", hint="keep one prediction per image"
            )
        files[stem] = path
    bases: dict[str, int] = {}
    for image in dataset.images:
        base = composed(PurePosixPath(image.file_name).stem)
        bases[base] = bases.get(base, 0) + 1
    found: list[Path] = []
    missing: list[str] = []
    used: set[str] = set()
    for image in dataset.images:
        plain = without_suffix(composed(image.file_name))
        candidates = [stems.get(composed(image.file_name)), plain.as_posix(), plain.as_posix().replace("/", "__")]
        candidates.append(plain.name if bases[plain.name] == 1 else None)
        chosen = [name for name in candidates if name is not None and name in files]
        if not chosen:
            missing.append(image.file_name)
            continue
        stem = chosen[0]
        if stem in used:
            raise TrashkitError(f"{source / files[stem]} matches two images", hint="give --name-map names.json")
        used.add(stem)
        found.append(source / files[stem])
    if missing:
        raise TrashkitError(
            f"{source} has no predictions for {len(missing)} of {len(dataset)} images, first {missing[0]}",
            hint="name each file after its image, or give --name-map names.json",
        )
    return found, tuple(path.as_posix() for stem, path in files.items() if stem not in used)


def _read(path: Path, image: Image, count: int, logits: bool, size: tuple[int, int]) -> tuple[str, NDArray[np.float32]]:
    """The kind of a file, and its probabilities float32 [C, H, W] at `size`."""
    array: NDArray[Any] = read_label_png(path) if path.suffix.lower() == ".png" else _load(path)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]) and count > 1:
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim == 2:
        return "label maps", _one_hot(array, path, image, count, size)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3 or count not in (array.shape[0], array.shape[-1]):
        raise TrashkitError(
            f"{path} has the shape {list(array.shape)}, not [H, W], [{count}, H, W] or [H, W, {count}]",
            hint="give the model's classes as --names if they differ from those of the data",
        )
    if array.shape[0] != count:
        array = np.moveaxis(array, -1, 0)
    if not np.issubdtype(array.dtype, np.floating):
        raise TrashkitError(
            f"{path} contains {array.dtype}, not floating-point numbers", hint="save float16 or float32"
        )
    if array.size == 0:
        raise TrashkitError(f"{path} is empty", hint="predict this image again")
    _same_shape(array.shape[1:], path, image, size)
    # One copy, changed in place from here on.
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which is refused
        values = np.array(array, dtype=np.float32, order="C")
    if not np.isfinite(values).all():
        raise TrashkitError(f"{path} contains NaN or infinity", hint="predict this image again")
    if logits:
        # Resample before the softmax, as for networks; then each pixel sums to 1.
        values = resample(values, size)
        values = np.exp(values - values.max(axis=0))
        return "logits", values / values.sum(axis=0)
    total = values.sum(axis=0)
    if values.min() < -1e-3 or abs(total - 1).max() > 0.02:
        raise TrashkitError(
            f"{path} does not contain probabilities: they do not sum to 1", hint="add --logits if they are logits"
        )
    np.clip(values, 0, None, out=values)
    values /= total
    return "probabilities", resample(values, size)


def _same_shape(shape: tuple[int, ...], path: Path, image: Image, size: tuple[int, int]) -> None:
    """Raise TrashkitError unless a prediction has about the aspect ratio of its image, to catch rotated ones."""
    height, width = shape
    wanted = image.width / image.height
    square = height == width or tuple(shape) == tuple(size)
    if not square and not math.isclose(width / height, wanted, rel_tol=0.05):
        raise TrashkitError(
            f"{path} is {width}x{height}, but its image {image.file_name} is {image.width}x{image.height}",
            hint="check that it is the prediction of this image, and not rotated",
        )


def _one_hot(array: NDArray[Any], path: Path, image: Image, count: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """A label map as probabilities of 0 and 1, float32 [C, H, W]."""
    if not np.issubdtype(array.dtype, np.integer) and array.dtype != np.bool_:
        raise TrashkitError(f"{path} is a label map of {array.dtype}", hint="save class indices as uint8")
    if array.size == 0:
        raise TrashkitError(f"{path} is empty", hint="predict this image again")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= count:
        raise TrashkitError(
            f"{path} has the class {low if low < 0 else high}, but the classes are 0 to {count - 1}",
            hint="give the model's classes as --names if they differ from those of the data",
        )
    _same_shape(array.shape, path, image, size)
    labels = resize_nearest(array.astype(np.uint8), size)
    return np.asarray(labels[None] == np.arange(count, dtype=np.uint8)[:, None, None], np.float32)


def _load(path: Path) -> NDArray[Any]:
    """The array of an .npy or .npz file. Raises TrashkitError for objects, several arrays, and damaged files."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                _check_header(file, path, path.stat().st_size)
            mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        return _load_npz(path)
    except TrashkitError:
        raise
    except Exception as error:  # numpy and zipfile have many errors for damaged and hostile files
        text = " ".join(str(error).split())[:150]
        raise TrashkitError(f"{path} cannot be read: {text}", hint="save a plain array with numpy.save") from error


def _check_header(file: IO[bytes], path: Path, size: int) -> None:
    """Refuse objects and arrays that are larger than the file or than is read, before NumPy computes with their size.

    size: bytes of the file, header included.
    """
    shape, dtype = array_header(file)
    if math.prod(shape) * dtype.itemsize > size or dtype.hasobject:
        raise TrashkitError(f"{path} is damaged or contains objects", hint="save a plain array with numpy.save")
    if size > MAX_BYTES:
        raise TrashkitError(f"{path} is too large", hint="save it as float16, or at a smaller size")


def _load_npz(path: Path) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1:
            held = ", ".join(member.filename for member in members[:5])
            raise TrashkitError(f"{path} contains {len(members)} arrays ({held})", hint="save one array per file")
        # The sizes in the archive's directory bound what is unpacked: a small file may claim a huge array.
        if members[0].file_size > min(MAX_BYTES, max(_UNPACKED, _MOST_RATIO * path.stat().st_size)):
            raise TrashkitError(f"{path} is too large", hint="save it as float16, or at a smaller size")
        with archive.open(members[0]) as file:
            _check_header(file, path, members[0].file_size)
        with archive.open(members[0]) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
