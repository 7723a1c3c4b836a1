"""What a training is fed with: decoded photos and label maps, and the batches that one process takes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from trashkit.coco import Dataset, Image
from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.label_maps import LabelMaps
from trashkit.nn.cache import JoinedCaches, PhotoCache, open_cache, validation_layout, working_layout
from trashkit.nn.data import train_batches, train_loader, train_photos
from trashkit.nn.extra import ExtraSet
from trashkit.nn.record import TrainData
from trashkit.nn.sampler import EpochBatches
from trashkit.nn.validate import SCORED
from trashkit.progress import Progress

Caches = tuple[JoinedCaches, PhotoCache | None]
"""To train on, and to validate on (None without validation images)."""


@dataclass(frozen=True)
class Feed:
    """Batches to train on. loader: yields (photos uint8 [B, H, W, 3], label maps uint8 [B, H, W]) of the epoch that
    `batches` is set to."""

    loader: DataLoader[Any]
    batches: EpochBatches

    def photos(self, epoch: int) -> Iterator[Tensor]:
        """Photos of an epoch's batches, uint8 [B, 3, H, W]."""
        self.batches.epoch = epoch
        for pixels, *_ in self.loader:
            yield pixels.permute(0, 3, 1, 2)


def annotations_beside(data: TrainData) -> list[Dataset | None]:
    """Annotations of the sources that are trained on beside, None for those with label maps alone."""
    return [one.maps.dataset if isinstance(one.maps, ExtraSet) else None for one in data.more]


def make_feed(config: TrainConfig, data: TrainData, photos: JoinedCaches, engine: Accelerator) -> Feed:
    """The batches of this process. The settings have nothing left to choose."""
    seed, rank, processes = config.seed, engine.process_index, engine.num_processes
    batches = train_batches(config.data, data.dataset, photos, seed=seed, rank=rank, processes=processes)
    pin = engine.device.type == "cuda"
    shown = train_photos(config.data, data.dataset, photos, seed, annotations_beside(data))
    loader = train_loader(shown, batches, workers=int(config.data.workers), pin=pin)
    return Feed(loader, batches)


def open_caches(config: TrainConfig, data: TrainData, place: Path, engine: Accelerator, progress: Progress) -> Caches:
    """Photos and label maps to train on and to validate on; made by the first process, opened by all.

    place: folder for them. Raises TrashkitError for photos that cannot be read and sources of other classes.
    """
    layout = validation_layout(config.data.size, SCORED, config.data.paint_order)

    def both() -> Caches:
        train = open_sources(config, data, place, progress)
        if not data.val:
            return train, None
        budget = int(config.data.cache_gb * 1e9)
        return train, open_cache(
            data.dataset, data.val, data.folder, layout, place, content=data.content, budget=budget, progress=progress
        )

    if engine.is_main_process:
        both()
    engine.wait_for_everyone()
    return both()


def open_sources(config: TrainConfig, data: TrainData, place: Path, progress: Progress) -> JoinedCaches:
    """Photos and label maps of all that is trained on: part 0 are the annotated images, then each source of `more`."""
    for source in data.more:
        if source.maps.classes != data.dataset.classes.names:
            raise TrashkitError(
                f"{source.maps.path} has other classes ({', '.join(source.maps.classes)}) than the annotations",
                hint="make its label maps with a model of the same classes",
            )
    layout, budget = working_layout(config.data.size, config.data.paint_order), int(config.data.cache_gb * 1e9)
    sources: list[tuple[Dataset | LabelMaps | ExtraSet, Sequence[Image], Path, str]] = [
        (data.dataset, data.train, data.folder, data.content),
        *((one.maps, one.maps.images, one.folder, one.maps.fingerprint + one.content) for one in data.more),
    ]
    return JoinedCaches(
        [
            open_cache(labels, images, folder, layout, place, content=content, budget=budget, progress=progress)
            for labels, images, folder, content in sources
        ]
    )
