"""COCO results: a list of scored annotations, as detectors write it, read as annotations of a data set's images."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.coco.forms import BOX_RESULTS, MASK_RESULTS, has_only_boxes, other_list
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.names import quoted
from trashkit.predictions import submission_csv
from trashkit.readers import HEAD, LARGE, as_utf8, decode_json, open_file, other_form, read_bytes


def first_character(path: Path) -> bytes:
    """The first byte of a text file after blanks and a byte order mark. Raises TrashkitError if it cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
        text = as_utf8(head[: HEAD // 4 * 4])
        found = other_form(head) if text[:1] == head[:1] else None
        if found is not None:
            raise TrashkitError(f"{path} cannot be read: {found.reason}", hint=found.hint)
        return text[:64].lstrip()[:1]
    except OSError as error:
        raise TrashkitError(
            f"{path} cannot be read: {read_error_reason(error)}", hint="give a store, a submission CSV or a COCO file"
        ) from error


def results_as_dataset(path: Path, dataset: Dataset) -> Dataset:
    """Return a list of COCO results as annotations of `dataset`'s images, least certain first, to paint in file order.

    Classes are numbered as in `dataset`. TrashkitError for anything but such a list.
    """
    found = read_results(path, dataset)
    if found is None:
        raise TrashkitError(f"{path} is not a list of COCO results", hint="COCO results begin with [")
    made = dataset_of(found)
    if made.classes.index_of == dataset.classes.index_of:
        return made
    own = dataset.classes.index_of
    annotations = tuple(replace(one, class_index=own[one.category_id]) for one in made.annotations)
    return replace(made, annotations=annotations, classes=dataset.classes)


def dataset_of(results: Coco, classes: str | Path | None = None) -> Dataset:
    """A list of results as a data set. The hint of an error names no command that refuses such lists."""
    try:
        return read_dataset(results, classes=classes)
    except TrashkitError as error:
        message = re.sub(r"\bannotations\[\d+\] \(id (\d+)\)", r"result \1", error.message)
        raise TrashkitError(message, hint="each result needs image_id, category_id, segmentation and score") from error


def read_results(path: Path, dataset: Dataset) -> Coco | None:
    """Return a list of COCO results as COCO with the images and categories of `dataset`; None for other files."""
    if first_character(path) != b"[":
        return None
    try:
        results = decode_json(read_bytes(path, most=LARGE).removeprefix(submission_csv.BOM))
    except (OSError, ValueError) as error:
        raise TrashkitError(
            f"{path} is not JSON: {read_error_reason(error)}", hint="give a COCO file or a list of COCO results"
        ) from error
    form = other_list(results)
    if form is not None and form not in (MASK_RESULTS, BOX_RESULTS):
        raise TrashkitError(f"{path} is {form[0]}", hint=form[1].format(path=quoted(str(path))))
    for number, result in enumerate(results):
        score = result.get("score") if isinstance(result, dict) else "none"
        if not (score is None or (isinstance(score, int | float) and abs(score) < math.inf)):
            wrong = f"its score is {score!r:.40}" if isinstance(result, dict) else "it is not an object"
            raise TrashkitError(
                f"{path} is not a list of COCO results: result {number}: {wrong}",
                hint="each is an object with image_id, category_id, segmentation and a number as score",
            )
    if has_only_boxes(results):
        raise TrashkitError(
            f"{path}: its {len(results)} results have boxes only (bbox) and no outlines (segmentation)",
            hint="write the results of the masks, as in COCO's segmentation task",
        )
    # The most certain is painted last, on top; the sort keeps equal scores in file order.
    annotations = [{**result, "id": number} for number, result in enumerate(results)]
    annotations.sort(key=lambda result: result.get("score") or 0)
    images, categories = dataset.coco.records("images"), dataset.coco.records("categories")
    return Coco.of({"images": images, "categories": categories, "annotations": annotations}, path)
