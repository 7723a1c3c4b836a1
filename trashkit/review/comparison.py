"""Files to compare the annotations with: predictions, submissions, pseudo-labels, and other versions of the file.

They are opened and checked before the App starts, so that mistakes are reported immediately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Annotation, Coco, Dataset, Image, read, read_dataset
from trashkit.coco.dataset import is_number, is_valid_id
from trashkit.coco.segmentation import check_segmentation
from trashkit.edits.match import match_images
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import Predictions, class_lookup, coco_predictions, open_predictions, out_of_fold
from trashkit.predictions.store import Probabilities, is_store, open_store
from trashkit.raster import masks
from trashkit.raster.label_maps import LabelMaps, is_label_maps, open_label_maps

Kind = Literal["store", "csv", "coco", "pseudo"]
Pixels = NDArray[np.uint8]
Certainty = NDArray[np.float32] | None
ImageMap = tuple[int, Pixels, Certainty]

LABELS, PROBABILITIES = "labels", "probabilities"
"""Folders of a pseudo-labelling round: its label maps, and the probabilities that they were made from."""


@dataclass(frozen=True)
class Comparison:
    """Label maps of images of `dataset`, from any kind of file.

    dataset_index: which of the data sets given to `open_comparisons` they are about. size: (height, width) of the label
    maps, None for native. images: rows of the images that the file has. read: yields (row of the image, label map uint8
    [H, W] with 255 = ignore, probability of the chosen class float32 [H, W] or None if the file holds none).
    """

    path: Path
    kind: Kind
    dataset_index: int
    dataset: Dataset
    size: tuple[int, int] | None
    images: tuple[int, ...]
    read: Callable[[], Iterator[ImageMap]]
    other: Dataset | None = None
    """The other version of the annotations, for kind "coco"."""
    other_rows: Mapping[int, int] = field(default_factory=dict)
    """Row of the image in the other version, by row of the image."""


def drawable(coco: Coco, *, classes: str | None = None) -> tuple[Dataset, int]:
    """A file, possibly damaged, as a data set without the annotations that cannot be drawn, and how many those are.

    Raises TrashkitError, as strict reading does, for damaged images or categories.
    """
    try:
        return read_dataset(coco, classes=classes), 0
    except TrashkitError:
        empty = read_dataset(
            coco.replace("annotations", dict.fromkeys(range(coco.count("annotations")))), classes=classes
        )
    found: list[Annotation] = []
    for row, record in enumerate(coco.records("annotations")):
        image = empty.image_by_id.get(record.get("image_id")) if _has_ids(record) else None
        index = empty.classes.index_of.get(record.get("category_id")) if image is not None else None
        if image is None or not index or check_segmentation(record.get("segmentation"), image.height, image.width):
            continue
        area, shape = record.get("area"), record["segmentation"]
        known = float(area) if is_number(area) else masks.pixel_area(shape, image.height, image.width)
        found.append(
            Annotation(row, record.get("id"), image.row, record["category_id"], index, shape, known, None, False)
        )
    dataset = Dataset(coco, empty.images, tuple(found), empty.classes)
    return dataset, coco.count("annotations") - len(found)


def _has_ids(record: Any) -> bool:
    return isinstance(record, dict) and is_valid_id(record.get("image_id")) and is_valid_id(record.get("category_id"))


def open_comparisons(path: Path, datasets: Sequence[Dataset], *, classes: str | None = None) -> list[Comparison]:
    """Open a path: a store, a run with out-of-fold stores, a submission CSV, a COCO file, or pseudo-labels.

    datasets: what it may be about, such as the file under review and the test set; the first that fits is used.
    classes: the class map of a COCO file. Raises TrashkitError for any other path, saying why it does not fit the
    first data set.
    """
    if not path.exists():
        raise TrashkitError(f"{path} does not exist", hint="give a store, a run, a submission CSV, or pseudo-labels")
    folders = _label_map_folders(path)
    found = []
    for one in folders or out_of_fold(path):
        errors: list[TrashkitError] = []
        for index, dataset in enumerate(datasets):
            try:
                if folders:
                    found.append(_pseudo_labels(one, dataset, index))
                else:
                    found.append(comparison_of(_open_predictions(one, dataset, classes), index))
                break
            except TrashkitError as error:
                errors.append(error)
        else:
            more = "; for predictions of a test set, add --test TEST.json" if len(datasets) == 1 else ""
            raise TrashkitError(errors[0].message, hint=errors[0].hint + more)
    return found


def open_other_version(path: Path, dataset: Dataset, *, classes: str | None = None) -> Comparison:
    """Open another version of a file's annotations, with images matched by file name as `trashkit edits diff` does.

    Images of another size and annotations that cannot be drawn are left out. Raises TrashkitError if the file has none
    of the images, or has classes that `dataset` lacks.
    """
    theirs, _ = drawable(read(path), classes=classes)
    class_lookup(theirs.classes.names, dataset, str(path))
    pairs = match_images(theirs.coco.records("images"), dataset.coco.records("images"))
    rows = []
    for image in dataset.images:
        other = theirs.image_by_row.get(pairs.get(image.row, -1))
        if other is not None and (other.width, other.height) == (image.width, image.height):
            rows.append((image.row, other.row))
    if not rows:
        raise TrashkitError(
            f"{path} has none of the {len(dataset)} images of {dataset.coco.path or 'the data'}, by name and size",
            hint="give another version of the same file as --against, and predictions as --predictions",
        )
    return comparison_of(coco_predictions(path, dataset, theirs, rows))


def _open_predictions(path: Path, dataset: Dataset, classes: str | None) -> Predictions:
    """As `open_predictions`, but a COCO file may be damaged."""
    try:
        return open_predictions(path, dataset, classes=classes)
    except TrashkitError as error:
        if path.is_dir() or path.suffix.lower() != ".json":
            raise
        refused = error
    try:
        theirs, left_out = drawable(read(path), classes=classes)
        class_lookup(theirs.classes.names, dataset, str(path))
    except TrashkitError:
        raise refused from None
    rows = [
        (image.row, other.row)
        for image in dataset.images
        if (other := theirs.image_by_id.get(image.id)) is not None
        and (other.file_name, other.width, other.height) == (image.file_name, image.width, image.height)
    ]
    if not left_out or len(rows) < len(dataset.images) // 2:
        raise refused
    return coco_predictions(path, dataset, theirs, rows)


def comparison_of(opened: Predictions, dataset_index: int = 0) -> Comparison:
    """Return a comparison with predictions that are already open."""

    def read() -> Iterator[ImageMap]:
        if opened.kind != "store":
            for row, label_map in opened.label_maps(opened.size):
                yield row, label_map, None
            return
        store = open_store(opened.path)
        lookup = class_lookup(store.classes, opened.dataset, str(opened.path))
        by_id = {image_id: row for row, image_id in enumerate(store.image_ids)}
        for row in opened.images:
            probabilities = store.read(by_id[opened.dataset.image_by_row[row].id])
            yield row, lookup[probabilities.argmax(axis=0)], probabilities.max(axis=0)

    other, rows = opened.coco or (None, ())
    return Comparison(
        opened.path, opened.kind, dataset_index, opened.dataset, opened.size, opened.images, read, other, dict(rows)
    )


# ------------------------------------------------------------ pseudo-labels
def _label_map_folders(path: Path) -> list[Path]:
    """Folders of label maps that a path refers to: itself, or those of a pseudo-labelling round or of its folds."""
    if not path.is_dir() or is_store(path):
        return []
    if is_label_maps(path):
        return [path]
    return sorted(found.parent for found in (*path.glob(f"{LABELS}/maps.json"), *path.glob(f"*/{LABELS}/maps.json")))


def _pseudo_labels(path: Path, dataset: Dataset, dataset_index: int) -> Comparison:
    maps = open_label_maps(path)
    rows = _matching_rows(maps, dataset)
    lookup = class_lookup(maps.classes, dataset, str(path))
    lookup[255] = 255
    stores = _stores(path.parent / PROBABILITIES) if path.name == LABELS else []
    positions = [{key: n for n, key in enumerate(zip(one.image_ids, one.file_names, strict=True))} for one in stores]

    def certainty(image: Image) -> Certainty:
        key = (image.id, image.file_name)
        found = [one.read(of[key]) for one, of in zip(stores, positions, strict=True) if key in of]
        return np.asarray(np.mean(found, axis=0).max(axis=0), np.float32) if found else None

    def read() -> Iterator[ImageMap]:
        for row, position in rows:
            yield row, lookup[maps.read(position)], certainty(maps.images[position])

    return Comparison(path, "pseudo", dataset_index, dataset, maps.size, tuple(row for row, _ in rows), read)


def _matching_rows(maps: LabelMaps, dataset: Dataset) -> list[tuple[int, int]]:
    """(row in the data, position among the maps) of the images that both have, by id and file name together."""
    position = {(image.id, image.file_name): n for n, image in enumerate(maps.images)}
    keys = [(image.row, (image.id, image.file_name)) for image in dataset.images]
    found = [(row, position[key]) for row, key in keys if key in position]
    if not found:
        raise TrashkitError(
            f"{maps.path} has none of the {len(dataset)} images of {dataset.coco.path or 'the data'}",
            hint="give the file of the images that were labelled: --test TEST.json",
        )
    return found


def _stores(path: Path) -> list[Probabilities]:
    places = [path] if is_store(path) else [one.parent for one in sorted(path.glob("*/zarr.json"))]
    stores = [open_store(place) for place in places]
    for store in stores:
        store.require_complete()
    return stores
