"""Comparison sheets: photo, truth and predictions of an image side by side, worst image first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.images import photos
from trashkit.metrics.scores import Confusion, confusion
from trashkit.outputs import Output, folder_kind
from trashkit.predictions.reading import Predictions
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder, dataset_label_map, resize_nearest
from trashkit.report.overlay import class_shares, overlay, side_by_side, with_legend

Pixels = NDArray[np.uint8]

MARK = ".trashkit"
"""A file in each folder of sheets that distinguishes it from a folder of photos."""
SHEETS = folder_kind("folder of sheets", marker=re.escape(MARK), files=r"\d+-.*\.jpg")


@dataclass(frozen=True)
class Sheet:
    """Sheet of one image. mious: of each prediction on this image, empty without truth."""

    file_name: str
    sheet: Path
    mious: tuple[float, ...]


def write_sheets(
    parts: Sequence[Sequence[Predictions]],
    folder: Path,
    out: Path,
    *,
    names: Sequence[str],
    order: PaintOrder = "area",
    most: int | None = None,
    side: int = 512,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[Sheet]:
    """Write ``NNN-NAME.jpg`` for each image that all predictions cover: photo | truth | each prediction.

    parts: for each prediction to show, the parts that cover the images together, all opened for one data set. names:
    titles of the predictions. folder: of the photos. If the data set has annotations, truth is shown, and images are
    sorted by the first prediction's mIoU on them, worst first; else they are in file order. most: limit of images.
    side: longer side of each picture in pixels. The label maps of all images that are shown are held in memory.
    TrashkitError for predictions without a common image, and for photos that cannot be read.
    """
    dataset = parts[0][0].dataset
    size_of = {image.row: _size(image.width, image.height, side) for image in dataset.images}
    common = set.intersection(*({row for one in part for row in one.images} for part in parts))
    rows = [image.row for image in dataset.images if image.row in common]
    if not rows:
        raise TrashkitError("the predictions have no image in common", hint="give predictions of the same images")
    mious: dict[int, tuple[float, ...]] = {}
    if dataset.annotations:
        scored = [_mious(part, common, order, progress) for part in parts]
        mious = {row: tuple(one[row] for one in scored) for row in rows}
        rows.sort(key=lambda row: mious[row][0])
    chosen = rows[:most]
    shown = [_label_maps(part, set(chosen), size_of) for part in parts]
    written = []
    with Output(out, overwrite=overwrite, kind=SHEETS).writing() as temporary:
        temporary.mkdir()
        (temporary / MARK).write_text("trashkit sheets\n", encoding="utf-8")
        for n, row in enumerate(chosen):
            image = dataset.image_by_row[row]
            photo = photos.read_photo(photos.photo_path(folder, image.file_name), (image.width, image.height))
            picture = _sheet(
                dataset,
                row,
                photo,
                size=size_of[row],
                maps=[maps[row] for maps in shown],
                names=names,
                mious=mious.get(row),
                order=order,
            )
            name = f"{n + 1:0{len(str(len(chosen)))}}-{Path(image.file_name).stem}.jpg"
            path = temporary / name
            if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90]):
                raise TrashkitError(f"{out / name} could not be written", hint="check the disk")
            written.append(Sheet(image.file_name, out / name, mious.get(row, ())))
            progress("sheets", n + 1, len(chosen))
    return written


def _size(width: int, height: int, side: int) -> tuple[int, int]:
    """(height, width) with the longer side at `side`."""
    scale = side / max(width, height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _mious(part: Sequence[Predictions], wanted: set[int], order: PaintOrder, progress: Progress) -> dict[int, float]:
    """MIoU of each image, at the size of the predictions."""
    found: dict[int, float] = {}
    for predictions in part:
        classes = predictions.dataset.classes
        for row, label_map in predictions.label_maps(predictions.size):
            if row in wanted:
                truth = dataset_label_map(predictions.dataset, row, order=order, size=label_map.shape)
                found[row] = Confusion(confusion(truth, label_map, len(classes)), classes.names).miou()
                progress("scoring", len(found), len(wanted))
    return found


def _label_maps(
    part: Sequence[Predictions], wanted: set[int], size_of: dict[int, tuple[int, int]]
) -> dict[int, Pixels]:
    """Label maps of some images by row, at display size."""
    return {
        row: resize_nearest(label_map, size_of[row])
        for predictions in part
        for row, label_map in predictions.label_maps(predictions.size)
        if row in wanted
    }


def _sheet(
    dataset: Dataset,
    row: int,
    photo: Pixels,
    *,
    size: tuple[int, int],
    maps: Sequence[Pixels],
    names: Sequence[str],
    mious: tuple[float, ...] | None,
    order: PaintOrder,
) -> Pixels:
    small = np.asarray(cv2.resize(photo, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
    pictures = [with_legend(small, dataset.classes, [], title=dataset.image_by_row[row].file_name, empty="")]
    if mious is not None:
        truth = dataset_label_map(dataset, row, order=order, size=size)
        pictures.append(_pane(dataset, small, truth, "truth"))
    for n, (label_map, name) in enumerate(zip(maps, names, strict=True)):
        title = name if mious is None else f"{name}, mIoU {mious[n]:.3f}"
        pictures.append(_pane(dataset, small, label_map, title))
    return side_by_side(pictures)


def _pane(dataset: Dataset, photo: Pixels, label_map: Pixels, title: str) -> Pixels:
    shares = class_shares(label_map, dataset.classes)
    return with_legend(overlay(photo, label_map, dataset.classes), dataset.classes, shares, title=title)
