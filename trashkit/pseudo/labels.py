"""Pseudo-labels from probabilities: which pixels and images are kept, and how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import check_native_sizes
from trashkit.predictions.store import Probabilities
from trashkit.progress import Progress, silent
from trashkit.pseudo.selection import IGNORE, STEPS, Selection, certainty, histogram, select, thresholds, votes
from trashkit.raster.label_maps import LabelMaps, open_label_maps, write_label_maps
from trashkit.raster.masks import PaintOrder, dataset_label_map, resize_nearest
from trashkit.readers import ContentError, checked

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TeacherPrediction:
    """The teachers' prediction of one image.

    labels: most probable classes, uint8 [H, W]. steps: certainty in steps, int32 [H, W]. agree: share of the members
    that agree with the label, float32 [H, W]; None where no agreement is required.
    """

    labels: Pixels
    steps: NDArray[np.int32]
    agree: NDArray[np.float32] | None


class TeacherPredictions:
    """The stores of the members (models or views), joined by image id and file name.

    Raises TrashkitError for a store that is unfinished, lacks an image, or has other classes or another size.
    """

    def __init__(self, stores: Sequence[Probabilities], images: Sequence[Image], classes: Sequence[str]) -> None:
        self.stores = tuple(stores)
        self.images = tuple(images)
        self.size = stores[0].size
        self.rows: list[list[int]] = []
        for store in stores:
            store.require_complete()
            if tuple(store.classes) != tuple(classes):
                raise TrashkitError(
                    f"{store.path} predicts the classes {', '.join(store.classes)}, the annotations have "
                    f"{', '.join(classes)}",
                    hint="choose the teacher's classes with --classes",
                )
            if store.size != self.size:
                raise TrashkitError(
                    f"{store.path} and {stores[0].path} differ in size", hint="predict both at one size"
                )
            places = {key: row for row, key in enumerate(zip(store.image_ids, store.file_names, strict=True))}
            lacking = [image.file_name for image in images if (image.id, image.file_name) not in places]
            if lacking:
                raise TrashkitError(
                    f"{store.path} lacks {len(lacking)} of the {len(images)} images to label, first {lacking[0]}",
                    hint="predict the file that is given as --unlabeled",
                )
            self.rows.append([places[image.id, image.file_name] for image in images])
            check_native_sizes(store, zip(images, self.rows[-1], strict=True))

    def read(self, n: int, selection: Selection) -> TeacherPrediction:
        """Return the prediction of image number `n`: the mean of all members, and its certainty."""
        members = [store.read(rows[n]) for store, rows in zip(self.stores, self.rows, strict=True)]
        mean: NDArray[np.float32] = np.asarray(np.mean(members, axis=0), np.float32) if len(members) > 1 else members[0]
        labels = mean.argmax(axis=0).astype(np.uint8)
        agree = votes(members, labels) if selection.agreement else None
        return TeacherPrediction(labels, certainty(mean, selection.measure), agree)


def training_mix(
    dataset: Dataset, images: Sequence[Image], size: tuple[int, int], order: PaintOrder
) -> NDArray[np.float64]:
    """Return the share of each class among the pixels of annotated images [C], sampled at `size`."""
    counts = np.zeros(len(dataset.classes), np.int64)
    for image in images:
        labels = dataset_label_map(dataset, image.row, order=order, size=size)
        counts += np.bincount(labels.ravel(), minlength=len(counts))[: len(counts)]
    mix: NDArray[np.float64] = counts / max(1, counts.sum())
    return mix


@dataclass(frozen=True)
class LabelCounts:
    """Counts of pseudo-labels, lists by class.

    names: of the classes. predicted: pixels in all images. kept: pixels in the images that are kept. images: how many
    images keep such a pixel. thresholds: the certainty required, None where nothing is kept. training_mix: share of
    the training pixels. kept_share: share of pixels that each image keeps, by file name. left_out: file names of images
    that keep too little.
    """

    names: tuple[str, ...]
    predicted: tuple[int, ...]
    kept: tuple[int, ...]
    images: tuple[int, ...]
    thresholds: tuple[float | None, ...]
    training_mix: tuple[float, ...]
    kept_share: Mapping[str, float]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> LabelCounts:
        """Return the counts from what `as_json` gave. Raises ContentError for anything else."""
        found: LabelCounts = checked(value, LabelCounts)
        lists = (found.predicted, found.kept, found.images, found.thresholds, found.training_mix)
        if not found.names or any(len(one) != len(found.names) for one in lists):
            raise ContentError("its lists do not have one entry for each class")
        return found


def make_labels(
    predictions: TeacherPredictions,
    out: Path,
    *,
    selection: Selection,
    classes: Sequence[str],
    mix: NDArray[np.float64],
    manifest: Mapping[str, Any],
    progress: Progress = silent,
) -> LabelCounts:
    """Write the pseudo-labels of all images that are kept into the folder `out` (see `trashkit.raster.label_maps`).

    mix: as from `training_mix`. One image is in memory at a time; each is read twice, first to set thresholds.
    Raises TrashkitError where no image is kept, saying what to change.
    """
    number = len(predictions.images)
    counts = np.zeros((len(classes), STEPS + 1), np.int64)
    for n in range(number):
        predicted_image = predictions.read(n, selection)
        counts += histogram(_agreed(predicted_image, selection), predicted_image.steps, len(classes))
        progress("counting pixels", n + 1, number)
    chosen = thresholds(counts, selection, mix)
    predicted, kept, images = (np.zeros(len(classes), np.int64) for _ in range(3))
    shares: dict[str, float] = {}

    def maps() -> Iterator[tuple[Image, Pixels]]:
        for n, image in enumerate(predictions.images):
            found = predictions.read(n, selection)
            labels = select(found.labels, found.steps, chosen, found.agree, selection.agreement)
            predicted[:] += np.bincount(found.labels.ravel(), minlength=len(classes))
            share = float((labels != IGNORE).mean())
            shares[image.file_name] = round(share, 4)
            progress("making label maps", n + 1, number)
            if share and share >= selection.min_kept:
                here = np.bincount(labels.ravel(), minlength=256)[: len(classes)]
                kept[:] += here
                images[:] += here > 0
                yield image, labels
        if not kept.any():
            raise TrashkitError(
                f"no pseudo-label is certain enough: none of the {number} images keeps {selection.min_kept:.0%} of its "
                f"pixels at a {selection.measure} of {selection.threshold:g}",
                hint="lower --threshold or --min-kept, or add --at-least 0.5",
            )

    write_label_maps(out, maps(), classes=classes, size=predictions.size, manifest=manifest, overwrite=True)
    stay = {image.file_name for image in open_label_maps(out).images}
    return LabelCounts(
        tuple(classes),
        tuple(predicted.tolist()),
        tuple(kept.tolist()),
        tuple(images.tolist()),
        tuple(float(step) / STEPS if step <= STEPS else None for step in chosen.tolist()),
        tuple(mix.tolist()),
        shares,
        tuple(name for name in shares if name not in stay),
    )


def _agreed(found: TeacherPrediction, selection: Selection) -> Pixels:
    """Return labels with 255 where too few members agree: thresholds are set among the others."""
    return select(found.labels, found.steps, np.zeros(256, np.int32), found.agree, selection.agreement)


class ClassChange(TypedDict):
    """Pixels of one class kept before and after, and those that changed to and from another class."""

    before: int
    after: int
    went: int
    came: int


class LabelChange(TypedDict):
    """How the pseudo-labels of two rounds differ, in pixels of the images that both have, at the later size.

    both: kept in both rounds. relabelled: of these, those with another class; also as a share, and by earlier class.
    gained, lost: kept in one round only. images: how many both have; only_before, only_after: in one only.
    """

    both: int
    relabelled: int
    relabelled_share: float | None
    relabelled_by_class: dict[str, int]
    by_class: dict[str, ClassChange]
    gained: int
    lost: int
    images: int
    only_before: int
    only_after: int


def compare_rounds(before: LabelMaps, after: LabelMaps) -> LabelChange:
    """Return how the pseudo-labels of a later round differ from those of an earlier one."""
    earlier = {image.file_name: image.row for image in before.images}
    both = relabelled = gained = lost = common = 0
    counts = np.zeros((len(before.classes), 4), np.int64)  # before, after, went, came
    for image in after.images:
        if image.file_name not in earlier:
            continue
        common += 1
        new = after.read(image.row)
        old = resize_nearest(before.read(earlier[image.file_name]), after.size)
        kept_old, kept_new = old != IGNORE, new != IGNORE
        differs = kept_old & kept_new & (old != new)
        both += int((kept_old & kept_new).sum())
        relabelled += int(differs.sum())
        gained += int((kept_new & ~kept_old).sum())
        lost += int((kept_old & ~kept_new).sum())
        for column, pixels in enumerate((old[kept_old], new[kept_new], old[differs], new[differs])):
            counts[:, column] += np.bincount(pixels, minlength=len(counts))[: len(counts)]
    return {
        "both": both,
        "relabelled": relabelled,
        "relabelled_share": relabelled / both if both else None,
        "relabelled_by_class": dict(zip(before.classes, counts[:, 2].tolist(), strict=True)),
        "by_class": {
            name: {"before": row[0], "after": row[1], "went": row[2], "came": row[3]}
            for name, row in zip(before.classes, counts.tolist(), strict=True)
        },
        "gained": gained,
        "lost": lost,
        "images": common,
        "only_before": len(before) - common,
        "only_after": len(after) - common,
    }
