"""Additional annotated data sets to train on (`--extra`), each with a weight."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trashkit.coco import ClassMap, Dataset, Image, read_dataset
from trashkit.coco.classes import normalized_name
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.images.photos import photo_path
from trashkit.nn.inference.predict import check_photos
from trashkit.raster.label_maps import IGNORE
from trashkit.settings.extra_sets import split_extra


@dataclass(frozen=True)
class ExtraDataset:
    """A data set added to the main training data, with its classes mapped to those of the main data set.

    Has the same interface as `trashkit.raster.label_maps.LabelMaps`: path, images, classes, fingerprint and length.
    dataset: its annotations with the class indices of the main data set; 255 for classes that the main set lacks.
    images: the images to train on. folder: photo folder. hashes: SHA-256 of each image's photo. weight: weight of an
    image relative to one of the main data set. left_out: names of the classes mapped to 255, which the loss ignores.
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
        """Class names, background first."""
        return self.dataset.classes.names

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the annotations, the classes and the photos in use."""
        parts = [self.dataset.coco.sha256, *self.classes, *self.left_out, *self.hashes]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def without(self, hashes: frozenset[str]) -> ExtraDataset:
        """Copy without the photos that have one of these hashes, such as the validation photos."""
        kept = [(image, own) for image, own in zip(self.images, self.hashes, strict=True) if own not in hashes]
        return replace(self, images=tuple(image for image, _ in kept), hashes=tuple(own for _, own in kept))

    def evenly_sampled(self, count: int) -> ExtraDataset:
        """Copy with at most `count` evenly spaced photos."""
        chosen = sorted({int(n) for n in np.linspace(0, len(self) - 1, min(count, len(self)))})
        return replace(self, images=tuple(self.images[n] for n in chosen), hashes=tuple(self.hashes[n] for n in chosen))


def read_extra(text: str, classes: ClassMap) -> ExtraDataset:
    """Read a data set given as ``OTHER.json:IMAGES_DIR`` or ``OTHER.json:IMAGES_DIR:WEIGHT``; align classes by name.

    Images without annotations are skipped: they may be unlabelled rather than empty. Raises TrashkitError for a
    malformed specification, unreadable files, and data sets that share no class.
    """
    path, folder, weight = split_extra(text)
    dataset, left_out = align_classes(read_dataset(path, classes="own"), classes)
    images = tuple(image for image in dataset.images if dataset.annotations_of(image.row))
    if not images:
        raise TrashkitError(f"no image of {path} has an annotation", hint="give a COCO file with labels as --extra")
    check_photos(images, folder)
    return ExtraDataset(path, dataset, images, folder, hashes_of(images, folder), weight, left_out)


def hashes_of(images: Sequence[Image], folder: Path) -> tuple[str, ...]:
    """SHA-256 of each image's photo."""
    return tuple(sha256(photo_path(folder, image.file_name)) for image in images)


def align_classes(dataset: Dataset, classes: ClassMap) -> tuple[Dataset, tuple[str, ...]]:
    """Map a data set to the class indices of `classes` by name; also return the names that `classes` lacks.

    Names are compared without case, spaces, hyphens and underscores. Annotations of unmatched classes become 255, which
    the loss ignores, rather than background. Raises TrashkitError if no class is shared.
    """
    index = {normalized_name(name): n for n, name in enumerate(classes.names)}
    moved = [index.get(normalized_name(name), IGNORE) for name in dataset.classes.names]
    left_out = tuple(name for name, to in zip(dataset.classes.names, moved, strict=True) if to == IGNORE)
    if len(left_out) == len(moved) - 1:
        raise TrashkitError(
            f"{dataset.coco.path} shares no class with the training data ({', '.join(left_out[:5])} ...)",
            hint="rename its categories, or train on it alone",
        )
    annotations = tuple(replace(one, class_index=moved[one.class_index]) for one in dataset.annotations)
    of_id = {category: moved[n] for category, n in dataset.classes.index_of.items()}
    return Dataset(dataset.coco, dataset.images, annotations, replace(classes, index_of=of_id)), left_out
