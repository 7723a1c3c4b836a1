"""Compare two submissions, and combine several by a vote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.metrics.scores import confusion
from trashkit.names import ByName
from trashkit.predictions.reading import images_by_name
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Progress, silent
from trashkit.submit.check import layout_for
from trashkit.submit.labels import open_submission, write_submission
from trashkit.submit.notes import voter_entry
from trashkit.submit.profiles import SubmissionProfile, profile_of_layout


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from submission A to B.

    images: (file name, changed pixels) of the images in both, most changed first. pixels: how many pixels each of
    them has. matrix: int64 [C, C], pixels by class in A (rows) and in B (columns).
    only_a, only_b: images that the other file lacks.
    """

    images: tuple[tuple[str, int], ...]
    pixels: Mapping[str, int]
    matrix: NDArray[np.int64]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def changed(self) -> int:
        """Total number of changed pixels."""
        return sum(count for _, count in self.images)

    @property
    def share(self) -> float:
        """Share of the pixels that changed, 0 to 1."""
        return self.changed / sum(self.pixels.values()) if self.images else 0.0


def diff(
    first: Path,
    second: Path,
    *,
    layout: CsvLayout | None = None,
    profile: SubmissionProfile | None = None,
    dataset: Dataset | None = None,
    progress: Progress = silent,
) -> Difference:
    """Return what changed from one submission to another, joined by file name; TrashkitError without common images.

    profile: another format than the competition's CSV; it needs `dataset`.
    """
    layout = layout or CsvLayout()
    with (
        open_submission(first, layout, profile, dataset) as one,
        open_submission(second, layout, profile, dataset) as other,
    ):
        theirs = ByName((name, None) for name in other.names)
        shared = [name for name in one.names if name in theirs]
        if not shared:
            raise TrashkitError(
                f"{first} and {second} have no image in common", hint="compare submissions for the same data"
            )
        matrix = np.zeros((layout.classes, layout.classes), dtype=np.int64)
        images: list[tuple[str, int]] = []
        pixels: dict[str, int] = {}
        for done, name in enumerate(shared):
            before, after = one.read(name), other.read(name)
            matrix += confusion(before, after, layout.classes, ignore=-1)
            images.append((name, int(np.count_nonzero(before != after))))
            pixels[name] = before.size
            progress("comparing images", done + 1, len(shared))
        images.sort(key=lambda image: -image[1])
        own = ByName((name, None) for name in one.names)
        only_a = tuple(name for name in one.names if name not in theirs)
        only_b = tuple(name for name in other.names if name not in own)
    return Difference(tuple(images), pixels, matrix, only_a, only_b)


def majority(label_maps: Sequence[NDArray[np.uint8]], weights: Sequence[float]) -> NDArray[np.uint8]:
    """Return the class with the most weight at each pixel, uint8 [H, W].

    Ties go to the class of the earliest of the tied label maps, so put the best first.
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
    layout: CsvLayout | None = None,
    profile: SubmissionProfile | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> int:
    """Write the per-pixel vote of several submissions, joined by file name; return the number of rows.

    A note of the voters is written next to it, see `trashkit.submit.trace`. weights: one per file, equal by default.
    profile: another format than the competition's CSV, of all files and the vote; COCO results get a score of 1. Ties:
    see `majority`. Rows follow the order of the data.
    Raises TrashkitError for fewer than two files, for an image that a file lacks, and for rows with wrong values.
    """
    layout = layout or layout_for(dataset)
    if len(paths) < 2:
        raise TrashkitError("a vote needs at least two submissions", hint="trashkit submit vote A.csv B.csv C.csv ...")
    weights = [1.0] * len(paths) if weights is None else list(weights)
    if len(weights) != len(paths) or min(weights) <= 0:
        raise TrashkitError(
            f"{len(paths)} submissions need {len(paths)} weights above 0, not {len(weights)}",
            hint="give one weight per file, as in --weights 2,1,1",
        )
    wanted = images_by_name(dataset)
    profile = profile or profile_of_layout(layout)
    with ExitStack() as stack:
        members = [stack.enter_context(open_submission(path, layout, profile, dataset)) for path in paths]
        for one in members:
            present = ByName((name, None) for name in one.names)
            lacking = next((name for name in wanted if name not in present), None)
            if lacking is not None:
                raise TrashkitError(f"{one.path} has no row for {lacking}", hint="give submissions for the same data")

        def voted() -> Iterator[tuple[Image, NDArray[np.uint8]]]:
            for done, (name, image) in enumerate(wanted.items()):
                yield image, majority([one.read(name) for one in members], weights)
                progress("voting", done + 1, len(dataset))

        voters = [voter_entry(path) for path in paths]
        return write_submission(
            voted(), dataset, out, profile, overwrite=overwrite, made_by="submit vote", voters=voters, weights=weights
        )
