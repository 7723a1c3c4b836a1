"""Label maps in the App: the annotations drawn, other versions of them, predictions, submissions and pseudo-labels."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from bson import ObjectId
from fiftyone import ViewField

from trashkit.coco import Annotation, Dataset
from trashkit.coco.classes import ClassMap
from trashkit.files import real_path
from trashkit.metrics.scores import confusion, iou
from trashkit.progress import Progress, silent
from trashkit.raster.label_maps import IGNORE
from trashkit.raster.masks import dataset_label_map, resize_nearest
from trashkit.review.app_text import as_stored
from trashkit.review.comparison import Comparison, Pixels
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.appearance import hex_color
from trashkit.review.fiftyone_app.dataset_sync import ids_of
from trashkit.review.fiftyone_app.version_changes import change_fields, match_versions
from trashkit.review.fiftyone_app.views import view_names
from trashkit.review.findings_file import time_and_size

BATCH = 100
ID_KINDS = ("image", "test")
"""Kinds of ids of the data sets compared: the file under review, and the test set."""
TRUTH = "truth"
Fields = dict[str, Any]


def add_comparisons(
    dataset: Any,
    datasets: Sequence[Dataset],
    comparisons: Sequence[Comparison],
    folder: Path,
    *,
    progress: Progress = silent,
) -> list[tuple[str, Comparison]]:
    """Add the annotations as label maps, and every comparison, each in a subfolder of `folder`. Returns field names.

    datasets: the file under review and the test set, if there is one. What was added from the same files before is
    kept.
    """
    known: dict[str, Any] = dict(dataset.info.get("compared", {}))
    for index, truth in enumerate(datasets):
        key = f"{TRUTH} {index}"
        stamp = [truth.coco.sha256, repr(truth.classes.names)]
        if truth.annotations and known.get(key) != stamp:
            add_truth(dataset, truth, index, folder / key.replace(" ", "-"), progress=progress)
            known[key] = stamp
    named = []
    first: dict[int, str] = {}
    for one in comparisons:
        path = as_stored(str(real_path(one.path)))
        name = next((key for key, value in known.items() if value[0] == path), None)
        name = name or field_name(one.path, [*dataset.get_field_schema(), *known])
        stamps = [path, _stamp(one), first.get(one.dataset_index)]
        if known.get(name) != stamps:
            against = folder / first[one.dataset_index] if one.dataset_index in first else None
            add_comparison(dataset, one, name, folder / name, against=against, progress=progress)
            known[name] = stamps
        first.setdefault(one.dataset_index, name)
        named.append((name, one))
    dataset.reload()
    dataset.info["compared"] = known
    dataset.save()
    return named


def field_name(path: Path, taken: Sequence[str]) -> str:
    """A field name made from a file's name, of letters, digits and underscores, that is not taken."""
    own = path.parent.name if path.stem in ("labels", "oof") and path.parent.name else path.stem
    stem = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in own).strip("_")
    name = base = f"seen_{stem}" if not stem[:1].isalpha() else stem.lower()
    number = 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _stamp(comparison: Comparison) -> str:
    """Changes when a file, or one of a folder's files, or what it is compared with changes."""
    path, truth = comparison.path, comparison.dataset
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    about = [truth.coco.sha256, truth.classes.names, [time_and_size(file) for file in files]]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:24]


def add_truth(dataset: Any, truth: Dataset, index: int, folder: Path, *, progress: Progress = silent) -> None:
    """Add the annotations as label maps of native size in the field `truth`, as the source file has them."""
    if TRUTH not in dataset.get_field_schema():
        dataset.add_sample_field(TRUTH, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    folder.mkdir(parents=True, exist_ok=True)

    def drawn() -> Iterator[tuple[int, Fields]]:
        for done, image in enumerate(truth.images):
            progress("drawing label maps", done, len(truth.images))
            yield image.row, {TRUTH: _segmentation(folder / f"{image.row}.png", dataset_label_map(truth, image.row))}

    _write(dataset, index, drawn())
    dataset.reload()
    _save_class_colors(dataset, TRUTH, truth.classes)
    dataset.save()


def add_comparison(
    dataset: Any,
    comparison: Comparison,
    name: str,
    folder: Path,
    *,
    against: Path | None = None,
    progress: Progress = silent,
) -> None:
    """Add label maps to a review's data set as the field `name`, with measures and saved views, worst images first.

    They are compared with the annotations of the source file, at the size that the file holds (native for COCO): per
    image the mean IoU of its classes, the share of pixels that differ, and the IoU of each class. If no image of the
    data set has annotations, as in a test set, they are compared with `against` instead, the folder of another
    comparison, by the share of pixels that differ. Probabilities add a map of the chosen class's probability and its
    mean; pseudo-labels add the share of pixels that are kept, and only those pixels count.

    folder: where label maps are kept as PNG.
    """
    _declare_fields(dataset, name, comparison, against)
    folder.mkdir(parents=True, exist_ok=True)
    work = _ComparisonFields(comparison, name, folder, against)
    _write(dataset, comparison.dataset_index, work.rows(progress))
    dataset.reload()
    _save_views(dataset, name, comparison, work.images_per_class)
    _save_class_colors(dataset, name, comparison.dataset.classes)
    dataset.save()


def _write(dataset: Any, index: int, rows: Iterator[tuple[int, Fields]]) -> None:
    """Set fields of images, in batches. Their times stay, or this would look like a change of outlines."""
    ids = ids_of(dataset)
    changes: dict[ObjectId, Fields] = {}
    for row, fields in rows:
        changes[ObjectId(ids.of(ID_KINDS[index], row))] = fields
        if len(changes) >= BATCH:
            private_api.set_fields(dataset, changes)
            changes = {}
    private_api.set_fields(dataset, changes)


@dataclass
class _ComparisonFields:
    """Fields of one comparison, image by image. images_per_class: images that show each class, counted on the way."""

    comparison: Comparison
    name: str
    folder: Path
    against: Path | None
    images_per_class: Counter[int] = field(default_factory=Counter)

    def rows(self, progress: Progress) -> Iterator[tuple[int, Fields]]:
        one = self.comparison
        matches: Mapping[int, Annotation] = {}
        if one.other is not None:
            matches = match_versions(one.dataset, one.other, one.other_rows)
        for done, (row, label_map, certainty) in enumerate(one.read()):
            progress(f"comparing {self.name}", done, len(one.images))
            fields: Fields = {self.name: _segmentation(self.folder / f"{row}.png", label_map)}
            fields |= self._certainty(row, label_map, certainty)
            if one.dataset.annotations:
                drawn = dataset_label_map(one.dataset, row, size=one.size)
                fields |= self._agreement(drawn, label_map)
            elif self.against is not None:
                fields[f"{self.name}_changed"] = _share_changed(self.against / f"{row}.png", label_map)
            if one.other is not None:
                fields |= change_fields(one.dataset, one.other, self.name, (row, one.other_rows[row]), matches)
            yield row, fields

    def _certainty(self, row: int, label_map: Pixels, certainty: Any) -> Fields:
        """How many pixels are kept, and how probable the chosen classes are."""
        kept = label_map != IGNORE
        fields: Fields = {}
        if self.comparison.kind == "pseudo":
            fields[f"{self.name}_kept"] = float(kept.mean())
        if certainty is not None:
            fields[f"{self.name}_confidence"] = float(certainty[kept].mean()) if kept.any() else None
            path = self.folder / f"{row}-certainty.png"
            cv2.imwrite(str(path), (certainty * 255).round().astype(np.uint8))
            heat_map = {"_id": ObjectId(), "_cls": "Heatmap", "tags": [], "map_path": str(real_path(path))}
            fields[f"{self.name}_certainty"] = heat_map
        return fields

    def _agreement(self, drawn: Pixels, label_map: Pixels) -> Fields:
        truth = np.where(label_map == IGNORE, IGNORE, drawn)  # ignored pixels count for neither side
        matrix = confusion(truth, label_map, len(self.comparison.dataset.classes), ignore=IGNORE)
        present = {index: float(value) for index, value in enumerate(iou(matrix)) if not math.isnan(value)}
        self.images_per_class.update(present.keys())
        return {
            f"{self.name}_iou": sum(present.values()) / len(present) if present else None,
            f"{self.name}_changed": 1 - float(np.trace(matrix)) / max(1, int(matrix.sum())),
            f"{self.name}_classes": {f"c{index}": value for index, value in present.items()},
        }


def _share_changed(path: Path, label_map: Pixels) -> float | None:
    """Share of pixels that differ from the label map of another comparison, at this one's size."""
    other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if other is None:
        return None
    height, width = label_map.shape
    return float((resize_nearest(np.asarray(other, np.uint8), (height, width)) != label_map).mean())


def _segmentation(path: Path, label_map: Pixels) -> dict[str, Any]:
    cv2.imwrite(str(path), np.asarray(label_map, np.uint8))
    return {"_id": ObjectId(), "_cls": "Segmentation", "tags": [], "mask_path": str(real_path(path))}


def _declare_fields(dataset: Any, name: str, comparison: Comparison, against: Path | None) -> None:
    """Declare only the fields that this kind of file fills, since the App lists every field."""
    known = dataset.get_field_schema()
    labels = {name: fo.Segmentation}
    if comparison.kind in ("store", "pseudo"):
        labels[f"{name}_certainty"] = fo.Heatmap
        dataset.add_sample_field(f"{name}_confidence", fo.FloatField)
    if comparison.kind == "pseudo":
        dataset.add_sample_field(f"{name}_kept", fo.FloatField)
    if comparison.dataset.annotations:
        dataset.add_sample_field(f"{name}_iou", fo.FloatField)
        dataset.add_sample_field(f"{name}_classes", fo.DictField)
    if comparison.dataset.annotations or against is not None:
        dataset.add_sample_field(f"{name}_changed", fo.FloatField)
    if comparison.other is not None:
        labels[f"{name}_outlines"] = fo.Polylines
        dataset.add_sample_field(f"{name}_edits", fo.IntField)
    for label_field, kind in labels.items():
        if label_field not in known:
            dataset.add_sample_field(label_field, fo.EmbeddedDocumentField, embedded_doc_type=kind)
    if comparison.other is not None:
        dataset.add_sample_field(f"{name}_outlines.polylines.change", fo.StringField)


def _save_views(dataset: Any, name: str, comparison: Comparison, images_per_class: Mapping[int, int]) -> None:
    known = dataset.get_field_schema()
    path = as_stored(str(comparison.path))

    def save(order: str, by: str, *, reverse: bool = False, description: str = path) -> None:
        if by in known and (measured := dataset.exists(by)).count():
            view = measured.sort_by(by, reverse=reverse)
            dataset.save_view(f"{name}: {order}", view, description=description, overwrite=True)

    save("worst first", f"{name}_iou")
    save("large changes first", f"{name}_changed", reverse=True)
    edits = "annotations that differ between the two versions"
    save("most edits first", f"{name}_edits", reverse=True, description=edits)
    save("least certain first", f"{name}_confidence")
    save("least kept first", f"{name}_kept", description="share of pixels with a pseudo-label")
    if comparison.dataset_index:
        dataset.save_view(f"{name}: all", dataset.exists(name), description=path, overwrite=True)
    classes = comparison.dataset.classes.names
    ordered = sorted(images_per_class.items())
    names = view_names([f"{name}: worst {as_stored(classes[index])}" for index, _ in ordered])
    for (index, number), view_name in zip(ordered, names, strict=True):
        key = ViewField(f"{name}_classes.c{index}")
        view = dataset.match(key.exists()).sort_by(key)
        description = f"IoU of {as_stored(classes[index])}, worst first: {number} images"
        dataset.save_view(view_name, view, description=description, overwrite=True)


def _save_class_colors(dataset: Any, name: str, classes: ClassMap) -> None:
    """Give the pixels of a field of label maps the names and colours of their classes."""
    targets = {index: label for index, label in enumerate(map(as_stored, classes.names)) if index}
    dataset.mask_targets = {**dataset.mask_targets, name: {**targets, IGNORE: "left out"}}
    colors = [
        {"intTarget": index, "color": hex_color(color)} for index, color in enumerate(classes.shown_colors) if index
    ]
    colors.append({"intTarget": IGNORE, "color": "#202020"})
    scheme = dataset.app_config.color_scheme
    others = [one for one in scheme.fields if one["path"] != name]
    scheme.fields = [*others, {"path": name, "fieldColor": "#c98b00", "maskTargetsColors": colors}]
