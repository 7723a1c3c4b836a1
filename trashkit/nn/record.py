"""What a run writes down about itself: identity, manifest, one row and one line per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trashkit.coco import Dataset, Image
from trashkit.coco.origin import labels_of_models
from trashkit.config import TrainConfig
from trashkit.files import sha256
from trashkit.label_maps import LabelMaps
from trashkit.nn.augment_file import is_file
from trashkit.nn.extra import ExtraSet
from trashkit.nn.smooth import iou_errors, miou_interval
from trashkit.nn.teaching import Teaching
from trashkit.nn.weights import normalisation
from trashkit.run import RunSpec, as_json, read_run
from trashkit.run_folder import is_run
from trashkit.scores import Confusion, Matrix


@dataclass(frozen=True)
class MapData:
    """Images beside the annotated ones: with label maps, such as pseudo-labels, or of another data set.

    folder: of the photos. content: hash of the photos. weight: of an image against one with annotations. ramp: share of
    all steps in which the weight rises from 0. teaching: what is taught beside the classes of the label maps.
    """

    maps: LabelMaps | ExtraSet
    folder: Path
    content: str
    weight: float = 1.0
    ramp: float = 0.0
    teaching: Teaching | None = None

    def weight_at(self, done: float) -> float:
        """The weight when this share of all steps is done."""
        return self.weight * min(1.0, done / self.ramp) if self.ramp else self.weight


@dataclass(frozen=True)
class TrainData:
    """What a run learns from and is validated on.

    dataset: annotations with their classes. folder: of the photos. train, val: its images, none in both; `val` may be
    empty. content: `trashkit.nn.cache.content_hash` of all images in use. more: sources to train on beside `train`.
    """

    dataset: Dataset
    folder: Path
    train: tuple[Image, ...]
    val: tuple[Image, ...]
    content: str
    more: tuple[MapData, ...] = ()

    @property
    def count(self) -> int:
        """Images to train on, of all sources."""
        return len(self.train) + sum(len(source.maps) for source in self.more)


def run_spec(config: TrainConfig, dataset: Dataset) -> RunSpec:
    """The network that settings and classes ask for."""
    mean, std = normalisation(config.model.encoder)
    return RunSpec(
        architecture=config.model.architecture,
        encoder=config.model.encoder,
        options=dict(config.model.options),
        size=(config.data.size, config.data.size),
        mean=mean,
        std=std,
        class_names=dataset.classes.names,
        class_colors=dataset.classes.colors,
    )


def identity(config: TrainConfig, data: TrainData) -> dict[str, Any]:
    """What must be equal for a run to be continued: requested settings and inputs, not what the machine decided."""
    found: dict[str, Any] = {
        "settings": config.model_dump(),
        "data": data.dataset.coco.sha256,
        "photos and classes": data.content,
        "training images": [image.id for image in data.train],
        "validation images": [image.id for image in data.val],
    }
    if is_file(config.data.augment):  # its text decides, wherever it lies
        found["augmentations"] = sha256(Path(config.data.augment))
    if data.more:  # not named where there are none, so that runs of earlier versions can be continued
        found["label maps"] = [
            {
                "maps": one.maps.fingerprint,
                "photos": one.content,
                "weight": one.weight,
                "ramp": one.ramp,
                **_taught(one),
            }
            for one in data.more
        ]
    return found


def _taught(source: MapData) -> dict[str, Any]:
    return {} if source.teaching is None else {"teaching": source.teaching.as_json()}


def manifest(
    config: TrainConfig,
    data: TrainData,
    spec: RunSpec,
    *,
    device: torch.device,
    processes: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The entries of a new run's manifest, from the resolved settings on."""
    return {
        **about,
        "settings": config.model_dump(),
        "seed": config.seed,
        "checkpoint": "last",  # until the end, when it is chosen
        "model": as_json(spec),
        "inputs": {
            "data": str(data.dataset.coco.path),
            "data_sha256": data.dataset.coco.sha256,
            "images": str(data.folder),
            "content_sha256": data.content,
            "training_images": len(data.train),
            "validation_images": len(data.val),
            "training_files": [image.file_name for image in data.train],
            "validation_files": [image.file_name for image in data.val],
            "labels_of_models": labels_of_models(data.dataset.coco) + _made_elsewhere(data.more),
            **_weights(config),
            "label_maps": [
                {
                    "path": str(one.maps.path),
                    "fingerprint": one.maps.fingerprint,
                    "images": str(one.folder),
                    "weight": one.weight,
                    "ramp": one.ramp,
                    **_taught(one),
                    "files": [image.file_name for image in one.maps.images],
                }
                for one in data.more
            ],
        },
        "device": {
            "type": device.type,
            "name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            "processes": processes,
            "threads": torch.get_num_threads(),
        },
    }


def _made_elsewhere(more: tuple[MapData, ...]) -> list[dict[str, Any]]:
    """Who made labels in other data sets that are trained on, see `trashkit.coco.origin`."""
    others = [source.maps.dataset.coco for source in more if isinstance(source.maps, ExtraSet)]
    return [one for coco in others for one in labels_of_models(coco)]


def _weights(config: TrainConfig) -> dict[str, str]:
    """Hash of the checkpoint that training starts from, where it is a run or a file."""
    path = Path(config.model.weights)
    if is_run(path):
        path = read_run(path).checkpoint
    return {"weights_sha256": sha256(path)} if path.is_file() else {}


def epoch_row(epoch: int, step: int, loss: float, lr: float) -> dict[str, Any]:
    """One row of metrics.jsonl without scores; epochs are counted from 1."""
    return {"epoch": epoch + 1, "step": step, "loss": round(loss, 6), "lr": lr}


def scores_of(matrices: Matrix, names: tuple[str, ...]) -> dict[str, Any]:
    """What a validation writes into a row of metrics.jsonl: int64 [N, C, C], one matrix for each image.

    `iou` and `iou_error` (standard error, see `trashkit.nn.smooth`) are by class name, `miou_interval` is the 95 %
    bootstrap interval.
    """
    scored = Confusion(matrices.sum(axis=0), names)
    return {
        "miou": scored.miou(),
        "miou_interval": list(miou_interval(matrices)),
        "pixel_accuracy": scored.pixel_accuracy(),
        "iou": dict(zip(names, scored.iou().tolist(), strict=True)),
        "iou_error": dict(zip(names, iou_errors(matrices).tolist(), strict=True)),
        "definitions": scored.definitions(),
    }


def epoch_line(what: str, row: Mapping[str, Any], epochs: int) -> str:
    """What a person is told after an epoch: loss, validation mIoU, rate, and the time left at that rate."""
    left = row["seconds"] / row["epoch"] * (epochs - row["epoch"])
    score = f", validation mIoU {row['miou']:.4f}" if "miou" in row else ""
    text = f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
    return (
        f"{what}: epoch {row['epoch']} of {epochs}, loss {row['loss']:.4f}{score}, "
        f"{row['images_per_second']:.1f} images/s, {text}"
    )
