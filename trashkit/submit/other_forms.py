"""Submissions as run lengths (Kaggle), PNG folders and COCO results: written from a store, and checked."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.masks import mask, pixel_area, polygons_from_label_map, rle
from trashkit.photos import photo_info, photo_path
from trashkit.predictions import class_lookup, match_rows
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities, resample
from trashkit.submission import BOM
from trashkit.submit.check import Problem, Report
from trashkit.submit.forms import Form

LabelMap = NDArray[np.uint8]
Scores = Callable[[Image], Callable[[int], NDArray[np.float32]]]
"""From an image to a function from a class index to the probabilities of that class, float32 [H, W] at native size."""


def image_key(image: Image, form: Form) -> str:
    """How the form names an image."""
    if form.images == "id":
        return str(image.id)
    if form.images == "stem":
        return PurePosixPath(image.file_name).stem
    return PurePosixPath(image.file_name).with_suffix("").as_posix() if form.kind == "png" else image.file_name


def images_by_key(dataset: Dataset, form: Form) -> dict[str, Image]:
    """Images by the name that the form gives them; TrashkitError where two share one."""
    found: dict[str, Image] = {}
    for image in dataset.images:
        key = image_key(image, form)
        if key in found:
            raise TrashkitError(
                f"{found[key].file_name} and {image.file_name} are both {key} in this form",
                hint='set images = "file_name" or "id" in the profile',
            )
        found[key] = image
    return found


def write(store: Probabilities, dataset: Dataset, out: Path, form: Form, progress: Progress = silent) -> int:
    """Write a store in a form of kind rle-csv, png or coco-results as `out`; returns the number of rows or files.

    `out` must not exist: the caller gives a temporary name.
    """
    rows = dict(zip((image.row for image in dataset.images), match_rows(store, dataset), strict=True))
    lookup = class_lookup(store.classes, dataset, str(store.path))
    position = {name: n for n, name in enumerate(store.classes)}

    def label_maps() -> Iterator[tuple[Image, LabelMap]]:
        for done, image in enumerate(dataset.images):
            yield image, lookup[store.label_map(rows[image.row], form.size or (image.height, image.width))]
            progress("writing images", done + 1, len(rows))

    def scores(image: Image) -> Callable[[int], NDArray[np.float32]]:
        probabilities = resample(store.read(rows[image.row]), (image.height, image.width))
        return lambda index: probabilities[position[dataset.classes.names[index]]]

    return write_maps(label_maps(), out, dataset, form, scores)


def write_maps(
    found: Iterable[tuple[Image, LabelMap]], out: Path, dataset: Dataset, form: Form, scores: Scores | None = None
) -> int:
    """Write label maps as `write` does a store. scores: of COCO results, see `Scores`; 1 for each without it."""
    keys = {image.row: key for key, image in images_by_key(dataset, form).items()}
    keyed = ((image, keys[image.row], labels) for image, labels in found)
    if form.kind == "png":
        return _write_pngs(keyed, out, form)
    if form.kind == "rle-csv":
        return _write_runs(keyed, out, form, len(dataset.classes))
    return _write_results(keyed, out, dataset, scores)


def _write_pngs(found: Iterator[tuple[Image, str, LabelMap]], out: Path, form: Form) -> int:
    table = np.arange(256, dtype=np.uint8)
    table[: len(form.values)] = form.values
    count = 0
    for _, key, labels in found:
        path = photo_path(out, f"{key}{form.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", table[labels])[1].tobytes())
        count += 1
    return count


def encode_runs(covered: NDArray[np.bool_], *, columns: bool = True) -> str:
    """Kaggle's run lengths of a mask [H, W]: "start length start length ...", pixels counted from 1 down the columns.

    columns: False counts along the rows instead. An empty text where nothing is covered.
    """
    flat = np.concatenate([[0], covered.ravel(order="F" if columns else "C").astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat)) + 1
    edges[1::2] -= edges[::2]
    return " ".join(map(str, edges.tolist()))


def decode_runs(text: str, height: int, width: int, *, columns: bool = True) -> NDArray[np.bool_]:
    """The mask of `encode_runs`. ValueError, in words, for anything else."""
    tokens = text.split()
    if not all(token.isascii() and token.isdigit() and len(token) < 12 for token in tokens):
        raise ValueError("its runs are no whole numbers")
    if len(tokens) % 2:
        raise ValueError(f"it has {len(tokens)} numbers, runs are pairs of start and length")
    starts, lengths = np.array(tokens[0::2], np.int64), np.array(tokens[1::2], np.int64)
    if len(starts) and (starts.min() < 1 or lengths.min() < 1 or (starts + lengths).max() > height * width + 1):
        raise ValueError(f"a run lies outside the {height * width:,} pixels, which are counted from 1")
    if (starts[1:] < (starts + lengths)[:-1]).any():
        raise ValueError("its runs overlap, or are not in order")
    flat = np.zeros(height * width + 1, np.int8)
    np.add.at(flat, starts - 1, 1)
    np.add.at(flat, starts + lengths - 1, -1)
    covered: NDArray[np.bool_] = np.cumsum(flat[:-1]).astype(np.bool_)
    return covered.reshape((height, width), order="F" if columns else "C")


def _write_runs(found: Iterator[tuple[Image, str, LabelMap]], out: Path, form: Form, classes: int) -> int:
    count = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(form.columns)
        for _, key, labels in found:
            for index in range(1, classes):
                text = encode_runs(labels == index, columns=form.pixel_order == "columns")
                if text or form.empty == "row":
                    writer.writerow([key, index, text] if len(form.columns) == 3 else [f"{key}_{index}", text])
                    count += 1
    return count


def _write_results(
    found: Iterator[tuple[Image, str, LabelMap]], out: Path, dataset: Dataset, scores: Scores | None
) -> int:
    """COCO results: one for each connected region, its score the mean probability of its class there."""
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


@dataclass(slots=True)
class _Found:
    """What a check gathers; pixels: int64 [256], by class."""

    failures: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))


def check(path: Path, dataset: Dataset, form: Form, progress: Progress = silent) -> Report:
    """Check a submission in a form of kind rle-csv, png or coco-results, as `trashkit.submit.check` does a CSV.

    Raises TrashkitError only where the file or folder cannot be read at all.
    """
    if not path.exists() or path.is_dir() != (form.kind == "png"):
        kind = "folder of PNG files" if form.kind == "png" else "file"
        raise TrashkitError(f"{path} is no {kind}", hint="give a submission of the profile's kind")
    found = _Found()
    checks = {"png": _check_pngs, "rle-csv": _check_runs, "coco-results": _check_results}
    rows = checks[form.kind](path, dataset, form, found, progress)
    shares = found.pixels[: len(dataset.classes)] / max(int(found.pixels.sum()), 1)
    names = dataset.classes.names
    return Report(path, rows, len(dataset), names, shares, tuple(found.failures), tuple(found.warnings))


def _check_pngs(path: Path, dataset: Dataset, form: Form, found: _Found, progress: Progress) -> int:
    values = form.values or tuple(range(len(dataset.classes)))
    wanted = {f"{key}{form.suffix}": image for key, image in images_by_key(dataset, form).items()}
    for done, (name, image) in enumerate(wanted.items()):
        place = photo_path(path, name)
        progress("checking files", done + 1, len(wanted))
        if not place.exists():
            message = f"there is no {name}"
            found.failures.append(
                Problem("missing-image", message, "predict it and add its file", None, image.file_name)
            )
            continue
        problem = _png_problem(place, image, form, values, found.pixels)
        if problem is not None:
            found.failures.append(problem)
    present = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    extra = [name for name in present if name not in wanted]
    if extra:
        message = f"{len(extra)} files belong to no image, first {extra[0]}"
        found.warnings.append(Problem("unknown-file", message, "names are as in the data"))
    return len(present) - len(extra)


def _png_problem(
    place: Path, image: Image, form: Form, values: tuple[int, ...], pixels: NDArray[np.int64]
) -> Problem | None:
    """What is wrong with one file; its classes are counted into `pixels` where nothing is."""
    name, size = image.file_name, form.size or (image.height, image.width)
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
    from PIL import Image as Pillow

    try:
        with Pillow.open(place) as opened:
            labels = np.array(opened, np.uint8)
    except Exception as error:  # Pillow has many errors for damaged files
        return Problem("values", f"it is damaged: {error}", "write it again", None, name)
    counts = np.bincount(labels.ravel(), minlength=256)
    for value in np.flatnonzero(counts).tolist():
        if value not in values:
            return Problem("values", f"it has the value {value}, no class", f"values are {values}", None, name)
        pixels[values.index(value)] += counts[value]
    return None


def _check_runs(path: Path, dataset: Dataset, form: Form, found: _Found, progress: Progress) -> int:
    wanted = images_by_key(dataset, form)
    runs = _Runs(wanted, form, dataset)
    csv.field_size_limit(1 << 30)
    rows = 0
    try:
        with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if tuple(header) != form.columns:
                message = f"the first line is {','.join(header)[:60]!r}"
                found.failures.append(Problem("header", message, f"it must be {','.join(form.columns)}", 1))
            for fields in reader:
                rows += bool(fields)
                if not fields:
                    blank = Problem("blank-line", "the line is blank", "delete it", reader.line_num)
                    found.warnings.append(blank)
                problem = None
                if len(fields) not in (0, len(form.columns)):
                    cure = f"it must have {len(form.columns)}"
                    problem = Problem("values", f"it has {len(fields)} columns", cure, reader.line_num)
                elif fields:
                    problem = _look(fields, reader.line_num, runs)
                if problem is not None:
                    (found.warnings if problem.code == "overlap" else found.failures).append(problem)
                progress("checking rows", min(len(runs.painted), len(wanted)), len(wanted))
    except (OSError, csv.Error) as error:
        found.failures.append(Problem("values", f"it cannot be read as a CSV: {error}", "write it again"))
    for labels in runs.painted.values():
        found.pixels += np.bincount(labels.ravel(), minlength=256)
    needed = range(1, len(dataset.classes)) if form.empty == "row" else ()
    for key, image in wanted.items():
        lacking = [index for index in needed if (key, index) not in runs.seen]
        if lacking:
            message = f"{len(lacking)} classes have no row, first {dataset.classes.names[lacking[0]]}"
            found.failures.append(Problem("missing-row", message, "write an empty row", None, image.file_name))
    return rows


@dataclass(slots=True)
class _Runs:
    """What is known while rows of run lengths are read: lines by image and class, and what is painted so far."""

    wanted: Mapping[str, Image]
    form: Form
    dataset: Dataset
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    painted: dict[str, LabelMap] = field(default_factory=dict)


def _look(fields: list[str], line: int, runs: _Runs) -> Problem | None:
    """What is wrong with one row of run lengths; its pixels are painted where nothing is."""
    key, number = (fields[0], fields[1]) if len(fields) == 3 else fields[0].rpartition("_")[::2]
    image = runs.wanted.get(key)
    if image is None:
        return Problem("unknown-image", f"no image is {key!r}", f"names are as {next(iter(runs.wanted))}", line, key)
    if not (number.isascii() and number.isdigit() and 0 < int(number[:9]) < len(runs.dataset.classes)):
        cure = f"classes are 1 to {len(runs.dataset.classes) - 1}"
        return Problem("values", f"there is no class {number!r}", cure, line, image.file_name)
    index = int(number)
    if (key, index) in runs.seen:
        message = f"image and class have a row already, in line {runs.seen[key, index]}"
        return Problem("doubled-row", message, "delete one of the two", line, image.file_name)
    runs.seen[key, index] = line
    height, width = runs.form.size or (image.height, image.width)
    try:
        covered = decode_runs(fields[-1], height, width, columns=runs.form.pixel_order == "columns")
    except ValueError as error:
        return Problem("values", str(error), "write start and length, pixels from 1", line, image.file_name)
    labels = runs.painted.setdefault(key, np.zeros((height, width), np.uint8))
    twice = int(np.count_nonzero(labels[covered]))
    labels[covered] = index
    if twice:
        return Problem("overlap", f"{twice:,} pixels have a class already", "expected once each", line, image.file_name)
    return None


def _check_results(path: Path, dataset: Dataset, _: Form, found: _Found, progress: Progress) -> int:
    try:
        results = json.loads(path.read_bytes().removeprefix(BOM))
    except (OSError, ValueError, RecursionError) as error:
        found.failures.append(Problem("values", f"it is not JSON: {error}", "write a list of results"))
        return 0
    if not isinstance(results, list):
        found.failures.append(Problem("values", "it is no list of results", "write a list of results"))
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
        found.warnings.append(Problem("no-result", message, "look at the pictures", None, empty[0]))
    return len(results)


def _id(result: Any) -> Any:
    found = result.get("image_id") if isinstance(result, dict) else None
    return found if isinstance(found, int | str) else None


def _result_problem(result: Any, dataset: Dataset, pixels: NDArray[np.int64]) -> str:
    if not isinstance(result, dict):
        return "it is no object"
    image = dataset.image_by_id.get(_id(result))
    if image is None:
        return f"no image has the id {result.get('image_id')!r:.40}"
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
