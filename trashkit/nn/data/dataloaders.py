"""Caches and dataloaders of a training run: decoded photos and label maps, and the batches of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.nn.checkpoints.validate import SCORE_SIZE
from trashkit.nn.data.cache import JoinedCaches, PhotoCache, open_cache, train_layout, validation_layout
from trashkit.nn.data.datasets import make_dataset, make_loader, make_sampler
from trashkit.nn.data.extra import ExtraDataset
from trashkit.nn.data.sampler import EpochBatchSampler
from trashkit.nn.training.train_data import TrainData
from trashkit.progress import Progress
from trashkit.raster.label_maps import LabelMaps
from trashkit.settings.training import TrainConfig

Caches = tuple[JoinedCaches, PhotoCache | None]
"""Training cache, and validation cache (None without validation images)."""


@dataclass(frozen=True)
class TrainLoader:
    """Training batches of one process.

    batches: yields (photos uint8 [B, H, W, 3], label maps uint8 [B, H, W]). sampler: set its `epoch` before each pass.
    """

    batches: DataLoader[Any]
    sampler: EpochBatchSampler

    def photos(self, epoch: int) -> Iterator[Tensor]:
        """Photos of an epoch, batch by batch: uint8 [B, 3, H, W]."""
        self.sampler.epoch = epoch
        for pixels, *_ in self.batches:
            yield pixels.permute(0, 3, 1, 2)


def extra_annotations(data: TrainData) -> list[Dataset | None]:
    """Annotations of the additional training sources; None for sources that have only label maps."""
    return [one.maps.dataset if isinstance(one.maps, ExtraDataset) else None for one in data.more]


def make_train_loader(config: TrainConfig, data: TrainData, photos: JoinedCaches, engine: Accelerator) -> TrainLoader:
    """Dataloader of this process; `config` must be resolved (no ``auto`` values left)."""
    seed, rank, processes = config.seed, engine.process_index, engine.num_processes
    batches = make_sampler(config.data, data.dataset, photos, seed=seed, rank=rank, processes=processes)
    pin = engine.device.type == "cuda"
    dataset = make_dataset(config.data, data.dataset, photos, seed, extra_annotations(data))
    loader = make_loader(dataset, batches, workers=int(config.data.workers), pin=pin)
    return TrainLoader(loader, batches)


def open_caches(config: TrainConfig, data: TrainData, place: Path, engine: Accelerator, progress: Progress) -> Caches:
    """Open the training and validation caches; the main process creates them, all processes open them.

    place: cache folder. Raises TrashkitError for unreadable photos and for sources with other classes.
    """
    layout = validation_layout(config.data.size, SCORE_SIZE, config.data.paint_order)

    def both() -> Caches:
        train = open_train_caches(config, data, place, progress)
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


def open_train_caches(config: TrainConfig, data: TrainData, place: Path, progress: Progress) -> JoinedCaches:
    """Open the caches of all training sources: the annotated images first, then each source of `data.more`."""
    for source in data.more:
        if source.maps.classes != data.dataset.classes.names:
            raise TrashkitError(
                f"{source.maps.path} has different classes than the annotations: {', '.join(source.maps.classes)}",
                hint="create its label maps with a model of the same classes",
            )
    layout, budget = train_layout(config.data.size, config.data.paint_order), int(config.data.cache_gb * 1e9)
    sources: list[tuple[Dataset | LabelMaps | ExtraDataset, Sequence[Image], Path, str]] = [
        (data.dataset, data.train, data.folder, data.content),
        *((one.maps, one.maps.images, one.folder, one.maps.fingerprint + one.content) for one in data.more),
    ]
    return JoinedCaches(
        [
            open_cache(labels, images, folder, layout, place, content=content, budget=budget, progress=progress)
            for labels, images, folder, content in sources
        ]
    )
