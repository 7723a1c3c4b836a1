"""Submissions next to each other: what changed from one to another, and a vote among several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashkit import submission
from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, sha256
from trashkit.predictions import images_by_name
from trashkit.progress import Progress, silent
from trashkit.submission import Profile, Row
from trashkit.submit.check import profile_of
from trashkit.submit.notes import member, note_path, write_note


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from submission A to B.

    images: (file name, changed pixels) of the images in both, most changed first. pixels: how many pixels an image
    has. matrix: int64 [C, C], pixels by class in A (rows) and in B (columns). only_a, only_b: images that the other
    file lacks.
    """

    images: tuple[tuple[str, int], ...]
    pixels: int
    matrix: NDArray[np.int64]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def changed(self) -> int:
        """How many pixels changed in all."""
        return sum(count for _, count in self.images)

    @property
    def share(self) -> float:
        """Share of the pixels that changed, 0 to 1."""
        return self.changed / (len(self.images) * self.pixels) if self.images else 0.0


def index(path: Path, profile: Profile) -> dict[str, Row]:
    """Where each image's row lies in a CSV, by file name; TrashkitError for another header or an image twice."""
    if submission.read_header(path) != profile.header:
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {profile.header}",
            hint="give a submission CSV; `trashkit submit check` says what is wrong with one",
        )
    rows: dict[str, Row] = {}
    for row in submission.read(path, profile, values=False):
        if row.file_name in rows:
            raise TrashkitError(
                f"{path}, line {row.line}: {row.file_name} has a row already, in line {rows[row.file_name].line}",
                hint="delete one of the two",
            )
        rows[row.file_name] = row
    return rows


def diff(first: Path, second: Path, *, profile: Profile | None = None, progress: Progress = silent) -> Difference:
    """What changed from one submission to another, joined by file name. TrashkitError if they share no image."""
    profile = profile or Profile()
    others = index(second, profile)
    own = index(first, profile)
    shared = [name for name in own if name in others]
    if not shared:
        raise TrashkitError(f"{first} and {second} share no image", hint="compare submissions for the same data")
    matrix = np.zeros((profile.classes, profile.classes), dtype=np.int64)
    images: list[tuple[str, int]] = []
    with first.open("rb") as first_file, second.open("rb") as second_file:
        for done, name in enumerate(shared):
            before = submission.require(submission.read_at(first_file, own[name], profile), first)
            after = submission.require(submission.read_at(second_file, others[name], profile), second)
            pairs = before.astype(np.int64).ravel() * profile.classes + after.ravel()
            matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
            images.append((name, int(np.count_nonzero(before != after))))
            progress("comparing images", done + 1, len(shared))
    images.sort(key=lambda image: -image[1])
    only_a = tuple(name for name in own if name not in others)
    only_b = tuple(name for name in others if name not in own)
    return Difference(tuple(images), profile.count, matrix, only_a, only_b)


def majority(label_maps: Sequence[NDArray[np.uint8]], weights: Sequence[float]) -> NDArray[np.uint8]:
    """The class with the most weight at each pixel, uint8 [H, W].

    Ties go to the class that the earliest of the tied label maps gives, so put the best first: no class, background
    included, is preferred for its number.
    """
    best = np.zeros(label_maps[0].shape, dtype=np.float32)
    winner = label_maps[0].copy()
    for candidate in label_maps:
        votes = np.zeros(candidate.shape, dtype=np.float32)
        for label_map, weight in zip(label_maps, weights, strict=True):
            votes += np.float32(weight) * (label_map == candidate)
        better = votes > best
        np.copyto(winner, candidate, where=better)
        np.copyto(best, votes, where=better)
    return winner


def vote(
    paths: Sequence[Path],
    dataset: Dataset,
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    profile: Profile | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> int:
    """Write the per-pixel vote of several submissions, joined by file name; returns the number of rows.

    A note of the voters is written next to it, see `trashkit.submit.trace`.

    weights: one per file, equal by default. Ties: see `majority`. Row order is the data's. TrashkitError for fewer
    than two files, for an image that a file lacks, and for rows whose values are wrong.
    """
    profile = profile or profile_of(dataset)
    if len(paths) < 2:
        raise TrashkitError("a vote needs at least two submissions", hint="trashkit submit vote A.csv B.csv C.csv ...")
    weights = [1.0] * len(paths) if weights is None else list(weights)
    if len(weights) != len(paths) or min(weights) <= 0:
        raise TrashkitError(
            f"{len(paths)} submissions need {len(paths)} weights above 0, given are {len(weights)}",
            hint="give one weight per file, as in --weights 2,1,1",
        )
    wanted = images_by_name(dataset)
    indexes = [index(path, profile) for path in paths]
    for path, rows in zip(paths, indexes, strict=True):
        lacking = next((name for name in wanted if name not in rows), None)
        if lacking is not None:
            raise TrashkitError(f"{path} has no row for {lacking}", hint="every file must cover the same data")

    def rows_of_vote(stack: ExitStack) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        files = [stack.enter_context(path.open("rb")) for path in paths]
        for done, name in enumerate(wanted):
            label_maps = [
                submission.require(submission.read_at(file, rows[name], profile), path)
                for file, rows, path in zip(files, indexes, paths, strict=True)
            ]
            yield name, majority(label_maps, weights)
            progress("voting", done + 1, len(dataset))

    refuse_existing(note_path(out), overwrite=overwrite)
    with ExitStack() as stack:
        count = submission.write(out, rows_of_vote(stack), profile, overwrite=overwrite)
    voters = [member(path) for path in paths]
    size = (profile.height, profile.width)
    write_note(out, dataset, sha256(out), size, made_by="submit vote", voters=voters, weights=weights)
    return count
