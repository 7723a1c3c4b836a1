"""Label errors that predictions show: which annotations are likely wrong, and how; where annotations are missing.

Each annotation is measured beside the out-of-fold prediction of its image (`label_scene`). What the measures of an
error look like is learned from the file itself: annotations are made wrong on purpose, one way at a time
(`label_plant`), and measured beside the same predictions. An additive logistic model per kind of error tells these from
the annotations as they stand, and the share of each kind is then fitted to the file (`label_odds`), which makes the
score a probability. Images are read one after the other.

Image-level softmin, and the idea of ranking by out-of-fold probabilities: V. Lad and J. Mueller, "Estimating label
quality and errors in semantic segmentation data via any model", 2023; C. Northcutt et al., "Confident learning", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from trashkit import masks
from trashkit.audit import label_plant
from trashkit.audit.label_odds import Rows, judge
from trashkit.audit.label_pictures import Gallery, Picture, open_gallery
from trashkit.audit.label_plant import KINDS
from trashkit.audit.label_regions import REGION_FEATURES, Region, enlarged, missing_regions
from trashkit.audit.label_scene import FEATURES, Floats, Scene, best_other, measure, usual_ratios, with_usual
from trashkit.audit.label_splits import Split, split_objects
from trashkit.audit.label_trust import Trust
from trashkit.coco import Coco
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities

__all__ = ["KINDS", "LabelErrors", "Missing", "find_label_errors", "picture_of"]

ROUNDS = 3
"""How often each image's annotations are made wrong, about 0.6 of them each time."""

PLANTED = 1500
"""How many annotations are made wrong at most, in all ways together: enough for the models, however large the file."""


@dataclass(frozen=True)
class Missing:
    """A region that may be an object without annotation."""

    picture: int
    region: Region
    probability: float


@dataclass(frozen=True)
class LabelErrors:
    """What predictions say about the annotations of a file.

    rows: int [n], rows of the annotations that were judged; picture: int [n], the position of their image in `gallery`.
    probability: float64 [n, len(KINDS)], how likely each is wrong in each way; `other`: int [n], the class that the
    prediction prefers. missing: regions without annotation. splits: pairs of annotations that may be one object.
    quality: float64 [pictures], softmin of the probabilities of the given labels, low where labels are likely wrong.
    shares: estimated share of annotations with each kind of error (for "missing-object": of candidate regions), among
    those that can be judged. trust: what the predictions know of each class; probabilities are 0 where that is nothing.
    """

    gallery: Gallery
    rows: np.ndarray
    picture: np.ndarray
    probability: Floats
    other: np.ndarray
    missing: tuple[Missing, ...]
    splits: tuple[Split, ...]
    quality: Floats
    shares: dict[str, float]
    trust: Trust

    def image_scores(self) -> Floats:
        """How likely each picture has any error, float64 [pictures], taking errors as independent of each other."""
        log = np.zeros(len(self.gallery.pictures))
        right = np.clip(1 - self.probability.sum(axis=1), 1e-12, 1)
        np.add.at(log, self.picture, np.log(right))
        for one in self.missing:
            log[one.picture] += np.log(max(1 - one.probability, 1e-12))
        return np.asarray(1 - np.exp(log))


@dataclass
class _Rows:
    """Features gathered image by image, with each row's class, the one that the prediction prefers, and the picture."""

    features: list[Floats] = field(default_factory=list)
    classes: list[np.ndarray] = field(default_factory=list)
    other: list[np.ndarray] = field(default_factory=list)
    picture: list[np.ndarray] = field(default_factory=list)

    def add(self, features: Floats, classes: np.ndarray, other: np.ndarray, picture: int) -> None:
        self.features.append(features)
        self.classes.append(classes)
        self.other.append(other)
        self.picture.append(np.full(len(features), picture))

    def joined(self, width: int) -> tuple[Floats, np.ndarray, np.ndarray, np.ndarray]:
        if not self.features:
            nothing = np.zeros(0, np.int64)
            return np.zeros((0, width)), nothing, nothing, nothing
        return tuple(np.concatenate(one) for one in (self.features, self.classes, self.other, self.picture))  # type: ignore[return-value]


def find_label_errors(
    coco: Coco,
    stores: Sequence[Probabilities],
    *,
    order: masks.PaintOrder = "area",
    classes: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LabelErrors:
    """Judge all annotations of a file, sound or damaged, by stores that cover its images together.

    The stores should hold out-of-fold predictions: see `label_seen`. order, classes: as the models were trained with.
    The same input and seed give the same result. One image is in memory at a time, besides a few hundred bytes for
    each annotation and candidate region. Raises TrashkitError as `open_gallery` does.
    """
    with threadpool_limits(1, user_api="blas"):  # matrices are small, and threads that wait for each other cost more
        return _find(open_gallery(coco, stores, classes), order, seed, progress)


def _find(gallery: Gallery, order: masks.PaintOrder, seed: int, progress: Progress) -> LabelErrors:
    sample = _sample(gallery, seed)
    present = np.unique([a.class_index for a in gallery.dataset.annotations])
    real, planted = _Rows(), {kind: _Rows() for kind in KINDS}
    regions, planted_regions = _Rows(), _Rows()
    candidates: list[tuple[int, Region]] = []
    splits: list[Split] = []
    quality = np.zeros(len(gallery.pictures))
    means: list[Floats] = []
    for n, picture in enumerate(gallery.pictures):
        view = gallery.overview(picture, order)
        scene, quality[n] = view.scene, view.quality
        measured = measure(scene)
        real.add(measured.features, scene.classes, best_other(measured.means, scene.classes)[1], n)
        means.append(measured.means)
        splits += split_objects(scene, [a.row for a in picture.annotations], n)
        for region in missing_regions(scene):
            candidates.append((n, enlarged(region, view.factor)))
            regions.add(region.features[None], *_region_class(region), n)
        if n in sample:
            rng = np.random.default_rng([seed, picture.image.row])
            for _ in range(ROUNDS):
                _plant(rng, scene, n, present, planted)
            _drop(rng, scene, n, planted_regions)
        progress("looking for label errors", n + 1, len(gallery.pictures))
    rows = np.array([a.row for picture in gallery.pictures for a in picture.annotations], np.int64)
    _, given, other, at = real.joined(len(FEATURES))
    trust = _trust(np.concatenate(means), given)
    probability, shares = _judge(real, planted, trust)
    missing, share = _judge_regions(candidates, regions, planted_regions, trust)
    return LabelErrors(
        gallery,
        rows,
        at,
        probability,
        other,
        tuple(missing),
        tuple(splits),
        quality,
        {**shares, "missing-object": share},
        trust,
    )


def _trust(means: Floats, given: np.ndarray) -> Trust:
    """What the predictions know of the classes, from the mean probabilities [n, C] of annotations that are seen."""
    seen = means.sum(axis=1) > 0
    means = means[seen]
    return Trust.of(given[seen], means[:, 1:].argmax(axis=1) + 1, 1 - means[:, 0], means.shape[1])


def _region_class(region: Region) -> tuple[np.ndarray, np.ndarray]:
    return np.array([region.class_index]), np.array([region.class_index])


def _sample(gallery: Gallery, seed: int) -> set[int]:
    """Positions of the pictures whose annotations are made wrong: as many as it takes for PLANTED errors."""
    chosen: set[int] = set()
    count = 0
    for n in np.random.default_rng(seed).permutation(len(gallery.pictures)).tolist():
        if count * 0.6 * ROUNDS >= PLANTED:
            break
        chosen.add(n)
        count += len(gallery.pictures[n].annotations)
    return chosen


def _plant(rng: np.random.Generator, scene: Scene, n: int, present: np.ndarray, planted: dict[str, _Rows]) -> None:
    wrong, by_kind = label_plant.mixed(rng, scene, present)
    which = [k for chosen in by_kind.values() for k in chosen]
    if not which:
        return
    measured = measure(wrong, which)
    other = best_other(measured.means, wrong.classes)[1]
    for kind, chosen in by_kind.items():
        if chosen:
            planted[kind].add(measured.features[chosen], wrong.classes[chosen], other[chosen], n)


def _drop(rng: np.random.Generator, scene: Scene, n: int, planted: _Rows) -> None:
    """Regions that show once annotations are taken away."""
    left, which = label_plant.dropped(rng, scene)
    if not which:
        return
    gone = (left.owner < 0) & (scene.owner >= 0)
    for region in missing_regions(left):
        pixels = region.pixels(gone.shape)
        if gone[pixels].mean() > 0.5:
            planted.add(region.features[None], *_region_class(region), n)


def _judge(real: _Rows, planted: dict[str, _Rows], trust: Trust) -> tuple[Floats, dict[str, float]]:
    features, given, other, at = real.joined(len(FEATURES))
    usual = usual_ratios(features, given, len(trust.count))
    features = with_usual(features, usual, given)
    seen = ~np.isnan(features[:, 0])
    probability = np.zeros((len(features), len(KINDS)))
    made = []
    for kind in KINDS:
        wrong, theirs, instead, origin = planted[kind].joined(len(FEATURES))
        kept = ~np.isnan(wrong[:, 0])
        wrong = with_usual(wrong, usual, theirs)
        made.append(Rows(wrong[kept], origin[kept], trust.for_kinds(KINDS, theirs, instead)[kept]))
    if not seen.any():
        return probability, dict.fromkeys(KINDS, 0.0)
    found = Rows(features[seen], at[seen], trust.for_kinds(KINDS, given, other)[seen])
    probability[seen], share = judge(found, made)
    return probability, dict(zip(KINDS, share.tolist(), strict=True))


def _judge_regions(
    candidates: Sequence[tuple[int, Region]], real: _Rows, planted: _Rows, trust: Trust
) -> tuple[list[Missing], float]:
    if not candidates:
        return [], 0.0
    known = trust.of_class()
    features, given, _, at = real.joined(len(REGION_FEATURES))
    wrong, theirs, _, origin = planted.joined(len(REGION_FEATURES))
    probability, share = judge(Rows(features, at, known[given][:, None]), [Rows(wrong, origin, known[theirs][:, None])])
    found = [Missing(n, region, float(p)) for (n, region), p in zip(candidates, probability[:, 0], strict=True)]
    return found, float(share[0])


def picture_of(errors: LabelErrors, n: int) -> Picture:
    """The picture at a position."""
    return errors.gallery.pictures[n]
