"""Submissions next to each other: what changed from one to another, and a vote among several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.predictions import images_by_name
from trashkit.progress import Progress, silent
from trashkit.submission import Profile
from trashkit.submit.check import profile_of
from trashkit.submit.forms import Form, form_of_profile
from trashkit.submit.labels import open_labels, write_labels
from trashkit.submit.notes import member


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
        """How many pixels changed in all."""
        return sum(count for _, count in self.images)

    @property
    def share(self) -> float:
        """Share of the pixels that changed, 0 to 1."""
        return self.changed / sum(self.pixels.values()) if self.images else 0.0


def diff(
    first: Path,
    second: Path,
    *,
    profile: Profile | None = None,
    form: Form | None = None,
    dataset: Dataset | None = None,
    progress: Progress = silent,
) -> Difference:
    """What changed from one submission to another, joined by file name. TrashkitError if they share no image.

    form: another one than the competition's CSV; it needs to know the images of `dataset`.
    """
    profile = profile or Profile()
    with open_labels(first, profile, form, dataset) as one, open_labels(second, profile, form, dataset) as other:
        theirs = set(other.names)
        shared = [name for name in one.names if name in theirs]
        if not shared:
            raise TrashkitError(f"{first} and {second} share no image", hint="compare submissions for the same data")
        matrix = np.zeros((profile.classes, profile.classes), dtype=np.int64)
        images: list[tuple[str, int]] = []
        pixels: dict[str, int] = {}
        for done, name in enumerate(shared):
            before, after = one.read(name), other.read(name)
            pairs = before.astype(np.int64).ravel() * profile.classes + after.ravel()
            matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
            images.append((name, int(np.count_nonzero(before != after))))
            pixels[name] = before.size
            progress("comparing images", done + 1, len(shared))
        images.sort(key=lambda image: -image[1])
        own = set(one.names)
        only_a = tuple(name for name in one.names if name not in theirs)
        only_b = tuple(name for name in other.names if name not in own)
    return Difference(tuple(images), pixels, matrix, only_a, only_b)


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
    form: Form | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> int:
    """Write the per-pixel vote of several submissions, joined by file name; returns the number of rows.

    A note of the voters is written next to it, see `trashkit.submit.trace`.

    weights: one per file, equal by default. form: another one than the competition's CSV, of all files and the vote;
    its voters and the vote hold label maps, so COCO results get a score of 1. Ties: see `majority`.
    Row order is the data's. TrashkitError for fewer
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
    form = form or form_of_profile(profile)
    with ExitStack() as stack:
        members = [stack.enter_context(open_labels(path, profile, form, dataset)) for path in paths]
        for one in members:
            present = set(one.names)
            lacking = next((name for name in wanted if name not in present), None)
            if lacking is not None:
                raise TrashkitError(f"{one.path} has no row for {lacking}", hint="every file must cover the same data")

        def voted() -> Iterator[tuple[Image, NDArray[np.uint8]]]:
            for done, (name, image) in enumerate(wanted.items()):
                yield image, majority([one.read(name) for one in members], weights)
                progress("voting", done + 1, len(dataset))

        voters = [member(path) for path in paths]
        return write_labels(
            voted(), dataset, out, form, overwrite=overwrite, made_by="submit vote", voters=voters, weights=weights
        )
