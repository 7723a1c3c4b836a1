"""Submissions as a CSV of run lengths, as Kaggle takes them: written, read and checked."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import read_error_reason
from trashkit.progress import Progress
from trashkit.readers import ContentError, iterate_csv
from trashkit.submit.check import Findings, Problem, count_values
from trashkit.submit.profiles import SubmissionProfile, image_key, images_by_key

LabelMap = NDArray[np.uint8]


def encode_runs(covered: NDArray[np.bool_], *, columns: bool = True) -> str:
    """Return Kaggle's run lengths of a mask [H, W]: "start length start length ...", from 1 down the columns.

    columns: False counts along the rows instead. An empty text where nothing is covered.
    """
    flat = np.concatenate([[0], covered.ravel(order="F" if columns else "C").astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat)) + 1
    edges[1::2] -= edges[::2]
    return " ".join(map(str, edges.tolist()))


def decode_runs(text: str, height: int, width: int, *, columns: bool = True) -> NDArray[np.bool_]:
    """Return the mask that `encode_runs` encoded; ValueError with a reason for anything else."""
    starts, lengths = _parsed(text, height * width)
    flat = np.zeros(height * width + 1, np.int8)
    np.add.at(flat, starts - 1, 1)
    np.add.at(flat, starts + lengths - 1, -1)
    covered: NDArray[np.bool_] = np.cumsum(flat[:-1], dtype=np.int8).astype(np.bool_)
    return covered.reshape((height, width), order="F" if columns else "C")


def _parsed(text: str, pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts (from 1) and lengths of runs in an image of so many pixels; ValueError with a reason where they do not
    fit."""
    tokens = text.split()
    if not all(token.isascii() and token.isdigit() and len(token) < 12 for token in tokens):
        raise ValueError("its runs are not whole numbers")
    if len(tokens) % 2:
        raise ValueError(f"it has {len(tokens)} numbers, runs are pairs of start and length")
    starts, lengths = np.array(tokens[0::2], np.int64), np.array(tokens[1::2], np.int64)
    if len(starts) and (starts.min() < 1 or lengths.min() < 1 or (starts + lengths).max() > pixels + 1):
        raise ValueError(f"a run lies outside the {pixels:,} pixels, which are counted from 1")
    if (starts[1:] < (starts + lengths)[:-1]).any():
        raise ValueError("its runs overlap, or are not in order")
    return starts, lengths


def write(found: Iterator[tuple[Image, str, LabelMap]], out: Path, profile: SubmissionProfile, classes: int) -> int:
    count = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(profile.columns)
        for _, key, labels in found:
            for index in range(1, classes):
                text = encode_runs(labels == index, columns=profile.pixel_order == "columns")
                if text or profile.empty == "row":
                    writer.writerow([key, index, text] if len(profile.columns) == 3 else [f"{key}_{index}", text])
                    count += 1
    return count


def read(path: Path, images: Mapping[str, Image], profile: SubmissionProfile) -> Callable[[str], LabelMap]:
    found: dict[str, list[tuple[int, str]]] = {}
    for line, fields in iterate_csv(path):
        if fields and line > 1:
            key, number = (fields[0], fields[1]) if len(fields) == 3 else fields[0].rpartition("_")[::2]
            found.setdefault(key, []).append((int(number), fields[-1]))

    def read(name: str) -> LabelMap:
        image = images[name]
        size = profile.size or (image.height, image.width)
        labels = np.zeros(size, np.uint8)
        for number, text in found.get(image_key(image, profile), ()):
            labels[decode_runs(text, *size, columns=profile.pixel_order == "columns")] = number
        return labels

    return read


def check(path: Path, dataset: Dataset, profile: SubmissionProfile, found: Findings, progress: Progress) -> int:
    wanted = images_by_key(dataset, profile)
    runs = _Rows(wanted, profile, dataset)
    rows = 0
    try:
        lines = iterate_csv(path)
        _, header = next(lines, (1, []))
        if tuple(header) != profile.columns:
            message = f"the first line is {','.join(header)[:60]!r}"
            found.failures.append(Problem("header", message, f"it must be {','.join(profile.columns)}", 1))
        for line, fields in lines:
            rows += bool(fields)
            if not fields:
                found.warnings.append(Problem("blank-line", "the line is blank", "delete it", line))
            problem = None
            if len(fields) not in (0, len(profile.columns)):
                cure = f"it must have {len(profile.columns)}"
                problem = Problem("values", f"it has {len(fields)} columns", cure, line)
            elif fields:
                problem = _check_row(fields, line, runs)
            if problem is not None:
                found.failures.append(problem)
            progress("checking rows", min(len(runs.runs), len(wanted)), len(wanted))
    except (OSError, ContentError) as error:
        reason = read_error_reason(error)
        found.failures.append(Problem("values", f"it cannot be read as a CSV: {reason}", "write it again"))
    found.warnings += _overlaps(runs, found.pixels)
    needed = range(1, len(dataset.classes)) if profile.empty == "row" else ()
    for key, image in wanted.items():
        lacking = [index for index in needed if (key, index) not in runs.seen]
        if lacking:
            message = f"{len(lacking)} classes have no row, first {dataset.classes.names[lacking[0]]}"
            found.failures.append(Problem("missing-row", message, "write an empty row", None, image.file_name))
    return rows


@dataclass(slots=True)
class _Rows:
    """Rows of run lengths read so far: lines by image and class, and the runs of each image with class and line."""

    wanted: Mapping[str, Image]
    profile: SubmissionProfile
    dataset: Dataset
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    runs: dict[str, list[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]] = field(default_factory=dict)


def _check_row(fields: list[str], line: int, runs: _Rows) -> Problem | None:
    """Return the problem of one row of run lengths, and paint its pixels."""
    key, number = (fields[0], fields[1]) if len(fields) == 3 else fields[0].rpartition("_")[::2]
    image = runs.wanted.get(key)
    if image is None:
        return Problem(
            "unknown-image", f"there is no image {key!r}", f"use names such as {next(iter(runs.wanted))}", line, key
        )
    if not (number.isascii() and number.isdigit() and 0 < int(number[:9]) < len(runs.dataset.classes)):
        cure = f"classes are 1 to {len(runs.dataset.classes) - 1}"
        return Problem("values", f"there is no class {number!r}", cure, line, image.file_name)
    index = int(number)
    if (key, index) in runs.seen:
        message = f"image and class already have a row, in line {runs.seen[key, index]}"
        return Problem("doubled-row", message, "delete one of the two", line, image.file_name)
    runs.seen[key, index] = line
    height, width = runs.profile.size or (image.height, image.width)
    try:
        runs.runs.setdefault(key, []).append((index, line, *_parsed(fields[-1], height * width)))
    except ValueError as error:
        return Problem("values", str(error), "write start and length, pixels from 1", line, image.file_name)
    return None


def _overlaps(runs: _Rows, pixels: NDArray[np.int64]) -> list[Problem]:
    """Paint the runs, one image at a time; return a problem for each row that overlaps earlier ones of its image.

    pixels: the classes are counted into it.
    """
    problems = []
    for key, rows in runs.runs.items():
        image = runs.wanted[key]
        height, width = runs.profile.size or (image.height, image.width)
        labels = np.zeros(height * width, np.uint8)
        for index, line, starts, lengths in rows:
            twice = 0
            for start, length in zip((starts - 1).tolist(), lengths.tolist(), strict=True):
                part = labels[start : start + length]
                twice += int(np.count_nonzero(part))
                part[:] = index
            if twice:
                message = f"{twice:,} pixels already have a class"
                problems.append(Problem("overlap", message, "each pixel takes one class", line, image.file_name))
        pixels += count_values(labels)
    return sorted(problems, key=lambda problem: problem.line or 0)
