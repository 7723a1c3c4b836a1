"""Submissions as a folder of PNG label maps: written, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_info, photo_path
from trashkit.progress import Progress
from trashkit.submit.check import Findings, Problem, count_values
from trashkit.submit.profiles import SubmissionProfile, image_key, images_by_key

LabelMap = NDArray[np.uint8]


def write(found: Iterator[tuple[Image, str, LabelMap]], out: Path, profile: SubmissionProfile) -> int:
    table = np.arange(256, dtype=np.uint8)
    table[: len(profile.values)] = profile.values
    count = 0
    for _, key, labels in found:
        path = photo_path(out, f"{key}{profile.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", table[labels])[1].tobytes())
        count += 1
    return count


def read(
    path: Path, images: Mapping[str, Image], classes: int, profile: SubmissionProfile
) -> Callable[[str], LabelMap]:
    table = np.zeros(256, np.uint8)
    values = profile.values or tuple(range(classes))
    table[list(values)] = np.arange(len(values))

    def read(name: str) -> LabelMap:
        with Pillow.open(photo_path(path, f"{image_key(images[name], profile)}{profile.suffix}")) as opened:
            return table[np.array(opened, np.uint8)]  # checked before, see `check`

    return read


def check(path: Path, dataset: Dataset, profile: SubmissionProfile, found: Findings, progress: Progress) -> int:
    values = profile.values or tuple(range(len(dataset.classes)))
    wanted = {f"{key}{profile.suffix}": image for key, image in images_by_key(dataset, profile).items()}
    for done, (name, image) in enumerate(wanted.items()):
        place = photo_path(path, name)
        progress("checking files", done + 1, len(wanted))
        if not place.exists():
            message = f"there is no {name}"
            found.failures.append(
                Problem("missing-image", message, "predict it and add its file", None, image.file_name)
            )
            continue
        problem = _png_problem(place, image, profile, values, found.pixels)
        if problem is not None:
            found.failures.append(problem)
    present = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    extra = [name for name in present if name not in wanted]
    if extra:
        message = f"{len(extra)} files do not belong to an image, first {extra[0]}"
        found.warnings.append(Problem("unknown-file", message, "names are as in the data"))
    return len(present) - len(extra)


def _png_problem(
    place: Path, image: Image, profile: SubmissionProfile, values: tuple[int, ...], pixels: NDArray[np.int64]
) -> Problem | None:
    """What is wrong with one file; its classes are counted into `pixels` where nothing is."""
    name, size = image.file_name, profile.size or (image.height, image.width)
    try:
        info = photo_info(place)
    except TrashkitError as error:
        return Problem("values", error.message, "write it again", None, name)
    if info.format != "PNG" or info.mode not in ("L", "P"):
        message = f"it is a {info.format} of mode {info.mode}"
        return Problem("values", message, "write a PNG of one 8-bit channel", None, name)
    if (info.height, info.width) != size:
        message = f"it is {info.width}x{info.height}, wanted is {size[1]}x{size[0]}"
        return Problem("size", message, "resize the label map (nearest neighbour)", None, name)
    try:
        with Pillow.open(place) as opened:
            labels = np.array(opened, np.uint8)
    except Exception as error:  # Pillow has many errors for damaged files
        return Problem("values", f"it is damaged: {error}", "write it again", None, name)
    counts = count_values(labels)
    for value in np.flatnonzero(counts).tolist():
        if value not in values:
            return Problem(
                "values", f"it has the value {value}, which is not a class", f"values are {values}", None, name
            )
        pixels[values.index(value)] += counts[value]
    return None
