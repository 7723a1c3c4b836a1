"""Other annotated data sets to train on beside one's own, each with a weight."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trashkit.coco import ClassMap, Dataset, Image, read_dataset
from trashkit.coco.classes import folded
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.label_maps import IGNORE
from trashkit.nn.predict import check_photos
from trashkit.photos import photo_path


@dataclass(frozen=True)
class ExtraSet:
    """Another data set, its classes those of the data set that it is added to.

    It has what training asks of `trashkit.label_maps.LabelMaps`: path, images, classes, fingerprint and length.
    dataset: its annotations, with the other data set's class indices, and 255 for classes that this one lacks.
    images: those to train on. folder: of its photos. hashes: SHA-256 of each image's photo. weight: of an image against
    one of the data set it is added to. left_out: names of its classes that the other lacks, ignored by the loss.
    """

    path: Path
    dataset: Dataset
    images: tuple[Image, ...]
    folder: Path
    hashes: tuple[str, ...]
    weight: float
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return self.dataset.classes.names

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over annotations, classes and the photos in use."""
        parts = [self.dataset.coco.sha256, *self.classes, *self.left_out, *self.hashes]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def without(self, hashes: frozenset[str]) -> ExtraSet:
        """The same without photos of these hashes, such as those of the validation images."""
        kept = [(image, own) for image, own in zip(self.images, self.hashes, strict=True) if own not in hashes]
        return replace(self, images=tuple(image for image, _ in kept), hashes=tuple(own for _, own in kept))

    def spread(self, count: int) -> ExtraSet:
        """The same with at most `count` of its photos, at even distances."""
        chosen = sorted({int(n) for n in np.linspace(0, len(self) - 1, min(count, len(self)))})
        return replace(self, images=tuple(self.images[n] for n in chosen), hashes=tuple(self.hashes[n] for n in chosen))


def read_extra(text: str, classes: ClassMap) -> ExtraSet:
    """A data set named as ``OTHER.json:IMAGES_DIR`` or ``OTHER.json:IMAGES_DIR:WEIGHT``, its classes aligned by name.

    Images without annotations are left out, as nobody says that they hold nothing. Raises TrashkitError for a text that
    is none, files that cannot be read, and data sets that share no class.
    """
    path, folder, weight = _parts(text)
    dataset, left_out = aligned(read_dataset(path, classes="own"), classes)
    images = tuple(image for image in dataset.images if dataset.annotations_of(image.row))
    if not images:
        raise TrashkitError(f"no image of {path} has an annotation", hint="name a COCO file with labels by --extra")
    check_photos(images, folder)
    return ExtraSet(path, dataset, images, folder, hashes_of(images, folder), weight, left_out)


def hashes_of(images: Sequence[Image], folder: Path) -> tuple[str, ...]:
    """SHA-256 of the photo of each image."""
    return tuple(sha256(photo_path(folder, image.file_name)) for image in images)


def _parts(text: str) -> tuple[Path, Path, float]:
    first, colon, last = text.rpartition(":")
    weight = 1.0
    try:
        weight = float(last)
    except ValueError:
        first, last = text, ""
    names = first.rsplit(":", 1) if colon else [text]
    if last and not 0 < weight < float("inf"):
        raise TrashkitError(
            f'--extra "{text}" weighs its images {last}', hint="give a weight above 0, such as :0.5, or none for 1"
        )
    if len(names) != 2 or not all(names):
        raise TrashkitError(
            f'--extra "{text}" is no data set with its photos',
            hint="write OTHER.json:IMAGES_DIR, or with a weight :0.5",
        )
    path, folder = Path(names[0]), Path(names[1])
    if not folder.exists() and ":" in names[0]:
        raise TrashkitError(f'--extra "{text}": {folder} is no weight', hint="write OTHER.json:IMAGES_DIR:0.5")
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="write --extra OTHER.json:IMAGES_DIR:0.5")
    return path, folder, weight


def aligned(dataset: Dataset, classes: ClassMap) -> tuple[Dataset, tuple[str, ...]]:
    """The data set with the indices of other `classes`, matched by name, and the names that these lack.

    Case, spaces, hyphens and underscores count for nothing. Annotations of a lacking class become 255, ignored by the
    loss: background they are not. Raises TrashkitError where no name is shared.
    """
    index = {folded(name): n for n, name in enumerate(classes.names)}
    moved = [index.get(folded(name), IGNORE) for name in dataset.classes.names]
    left_out = tuple(name for name, to in zip(dataset.classes.names, moved, strict=True) if to == IGNORE)
    if len(left_out) == len(moved) - 1:
        raise TrashkitError(
            f"{dataset.coco.path} shares no class with the training data ({', '.join(left_out[:5])} ...)",
            hint="rename its categories, or train it by itself",
        )
    annotations = tuple(replace(one, class_index=moved[one.class_index]) for one in dataset.annotations)
    of_id = {category: moved[n] for category, n in dataset.classes.index_of.items()}
    return Dataset(dataset.coco, dataset.images, annotations, replace(classes, index_of=of_id)), left_out
