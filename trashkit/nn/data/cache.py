"""Cache of decoded photos and label maps in one memory-mapped file, named by a hash of its content.

Decoding photos and rasterising annotations in every epoch takes longer than augmentation. Pages of a memory-mapped file
are read once and shared by all workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_path, read_photo
from trashkit.nn.data.resize import resize_photo
from trashkit.outputs import Output
from trashkit.progress import Progress, silent
from trashkit.raster.label_maps import LabelMaps
from trashkit.raster.masks import PaintOrder, dataset_label_map, resize_nearest

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
SizeOf = Callable[[Image], Size]


class _Annotated(Protocol):
    @property
    def dataset(self) -> Dataset: ...


Source = Dataset | LabelMaps | _Annotated
"""Source of labels: a data set, label maps, or an object with a `dataset`."""

_DECODE_AHEAD = 32
"""Number of images decoded at a time while the file is written."""


@dataclass(frozen=True)
class Layout:
    """Stored size (height, width) of each photo and label map, and the paint order of label maps."""

    photo: SizeOf
    labels: SizeOf
    order: PaintOrder


def train_layout(size: int, order: PaintOrder) -> Layout:
    """Layout for training at `size`: a shorter side of at most ``2 * size`` keeps crops of half a photo sharp."""

    def at(image: Image) -> Size:
        scale = min(1.0, 2 * size / min(image.height, image.width))
        return max(1, round(image.height * scale)), max(1, round(image.width * scale))

    return Layout(at, at, order)


def validation_layout(size: int, scored: Size, order: PaintOrder) -> Layout:
    """Layout for validation: photos at the prediction size, label maps at the size `scored` of the scores."""
    return Layout(lambda _: (size, size), lambda _: scored, order)


class PhotoCache:
    """Cached photos and label maps of a list of images.

    `photo(n)` returns uint8 [H, W, 3], `labels(n)` uint8 [H, W]; treat both as read-only. Photos that exceed the budget
    are decoded on each access, with the same result.
    """

    def __init__(self, images: Sequence[Image], folder: Path, layout: Layout, path: Path, kept: Sequence[bool]) -> None:
        self.images = tuple(images)
        self.folder = folder
        self.layout = layout
        self.path = path
        self.kept = tuple(kept)
        places, position = [], 0
        for image, keep in zip(self.images, self.kept, strict=True):
            height, width = layout.labels(image)
            photo = layout.photo(image)
            places.append((position, position + height * width))
            position += height * width + (photo[0] * photo[1] * 3 if keep else 0)
        self.places = tuple(places)
        self.total = position
        self._pixels: Pixels | None = None

    def __len__(self) -> int:
        return len(self.images)

    def seed_key(self, n: int) -> tuple[int, ...]:
        """Seed components of image `n` for augmentation: its row and its source."""
        return (self.images[n].row, 0)

    def source_range(self, _: int) -> tuple[int, int]:
        """First position, and one past the last, of the images from the same source."""
        return 0, len(self)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_pixels": None}  # each process maps the file on its own

    @property
    def pixels(self) -> Pixels:
        """The whole file as uint8 [bytes], mapped on first access."""
        if self._pixels is None:
            self._pixels = np.memmap(self.path, np.uint8, mode="r")
        return self._pixels

    def labels(self, n: int) -> Pixels:
        """Label map of image `n`, uint8 [H, W]."""
        start, end = self.places[n]
        return self.pixels[start:end].reshape(self.layout.labels(self.images[n]))

    def photo(self, n: int) -> Pixels:
        """Photo of image `n`, RGB uint8 [H, W, 3]."""
        image = self.images[n]
        if not self.kept[n]:
            return load_photo(self.folder, image, self.layout)
        height, width = self.layout.photo(image)
        start = self.places[n][1]
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)


class JoinedCaches:
    """Several caches concatenated; `part(n)` is the index of the cache that holds image `n`."""

    def __init__(self, parts: Sequence[PhotoCache]) -> None:
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def part(self, n: int) -> int:
        """Index of the cache that holds image `n`."""
        return int(np.searchsorted(self.starts, n, side="right")) - 1

    def seed_key(self, n: int) -> tuple[int, ...]:
        """As in `PhotoCache`; images of the first cache get the same augmentations as without the others."""
        part = self.part(n)
        return self.parts[part].images[n - int(self.starts[part])].row, part

    def source_range(self, n: int) -> tuple[int, int]:
        """First position, and one past the last, of the images from the same source as image `n`."""
        part = self.part(n)
        return int(self.starts[part]), int(self.starts[part + 1])

    def labels(self, n: int) -> Pixels:
        """Label map of image `n`, uint8 [H, W]."""
        part = self.part(n)
        return self.parts[part].labels(n - int(self.starts[part]))

    def photo(self, n: int) -> Pixels:
        """Photo of image `n`, RGB uint8 [H, W, 3]."""
        part = self.part(n)
        return self.parts[part].photo(n - int(self.starts[part]))


def load_photo(folder: Path, image: Image, layout: Layout) -> Pixels:
    """Decode one photo and resize it to its size in the layout."""
    photo = read_photo(photo_path(folder, image.file_name), (image.width, image.height))
    return resize_photo(photo, layout.photo(image))


def load_labels(source: Source, image: Image, layout: Layout) -> Pixels:
    """Label map of one image at its size in the layout, sampled by nearest neighbour from the native size."""
    size = layout.labels(image)
    if isinstance(source, LabelMaps):
        return resize_nearest(source.read(image.row), size)
    dataset = source if isinstance(source, Dataset) else source.dataset
    return dataset_label_map(dataset, image.row, order=layout.order, size=size)


def open_cache(
    source: Source,
    images: Sequence[Image],
    folder: Path,
    layout: Layout,
    place: Path,
    *,
    content: str,
    budget: int,
    threads: int = 2,
    progress: Progress = silent,
) -> PhotoCache:
    """Open the cache of these images in the folder `place`, creating it if needed.

    source: source of the labels. content: hash of labels and photos. budget: maximum file size in bytes; photos from
    the first that does not fit are not stored. Every photo is decoded when the file is created, so that broken photos
    are found before training. Raises TrashkitError with the path of a photo that is missing, empty or truncated.
    """
    position, kept = 0, []
    for image in images:
        position += int(np.prod(layout.labels(image)))
    for image in images:
        position += int(np.prod(layout.photo(image))) * 3
        kept.append(position <= budget)
    shapes = [
        [image.row, *layout.labels(image), *layout.photo(image), keep] for image, keep in zip(images, kept, strict=True)
    ]
    key = hashlib.sha256(json.dumps([content, layout.order, shapes]).encode()).hexdigest()[:24]
    path = place / f"{key}.pixels"
    cache = PhotoCache(images, folder, layout, path, kept)
    if path.exists() and path.stat().st_size == cache.total:
        return cache
    with Output(path, overwrite=True).writing() as temporary, temporary.open("wb") as file:
        for n, (labels, photo) in enumerate(_loaded(source, images, folder, layout, threads)):
            file.write(labels.tobytes())
            if kept[n]:
                file.write(photo.tobytes())
            progress("decoding photos", n + 1, len(images))
    return cache


def _loaded(
    source: Source, images: Sequence[Image], folder: Path, layout: Layout, threads: int
) -> Iterator[tuple[Pixels, Pixels]]:
    def load(image: Image) -> tuple[Pixels, Pixels]:
        return load_labels(source, image, layout), load_photo(folder, image, layout)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(images), _DECODE_AHEAD):
            yield from pool.map(load, images[start : start + _DECODE_AHEAD])


def content_hash(dataset: Dataset, images: Sequence[Image], folder: Path, progress: Progress = silent) -> str:
    """SHA-256 of the annotation file, the class map and the bytes of these photos, in order.

    Raises TrashkitError for a missing or empty photo, and for a file name outside the folder.
    """
    digest = hashlib.sha256(dataset.coco.sha256.encode())
    classes = [list(dataset.classes.names), sorted((str(k), v) for k, v in dataset.classes.index_of.items())]
    digest.update(json.dumps(classes).encode())
    for n, image in enumerate(images):
        path = photo_path(folder, image.file_name)
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise TrashkitError(
                f"the photo {path} cannot be read: {error.strerror}", hint="check --images and the file_name"
            ) from error
        progress("reading photos", n + 1, len(images))
    return digest.hexdigest()
