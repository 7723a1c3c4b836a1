"""Annotations and probabilities of one image after the other, brought together for the search for label errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import masks
from trashkit.audit.label_scene import Owners, Planes, Scene, corners_of, softmin
from trashkit.coco import Annotation, Coco, Dataset, Image
from trashkit.coco.classes import class_map
from trashkit.coco.dataset import ids_in
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.predictions import class_lookup
from trashkit.store import Probabilities, from_stored

_AT_A_TIME = 255
_SIDE = 96
"""The shorter side of a scene that is searched, at least; larger stores are halved while they stay above it."""
_SMALLEST = 40
"""Pixels that the smallest annotation keeps when a scene is halved."""


@dataclass(frozen=True)
class Picture:
    """One image with its annotations, and where its probabilities are. annotations: those that can be drawn."""

    image: Image
    annotations: tuple[Annotation, ...]
    store: Probabilities
    store_row: int


@dataclass(frozen=True)
class Overview:
    """An image as the search for errors sees it.

    scene: at reduced size. factor: how many pixels of the store lie along a side of each of its pixels. quality:
    softmin of the probabilities of the given labels, at the store's own size.
    """

    scene: Scene
    factor: int
    quality: float


@dataclass(frozen=True)
class Gallery:
    """All images that have a prediction, in file order.

    dataset: what can be drawn of the file. without: how many images have no prediction. left_out: annotations that
    cannot be drawn.
    """

    dataset: Dataset
    pictures: tuple[Picture, ...]
    without: int
    left_out: int

    def scene(self, picture: Picture, order: masks.PaintOrder = "area") -> Scene:
        """The image's annotations and probabilities at the size of its store."""
        values = picture.store.read(picture.store_row)
        return _scene(picture, _by_class(values, picture, self.dataset), _owners(picture, order))

    def overview(self, picture: Picture, order: masks.PaintOrder = "area") -> Overview:
        """The image at a size that is enough for the search, with the quality of its labels."""
        store = picture.store
        values = store.stored(picture.store_row)
        if values.dtype != np.uint8:
            values = store.read(picture.store_row)
        owner = _owners(picture, order)
        quality = softmin(_given(values, picture, self.dataset, owner))
        factor = _factor(owner, len(picture.annotations))
        if factor > 1:
            half = slice(factor // 2, None, factor)
            owner = np.ascontiguousarray(owner[half, half])
            # Averaged as floats: rounded to whole steps again, small probabilities would be lost.
            size = (owner.shape[1], owner.shape[0])
            values = np.stack([
                cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA) for plane in values
            ])  # fmt: skip
        scene = _scene(picture, _by_class(from_stored(values), picture, self.dataset), owner)
        return Overview(scene, factor, quality)


def open_gallery(coco: Coco, stores: Sequence[Probabilities], classes: str | None = None) -> Gallery:
    """Join a file, sound or damaged, with stores that cover its images together, by image id and file name.

    Rows of the file that cannot be drawn are left out: the other checks speak of them. Images without prediction are
    counted. Raises TrashkitError where no image has one, where two stores have the same image, where an id has another
    file name, and for classes that the file lacks.
    """
    dataset, left_out = _drawable(coco, classes)
    place: dict[object, tuple[Probabilities, int]] = {}
    for store in stores:
        store.require_complete()
        class_lookup(store.classes, dataset, str(store.path))
        for row, image_id in enumerate(store.image_ids):
            if image_id in place:
                raise TrashkitError(
                    f"{place[image_id][0].path} and {store.path} both predict {store.file_names[row]}",
                    hint="give one store, or the out-of-fold stores of one training",
                )
            place[image_id] = (store, row)
    pictures = []
    for image in dataset.images:
        if image.id not in place:
            continue
        store, row = place[image.id]
        if store.file_names[row] != image.file_name:
            raise TrashkitError(
                f"{store.path} is from other images: id {image.id} is {store.file_names[row]} there, "
                f"and {image.file_name} in {coco.path or 'the file'}",
                hint="give the file that the store was made from",
            )
        pictures.append(Picture(image, dataset.annotations_of(image.row), store, row))
    if not pictures:
        raise TrashkitError(
            f"no image of {coco.path or 'the file'} has a prediction in {', '.join(str(s.path) for s in stores)}",
            hint="give out-of-fold predictions of this file: RUN/oof, or RUN/RECIPE/oof for several folds",
        )
    return Gallery(dataset, tuple(pictures), len(dataset.images) - len(pictures), left_out)


def _drawable(coco: Coco, classes: str | None) -> tuple[Dataset, int]:
    """What can be drawn of a file as a data set, and how many annotations cannot."""
    images: dict[object, Image] = {}
    for row, record in enumerate(coco.records("images")):
        if not isinstance(record, dict) or not ids_in(record.get("id")) or record["id"] in images:
            continue
        width, height, name = record.get("width"), record.get("height"), record.get("file_name")
        if type(width) is int and type(height) is int and 0 < width < 2**15 and 0 < height < 2**15 and name:
            images[record["id"]] = Image(row, record["id"], str(name), width, height)
    known: dict[object, Mapping[str, Any]] = {}
    for record in coco.records("categories"):
        if isinstance(record, dict) and ids_in(record.get("id")) and isinstance(record.get("name"), str):
            known.setdefault(record["id"], record)
    mapping = class_map(list(known.values()), classes)
    annotations = []
    for row, record in enumerate(coco.records("annotations")):
        made = _annotation(row, record, images, mapping.index_of)
        if made is not None:
            annotations.append(made)
    dataset = Dataset(coco, tuple(images.values()), tuple(annotations), mapping)
    return dataset, coco.count("annotations") - len(annotations)


def _annotation(row: int, record: object, images: dict[object, Image], index_of: object) -> Annotation | None:
    if not isinstance(record, dict) or not isinstance(index_of, dict):
        return None
    image_id, category_id = record.get("image_id"), record.get("category_id")
    image = images.get(image_id) if ids_in(image_id) else None
    index = index_of.get(category_id) if ids_in(category_id) else None
    segmentation: Any = record.get("segmentation")
    if image is None or not index or check_segmentation(segmentation, image.height, image.width):
        return None
    area = record.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float) or not 0 < area < math.inf:
        area = masks.pixel_area(segmentation, image.height, image.width)
    return Annotation(row, record.get("id"), image.row, category_id, index, segmentation, float(area), None, False)


def _scene(picture: Picture, probabilities: Planes, owner: Owners) -> Scene:
    image, annotations = picture.image, picture.annotations
    areas = [annotation.area for annotation in annotations]
    return Scene.of(
        probabilities,
        owner,
        np.array([annotation.class_index for annotation in annotations], np.int64),
        corners_of([annotation.segmentation for annotation in annotations], areas),
        image.height * image.width / owner.size,
    )


def _factor(owner: Owners, count: int) -> int:
    """By how much a scene may be reduced: a power of 2 that leaves enough of its sides and of its annotations."""
    height, width = owner.shape
    areas = np.bincount(owner.ravel() + 1, minlength=count + 1)[1:]
    smallest = int(areas[areas > 0].min(initial=owner.size))
    factor = 1
    while True:
        twice = 2 * factor
        if height % twice or width % twice or min(height, width) < twice * _SIDE or smallest < twice**2 * _SMALLEST:
            return factor
        factor = twice


def _given(values: NDArray[Any], picture: Picture, dataset: Dataset, owner: Owners) -> Planes:
    """Probability of the given class of each pixel, [H, W], from stored values or probabilities [C, H, W]."""
    lookup = class_lookup(picture.store.classes, dataset, str(picture.store.path))[: len(values)]
    channel = np.full(len(dataset.classes), -1, np.int64)
    channel[lookup] = np.arange(len(values))
    chosen = channel[np.array([*(a.class_index for a in picture.annotations), 0])][owner]
    own = np.take_along_axis(values, np.maximum(chosen, 0)[None], axis=0)[0].astype(np.float32)
    if values.dtype == np.uint8:
        total = values.sum(axis=0, dtype=np.uint16)
        own = np.where(total > 0, own, np.float32(1)) / np.where(total > 0, total, len(values)).astype(np.float32)
    return np.asarray(np.where(chosen < 0, np.float32(0), own), np.float32)


def _by_class(values: Planes, picture: Picture, dataset: Dataset) -> Planes:
    """Probabilities [C, H, W] with the classes of the data set, zeros for classes that the store lacks."""
    lookup = class_lookup(picture.store.classes, dataset, str(picture.store.path))[: len(values)]
    if len(values) == len(dataset.classes) and (lookup == np.arange(len(values))).all():
        return values
    out = np.zeros((len(dataset.classes), *values.shape[1:]), np.float32)
    for source, target in enumerate(lookup.tolist()):
        out[target] += values[source]
    return out


def _owners(picture: Picture, order: masks.PaintOrder) -> Owners:
    """Which annotation is on top at each pixel of the store, int32 [H, W], -1 for none."""
    image, annotations = picture.image, picture.annotations
    owner = np.full(picture.store.size, -1, np.int32)
    segmentations = [annotation.segmentation for annotation in annotations]
    sequence = masks.paint_order(
        segmentations,
        [annotation.class_index for annotation in annotations],
        image.height,
        image.width,
        areas=[annotation.area for annotation in annotations],
        order=order,
    )
    for start in range(0, len(sequence), _AT_A_TIME):
        part = sequence[start : start + _AT_A_TIME]
        drawn = masks.label_map(
            [segmentations[k] for k in part], list(range(1, len(part) + 1)), image.height, image.width, order="file"
        )
        small = masks.resize_nearest(drawn, picture.store.size)
        on_top = small > 0
        owner[on_top] = np.array(part, np.int32)[small[on_top].astype(np.int64) - 1]
    return owner
