"""Files to look at beside the annotations, opened and checked before the App starts: mistakes show at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trashkit import masks
from trashkit.coco import Annotation, Coco, Dataset, Image, read, read_dataset
from trashkit.coco.dataset import ids_in
from trashkit.coco.edit_match import match_images
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.label_maps import LabelMaps, is_label_maps, open_label_maps
from trashkit.predictions import Predictions, class_lookup, open_predictions, out_of_fold
from trashkit.review.outlines import is_number
from trashkit.store import Probabilities, is_store, open_store

Kind = Literal["store", "csv", "coco", "pseudo"]
Pixels = NDArray[np.uint8]
Certainty = NDArray[np.float32] | None
Shown = tuple[int, Pixels, Certainty]

LABELS, PROBABILITIES = "labels", "probabilities"
"""Where a round of pseudo-labelling keeps its label maps and the probabilities that they were made from."""


@dataclass(frozen=True)
class Beside:
    """Label maps of images of `dataset` from some file.

    part: which of the data sets given to `open_beside` they belong to. size: (height, width), None for native ones.
    images: rows of the images it has. read: yields (row of the image, label map uint8 [H, W] where 255 = ignore,
    probability of the chosen class float32 [H, W] or None where the file holds none).
    """

    path: Path
    kind: Kind
    part: int
    dataset: Dataset
    size: tuple[int, int] | None
    images: tuple[int, ...]
    read: Callable[[], Iterator[Shown]]
    other: Dataset | None = None
    """The other version of the annotations, for kind "coco"."""
    twins: Mapping[int, int] = field(default_factory=dict)
    """Row of the image in the other version by row of the image."""


def drawable(coco: Coco, *, classes: str | None = None) -> tuple[Dataset, int]:
    """A file as a data set to compare with, without the annotations that cannot be drawn, and how many these are.

    A review is about damaged files too. Raises TrashkitError, as strict reading does, for damaged images or categories.
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
    return isinstance(record, dict) and ids_in(record.get("image_id")) and ids_in(record.get("category_id"))


def open_beside(path: Path, parts: Sequence[Dataset], *, classes: str | None = None) -> list[Beside]:
    """What a path holds: a store, a run's out-of-fold stores, a submission CSV, a COCO file, or pseudo-labels.

    parts: the data sets whose images it may be about, such as those under review and the test set; the first that fits
    counts. classes: the class map of a COCO file. Raises TrashkitError for a path that is nothing of the kind, with
    what the first part has against it.
    """
    if not path.exists():
        raise TrashkitError(f"there is no {path}", hint="give a store, a run, a submission CSV, or pseudo-labels")
    rounds = _rounds(path)
    found = []
    for one in rounds or out_of_fold(path):
        errors: list[TrashkitError] = []
        for part, dataset in enumerate(parts):
            try:
                if rounds:
                    found.append(_pseudo(one, dataset, part))
                else:
                    found.append(of_predictions(_predictions(one, dataset, classes), part))
                break
            except TrashkitError as error:
                errors.append(error)
        else:
            more = "; for predictions of a test set, add --test TEST.json" if len(parts) == 1 else ""
            raise TrashkitError(errors[0].message, hint=errors[0].hint + more)
    return found


def open_version(path: Path, dataset: Dataset, *, classes: str | None = None) -> Beside:
    """Another version of a file's annotations, images matched by file name as `trashkit edits diff` does.

    Images of another size are not compared, nor annotations that cannot be drawn. Raises TrashkitError where the file
    has none of the images, or has classes that `dataset` lacks.
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
    images = tuple(row for row, _ in rows)
    return of_predictions(
        Predictions(path, "coco", dataset, None, images, len(theirs) - len(rows), (theirs, rows, "area"))
    )


def _predictions(path: Path, dataset: Dataset, classes: str | None) -> Predictions:
    """As `open_predictions`; another version of the annotations may be damaged too."""
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
    images = tuple(row for row, _ in rows)
    return Predictions(path, "coco", dataset, None, images, len(theirs) - len(rows), (theirs, rows, "area"))


def of_predictions(opened: Predictions, part: int = 0) -> Beside:
    """Predictions that are open already."""

    def read() -> Iterator[Shown]:
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

    other, rows = opened._content[:2] if opened.kind == "coco" else (None, ())
    twins = dict(rows)
    return Beside(opened.path, opened.kind, part, opened.dataset, opened.size, opened.images, read, other, twins)


def _rounds(path: Path) -> list[Path]:
    """Folders of label maps that a path means: itself, those of a round of pseudo-labelling, or of its folds."""
    if not path.is_dir() or is_store(path):
        return []
    if is_label_maps(path):
        return [path]
    return sorted(found.parent for found in (*path.glob(f"{LABELS}/maps.json"), *path.glob(f"*/{LABELS}/maps.json")))


def _pseudo(path: Path, dataset: Dataset, part: int) -> Beside:
    maps = open_label_maps(path)
    rows = _rows(maps, dataset)
    lookup = class_lookup(maps.classes, dataset, str(path))
    lookup[255] = 255
    stores = _stores(path.parent / PROBABILITIES) if path.name == LABELS else []
    places = [{key: n for n, key in enumerate(zip(one.image_ids, one.file_names, strict=True))} for one in stores]

    def certainty(image: Image) -> Certainty:
        key = (image.id, image.file_name)
        found = [one.read(place[key]) for one, place in zip(stores, places, strict=True) if key in place]
        return np.asarray(np.mean(found, axis=0).max(axis=0), np.float32) if found else None

    def read() -> Iterator[Shown]:
        for row, at in rows:
            yield row, lookup[maps.read(at)], certainty(maps.images[at])

    return Beside(path, "pseudo", part, dataset, maps.size, tuple(row for row, _ in rows), read)


def _rows(maps: LabelMaps, dataset: Dataset) -> list[tuple[int, int]]:
    """(row in the data, position among the maps) of the images that both have, by id and file name together."""
    at = {(image.id, image.file_name): n for n, image in enumerate(maps.images)}
    found = [
        (image.row, at[image.id, image.file_name]) for image in dataset.images if (image.id, image.file_name) in at
    ]
    if not found:
        raise TrashkitError(
            f"{maps.path} has none of the {len(dataset)} images of {dataset.coco.path or 'the data'}",
            hint="name the file of the images that were labelled: --test TEST.json",
        )
    return found


def _stores(path: Path) -> list[Probabilities]:
    if is_store(path):
        return [open_store(path)]
    return [open_store(one.parent) for one in sorted(path.glob("*/zarr.json"))] if path.is_dir() else []
