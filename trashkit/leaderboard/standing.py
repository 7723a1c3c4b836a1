"""Submissions of a ledger that can be weighed together: validated on the same images, with the same classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.leaderboard.evidence import Evidence, read_evidence
from trashkit.leaderboard.ledger import Entry, Ledger
from trashkit.scores import Floats

ImageId = int | str


@dataclass(frozen=True, eq=False)
class Standing:
    """M submissions with their evidence, in the order of the ledger.

    names: of the C classes. image_ids: [N]. matrices: [M, N, C, C] float32. shown: [M, C] pixels on the test photos.
    public, private: [M], NaN where unknown. test_images: of the latest. left_out: {name: why} of the other entries.
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
        """[N] weights of the images by id, 1 for those that are not named; None where none is."""
        if not any(image_id in given for image_id in self.image_ids):
            return None
        return np.array([given.get(image_id, 1.0) for image_id in self.image_ids])

    def fold(self, folds: Sequence[Sequence[ImageId]]) -> NDArray[np.intp] | None:
        """[N] fold of each image from the ids that each fold validates on; None where they are no partition of all."""
        home = {image_id: number for number, ids in enumerate(folds) for image_id in ids}
        if sum(map(len, folds)) != len(home) or not all(image_id in home for image_id in self.image_ids):
            return None
        return np.array([home[image_id] for image_id in self.image_ids])


def standing(ledger: Ledger) -> Standing:
    """Gather the evidence of a ledger: the largest set of submissions validated on the same images, else the latest.

    TrashkitError where no submission has evidence.
    """
    left_out: dict[str, str] = {}
    held: list[tuple[Entry, Evidence]] = []
    for entry in ledger.entries:
        evidence = read_evidence(ledger, entry)
        if evidence is None:
            bare = "a bare validation score says less than the others' matrices" if entry.miou is not None else ""
            left_out[entry.name] = bare or "added without validation (--oof and --truth)"
        else:
            held.append((entry, evidence))
    if not held:
        raise TrashkitError(
            f"no submission in {ledger.path} has validation evidence",
            hint="add submissions with --oof STORE --truth ANN.json, or with --validation SCORE",
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
    return Standing(
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
