"""A sheet of what the network will see: the photos of an epoch's first batches, with their label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap, Image
from trashkit.config import TrainConfig
from trashkit.label_maps import IGNORE
from trashkit.nn.data import train_batches, train_photos
from trashkit.nn.extra import ExtraSet
from trashkit.nn.feed import annotations_beside, open_sources
from trashkit.nn.record import TrainData
from trashkit.nn.sampler import classes_present
from trashkit.progress import Progress, silent
from trashkit.report.html import Html, figure, page, paragraph, picture
from trashkit.report.overlay import class_shares, overlay, sheet, side_by_side, with_legend

Pixels = NDArray[np.uint8]

MOST_PHOTOS = 300
"""Of more photos to train on only so many are decoded, those with rare classes first."""
_BATCH = 8
_SIDE = 256


@dataclass(frozen=True)
class Seen:
    """One picture: photo uint8 [S, S, 3], label map uint8 [S, S], and the file that its first photo comes from."""

    photo: Pixels
    labels: Pixels
    file_name: str


def preview(
    config: TrainConfig, data: TrainData, place: Path, *, count: int = 12, progress: Progress = silent
) -> tuple[list[Seen], int]:
    """The first pictures of the first epoch, and how many photos, those of other data sets too, they are drawn from.

    They are the very ones that training shows first where the data set has at most `MOST_PHOTOS` of them and the batch
    size is given, or 8. place: folder for decoded photos, which the caller removes. Raises TrashkitError for photos
    and settings that cannot be used.
    """
    few = _fewer(data)
    names = [image.file_name for images in (few.train, *(one.maps.images for one in few.more)) for image in images]
    photos = open_sources(config, few, place, progress)
    if config.data.batch_size == "auto":
        config = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": _BATCH})})
    shown = train_photos(config.data, data.dataset, photos, config.seed, annotations_beside(data))
    found: list[Seen] = []
    for draws in train_batches(config.data, data.dataset, photos, seed=config.seed):
        for draw in draws[: count - len(found)]:
            photo, labels = shown.picture(draw)
            found.append(Seen(photo, labels, names[draw.position]))
    return found, few.count


def _fewer(data: TrainData) -> TrainData:
    """The same with at most about `MOST_PHOTOS` images, as many of each source as its share of all."""
    share = min(1.0, MOST_PHOTOS / max(1, data.count))
    more = []
    for source in data.more:
        maps = source.maps
        if isinstance(maps, ExtraSet):
            maps = maps.spread(max(1, round(share * len(maps))))
        more.append(replace(source, maps=maps))
    train = tuple(_few(data, max(1, round(share * len(data.train)))))
    return replace(data, train=train, val=(), content="preview", more=tuple(more))


def _few(data: TrainData, most: int = MOST_PHOTOS) -> Sequence[Image]:
    """At most so many training images in file order, those first whose rarest class is rarest."""
    if len(data.train) <= most:
        return data.train
    present = classes_present(data.dataset, data.train)
    rarity = np.where(present, present.sum(axis=0), len(data.train)).min(axis=1)
    tie = np.random.default_rng(0).permutation(len(data.train))
    first = np.lexsort([tie, rarity])[: most // 2]
    rest = np.setdiff1d(tie[:most], first)[: most - len(first)]
    return [data.train[n] for n in np.sort(np.concatenate([first, rest])).tolist()]


def hatched(photo: Pixels, labels: Pixels) -> Pixels:
    """The photo with diagonal stripes where its label map says ignore (255)."""
    rows, columns = np.indices(labels.shape)
    stripes = (labels == IGNORE) & ((rows + columns) % 12 < 4)
    made = photo.copy()
    made[labels == IGNORE] = made[labels == IGNORE] // 2 + 60
    made[stripes] = (240, 200, 40)
    return made


def drawn(one: Seen, classes: ClassMap) -> Pixels:
    """A picture beside itself with its regions coloured, ignored ones hatched, at a common size."""
    size = (_SIDE, _SIDE)
    photo = np.asarray(cv2.resize(one.photo, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    labels = np.asarray(cv2.resize(one.labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return side_by_side([photo, overlay(hatched(photo, labels), labels, classes)], gap=2)


def as_sheet(seen: Sequence[Seen], classes: ClassMap, title: str) -> Pixels:
    """All pictures in rows of three with a legend: RGB uint8 [H, W, 3]."""
    every = np.concatenate([one.labels.ravel() for one in seen])
    shares = class_shares(every.reshape(1, -1), classes)
    return with_legend(sheet([drawn(one, classes) for one in seen], columns=3, gap=10), classes, shares, title=title)


def as_page(seen: Sequence[Seen], classes: ClassMap, title: str) -> str:
    """The same as a page, each picture with its file name, classes and size."""
    pieces: list[Html] = [paragraph(title), paragraph("Hatched: ignored by the loss.")]
    for one in seen:
        held = ", ".join(f"{classes.names[index]} {share:.1%}" for index, share in class_shares(one.labels, classes))
        ignored = float((one.labels == IGNORE).mean())
        left_out = f", ignored {ignored:.1%}" if ignored else ""
        caption = f"{one.file_name}, {one.labels.shape[1]} px: {held or 'background alone'}{left_out}"
        pieces.append(figure(caption, picture(drawn(one, classes), alt=caption)))
    return page("What the network will see", pieces)
