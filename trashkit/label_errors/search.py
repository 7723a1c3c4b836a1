"""Find label errors with predictions: annotations that are probably wrong, the kind of error, and missing annotations.

Features of each annotation are computed from the out-of-fold prediction of its image (`image_view`). What these
features look like for an error is learned from the file itself: errors of each kind are injected into its annotations
(`error_injection`), and their features are computed from the same predictions. For each kind of error, an additive
logistic model separates injected errors from the annotations of the file, and the share of the kind is then estimated
(`error_probability`), which turns scores into probabilities. Images are read one at a time.

Image-level softmin, and the idea of ranking by out-of-fold probabilities: V. Lad and J. Mueller, "Estimating label
quality and errors in semantic segmentation data via any model", 2023; C. Northcutt et al., "Confident learning", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from trashkit.coco import Coco
from trashkit.label_errors.class_reliability import ClassReliability
from trashkit.label_errors.error_injection import KINDS, inject_errors, remove_annotations
from trashkit.label_errors.error_probability import Samples, error_probabilities
from trashkit.label_errors.image_view import (
    FEATURES,
    Floats,
    ImageView,
    annotation_features,
    best_other_class,
    class_medians,
    with_class_medians,
)
from trashkit.label_errors.missing_regions import (
    REGION_FEATURES,
    UnannotatedRegion,
    find_unannotated_regions,
    scaled_up,
)
from trashkit.label_errors.prediction_set import PredictionSet, open_prediction_set
from trashkit.label_errors.split_objects import SplitObject, find_split_objects
from trashkit.predictions.store import Probabilities
from trashkit.progress import Progress, silent
from trashkit.raster import masks

__all__ = ["KINDS", "LabelErrors", "MissingObject", "find_label_errors"]

INJECTION_ROUNDS = 3
"""How often errors are injected into an image, each time into about 0.6 of its annotations."""

MAX_INJECTED = 1500
"""Most errors to inject, of all kinds together: enough to fit the models, however large the file."""


@dataclass(frozen=True)
class MissingObject:
    """A region that may be an object without annotation. image_index: position of its image in the prediction set."""

    image_index: int
    region: UnannotatedRegion
    probability: float


@dataclass(frozen=True)
class LabelErrors:
    """Label errors of a file, found with predictions.

    rows: int [n], rows of the annotations that were examined. image_index: int [n], position of their image in
    `predictions`. probability: float64 [n, len(KINDS)], of each kind of error. other: int [n], the class that the
    prediction prefers. missing: regions that may lack an annotation. split_objects: pairs of annotations that may be
    one object. quality: float64 [images], softmin of the probabilities of the given labels, low where labels are likely
    wrong. shares: estimated share of annotations with each kind of error (for "missing-object": of candidate regions),
    among those of classes that the predictions can judge. reliability: how well the predictions recognise each class;
    probabilities are 0 for classes that they never recognise.
    """

    predictions: PredictionSet
    rows: np.ndarray
    image_index: np.ndarray
    probability: Floats
    other: np.ndarray
    missing: tuple[MissingObject, ...]
    split_objects: tuple[SplitObject, ...]
    quality: Floats
    shares: dict[str, float]
    reliability: ClassReliability

    def image_scores(self) -> Floats:
        """Probability that each image has any error, float64 [images], treating errors as independent."""
        log = np.zeros(len(self.predictions.images))
        right = np.clip(1 - self.probability.sum(axis=1), 1e-12, 1)
        np.add.at(log, self.image_index, np.log(right))
        for one in self.missing:
            log[one.image_index] += np.log(max(1 - one.probability, 1e-12))
        return np.asarray(1 - np.exp(log))


@dataclass
class _FeatureTable:
    """Features collected image by image, with the class of each row, the class that its prediction prefers, and the
    position of its image."""

    features: list[Floats] = field(default_factory=list)
    classes: list[np.ndarray] = field(default_factory=list)
    other: list[np.ndarray] = field(default_factory=list)
    image_index: list[np.ndarray] = field(default_factory=list)

    def add(self, features: Floats, classes: np.ndarray, other: np.ndarray, image_index: int) -> None:
        self.features.append(features)
        self.classes.append(classes)
        self.other.append(other)
        self.image_index.append(np.full(len(features), image_index))

    def joined(self, width: int) -> tuple[Floats, np.ndarray, np.ndarray, np.ndarray]:
        """(features, classes, other, image_index) of all rows; `width` is the number of features of an empty table."""
        if not self.features:
            nothing = np.zeros(0, np.int64)
            return np.zeros((0, width)), nothing, nothing, nothing
        columns = (self.features, self.classes, self.other, self.image_index)
        return tuple(np.concatenate(one) for one in columns)  # type: ignore[return-value]


def find_label_errors(
    coco: Coco,
    stores: Sequence[Probabilities],
    *,
    order: masks.PaintOrder = "area",
    classes: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LabelErrors:
    """Estimate error probabilities of all annotations of a file, valid or damaged, from stores of its images.

    The stores should hold out-of-fold predictions, each image in one of them: see `leakage`. order, classes: as in the
    training of the models. The same input and seed give the same result. One image is in memory at a time, plus a few
    hundred bytes for each annotation and candidate region. Raises TrashkitError as `open_prediction_set` does.
    """
    with threadpool_limits(1, user_api="blas"):  # the matrices are small, and more threads only slow each other down
        return _find(open_prediction_set(coco, stores, classes), order, seed, progress)


def _find(predictions: PredictionSet, order: masks.PaintOrder, seed: int, progress: Progress) -> LabelErrors:
    sample = _sample_images(predictions, seed)
    present = np.unique([a.class_index for a in predictions.dataset.annotations])
    real, injected = _FeatureTable(), {kind: _FeatureTable() for kind in KINDS}
    regions, injected_regions = _FeatureTable(), _FeatureTable()
    candidates: list[tuple[int, UnannotatedRegion]] = []
    split_objects: list[SplitObject] = []
    quality = np.zeros(len(predictions.images))
    means: list[Floats] = []
    for n, predicted in enumerate(predictions.images):
        reduced = predictions.reduced_view(predicted, order)
        view, quality[n] = reduced.view, reduced.quality
        measured = annotation_features(view)
        real.add(measured.features, view.classes, best_other_class(measured.means, view.classes)[1], n)
        means.append(measured.means)
        split_objects += find_split_objects(view, [a.row for a in predicted.annotations], n)
        for region in find_unannotated_regions(view):
            candidates.append((n, scaled_up(region, reduced.factor)))
            regions.add(region.features[None], *_region_class(region), n)
        if n in sample:
            rng = np.random.default_rng([seed, predicted.image.row])
            for _ in range(INJECTION_ROUNDS):
                _inject(rng, view, n, present, injected)
            _inject_missing(rng, view, n, injected_regions)
        progress("looking for label errors", n + 1, len(predictions.images))
    rows = np.array([a.row for predicted in predictions.images for a in predicted.annotations], np.int64)
    _, given, other, image_index = real.joined(len(FEATURES))
    reliability = _class_reliability(np.concatenate(means), given)
    probability, shares = _annotation_probabilities(real, injected, reliability)
    missing, share = _region_probabilities(candidates, regions, injected_regions, reliability)
    return LabelErrors(
        predictions,
        rows,
        image_index,
        probability,
        other,
        tuple(missing),
        tuple(split_objects),
        quality,
        {**shares, "missing-object": share},
        reliability,
    )


def _class_reliability(means: Floats, given: np.ndarray) -> ClassReliability:
    """Reliability of the predictions, from the mean probabilities [n, C] of the visible annotations."""
    visible = means.sum(axis=1) > 0
    means = means[visible]
    return ClassReliability.from_annotations(
        given[visible], means[:, 1:].argmax(axis=1) + 1, 1 - means[:, 0], means.shape[1]
    )


def _region_class(region: UnannotatedRegion) -> tuple[np.ndarray, np.ndarray]:
    return np.array([region.class_index]), np.array([region.class_index])


def _sample_images(predictions: PredictionSet, seed: int) -> set[int]:
    """Positions of the images to inject errors into: as many as MAX_INJECTED errors need."""
    chosen: set[int] = set()
    count = 0
    for n in np.random.default_rng(seed).permutation(len(predictions.images)).tolist():
        if count * 0.6 * INJECTION_ROUNDS >= MAX_INJECTED:
            break
        chosen.add(n)
        count += len(predictions.images[n].annotations)
    return chosen


def _inject(
    rng: np.random.Generator, view: ImageView, n: int, present: np.ndarray, injected: dict[str, _FeatureTable]
) -> None:
    """Add features of injected errors to the table of each kind."""
    wrong, by_kind = inject_errors(rng, view, present)
    which = [k for chosen in by_kind.values() for k in chosen]
    if not which:
        return
    measured = annotation_features(wrong, which)
    other = best_other_class(measured.means, wrong.classes)[1]
    for kind, chosen in by_kind.items():
        if chosen:
            injected[kind].add(measured.features[chosen], wrong.classes[chosen], other[chosen], n)


def _inject_missing(rng: np.random.Generator, view: ImageView, n: int, injected: _FeatureTable) -> None:
    """Add features of the regions that appear when annotations are removed."""
    left, which = remove_annotations(rng, view)
    if not which:
        return
    removed = (left.instance_map < 0) & (view.instance_map >= 0)
    for region in find_unannotated_regions(left):
        pixels = region.pixels(removed.shape)
        if removed[pixels].mean() > 0.5:
            injected.add(region.features[None], *_region_class(region), n)


def _annotation_probabilities(
    real: _FeatureTable, injected: dict[str, _FeatureTable], reliability: ClassReliability
) -> tuple[Floats, dict[str, float]]:
    """Probability of each kind of error for each annotation [n, K], and the share of each kind."""
    features, given, other, image_index = real.joined(len(FEATURES))
    medians = class_medians(features, given, len(reliability.count))
    features = with_class_medians(features, medians, given)
    visible = ~np.isnan(features[:, 0])
    probability = np.zeros((len(features), len(KINDS)))
    samples = []
    for kind in KINDS:
        wrong, classes, preferred, origin = injected[kind].joined(len(FEATURES))
        kept = ~np.isnan(wrong[:, 0])
        wrong = with_class_medians(wrong, medians, classes)
        samples.append(Samples(wrong[kept], origin[kept], reliability.weights_for(KINDS, classes, preferred)[kept]))
    if not visible.any():
        return probability, dict.fromkeys(KINDS, 0.0)
    found = Samples(features[visible], image_index[visible], reliability.weights_for(KINDS, given, other)[visible])
    probability[visible], share = error_probabilities(found, samples)
    return probability, dict(zip(KINDS, share.tolist(), strict=True))


def _region_probabilities(
    candidates: Sequence[tuple[int, UnannotatedRegion]],
    real: _FeatureTable,
    injected: _FeatureTable,
    reliability: ClassReliability,
) -> tuple[list[MissingObject], float]:
    """Candidate regions with the probability that they lack an annotation, and the estimated share that does."""
    if not candidates:
        return [], 0.0
    weights = reliability.class_weights()
    features, given, _, image_index = real.joined(len(REGION_FEATURES))
    wrong, classes, _, origin = injected.joined(len(REGION_FEATURES))
    probability, share = error_probabilities(
        Samples(features, image_index, weights[given][:, None]), [Samples(wrong, origin, weights[classes][:, None])]
    )
    found = [MissingObject(n, region, float(p)) for (n, region), p in zip(candidates, probability[:, 0], strict=True)]
    return found, float(share[0])
