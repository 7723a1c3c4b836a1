"""Label errors as hits of checks, each with the edit that would fix it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.audit.registry import Hit
from trashkit.label_errors.image_view import MARGIN, nearest_annotations
from trashkit.label_errors.prediction_set import PredictedImage
from trashkit.label_errors.search import KINDS, LabelErrors, MissingObject
from trashkit.raster import masks
from trashkit.raster.measures import bounding_box, union_area

Proposal = dict[str, Any]
"""The fix of a finding as plain values: ``delete`` (True), ``set`` (fields of the row), ``add`` (annotations)."""


def annotation_hits(errors: LabelErrors, kind: str, least: float) -> Iterator[Hit]:
    """Hits about annotations whose most likely error is `kind`, with a probability of at least `least`, worst first."""
    column = KINDS.index(kind)
    score = errors.probability[:, column]
    chosen = np.flatnonzero((score >= least) & (errors.probability.argmax(axis=1) == column))
    for n in chosen[np.argsort(-score[chosen], kind="stable")].tolist():
        message, proposal = _DESCRIBE[kind](errors, n)
        message += f" (probability {score[n]:.2f})" + ("" if proposal else f"; no fix: {_NO_FIX[kind]}")
        fix = "unsafe" if proposal else None
        yield Hit(int(errors.rows[n]), message, float(score[n]), fix, (), "annotations", proposal)  # type: ignore[arg-type]


def missing_hits(errors: LabelErrors, least: float) -> Iterator[Hit]:
    """Hits about images with a region that is likely an object without annotation, worst first."""
    for one in sorted(errors.missing, key=lambda one: -one.probability):
        if one.probability < least:
            return
        predicted = errors.predictions.images[one.image_index]
        name = errors.predictions.dataset.classes.names[one.region.class_index]
        added = _added(errors, one)
        share = one.region.mask.sum() / np.prod(predicted.store.size)
        place = _place(one, predicted)
        message = f"{name} without annotation {place}, {share:.1%} of the image (probability {one.probability:.2f})"
        proposal = {"add": [added]} if added else None
        message += "" if proposal else "; no fix: the region is lost at the photo's size"
        fix = "unsafe" if proposal else None
        yield Hit(predicted.image.row, message, one.probability, fix, (), "images", proposal)  # type: ignore[arg-type]


def _place(one: MissingObject, predicted: PredictedImage) -> str:
    high, wide = one.region.mask.shape
    height, width = predicted.store.size
    x, y = (one.region.left + wide / 2) / width, (one.region.top + high / 2) / height
    return f"around x {x * predicted.image.width:.0f}, y {y * predicted.image.height:.0f}"


def split_hits(errors: LabelErrors, least: float) -> Iterator[Hit]:
    """Hits about pairs of annotations that may be one object, worst first."""
    for one in sorted(errors.split_objects, key=lambda one: -one.score):
        if one.score >= least:
            message = f"shares a long border with an annotation of its class (score {one.score:.2f}, no probability)"
            yield Hit(one.row, message, one.score, None, (one.other_row,))


def weakness_hits(errors: LabelErrors) -> Iterator[Hit]:
    """One hit about the file that names the classes whose labels the predictions cannot assess, or only in part."""
    reliability, names = errors.reliability, errors.predictions.dataset.classes.names
    none, some = reliability.unreliable_classes(), reliability.partly_reliable_classes()
    if not none and not some:
        return

    def listed(classes: Sequence[int]) -> str:
        return ", ".join(f"{names[c]} {reliability.recall[c]:.2f} of {reliability.count[c]}" for c in classes)

    parts = []
    if none:
        parts.append(f"not assessed: {listed(none)}")
    if some:
        parts.append(f"assessed in part, with lower probabilities: {listed(some)}")
    message = (
        f"the model is too weak for labels of some classes (out-of-fold recall of annotations); {'; '.join(parts)}"
    )
    everything = int(reliability.count.sum())
    share = float(reliability.count[none].sum()) / max(everything, 1)
    yield Hit(None, message, share, None, (), "file")


def quality_hits(errors: LabelErrors, deviations: float = 3.0) -> Iterator[Hit]:
    """Hits about images whose softmin is far below what is usual in the file, worst first."""
    quality = np.clip(errors.quality, 1e-6, 1 - 1e-6)
    logit = np.log(quality / (1 - quality))
    middle = np.median(logit)
    spread = max(1.4826 * float(np.median(np.abs(logit - middle))), 0.3)
    for n in np.argsort(logit, kind="stable").tolist():
        if (middle - logit[n]) / spread <= deviations:
            return
        row = errors.predictions.images[n].image.row
        message = f"labels and prediction disagree: softmin {quality[n]:.3f}, while {_sigmoid(middle):.3f} is usual"
        yield Hit(row, message, float(1 - quality[n]), None, (), "images")


def _sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


# --- the error of an annotation, and its fix --------------------------------------------------------------------------


def _category(errors: LabelErrors, class_index: int) -> Any:
    """The first category of a class, None if the class has no category."""
    of = errors.predictions.dataset.classes.index_of
    return next((category for category, index in of.items() if index == class_index), None)


def _names(errors: LabelErrors, n: int) -> tuple[str, str]:
    names = errors.predictions.dataset.classes.names
    return names[_annotation(errors, n).class_index], names[int(errors.other[n])]


def _annotation(errors: LabelErrors, n: int) -> Any:
    row = int(errors.rows[n])
    predicted = errors.predictions.images[int(errors.image_index[n])]
    return next(a for a in predicted.annotations if a.row == row)


def _wrong_class(errors: LabelErrors, n: int) -> tuple[str, Proposal | None]:
    given, other = _names(errors, n)
    category = _category(errors, int(errors.other[n]))
    return f"{given} looks like {other}", None if category is None else {"set": {"category_id": category}}


def _no_object(errors: LabelErrors, n: int) -> tuple[str, Proposal | None]:
    return f"{_names(errors, n)[0]} where the model sees no object", {"delete": True}


def _outline(errors: LabelErrors, n: int, what: str) -> tuple[str, Proposal | None]:
    shape = _predicted_outline(errors, n)
    return what, None if shape is None else {"set": {"segmentation": shape}}


def _shifted(errors: LabelErrors, n: int) -> tuple[str, Proposal | None]:
    return _outline(errors, n, f"the outline of {_names(errors, n)[0]} is shifted relative to the object")


def _coarse(errors: LabelErrors, n: int) -> tuple[str, Proposal | None]:
    return _outline(errors, n, f"the outline of {_names(errors, n)[0]} is coarser than the object")


def _merged(errors: LabelErrors, n: int) -> tuple[str, Proposal | None]:
    """Parts of an annotation become separate annotations: those of another predicted class, or else all of them."""
    annotation = _annotation(errors, n)
    message = f"{_names(errors, n)[0]} covers several objects"
    predicted = errors.predictions.images[int(errors.image_index[n])]
    parts = _parts(errors, predicted, annotation)
    if len(parts) < 2:
        return message, None
    by_class: dict[int, list[Any]] = {}
    for shape, c in parts:
        by_class.setdefault(c, []).append(shape)
    kept = by_class.pop(annotation.class_index, [])
    groups = [(c, some) for c, some in sorted(by_class.items())]
    if not groups or not kept:
        # If the class is predicted in all parts, or in none, parts keep the class; the largest one stays in this row.
        kept = [shape for shape, _ in parts]
        size = (predicted.image.height, predicted.image.width)
        kept = sorted(kept, key=lambda shape: -(union_area(shape, *size) or 0))
        groups = [(annotation.class_index, [shape]) for shape in kept[1:]]
        kept = kept[:1]
    added = [
        record
        for c, some in groups
        if (record := _record(predicted, _category(errors, c), _joined(some, predicted))) is not None
    ]
    return message, {"set": {"segmentation": _joined(kept, predicted)}, "add": added} if added else None


def _parts(errors: LabelErrors, predicted: PredictedImage, annotation: Any) -> list[tuple[Any, int]]:
    """Parts of an annotation as segmentations, with the predicted class of each.

    Its rings if it has several; otherwise regions of one predicted class that have at least a seventh of its visible
    pixels.
    """
    view = errors.predictions.view(predicted)
    size = (predicted.image.height, predicted.image.width)
    rings = annotation.segmentation
    if isinstance(rings, list) and len(rings) > 1:
        found = []
        for ring in rings:
            inside = masks.resize_nearest(masks.mask([ring], *size).astype(np.uint8), predicted.store.size) > 0
            seen = view.probabilities[1:, inside].mean(axis=1) if inside.any() else None
            found.append(([ring], annotation.class_index if seen is None else int(seen.argmax()) + 1))
        return found
    whole = view.instance_map == predicted.annotations.index(annotation)
    mine = whole & (view.probabilities[0] < 0.5)
    if mine.sum() < 0.5 * whole.sum():
        return []
    regions = []
    for c in np.unique(view.best_class[mine]).tolist():
        count, labels, stats, _ = cv2.connectedComponentsWithStats((mine & (view.best_class == c)).astype(np.uint8))
        large = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= mine.sum() / 7]
        regions += [(labels == k, c) for k in large]
    covered = sum(int(region.sum()) for region, _ in regions)
    if len({c for _, c in regions}) < 2 or covered < 0.7 * mine.sum():
        return []
    shapes = [(_enlarged(region.astype(np.uint8), predicted), c) for region, c in regions]
    return [(shape, c) for shape, c in shapes if shape is not None]


def _joined(shapes: Sequence[Any], predicted: PredictedImage) -> Any:
    """Merge segmentations into one."""
    if len(shapes) == 1:
        return shapes[0]
    if all(isinstance(shape, list) for shape in shapes):
        return [ring for shape in shapes for ring in shape]
    size = (predicted.image.height, predicted.image.width)
    return masks.rle_from_mask(np.any([masks.mask(shape, *size) > 0 for shape in shapes], axis=0))


_NO_FIX = {
    "wrong-class": "the file has no category of that class",
    "no-object": "",
    "shifted-outline": "the model sees too little of it to propose an outline",
    "coarse-outline": "the model sees too little of it to propose an outline",
    "merged-objects": "neither its rings nor the prediction show where to split it",
}
"""Why a finding has no fix."""
_DESCRIBE = {
    "wrong-class": _wrong_class,
    "no-object": _no_object,
    "shifted-outline": _shifted,
    "coarse-outline": _coarse,
    "merged-objects": _merged,
}


def _predicted_outline(errors: LabelErrors, n: int) -> Any:
    """The predicted outline of an annotation's object; None if it is not of about the same size."""
    predicted = errors.predictions.images[int(errors.image_index[n])]
    annotation = _annotation(errors, n)
    view = errors.predictions.view(predicted)
    k = predicted.annotations.index(annotation)
    nearest, distance = nearest_annotations(view.instance_map)
    mine = view.instance_map == k
    reach = max(MARGIN * float(np.sqrt(mine.sum())), 2.0)
    near = mine | ((nearest == k) & (distance <= reach))
    others = np.delete(np.arange(len(view.probabilities)), annotation.class_index)
    seen = near & (view.probabilities[annotation.class_index] > view.probabilities[others].max(axis=0))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(seen.astype(np.uint8), connectivity=8)
    stats[0, cv2.CC_STAT_AREA] = 0
    seen = labels == int(stats[:, cv2.CC_STAT_AREA].argmax())
    if not 0.4 <= seen.sum() / max(mine.sum(), 1) <= 2.5 or (seen & mine).sum() < 0.3 * mine.sum():
        return None
    return _enlarged(seen.astype(np.uint8), predicted)


def _enlarged(region: NDArray[np.uint8], predicted: PredictedImage) -> Any:
    """A region at the store's size as a segmentation at native size with a smooth outline; None if nothing is left."""
    size = (predicted.image.width, predicted.image.height)
    smooth = cv2.resize(region.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
    shapes = masks.polygons_from_label_map(smooth.astype(np.uint8), 1)
    if not shapes:
        return None
    if len(shapes) == 1:
        return shapes[0]
    if all(isinstance(shape, list) for shape in shapes):
        return [ring for shape in shapes for ring in shape]
    return masks.rle_from_mask(smooth)


def _added(errors: LabelErrors, one: MissingObject) -> dict[str, Any] | None:
    predicted = errors.predictions.images[one.image_index]
    category = _category(errors, one.region.class_index)
    shape = _enlarged(one.region.pixels(predicted.store.size).astype(np.uint8), predicted)
    return None if shape is None else _record(predicted, category, shape)


def _record(predicted: PredictedImage, category: Any, shape: Any) -> dict[str, Any] | None:
    """An annotation without id; None if its class has no category."""
    size = (predicted.image.height, predicted.image.width)
    area = union_area(shape, *size)
    if category is None or area is None:
        return None
    return {
        "image_id": predicted.image.id,
        "category_id": category,
        "segmentation": shape,
        "area": round(float(area), 2),
        "bbox": [round(float(value), 2) for value in bounding_box(shape)],
        "iscrowd": 0,
    }
