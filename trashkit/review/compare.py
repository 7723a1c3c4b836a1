"""Other label maps beside the annotations: another version of the file, predictions, a submission, pseudo-labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from fiftyone import ViewField
from fiftyone.core.fields import ObjectId
from pymongo import UpdateOne

from trashkit.coco import Dataset
from trashkit.label_maps import IGNORE
from trashkit.masks import dataset_label_map, resize_nearest
from trashkit.progress import Progress, silent
from trashkit.report.overlay import shown_color
from trashkit.review.beside import Beside, Pixels
from trashkit.review.board import ids_of
from trashkit.review.findings_file import time_of
from trashkit.review.versions import changes_of, pairs_of
from trashkit.scores import confusion, iou

BATCH = 100
PARTS = ("image", "test")
"""Kinds of ids by part: images under review, and those of the test set."""
TRUTH = "truth"
Fields = dict[str, Any]


def field_name(path: Path, taken: Sequence[str]) -> str:
    """A field for what a file holds, from its name: letters, digits and underscores, no name twice."""
    own = path.parent.name if path.stem in ("labels", "oof") and path.parent.name else path.stem
    stem = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in own).strip("_")
    name = base = f"seen_{stem}" if not stem[:1].isalpha() else stem.lower()
    number = 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def add_comparison(
    dataset: Any, beside: Beside, name: str, folder: Path, *, against: Path | None = None, progress: Progress = silent
) -> None:
    """Add label maps to a review's data set as the field `name`, with how they compare and saved views, worst first.

    Compared with the annotations at the size that the file holds, native for COCO: per image the mean IoU of the
    classes in it, the share of pixels that differ, and the IoU of each class. Images without any annotations in the
    whole file, a test set's, are compared with `against` instead, the folder of another comparison, by the share of
    pixels that differ. Where there are probabilities, the mean of those of the chosen classes and a map of them; of
    pseudo-labels the share of pixels that are kept, which alone count. folder: where maps are kept as PNG. Annotations
    count as the source file has them.
    """
    _declare(dataset, name, beside, against)
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[int, int] = {}
    _write(dataset, beside.part, _compared(beside, name, folder, against, seen, progress=progress))
    dataset.reload()
    _views(dataset, name, beside, seen)
    _looks(dataset, name, beside.dataset.classes)
    dataset.save()


def add_comparisons(
    dataset: Any, parts: Sequence[Dataset], besides: Sequence[Beside], folder: Path, *, progress: Progress = silent
) -> list[tuple[str, Beside]]:
    """Add the annotations drawn, and every comparison, each in a folder of its own below `folder`; their names.

    What was added from the same files before is left as it is.
    """
    known: dict[str, Any] = dict(dataset.info.get("compared", {}))
    for part, truth in enumerate(parts):
        key = f"{TRUTH} {part}"
        if truth.annotations and known.get(key) != [truth.coco.sha256, repr(truth.classes.names)]:
            add_truth(dataset, truth, part, folder / key.replace(" ", "-"), progress=progress)
            known[key] = [truth.coco.sha256, repr(truth.classes.names)]
    named = []
    first: dict[int, str] = {}
    for one in besides:
        path = str(one.path.resolve())
        name = next((key for key, value in known.items() if value[0] == path), None)
        name = name or field_name(one.path, [*dataset.get_field_schema(), *known])
        stamp = [path, _stamp(one), first.get(one.part)]
        if known.get(name) != stamp:
            against = folder / first[one.part] if one.part in first else None
            add_comparison(dataset, one, name, folder / name, against=against, progress=progress)
            known[name] = stamp
        first.setdefault(one.part, name)
        named.append((name, one))
    dataset.reload()
    dataset.info["compared"] = known
    dataset.save()
    return named


def _stamp(one: Beside) -> str:
    """Changes when a file, or one of a folder's, does, or what it is compared with."""
    files = sorted(one.path.iterdir()) if one.path.is_dir() else [one.path]
    about = [one.dataset.coco.sha256, one.dataset.classes.names, [time_of(file) for file in files]]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:24]


def add_truth(dataset: Any, truth: Dataset, part: int, folder: Path, *, progress: Progress = silent) -> None:
    """Add the annotations drawn as label maps, at native size, as the field `truth`: as the source file has them."""
    if TRUTH not in dataset.get_field_schema():
        dataset.add_sample_field(TRUTH, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    folder.mkdir(parents=True, exist_ok=True)

    def drawn() -> Iterator[tuple[int, Fields]]:
        for done, image in enumerate(truth.images):
            progress("drawing label maps", done, len(truth.images))
            yield image.row, {TRUTH: _segmentation(folder / f"{image.row}.png", dataset_label_map(truth, image.row))}

    _write(dataset, part, drawn())
    dataset.reload()
    _looks(dataset, TRUTH, truth.classes)
    dataset.save()


def _write(dataset: Any, part: int, rows: Iterator[tuple[int, Fields]]) -> None:
    """Set fields of images; their times stay, so that nobody takes it for a change of outlines."""
    ids, changes = ids_of(dataset), []
    for row, fields in rows:
        changes.append(UpdateOne({"_id": ObjectId(ids.of(PARTS[part], row))}, {"$set": fields}))
        if len(changes) >= BATCH:
            dataset._sample_collection.bulk_write(changes)
            changes = []
    if changes:
        dataset._sample_collection.bulk_write(changes)


def _compared(
    beside: Beside, name: str, folder: Path, against: Path | None, seen: dict[int, int], *, progress: Progress
) -> Iterator[tuple[int, Fields]]:
    truth = beside.dataset
    pairs = pairs_of(truth, beside.other, beside.twins) if beside.other is not None else {}
    for done, (row, label_map, certainty) in enumerate(beside.read()):
        progress(f"comparing {name}", done, len(beside.images))
        kept = label_map != IGNORE
        fields: Fields = {name: _segmentation(folder / f"{row}.png", label_map)}
        if beside.kind == "pseudo":
            fields[f"{name}_kept"] = float(kept.mean())
        if certainty is not None:
            fields[f"{name}_confidence"] = float(certainty[kept].mean()) if kept.any() else None
            path = folder / f"{row}-certainty.png"
            cv2.imwrite(str(path), (certainty * 255).round().astype(np.uint8))
            heat = {"_id": ObjectId(), "_cls": "Heatmap", "tags": [], "map_path": str(path.resolve())}
            fields[f"{name}_certainty"] = heat
        if truth.annotations:
            drawn = dataset_label_map(truth, row, size=beside.size)
            fields |= _agreement(name, drawn, label_map, len(truth.classes), seen)
        elif against is not None:
            fields[f"{name}_changed"] = _share_changed(against / f"{row}.png", label_map)
        if beside.other is not None:
            fields |= changes_of(truth, beside.other, name, (row, beside.twins[row]), pairs)
        yield row, fields


def _agreement(name: str, drawn: Pixels, label_map: Pixels, classes: int, seen: dict[int, int]) -> Fields:
    counted = np.where(label_map == IGNORE, IGNORE, drawn)  # pixels that are left out count for neither
    matrix = confusion(counted, label_map, classes, ignore=IGNORE)
    present = {index: float(value) for index, value in enumerate(iou(matrix)) if not math.isnan(value)}
    for index in present:
        seen[index] = seen.get(index, 0) + 1
    return {
        f"{name}_iou": sum(present.values()) / len(present) if present else None,
        f"{name}_changed": 1 - float(np.trace(matrix)) / max(1, int(matrix.sum())),
        f"{name}_classes": {f"c{index}": value for index, value in present.items()},
    }


def _share_changed(path: Path, label_map: Pixels) -> float | None:
    """Share of pixels that differ from another comparison's map, at this one's size."""
    other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if other is None:
        return None
    height, width = label_map.shape
    return float((resize_nearest(np.asarray(other, np.uint8), (height, width)) != label_map).mean())


def _segmentation(path: Path, label_map: Pixels) -> dict[str, Any]:
    cv2.imwrite(str(path), np.asarray(label_map, np.uint8))
    return {"_id": ObjectId(), "_cls": "Segmentation", "tags": [], "mask_path": str(path.resolve())}


def _declare(dataset: Any, name: str, beside: Beside, against: Path | None) -> None:
    """The fields that this kind of file fills; the App lists every field there is."""
    known = dataset.get_field_schema()
    labels = {name: fo.Segmentation}
    if beside.kind in ("store", "pseudo"):
        labels[f"{name}_certainty"] = fo.Heatmap
        dataset.add_sample_field(f"{name}_confidence", fo.FloatField)
    if beside.kind == "pseudo":
        dataset.add_sample_field(f"{name}_kept", fo.FloatField)
    if beside.dataset.annotations:
        dataset.add_sample_field(f"{name}_iou", fo.FloatField)
        dataset.add_sample_field(f"{name}_classes", fo.DictField)
    if beside.dataset.annotations or against is not None:
        dataset.add_sample_field(f"{name}_changed", fo.FloatField)
    if beside.other is not None:
        labels[f"{name}_outlines"] = fo.Polylines
        dataset.add_sample_field(f"{name}_edits", fo.IntField)
    for field, kind in labels.items():
        if field not in known:
            dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=kind)
    if beside.other is not None:
        dataset.add_sample_field(f"{name}_outlines.polylines.change", fo.StringField)


def _views(dataset: Any, name: str, beside: Beside, seen: dict[int, int]) -> None:
    known = dataset.get_field_schema()

    def save(words: str, field: str, *, reverse: bool = False, what: str = "") -> None:
        if field in known and (there := dataset.exists(field)).count():
            view = there.sort_by(field, reverse=reverse)
            dataset.save_view(f"{name}: {words}", view, description=what or str(beside.path), overwrite=True)

    save("worst first", f"{name}_iou")
    save("large changes first", f"{name}_changed", reverse=True)
    save("most edits first", f"{name}_edits", reverse=True, what="annotations that differ between the two versions")
    save("least certain first", f"{name}_confidence")
    save("least kept first", f"{name}_kept", what="share of pixels with a pseudo-label")
    if beside.part:
        dataset.save_view(f"{name}: all", dataset.exists(name), description=str(beside.path), overwrite=True)
    classes = beside.dataset.classes.names
    for index, number in sorted(seen.items()):
        key = ViewField(f"{name}_classes.c{index}")
        view = dataset.match(key.exists()).sort_by(key)
        words = f"IoU of {classes[index]}, worst first: {number} images"
        dataset.save_view(f"{name}: worst {classes[index]}", view, description=words, overwrite=True)


def _looks(dataset: Any, name: str, classes: Any) -> None:
    targets = {index: label for index, label in enumerate(classes.names) if index}
    dataset.mask_targets = {**dataset.mask_targets, name: {**targets, IGNORE: "left out"}}
    colors = [
        {"intTarget": index, "color": "#" + "".join(f"{channel:02x}" for channel in shown_color(color))}
        for index, color in enumerate(classes.colors)
        if index
    ]
    colors.append({"intTarget": IGNORE, "color": "#202020"})
    scheme = dataset.app_config.color_scheme
    others = [one for one in scheme.fields if one["path"] != name]
    scheme.fields = [*others, {"path": name, "fieldColor": "#c98b00", "maskTargetsColors": colors}]
