"""Submissions as a list of COCO results: written, read and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.predictions.coco_results import results_as_dataset
from trashkit.predictions.submission_csv import BOM
from trashkit.progress import Progress
from trashkit.raster.masks import dataset_label_map, mask, pixel_area, polygons_from_label_map, rle
from trashkit.readers import LARGE, decode_json, read_bytes
from trashkit.submit.check import Findings, Problem
from trashkit.submit.profiles import SubmissionProfile

LabelMap = NDArray[np.uint8]
Scores = Callable[[Image], Callable[[int], NDArray[np.float32]]]
"""From an image to a function from a class index to the probabilities of that class, float32 [H, W] at native size."""


def write(found: Iterator[tuple[Image, str, LabelMap]], out: Path, dataset: Dataset, scores: Scores | None) -> int:
    """Write one result per connected region, scored by the mean probability of its class there; return how many."""
    categories = {index: category for category, index in reversed(list(dataset.classes.index_of.items()))}
    results: list[str] = []
    for image, _, labels in found:
        plane_of = scores(image) if scores is not None else None
        for index in np.unique(labels[labels > 0]).tolist():
            if index not in categories:
                name = dataset.classes.names[index]
                raise TrashkitError(f"the data has no category for {name}", hint="give --data with all categories")
            plane = plane_of(index) if plane_of is not None else None
            for region in polygons_from_label_map(labels, index):
                score = 1.0 if plane is None else float(plane[mask(region, image.height, image.width)].mean())
                record = {
                    "image_id": image.id,
                    "category_id": categories[index],
                    "segmentation": rle(region, image.height, image.width),
                    "score": round(score, 6),
                }
                results.append(json.dumps(record, ensure_ascii=False))
    out.write_text("[\n" + ",\n".join(results) + "\n]\n", encoding="utf-8")
    return len(results)


def read(path: Path, images: Mapping[str, Image], dataset: Dataset) -> Callable[[str], LabelMap]:
    theirs = results_as_dataset(path, dataset)

    def read(name: str) -> LabelMap:
        return dataset_label_map(theirs, images[name].row, order="file")

    return read


def check(path: Path, dataset: Dataset, _: SubmissionProfile, found: Findings, progress: Progress) -> int:
    try:
        results = decode_json(read_bytes(path, most=LARGE).removeprefix(BOM))
    except (OSError, ValueError) as error:
        reason = read_error_reason(error)
        found.failures.append(Problem("values", f"it is not JSON: {reason}", "write a list of results"))
        return 0
    if not isinstance(results, list):
        found.failures.append(Problem("values", "it is not a list of results", "write a list of results"))
        return 0
    seen: set[Any] = set()
    for number, result in enumerate(results):
        problem = _result_problem(result, dataset, found.pixels)
        if problem:
            name = dataset.image_by_id.get(_id(result))
            cure = "a result has image_id, category_id, segmentation and score"
            found.failures.append(
                Problem("values", f"result {number}: {problem}", cure, None, name.file_name if name else None)
            )
        else:
            seen.add(result["image_id"])
        progress("checking results", number + 1, len(results))
    covered = int(found.pixels[1:].sum())
    found.pixels[0] = max(0, sum(image.height * image.width for image in dataset.images) - covered)
    empty = [image.file_name for image in dataset.images if image.id not in seen]
    if empty:
        message = f"{len(empty)} images have no result, first {empty[0]}"
        found.warnings.append(Problem("no-result", message, "check these images", None, empty[0]))
    return len(results)


def _id(result: Any) -> Any:
    found = result.get("image_id") if isinstance(result, dict) else None
    return found if isinstance(found, int | str) else None


def _result_problem(result: Any, dataset: Dataset, pixels: NDArray[np.int64]) -> str:
    if not isinstance(result, dict):
        return "it is not an object"
    image = dataset.image_by_id.get(_id(result))
    if image is None:
        return f"there is no image with the id {result.get('image_id')!r:.40}"
    category, score = result.get("category_id"), result.get("score")
    if not isinstance(category, int | str) or category not in dataset.classes.index_of:
        return f"there is no category {category!r:.40}"
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return f"its score is {score!r:.40}"
    reason = check_segmentation(result.get("segmentation"), image.height, image.width)
    if reason:
        return reason
    pixels[dataset.classes.index_of[category]] += pixel_area(result["segmentation"], image.height, image.width)
    return ""
