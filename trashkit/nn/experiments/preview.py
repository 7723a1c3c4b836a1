"""Preview of the training pictures: the first batches of an epoch, augmented, with their label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap, Image
from trashkit.nn.data.dataloaders import extra_annotations, open_train_caches
from trashkit.nn.data.datasets import make_dataset, make_sampler
from trashkit.nn.data.extra import ExtraDataset
from trashkit.nn.data.sampler import classes_present
from trashkit.nn.training.train_data import TrainData
from trashkit.progress import Progress, silent
from trashkit.raster.label_maps import IGNORE
from trashkit.report.html import Html, figure, page, paragraph, picture
from trashkit.report.overlay import class_shares, overlay, sheet, side_by_side, with_legend
from trashkit.settings.training import TrainConfig

Pixels = NDArray[np.uint8]

MOST_PHOTOS = 300
"""Of more training photos only this many are decoded, those with rare classes first."""
_BATCH = 8
_SIDE = 256


@dataclass(frozen=True)
class TrainingPicture:
    """One picture: photo uint8 [S, S, 3], label map uint8 [S, S], and the file that its first photo comes from."""

    photo: Pixels
    labels: Pixels
    file_name: str


def preview(
    config: TrainConfig, data: TrainData, cache: Path, *, count: int = 12, progress: Progress = silent
) -> tuple[list[TrainingPicture], int]:
    """The first pictures of the first epoch, and the number of photos they are drawn from, of all sources.

    They are exactly those that training shows first if the data set has at most `MOST_PHOTOS` photos and the batch size
    is set, or 8. cache: folder for decoded photos, which the caller removes. Raises TrashkitError for photos and
    settings that cannot be used.
    """
    few = _reduced(data)
    names = [image.file_name for images in (few.train, *(one.maps.images for one in few.more)) for image in images]
    photos = open_train_caches(config, few, cache, progress)
    if config.data.batch_size == "auto":
        config = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": _BATCH})})
    shown = make_dataset(config.data, data.dataset, photos, config.seed, extra_annotations(data))
    found: list[TrainingPicture] = []
    for draws in make_sampler(config.data, data.dataset, photos, seed=config.seed):
        for draw in draws[: count - len(found)]:
            photo, labels = shown.load(draw)
            found.append(TrainingPicture(photo, labels, names[draw.position]))
    return found, few.count


def _reduced(data: TrainData) -> TrainData:
    """The data with about `MOST_PHOTOS` images at most, the same share of each source."""
    share = min(1.0, MOST_PHOTOS / max(1, data.count))
    more = []
    for source in data.more:
        maps = source.maps
        if isinstance(maps, ExtraDataset):
            maps = maps.evenly_sampled(max(1, round(share * len(maps))))
        more.append(replace(source, maps=maps))
    train = tuple(_rarest_first(data, max(1, round(share * len(data.train)))))
    return replace(data, train=train, val=(), content="preview", more=tuple(more))


def _rarest_first(data: TrainData, most: int) -> Sequence[Image]:
    """At most this many training images in file order: half of them those with the rarest classes, the rest random."""
    if len(data.train) <= most:
        return data.train
    present = classes_present(data.dataset, data.train)
    rarity = np.where(present, present.sum(axis=0), len(data.train)).min(axis=1)
    tie = np.random.default_rng(0).permutation(len(data.train))
    first = np.lexsort([tie, rarity])[: most // 2]
    rest = np.setdiff1d(tie[:most], first)[: most - len(first)]
    return [data.train[n] for n in np.sort(np.concatenate([first, rest])).tolist()]


# --- drawing ---------------------------------------------------------------------------------------------------------


def hatch_ignored(photo: Pixels, labels: Pixels) -> Pixels:
    """The photo with diagonal stripes over pixels whose label is 255 (ignored)."""
    rows, columns = np.indices(labels.shape)
    stripes = (labels == IGNORE) & ((rows + columns) % 12 < 4)
    made = photo.copy()
    made[labels == IGNORE] = made[labels == IGNORE] // 2 + 60
    made[stripes] = (240, 200, 40)
    return made


def draw_picture(one: TrainingPicture, classes: ClassMap) -> Pixels:
    """A picture next to itself with coloured regions, ignored ones hatched, at a common size."""
    size = (_SIDE, _SIDE)
    photo = np.asarray(cv2.resize(one.photo, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    labels = np.asarray(cv2.resize(one.labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return side_by_side([photo, overlay(hatch_ignored(photo, labels), labels, classes)], gap=2)


def picture_shares(pictures: Sequence[TrainingPicture], classes: ClassMap) -> dict[str, float]:
    """Share of all pixels by class name, of the classes in the pictures."""
    every = np.concatenate([one.labels.ravel() for one in pictures]).reshape(1, -1)
    return {classes.names[index]: share for index, share in class_shares(every, classes)}


def as_sheet(pictures: Sequence[TrainingPicture], classes: ClassMap, title: str) -> Pixels:
    """All pictures in rows of three with a legend: RGB uint8 [H, W, 3]."""
    every = np.concatenate([one.labels.ravel() for one in pictures])
    shares = class_shares(every.reshape(1, -1), classes)
    drawn = [draw_picture(one, classes) for one in pictures]
    return with_legend(sheet(drawn, columns=3, gap=10), classes, shares, title=title)


def as_page(pictures: Sequence[TrainingPicture], classes: ClassMap, title: str) -> str:
    """The same as an HTML page, each picture with its file name, classes and size."""
    pieces: list[Html] = [paragraph(title), paragraph("Hatched: ignored by the loss.")]
    for one in pictures:
        held = ", ".join(f"{classes.names[index]} {share:.1%}" for index, share in class_shares(one.labels, classes))
        ignored = float((one.labels == IGNORE).mean())
        left_out = f", ignored {ignored:.1%}" if ignored else ""
        caption = f"{one.file_name}, {one.labels.shape[1]} px: {held or 'background only'}{left_out}"
        pieces.append(figure(caption, picture(draw_picture(one, classes), alt=caption)))
    return page("What the network will see", pieces)
