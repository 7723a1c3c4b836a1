"""Pseudo-labels as a COCO file, for viewers and annotation tools; ``score`` is the certainty of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Coco, Dataset, write
from trashkit.coco.model_labels import KEY, entry
from trashkit.predictions.reading import enlarge_nearest
from trashkit.progress import Progress, silent
from trashkit.pseudo.labels import TeacherPredictions
from trashkit.pseudo.selection import STEPS, Selection
from trashkit.raster.label_maps import LabelMaps
from trashkit.report.regions import regions

ANNOTATIONS = "pseudo-labels.json"


def write_annotations(
    maps: LabelMaps,
    predictions: TeacherPredictions,
    selection: Selection,
    dataset: Dataset,
    out: Path,
    *,
    teachers: Sequence[str],
    seen: Mapping[str, str],
    progress: Progress = silent,
) -> int:
    """Write label maps as COCO annotations at native size, one per connected region; return how many there are.

    dataset: has the categories. predictions: what the label maps were made from; ``score`` is the mean certainty over
    the region, from 0 to 1. Ignored pixels belong to no annotation, so readers take them for background: this file is
    for viewing and correcting, while training uses the label maps.
    teachers, seen: the models, and all images whose labels reached them (file names by key). Both are kept in ``info``,
    so that a model trained with this file counts as having seen them too (`trashkit.coco.model_labels`).
    """
    ids, added = category_ids(dataset)
    places = {(image.id, image.file_name): n for n, image in enumerate(predictions.images)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in maps.images:
        size = (image.height, image.width)
        found = predictions.read(places[image.id, image.file_name], selection)
        scaled = (found.steps.astype(np.float32) / STEPS * 255).round().astype(np.uint8)
        labels, certain = (enlarge_nearest(pixels, size) for pixels in (maps.read(image.row), scaled))
        images.append({"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height})
        for region in regions(labels, certain.astype(np.float32) / np.float32(255), ids):
            annotations.append({"id": len(annotations) + 1, "image_id": image.id, **region})
        progress("tracing regions", image.row + 1, len(maps))
    origin = entry(teachers, [image.file_name for image in maps.images], seen)
    value = {
        "info": {"description": "pseudo-labels of trashkit; score is certainty from 0 to 1", KEY: [origin]},
        "images": images,
        "annotations": annotations,
        "categories": [*dataset.coco.records("categories"), *added],
    }
    write(Coco.of(value), out, overwrite=True)
    return len(annotations)


def category_ids(dataset: Dataset) -> tuple[dict[int, Any], list[dict[str, Any]]]:
    """Return the category id of each class but background, and new categories for classes that have none."""
    ids: dict[int, Any] = {}
    for category_id, index in dataset.classes.index_of.items():
        if index:
            ids.setdefault(index, category_id)
    added: list[dict[str, Any]] = []
    for index, name in enumerate(dataset.classes.names):
        if index and index not in ids:
            number = index
            while number in dataset.classes.index_of or number in ids.values():
                number += 1
            ids[index] = number
            added.append({"id": number, "name": name, "supercategory": name})
    return ids, added
