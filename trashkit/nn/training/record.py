"""What a run records about itself: identity, manifest, rows of metrics.jsonl and the line per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trashkit.coco import Dataset
from trashkit.coco.model_labels import labels_of_models
from trashkit.files import sha256
from trashkit.metrics.scores import Confusion, Matrix
from trashkit.metrics.summary import short_miou_text, without_background
from trashkit.nn.checkpoints.smoothing import iou_errors, miou_interval
from trashkit.nn.data.augment_file import is_file
from trashkit.nn.data.extra import ExtraDataset
from trashkit.nn.models.weights import normalisation
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.progress import time_text
from trashkit.runs.folder import is_run
from trashkit.runs.manifest import DeviceEntry, LabelMapInput, RunIdentity, RunInputs, RunSpec
from trashkit.runs.metrics import EpochRow, Scores
from trashkit.runs.run import read_run
from trashkit.settings.training import TrainConfig, identity_settings


def run_spec(config: TrainConfig, dataset: Dataset) -> RunSpec:
    """The network that the settings and the classes of the data set define."""
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


def run_identity(config: TrainConfig, data: TrainData) -> RunIdentity:
    """What must be equal for a run to be resumed: requested settings and inputs, not what the machine decided."""
    found: RunIdentity = {
        "settings": identity_settings(config),
        "data": data.dataset.coco.sha256,
        "photos and classes": data.content,
        "training images": [image.id for image in data.train],
        "validation images": [image.id for image in data.val],
    }
    if is_file(config.data.augment):  # the content of the file counts, not its path
        found["augmentations"] = sha256(Path(config.data.augment))
    if data.more:  # no entry without them, so that runs of earlier versions can be resumed
        found["label maps"] = [
            {
                "maps": one.maps.fingerprint,
                "photos": one.content,
                "weight": one.weight,
                "ramp": one.ramp,
                **({} if one.distillation is None else {"teaching": one.distillation.as_json()}),
            }
            for one in data.more
        ]
    return found


def new_run_entries(
    config: TrainConfig,
    data: TrainData,
    spec: RunSpec,
    *,
    device: torch.device,
    processes: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The entries of a new run's manifest. config: resolved. about: further entries, such as the command line."""
    device_entry: DeviceEntry = {
        "type": device.type,
        "name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "processes": processes,
        "threads": torch.get_num_threads(),
    }
    return {
        **about,
        "settings": config.model_dump(),
        "seed": config.seed,
        "checkpoint": "last",  # until one is chosen at the end
        "model": spec.as_json(),
        "inputs": _inputs(config, data),
        "device": device_entry,
    }


def _inputs(config: TrainConfig, data: TrainData) -> RunInputs:
    found: RunInputs = {
        "data": str(data.dataset.coco.path),
        "data_sha256": data.dataset.coco.sha256,
        "images": str(data.folder),
        "content_sha256": data.content,
        "training_images": len(data.train),
        "validation_images": len(data.val),
        "training_files": [image.file_name for image in data.train],
        "validation_files": [image.file_name for image in data.val],
        "labels_of_models": labels_of_models(data.dataset.coco) + _labels_of_models_in(data.more),
    }
    if digest := _start_weights_hash(config):
        found["weights_sha256"] = digest
    found["label_maps"] = [_label_map_input(source) for source in data.more]
    return found


def _label_map_input(source: ExtraSource) -> LabelMapInput:
    found: LabelMapInput = {
        "path": str(source.maps.path),
        "fingerprint": source.maps.fingerprint,
        "images": str(source.folder),
        "weight": source.weight,
        "ramp": source.ramp,
        "files": [image.file_name for image in source.maps.images],
    }
    if source.distillation is not None:
        found["teaching"] = source.distillation.as_json()
    return found


def _labels_of_models_in(more: tuple[ExtraSource, ...]) -> list[dict[str, Any]]:
    """The models that made labels in other data sets, see `trashkit.coco.model_labels`."""
    others = [source.maps.dataset.coco for source in more if isinstance(source.maps, ExtraDataset)]
    return [one for coco in others for one in labels_of_models(coco)]


def _start_weights_hash(config: TrainConfig) -> str:
    """Hash of the checkpoint that training starts from; empty unless it is a run or a file."""
    path = Path(config.model.weights)
    if is_run(path):
        path = read_run(path).checkpoint
    return sha256(path) if path.is_file() else ""


def epoch_row(epoch: int, step: int, loss: float, lr: float) -> EpochRow:
    """One row of metrics.jsonl without scores. epoch: from 0; in the file epochs are counted from 1."""
    return {"epoch": epoch + 1, "step": step, "loss": round(loss, 6), "lr": lr}


def scores_of(matrices: Matrix, names: tuple[str, ...]) -> Scores:
    """The scores of a validation, from confusion matrices int64 [N, C, C], one per image. names: of the classes."""
    scored = Confusion(matrices.sum(axis=0), names)
    return {
        "miou": scored.miou(),
        "miou_interval": list(miou_interval(matrices)),
        "pixel_accuracy": scored.pixel_accuracy(),
        "iou": dict(zip(names, scored.iou().tolist(), strict=True)),
        "iou_error": dict(zip(names, iou_errors(matrices).tolist(), strict=True)),
        "definitions": scored.definitions(),
    }


def epoch_line(name: str, row: EpochRow, epochs: int) -> str:
    """An epoch as one line for the log: loss, validation mIoU, speed, and the time left at that speed."""
    left = row["seconds"] / row["epoch"] * (epochs - row["epoch"])
    miou = row.get("miou")
    other = without_background((row.get("iou") or {}).values())
    score = "" if miou is None else f", validation mIoU {short_miou_text(miou, other)}"
    return (
        f"{name}: epoch {row['epoch']} of {epochs}, loss {row['loss']:.4f}{score}, "
        f"{row['images_per_second']:.1f} images/s, {time_text(left)} left"
    )
