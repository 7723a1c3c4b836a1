"""Join the annotations of a file with stored predictions of its images, for the search for label errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Annotation, Coco, Dataset, Image
from trashkit.coco.classes import class_map
from trashkit.coco.dataset import is_number, is_valid_id
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.label_errors.image_view import FloatMaps, ImageView, InstanceMap, corner_density, softmin
from trashkit.predictions.reading import class_lookup
from trashkit.predictions.store import Probabilities, from_stored
from trashkit.raster import masks

_LAYERS = 255
"""Annotations rasterised at a time, as one label map."""
_MIN_SIDE = 96
"""Least shorter side of a reduced view; larger stores are halved as long as they stay above it."""
_MIN_PIXELS = 40
"""Least pixels that the smallest annotation must keep when a view is halved."""


@dataclass(frozen=True)
class PredictedImage:
    """One image, its annotations that can be rasterised, and the store and row of its probabilities."""

    image: Image
    annotations: tuple[Annotation, ...]
    store: Probabilities
    store_row: int


@dataclass(frozen=True)
class ReducedView:
    """A downscaled view of an image, for the search.

    factor: pixels of the store along one side of a pixel of the view. quality: softmin of the probabilities of the
    given labels, at the store's size.
    """

    view: ImageView
    factor: int
    quality: float


@dataclass(frozen=True)
class PredictionSet:
    """All images that have a prediction, in file order.

    dataset: the images and annotations that can be rasterised. without_prediction: number of images without one.
    undrawable: number of annotations that cannot be rasterised.
    """

    dataset: Dataset
    images: tuple[PredictedImage, ...]
    without_prediction: int
    undrawable: int

    def view(self, predicted: PredictedImage, order: masks.PaintOrder = "area") -> ImageView:
        """Annotations and probabilities of an image at the size of its store."""
        values = predicted.store.read(predicted.store_row)
        return _view(predicted, _in_dataset_classes(values, predicted, self.dataset), _instance_map(predicted, order))

    def reduced_view(self, predicted: PredictedImage, order: masks.PaintOrder = "area") -> ReducedView:
        """Annotations and probabilities of an image at a size that suffices for the search, with its label quality."""
        store = predicted.store
        values = store.stored(predicted.store_row)
        if values.dtype != np.uint8:
            values = store.read(predicted.store_row)
        instance_map = _instance_map(predicted, order)
        quality = softmin(_given_class_probability(values, predicted, self.dataset, instance_map))
        factor = _reduction(instance_map, len(predicted.annotations))
        if factor > 1:
            half = slice(factor // 2, None, factor)
            instance_map = np.ascontiguousarray(instance_map[half, half])
            # Averaged as floats: rounding to 8 bits again would lose small probabilities.
            size = (instance_map.shape[1], instance_map.shape[0])
            values = np.stack([
                cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA) for plane in values
            ])  # fmt: skip
        view = _view(predicted, _in_dataset_classes(from_stored(values), predicted, self.dataset), instance_map)
        return ReducedView(view, factor, quality)


def open_prediction_set(coco: Coco, stores: Sequence[Probabilities], classes: str | None = None) -> PredictionSet:
    """Join a file, valid or damaged, with stores of its images, by image id and file name.

    Rows that cannot be rasterised are left out (other checks report them), and images without prediction are counted.
    Raises TrashkitError if no image has a prediction, if two stores have the same image, if a file name does not match
    its id, and for classes that the file lacks.
    """
    dataset, undrawable = _drawable(coco, classes)
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
    images = []
    for image in dataset.images:
        if image.id not in place:
            continue
        store, row = place[image.id]
        if store.file_names[row] != image.file_name:
            raise TrashkitError(
                f"{store.path} was predicted from other images: id {image.id} is {store.file_names[row]} there, "
                f"but {image.file_name} in {coco.path or 'the file'}",
                hint="give the file that the store was made from",
            )
        images.append(PredictedImage(image, dataset.annotations_of(image.row), store, row))
    if not images:
        raise TrashkitError(
            f"no image of {coco.path or 'the file'} has a prediction in {', '.join(str(s.path) for s in stores)}",
            hint="give out-of-fold predictions of this file: RUN/oof, or RUN/RECIPE/oof for several folds",
        )
    return PredictionSet(dataset, tuple(images), len(dataset.images) - len(images), undrawable)


def _drawable(coco: Coco, classes: str | None) -> tuple[Dataset, int]:
    """The images and annotations of a file that can be rasterised, and the number of annotations that cannot."""
    images: dict[object, Image] = {}
    for row, record in enumerate(coco.records("images")):
        if not isinstance(record, dict) or not is_valid_id(record.get("id")) or record["id"] in images:
            continue
        width, height, name = record.get("width"), record.get("height"), record.get("file_name")
        if type(width) is int and type(height) is int and 0 < width < 2**15 and 0 < height < 2**15 and name:
            images[record["id"]] = Image(row, record["id"], str(name), width, height)
    known: dict[object, Mapping[str, Any]] = {}
    for record in coco.records("categories"):
        if isinstance(record, dict) and is_valid_id(record.get("id")) and isinstance(record.get("name"), str):
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
    image = images.get(image_id) if is_valid_id(image_id) else None
    index = index_of.get(category_id) if is_valid_id(category_id) else None
    segmentation: Any = record.get("segmentation")
    if image is None or not index or check_segmentation(segmentation, image.height, image.width):
        return None
    area = record.get("area")
    if not is_number(area) or area <= 0:
        area = masks.pixel_area(segmentation, image.height, image.width)
    return Annotation(row, record.get("id"), image.row, category_id, index, segmentation, float(area), None, False)


def _view(predicted: PredictedImage, probabilities: FloatMaps, instance_map: InstanceMap) -> ImageView:
    image, annotations = predicted.image, predicted.annotations
    areas = [annotation.area for annotation in annotations]
    return ImageView.build(
        probabilities,
        instance_map,
        np.array([annotation.class_index for annotation in annotations], np.int64),
        corner_density([annotation.segmentation for annotation in annotations], areas),
        image.height * image.width / instance_map.size,
    )


def _reduction(instance_map: InstanceMap, count: int) -> int:
    """Factor to reduce a view by, a power of 2 that leaves _MIN_SIDE and _MIN_PIXELS of its annotations."""
    height, width = instance_map.shape
    areas = np.bincount(instance_map.ravel() + 1, minlength=count + 1)[1:]
    smallest = int(areas[areas > 0].min(initial=instance_map.size))
    factor = 1
    while True:
        twice = 2 * factor
        if (
            height % twice
            or width % twice
            or min(height, width) < twice * _MIN_SIDE
            or smallest < twice**2 * _MIN_PIXELS
        ):
            return factor
        factor = twice


def _given_class_probability(
    values: NDArray[Any], predicted: PredictedImage, dataset: Dataset, instance_map: InstanceMap
) -> FloatMaps:
    """Probability of the given class of each pixel, [H, W], from stored values or probabilities [C, H, W]."""
    lookup = class_lookup(predicted.store.classes, dataset, str(predicted.store.path))[: len(values)]
    channel = np.full(len(dataset.classes), -1, np.int64)
    channel[lookup] = np.arange(len(values))
    chosen = channel[np.array([*(a.class_index for a in predicted.annotations), 0])][instance_map]
    own = np.take_along_axis(values, np.maximum(chosen, 0)[None], axis=0)[0].astype(np.float32)
    if values.dtype == np.uint8:
        total = values.sum(axis=0, dtype=np.uint16)
        own = np.where(total > 0, own, np.float32(1)) / np.where(total > 0, total, len(values)).astype(np.float32)
    return np.asarray(np.where(chosen < 0, np.float32(0), own), np.float32)


def _in_dataset_classes(values: FloatMaps, predicted: PredictedImage, dataset: Dataset) -> FloatMaps:
    """Probabilities [C, H, W] with the classes of the data set, zeros for classes that the store lacks."""
    lookup = class_lookup(predicted.store.classes, dataset, str(predicted.store.path))[: len(values)]
    if len(values) == len(dataset.classes) and (lookup == np.arange(len(values))).all():
        return values
    out = np.zeros((len(dataset.classes), *values.shape[1:]), np.float32)
    for source, target in enumerate(lookup.tolist()):
        out[target] += values[source]
    return out


def _instance_map(predicted: PredictedImage, order: masks.PaintOrder) -> InstanceMap:
    """Index of the topmost annotation at each pixel of the store, int32 [H, W], -1 for none."""
    image, annotations = predicted.image, predicted.annotations
    instance_map = np.full(predicted.store.size, -1, np.int32)
    segmentations = [annotation.segmentation for annotation in annotations]
    sequence = masks.paint_order(
        segmentations,
        [annotation.class_index for annotation in annotations],
        image.height,
        image.width,
        areas=[annotation.area for annotation in annotations],
        order=order,
    )
    for start in range(0, len(sequence), _LAYERS):
        part = sequence[start : start + _LAYERS]
        drawn = masks.label_map(
            [segmentations[k] for k in part], list(range(1, len(part) + 1)), image.height, image.width, order="file"
        )
        small = masks.resize_nearest(drawn, predicted.store.size)
        on_top = small > 0
        instance_map[on_top] = np.array(part, np.int32)[small[on_top].astype(np.int64) - 1]
    return instance_map
