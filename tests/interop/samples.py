"""Sample data sets with photos, and their round trip through a format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.interop.registry import FORMATS, export, import_annotations
from trashkit.raster.masks import dataset_label_map, rle_from_mask

KINDS = sorted(FORMATS)
OUTLINES = ("coco", "cvat", "label-studio", "labelme", "yolo")
"""Formats that store polygons: an outline comes back with the same coordinates."""
ONE_ANNOTATION = ("cvat", "label-studio", "labelme", "yolo")
"""Formats in which an annotation with holes, or with several parts, comes back as one annotation."""
NAMES = ["General trash", "종이", 'Glass & "jar" <1>', "Plastic bag"]
FILES = ["batch_1/0002.jpg", "batch_2/0002.jpg", "사진 3.JPG"]


def value_of(sizes: list[tuple[int, int]], shapes: list[tuple[int, int, Any, float | None]]) -> dict[str, Any]:
    """A COCO value. sizes: (height, width) per image. shapes: (image, category, segmentation, area or None)."""
    return {
        "images": [
            {"id": 10 + n, "file_name": FILES[n], "width": width, "height": height}
            for n, (height, width) in enumerate(sizes)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)],
        "annotations": [
            {
                "id": n,
                "image_id": 10 + image,
                "category_id": category,
                "segmentation": segmentation,
                **({} if area is None else {"area": area}),
            }
            for n, (image, category, segmentation, area) in enumerate(shapes, start=100)
        ],
    }


def dataset_of(value: dict[str, Any]) -> Dataset:
    return read_dataset(Coco.of(value))


def write_photos(folder: Path, dataset: Dataset) -> Path:
    for image in dataset.images:
        path = folder / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = np.full((image.height, image.width, 3), 10 * image.row, np.uint8)
        path.write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())
    return folder


def ring_with_hole(height: int, width: int) -> Any:
    covered = np.zeros((height, width), np.uint8)
    covered[1:-1, 1:-1] = 1
    covered[3:-3, 3:-3] = 0
    covered[5:-5, 5:-5] = 1
    return rle_from_mask(covered)


def label_maps(dataset: Dataset, names: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    """Label maps in the class order of `names`, by the tail of the file name that all formats keep."""
    index = {name: n for n, name in enumerate(names)}
    lookup = np.array([index[name] for name in dataset.classes.names], np.uint8)
    order = sorted(dataset.images, key=lambda image: plain(image.file_name))
    return [lookup[dataset_label_map(dataset, image.row)] for image in order]


def plain(file_name: str) -> str:
    """The common part of file names in all layouts: without part, folder and Cityscapes suffix."""
    return file_name.replace("__", "/").split("/", 1)[-1] if file_name.startswith("train/") else file_name


def small() -> Dataset:
    """Three images: overlaps against the area order, holes, parts, one empty."""
    square = [[2.0, 2.0, 14.5, 2.25, 14.0, 15.5, 2.0, 14.0]]
    parts = [[1.0, 1.0, 6.0, 1.0, 6.0, 6.0], [10.0, 10.0, 18.0, 10.0, 18.0, 17.0, 10.0, 17.0]]
    return dataset_of(
        value_of(
            [(20, 24), (21, 19), (16, 16)],
            [
                (0, 1, square, 1.0),
                (0, 2, [[0, 0, 9, 0, 9, 9, 0, 9]], 50.0),
                (0, 3, ring_with_hole(20, 24), 900.0),
                (1, 4, parts, None),
                (1, 2, [[11.0, 11.0, 14.0, 11.0, 14.0, 14.0]], None),
            ],
        )
    )


def round_trip(kind: str, dataset: Dataset, folder: Path) -> Dataset:
    photos = write_photos(folder / "photos", dataset)
    export(kind, dataset, folder / kind, images=photos)
    source = folder / kind / "train.json" if kind == "coco" else folder / kind
    import_annotations(kind, source, folder / "back.json")
    return read_dataset(folder / "back.json")
