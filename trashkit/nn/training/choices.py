"""The names that settings may take, checks of settings, and the automatic choices with their reasons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trashkit.nn.data.augment import PRESETS
from trashkit.nn.data.class_weights import RULES, check_class_names, rule_options
from trashkit.nn.data.datasets import check_data
from trashkit.nn.models.networks import ARCHITECTURES, encoder_names
from trashkit.nn.models.weights import choose_source
from trashkit.nn.training.losses import LOSSES, PIXEL_LOSSES, check_ranges, loss_options
from trashkit.nn.training.optimisers import OPTIMISERS, make_optimiser
from trashkit.nn.training.schedule import SCHEDULES
from trashkit.settings.loss_expressions import LossTerm, class_rule, parse_loss
from trashkit.settings.training import TrainConfig


@dataclass(frozen=True, slots=True)
class Choice:
    """An automatic choice: what was chosen, its value, and why."""

    what: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} {self.value}: {self.reason}"


def setting_choices() -> dict[str, Sequence[str]]:
    """The names that each named setting may take, as `trashkit.settings.training.resolve` wants them."""
    return {
        "model.architecture": list(ARCHITECTURES),
        "model.encoder": encoder_names(),
        "data.augment": list(PRESETS),
        "optimiser.name": list(OPTIMISERS),
        "schedule.name": list(SCHEDULES),
        "loss": list(LOSSES),
        **{f"loss.{name}": loss_options(name) for name in LOSSES},
        "class_weights": ["none", *RULES],
        **{f"class_weights.{name}": rule_options(name) for name in RULES},
    }


def check_settings(config: TrainConfig, names: Sequence[str]) -> None:
    """Check settings against the tables and the data before anything is decoded or written.

    names: of the classes, background first. Raises TrashkitError for arguments out of range, options that the optimiser
    lacks, classes that the data lacks, and everything that `check_data` finds.
    """
    check_ranges(parse_loss(config.loss), "loss")
    if isinstance(config.class_weights, str):
        rule = class_rule(config.class_weights)
        check_ranges([rule] if rule else [LossTerm("none")], "class_weights")
    else:
        check_class_names(config.class_weights, names)
    make_optimiser([{"params": [torch.nn.Parameter(torch.zeros(2, 2))]}], config.optimiser)
    check_data(config, names)


def ineffective_settings(config: TrainConfig, *, validated: bool) -> list[str]:
    """One line for each setting that has no effect given the others. validated: whether there are validation images."""
    optimiser, found = config.optimiser, []
    if optimiser.freeze_epochs >= config.epochs:
        found.append(
            f"the encoder is never trained: it is frozen for {optimiser.freeze_epochs} of {config.epochs} epochs"
        )
    frozen = optimiser.freeze_epochs >= config.epochs or optimiser.encoder_lr_ratio == 0
    if frozen and optimiser.layer_decay != 1:
        found.append("optimiser.layer_decay has no effect: the encoder is frozen")
    if frozen and config.schedule.encoder_warmup:
        found.append("schedule.encoder_warmup has no effect: the encoder is frozen")
    if config.class_weights != "none" and not any(term.name in PIXEL_LOSSES for term in parse_loss(config.loss)):
        found.append(f'class_weights has no effect: no loss in "{config.loss}" is a mean over pixels')
    if config.checkpoint == "best" and not validated:
        found.append("checkpoint=best becomes last: without validation images no epoch is known to be the best")
    if config.checkpoint == "raw" and not config.ema:
        found.append("checkpoint=raw becomes last: with ema=0 they are the same")
    return found


def resolve_automatic(
    config: TrainConfig, *, device: torch.device, processes: int, images: int
) -> tuple[TrainConfig, list[Choice]]:
    """The settings with every ``auto`` replaced for this machine and data set, and what was chosen.

    Batch sizes are per process. Raises TrashkitError if pretrained weights are not available.
    """
    gpu = device.type == "cuda"
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    found = [_device(device, processes)]
    data, amp, threads = config.data, config.amp, config.threads
    if threads == "auto":
        threads = torch.get_num_threads()
        if not gpu:
            found.append(Choice("threads", str(threads), f"torch's default on {cores} CPU cores"))
    batch, workers = data.batch_size, data.workers
    if batch == "auto":
        choice = _batch_size(data.size, gpu=gpu, images=images, processes=processes)
        batch = int(choice.value)
        found.append(choice)
    if workers == "auto":
        choice = _workers(cores, gpu=gpu, processes=processes)
        workers = int(choice.value)
        found.append(choice)
    if amp == "auto":
        if not gpu:
            amp, reason = "off", "half precision is slower on a CPU"
        elif torch.cuda.is_bf16_supported():
            amp, reason = "bf16", "this GPU computes in bfloat16, which needs no loss scaling"
        else:
            amp, reason = "fp16", "this GPU has no bfloat16"
        found.append(Choice("amp", amp, reason))
    source, why = choose_source(config.model.weights, config.model.encoder)
    if source != config.model.weights:
        found.append(Choice("weights", source, why))
    changed = config.model_copy(
        update={
            "data": data.model_copy(update={"batch_size": batch, "workers": workers}),
            "model": config.model.model_copy(update={"weights": source}),
            "amp": amp,
            "threads": threads,
        }
    )
    return changed, found


def _device(device: torch.device, processes: int) -> Choice:
    many = f" x {processes} processes" if processes > 1 else ""
    if device.type == "cuda":
        return Choice("device", f"{device}{many}", torch.cuda.get_device_name(device))
    reason = "Apple GPU" if device.type == "mps" else "as requested" if torch.cuda.is_available() else "no GPU found"
    return Choice("device", f"{device}{many}", reason)


def _batch_size(size: int, *, gpu: bool, images: int, processes: int) -> Choice:
    if gpu:
        most = max(4, min(64, int(16 * (512 / size) ** 2)))
        reason = f"most GPUs fit 16 photos at 512 px, which is {most} at {size} px"
    else:
        most, reason = 8, "on a CPU larger batches are not faster, and more steps learn more"
    # Small data sets: at least eight steps per epoch, so that the moving average has something to average.
    steps = images // (8 * processes)
    if steps < most:
        return Choice("batch size", str(max(2, steps)), f"eight steps per epoch with {images} photos")
    return Choice("batch size", str(most), reason)


def _workers(cores: int, *, gpu: bool, processes: int) -> Choice:
    if gpu:
        count = max(1, min(8, (cores - 1) // processes))
        return Choice("workers", str(count), f"{cores} CPU cores load data for {processes} GPU process(es)")
    return Choice("workers", "0", "on a CPU the network needs all cores, and loading takes a tenth of the time")
