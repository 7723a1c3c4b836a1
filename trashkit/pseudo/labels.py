"""Label maps from probabilities: what is kept, what is ignored, which images stay, and a count of all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.label_maps import LabelMaps, open_label_maps, write_label_maps
from trashkit.masks import PaintOrder, dataset_label_map, resize_nearest
from trashkit.progress import Progress, silent
from trashkit.pseudo.selection import IGNORE, STEPS, Selection, certainty, histogram, select, thresholds, votes
from trashkit.store import Probabilities

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Looked:
    """One image as the teachers see it: label map uint8 [H, W], certainty in steps int32 [H, W], and the share of
    members that agree with the label, float32 [H, W], or None where agreement was not asked for."""

    labels: Pixels
    steps: NDArray[np.int32]
    agree: NDArray[np.float32] | None


class Members:
    """Stores of one or several models or views, joined by image id and file name.

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
                raise TrashkitError(f"{store.path} has another size than {stores[0].path}", hint="predict both alike")
            places = {key: row for row, key in enumerate(zip(store.image_ids, store.file_names, strict=True))}
            lacking = [image.file_name for image in images if (image.id, image.file_name) not in places]
            if lacking:
                raise TrashkitError(
                    f"{store.path} lacks {len(lacking)} of the {len(images)} images to label, first {lacking[0]}",
                    hint="predict the file that is given as --unlabeled",
                )
            self.rows.append([places[image.id, image.file_name] for image in images])

    def look(self, n: int, selection: Selection) -> Looked:
        """Image number `n`: the mean of all members, and how sure it is."""
        members = [store.read(rows[n]) for store, rows in zip(self.stores, self.rows, strict=True)]
        mean: NDArray[np.float32] = np.asarray(np.mean(members, axis=0), np.float32) if len(members) > 1 else members[0]
        labels = mean.argmax(axis=0).astype(np.uint8)
        agree = votes(members, labels) if selection.agreement else None
        return Looked(labels, certainty(mean, selection.measure), agree)


def training_mix(
    dataset: Dataset, images: Sequence[Image], size: tuple[int, int], order: PaintOrder
) -> NDArray[np.float64]:
    """Share of each class among the pixels of annotated images [C], sampled at `size`."""
    counts = np.zeros(len(dataset.classes), np.int64)
    for image in images:
        labels = dataset_label_map(dataset, image.row, order=order, size=size)
        counts += np.bincount(labels.ravel(), minlength=len(counts))[: len(counts)]
    mix: NDArray[np.float64] = counts / max(1, counts.sum())
    return mix


@dataclass(frozen=True)
class Count:
    """What became of the predicted pixels, all lists by class: predicted in all images; kept, in the images that stay;
    images that keep such a pixel; the certainty asked for (None: nothing was kept); share of the training pixels.

    kept_share: of each image by file name. left_out: file names of images with too little left.
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
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Count:
        """From `as_json`."""
        lists: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**lists)


def make_labels(
    members: Members,
    out: Path,
    *,
    selection: Selection,
    classes: Sequence[str],
    mix: NDArray[np.float64],
    manifest: Mapping[str, Any],
    progress: Progress = silent,
) -> Count:
    """Write the pseudo-labels of all images that stay into the folder `out` (see `trashkit.label_maps`).

    mix: as from `training_mix`. One image is in memory at a time; each is looked at twice, first to set thresholds.
    Raises TrashkitError where no image stays, saying what to change.
    """
    number = len(members.images)
    counts = np.zeros((len(classes), STEPS + 1), np.int64)
    for n in range(number):
        look = members.look(n, selection)
        counts += histogram(_agreed(look, selection), look.steps, len(classes))
        progress("counting pixels", n + 1, number)
    chosen = thresholds(counts, selection, mix)
    predicted, kept, images = (np.zeros(len(classes), np.int64) for _ in range(3))
    shares: dict[str, float] = {}

    def maps() -> Iterator[tuple[Image, Pixels]]:
        for n, image in enumerate(members.images):
            look = members.look(n, selection)
            labels = select(look.labels, look.steps, chosen, look.agree, selection.agreement)
            predicted[:] += np.bincount(look.labels.ravel(), minlength=len(classes))
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
                f"no pseudo-label is certain enough: of all {number} images none keeps {selection.min_kept:.0%} of its "
                f"pixels at a {selection.measure} of {selection.threshold:g}",
                hint="lower --threshold or --min-kept, or add --at-least 0.5",
            )

    write_label_maps(out, maps(), classes=classes, size=members.size, manifest=manifest, overwrite=True)
    stay = {image.file_name for image in open_label_maps(out).images}
    return Count(
        tuple(classes),
        tuple(predicted.tolist()),
        tuple(kept.tolist()),
        tuple(images.tolist()),
        tuple(float(step) / STEPS if step <= STEPS else None for step in chosen.tolist()),
        tuple(mix.tolist()),
        shares,
        tuple(name for name in shares if name not in stay),
    )


def _agreed(look: Looked, selection: Selection) -> Pixels:
    """Labels with 255 where too few members agree: thresholds are set among the others."""
    return select(look.labels, look.steps, np.zeros(256, np.int32), look.agree, selection.agreement)


def change(before: LabelMaps, after: LabelMaps) -> dict[str, Any]:
    """What a round changed: pixels of the images that both have, sampled at the later size.

    both: kept by both. relabelled: of these, those with another class, and by class of the earlier label. gained, lost:
    kept by one alone. by_class: pixels kept before and after, and those that went over to another class and came from
    one. images: in both, only_before and only_after.
    """
    earlier = {image.file_name: image.row for image in before.images}
    both = relabelled = gained = lost = common = 0
    counts = np.zeros((len(before.classes), 4), np.int64)  # before, after, went over, came over
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
            name: dict(zip(("before", "after", "went", "came"), row, strict=True))
            for name, row in zip(before.classes, counts.tolist(), strict=True)
        },
        "gained": gained,
        "lost": lost,
        "images": common,
        "only_before": len(before) - common,
        "only_after": len(after) - common,
    }
