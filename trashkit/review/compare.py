"""Other label maps beside the annotations: another version of the file, predictions, a submission, pseudo-labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from fiftyone import ViewField
from fiftyone.core.fields import ObjectId
from pymongo import UpdateOne

from trashkit.masks import dataset_label_map
from trashkit.predictions import Predictions
from trashkit.progress import Progress, silent
from trashkit.report.overlay import shown_color
from trashkit.review.board import ids_of
from trashkit.scores import confusion, iou
from trashkit.store import open_store

BATCH = 100


def field_name(path: Path, taken: Sequence[str]) -> str:
    """A field for what a file holds, from its name: letters, digits and underscores, no name twice."""
    stem = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in path.stem).strip("_")
    name = base = f"seen_{stem}" if not stem[:1].isalpha() else stem.lower()
    number = 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def add_comparison(
    dataset: Any, predictions: Predictions, name: str, folder: Path, *, progress: Progress = silent
) -> None:
    """Add label maps to a review's data set as the field `name`, with how they compare and saved views, worst first.

    Compared at the size that the file holds, native for COCO: per image the mean IoU of the classes in it, the share
    of pixels that differ, the IoU of each class, and for stores the mean probability of the chosen classes. folder:
    where the label maps are kept as PNG. Annotations count as the source file has them.
    """
    truth, ids = predictions.dataset, ids_of(dataset)
    _declare(dataset, name)
    folder.mkdir(parents=True, exist_ok=True)
    confidence = _confidences(predictions) if predictions.kind == "store" else {}
    changes: list[Any] = []
    seen: dict[int, int] = {}
    for done, (row, label_map) in enumerate(predictions.label_maps(predictions.size)):
        progress(f"comparing {name}", done, len(predictions.images))
        drawn = dataset_label_map(truth, row, size=predictions.size)
        matrix = confusion(drawn, label_map, len(truth.classes))
        values = iou(matrix)
        present = {index: float(value) for index, value in enumerate(values) if not math.isnan(value)}
        for index in present:
            seen[index] = seen.get(index, 0) + 1
        path = folder / f"{row}.png"
        cv2.imwrite(str(path), np.asarray(label_map, np.uint8))
        fields = {
            name: {"_id": ObjectId(), "_cls": "Segmentation", "tags": [], "mask_path": str(path.resolve())},
            f"{name}_iou": sum(present.values()) / len(present) if present else None,
            f"{name}_changed": 1 - float(np.trace(matrix)) / max(1, int(matrix.sum())),
            f"{name}_confidence": confidence.get(row),
            f"{name}_classes": {f"c{index}": value for index, value in present.items()},
        }
        changes.append(UpdateOne({"_id": ObjectId(ids.of("image", row))}, {"$set": fields}))
        if len(changes) >= BATCH:
            dataset._sample_collection.bulk_write(changes)
            changes = []
    if changes:
        dataset._sample_collection.bulk_write(changes)
    dataset.reload()
    _views(dataset, name, truth.classes.names, seen)
    _looks(dataset, name, truth.classes)


def _confidences(predictions: Predictions) -> dict[int, float]:
    """Mean over pixels of the largest probability, by row of the image."""
    store = open_store(predictions.path)
    by_id = {image_id: row for row, image_id in enumerate(store.image_ids)}
    images = predictions.dataset.image_by_row
    return {row: float(store.read(by_id[images[row].id]).max(axis=0).mean()) for row in predictions.images}


def _declare(dataset: Any, name: str) -> None:
    dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    for part in ("iou", "changed", "confidence"):
        dataset.add_sample_field(f"{name}_{part}", fo.FloatField)
    dataset.add_sample_field(f"{name}_classes", fo.DictField)


def _views(dataset: Any, name: str, classes: Sequence[str], seen: dict[int, int]) -> None:
    there = dataset.exists(f"{name}_iou")
    save = {"overwrite": True}
    dataset.save_view(f"{name}: worst first", there.sort_by(f"{name}_iou"), **save)
    dataset.save_view(f"{name}: large changes first", there.sort_by(f"{name}_changed", reverse=True), **save)
    if dataset.exists(f"{name}_confidence").count():
        view = dataset.exists(f"{name}_confidence").sort_by(f"{name}_confidence")
        dataset.save_view(f"{name}: least certain first", view, **save)
    for index, number in sorted(seen.items()):
        key = ViewField(f"{name}_classes.c{index}")
        view = dataset.match(key.exists()).sort_by(key)
        words = f"IoU of {classes[index]}, worst first: {number} images"
        dataset.save_view(f"{name}: worst {classes[index]}", view, description=words, **save)


def _looks(dataset: Any, name: str, classes: Any) -> None:
    targets = {index: label for index, label in enumerate(classes.names) if index}
    dataset.mask_targets = {**dataset.mask_targets, name: targets}
    colors = [
        {"intTarget": index, "color": "#" + "".join(f"{channel:02x}" for channel in shown_color(color))}
        for index, color in enumerate(classes.colors)
        if index
    ]
    scheme = dataset.app_config.color_scheme
    others = [one for one in scheme.fields if one["path"] != name]
    scheme.fields = [*others, {"path": name, "fieldColor": "#c98b00", "maskTargetsColors": colors}]
    dataset.info[f"compared {name}"] = datetime.now(UTC).isoformat()
    dataset.save()
