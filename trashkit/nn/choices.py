"""What a run can be told by name, and what it chooses by itself, each choice with its reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trashkit.config import TrainConfig
from trashkit.loss_text import LossTerm, class_rule, parse_loss
from trashkit.nn.augment import PRESETS
from trashkit.nn.class_weights import RULES, check_names, rule_options
from trashkit.nn.data import check_data
from trashkit.nn.losses import LOSSES, PIXEL_LOSSES, check_ranges, options
from trashkit.nn.models import ARCHITECTURES, encoder_names
from trashkit.nn.optimise import OPTIMISERS, make_optimiser
from trashkit.nn.schedule import SHAPES
from trashkit.nn.weights import choose


@dataclass(frozen=True, slots=True)
class Choice:
    """One automatic choice: what was chosen, its value, and why."""

    what: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} {self.value}: {self.reason}"


def names() -> dict[str, Sequence[str]]:
    """The names that each named setting may take, for `trashkit.config.resolve`."""
    return {
        "model.architecture": list(ARCHITECTURES),
        "model.encoder": encoder_names(),
        "data.augment": list(PRESETS),
        "optimiser.name": list(OPTIMISERS),
        "schedule.name": list(SHAPES),
        "loss": list(LOSSES),
        **{f"loss.{name}": options(name) for name in LOSSES},
        "class_weights": ["none", *RULES],
        **{f"class_weights.{name}": rule_options(name) for name in RULES},
    }


def check_settings(config: TrainConfig, names: Sequence[str]) -> None:
    """Refuse what cannot work, before anything is decoded or written. names: of the classes, background first.

    Raises TrashkitError for arguments out of range, options that the optimiser lacks, classes that the data lacks, and
    what `check_data` finds.
    """
    check_ranges(parse_loss(config.loss), "loss")
    if isinstance(config.class_weights, str):
        rule = class_rule(config.class_weights)
        check_ranges([rule] if rule else [LossTerm("none")], "class_weights")
    else:
        check_names(config.class_weights, names)
    make_optimiser([{"params": [torch.nn.Parameter(torch.zeros(2, 2))]}], config.optimiser)
    check_data(config, names)


def without_effect(config: TrainConfig, *, validated: bool) -> list[str]:
    """A line for each setting that changes nothing beside the others. validated: whether there are images for it."""
    optimiser, found = config.optimiser, []
    if optimiser.freeze_epochs >= config.epochs:
        found.append(f"the encoder never learns: it is frozen for {optimiser.freeze_epochs} of {config.epochs} epochs")
    frozen = optimiser.freeze_epochs >= config.epochs or optimiser.encoder_lr_ratio == 0
    if frozen and optimiser.layer_decay != 1:
        found.append("optimiser.layer_decay changes nothing: the encoder is frozen")
    if frozen and config.schedule.encoder_warmup:
        found.append("schedule.encoder_warmup changes nothing: the encoder is frozen")
    if config.class_weights != "none" and not any(term.name in PIXEL_LOSSES for term in parse_loss(config.loss)):
        found.append(f'class_weights change nothing: "{config.loss}" has no loss that is a mean over pixels')
    if config.checkpoint == "best" and not validated:
        found.append("checkpoint is last, not best: without validation no epoch is known to be the best")
    if config.checkpoint == "raw" and not config.ema:
        found.append("checkpoint is last, not raw: with ema=0 they are the same")
    return found


def automatic(
    config: TrainConfig, *, device: torch.device, processes: int, images: int
) -> tuple[TrainConfig, list[Choice]]:
    """The settings with every ``auto`` decided for this machine and data set, and what was decided.

    Batch sizes are per process. Raises TrashkitError where weights cannot be had.
    """
    gpu = device.type == "cuda"
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))
    cores = cores or 1
    found = [_device(device, processes)]
    data, amp, threads = config.data, config.amp, config.threads
    if threads == "auto":
        threads = torch.get_num_threads()
        if not gpu:
            found.append(Choice("threads", str(threads), f"torch's own choice on {cores} CPU cores"))
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
    source, why = choose(config.model.weights, config.model.encoder)
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
    reason = "Apple's GPU" if device.type == "mps" else "asked for" if torch.cuda.is_available() else "no GPU was found"
    return Choice("device", f"{device}{many}", reason)


def _batch_size(size: int, *, gpu: bool, images: int, processes: int) -> Choice:
    if gpu:
        most = max(4, min(64, int(16 * (512 / size) ** 2)))
        reason = f"16 photos at 512 px fit most GPUs, so {most} at {size} px"
    else:
        most, reason = 8, "on a CPU larger batches are no faster, and more steps learn more"
    # Small data sets: at least eight steps an epoch, so that the average of weights has something to average.
    steps = images // (8 * processes)
    if steps < most:
        return Choice("batch size", str(max(2, steps)), f"eight steps an epoch with {images} photos")
    return Choice("batch size", str(most), reason)


def _workers(cores: int, *, gpu: bool, processes: int) -> Choice:
    if gpu:
        count = max(1, min(8, (cores - 1) // processes))
        return Choice("workers", str(count), f"{cores} CPU cores feed {processes} GPU process(es)")
    return Choice("workers", "0", "on a CPU the network needs all cores, and loading takes a tenth of the time")
