"""Select the submissions of a ledger that can be compared: validated on the same images, with the same classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.leaderboard.evidence import Evidence, read_evidence
from trashkit.leaderboard.ledger import Entry, Ledger
from trashkit.metrics.scores import Floats

ImageId = int | str


@dataclass(frozen=True, eq=False)
class ComparableEntries:
    """M comparable submissions with their evidence, in the order of the ledger.

    names: of the C classes. image_ids: [N]. matrices: [M, N, C, C] float32. shown: [M, C] predicted pixels on the test
    photos. public, private: [M], NaN if unknown. test_images: number of test photos of the latest. left_out: reason by
    name, for the other submissions.
    """

    entries: tuple[Entry, ...]
    names: tuple[str, ...]
    image_ids: tuple[ImageId, ...]
    matrices: NDArray[np.float32]
    shown: Floats
    public: Floats
    private: Floats
    test_images: int
    left_out: Mapping[str, str]

    def weights(self, given: Mapping[ImageId, float]) -> Floats | None:
        """[N] weights of the images by id, 1 for images without a weight; None if no image has one."""
        if not any(image_id in given for image_id in self.image_ids):
            return None
        return np.array([given.get(image_id, 1.0) for image_id in self.image_ids])

    def fold(self, folds: Sequence[Sequence[ImageId]]) -> NDArray[np.intp] | None:
        """[N] fold of each image from the validation ids of the folds; None if they do not partition the images."""
        home = {image_id: number for number, ids in enumerate(folds) for image_id in ids}
        if sum(map(len, folds)) != len(home) or not all(image_id in home for image_id in self.image_ids):
            return None
        return np.array([home[image_id] for image_id in self.image_ids])


def comparable_entries(ledger: Ledger) -> ComparableEntries:
    """Select the largest set of submissions validated on the same images and classes, the latest of several.

    Submissions whose evidence is damaged are left out. TrashkitError if no submission has evidence.
    """
    left_out: dict[str, str] = {}
    damaged: TrashkitError | None = None
    held: list[tuple[Entry, Evidence]] = []
    for entry in ledger.entries:
        try:
            evidence = read_evidence(ledger, entry)
        except TrashkitError as error:
            left_out[entry.name], damaged = error.message, damaged or error
            continue
        if evidence is None:
            left_out[entry.name] = (
                "it has only a validation score, but others have confusion matrices"
                if entry.miou is not None
                else "added without validation (--oof and --data)"
            )
        else:
            held.append((entry, evidence))
    if not held and damaged is not None:
        raise damaged
    if not held:
        raise TrashkitError(
            f"no submission in {ledger.path} has validation evidence",
            hint="add submissions with --oof STORE --data ANN.json, or with --validation SCORE",
        )
    keys = [(evidence.names, frozenset(evidence.image_ids)) for _, evidence in held]
    counts = {key: keys.count(key) for key in keys}
    key = max(reversed(keys), key=lambda one: counts[one])
    chosen = [pair for pair, one in zip(held, keys, strict=True) if one == key]
    for (entry, _), one in zip(held, keys, strict=True):
        if one != key:
            left_out[entry.name] = "validated on other images or classes"
    ids = chosen[0][1].image_ids
    rows = [evidence.matrices for _, evidence in chosen]
    for n, (_, evidence) in enumerate(chosen):
        if evidence.image_ids != ids:
            place = {image_id: row for row, image_id in enumerate(evidence.image_ids)}
            rows[n] = evidence.matrices[[place[image_id] for image_id in ids]]
    return ComparableEntries(
        tuple(entry for entry, _ in chosen),
        chosen[0][1].names,
        ids,
        np.stack([part.astype(np.float32) for part in rows]),
        np.stack([evidence.test_pixels.sum(axis=0) for _, evidence in chosen]).astype(np.float64),
        np.array([np.nan if entry.public is None else entry.public for entry, _ in chosen]),
        np.array([np.nan if entry.private is None else entry.private for entry, _ in chosen]),
        len(chosen[-1][1].test_pixels),
        left_out,
    )
