"""What a run is trained and validated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trashkit.coco import Dataset, Image
from trashkit.nn.data.extra import ExtraDataset
from trashkit.nn.training.distillation import Distillation
from trashkit.raster.label_maps import LabelMaps


@dataclass(frozen=True)
class ExtraSource:
    """Images to train on in addition to the annotated ones: with label maps (pseudo-labels), or of another data set.

    folder: of the photos. content: hash of the photos. weight: of an image relative to an annotated one. ramp: share of
    all steps over which the weight rises from 0. distillation: targets other than the label maps.
    """

    maps: LabelMaps | ExtraDataset
    folder: Path
    content: str
    weight: float = 1.0
    ramp: float = 0.0
    distillation: Distillation | None = None

    def weight_at(self, done: float) -> float:
        """The weight when this share of all steps is done."""
        return self.weight * min(1.0, done / self.ramp) if self.ramp else self.weight


@dataclass(frozen=True)
class TrainData:
    """The images of a run.

    dataset: annotations with their classes. folder: of the photos. train, val: disjoint images of the data set; `val`
    may be empty. content: `trashkit.nn.data.cache.content_hash` of all images in use. more: sources to train on in
    addition to `train`.
    """

    dataset: Dataset
    folder: Path
    train: tuple[Image, ...]
    val: tuple[Image, ...]
    content: str
    more: tuple[ExtraSource, ...] = ()

    @property
    def count(self) -> int:
        """Number of images to train on, of all sources."""
        return len(self.train) + sum(len(source.maps) for source in self.more)
