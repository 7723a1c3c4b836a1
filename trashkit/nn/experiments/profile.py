"""Where the time of a training step goes: data loading, transfer, forward pass, loss, backward pass, optimiser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trashkit.nn.data.dataloaders import TrainLoader, make_train_loader, open_caches
from trashkit.nn.models.networks import build
from trashkit.nn.training.choices import resolve_automatic
from trashkit.nn.training.fsdp import check_shardable
from trashkit.nn.training.learner import make_learner, start_accelerator
from trashkit.nn.training.losses import loss_sum
from trashkit.nn.training.record import run_spec
from trashkit.nn.training.train import DEFAULTS, TrainOptions
from trashkit.nn.training.train_data import TrainData
from trashkit.progress import Log, Progress, discard, silent
from trashkit.settings.loss_expressions import parse_loss
from trashkit.settings.training import TrainConfig

PHASES = ("loader", "transfer", "forward", "loss", "backward", "step")
WARM_UP = 3
"""Steps before measuring: kernels are selected, memory is allocated, workers start."""


@dataclass(frozen=True)
class Profile:
    """Seconds by phase over `steps` steps and `images` images. memory: peak bytes on a GPU, None on a CPU."""

    seconds: dict[str, float]
    steps: int
    images: int
    memory: int | None

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())


def profile(
    config: TrainConfig,
    data: TrainData,
    options: TrainOptions = DEFAULTS,
    *,
    steps: int,
    cache: Path,
    log: Log = discard,
    progress: Progress = silent,
) -> Profile:
    """Train for some steps, synchronise with the device after each phase, and keep only the times.

    Training itself synchronises once per epoch and overlaps these phases, so it is a little faster than their sum.
    """
    accelerator = start_accelerator(options.device, "off")
    resolved, choices = resolve_automatic(
        config, device=accelerator.device, processes=accelerator.num_processes, images=data.count
    )
    for choice in choices:
        log(str(choice))
    accelerator = start_accelerator(options.device, resolved.amp)
    torch.manual_seed(resolved.seed)
    model = build(run_spec(resolved, data.dataset), resolved.model.weights)
    if options.fsdp:
        check_shardable(model, accelerator)
    caches = open_caches(resolved, data, cache, accelerator, progress)
    learner = make_learner(resolved, model, accelerator, None, fsdp=options.fsdp)
    train_loader = make_train_loader(resolved, data, caches[0], accelerator)
    loss_of = loss_sum(parse_loss(resolved.loss))
    learner.begin_epoch(resolved, resolved.optimiser.freeze_epochs)
    seconds, images, last = dict.fromkeys(PHASES, 0.0), 0, time.monotonic()
    gpu = accelerator.device.type == "cuda"

    def ended(phase: str, *, counts: bool) -> None:
        nonlocal last
        if gpu:
            torch.cuda.synchronize()
        now = time.monotonic()
        seconds[phase] += now - last if counts else 0.0
        last = now

    for n, (pixels, labels) in enumerate(_batches(train_loader, WARM_UP + steps)):
        counts = n >= WARM_UP
        ended("loader", counts=counts)
        photos = pixels.to(accelerator.device, non_blocking=True).permute(0, 3, 1, 2)
        truth = labels.to(accelerator.device, non_blocking=True)
        ended("transfer", counts=counts)
        learner.set_learning_rate(resolved, n, WARM_UP + steps, [])
        with accelerator.autocast():
            logits, _ = learner.forward(photos)
        ended("forward", counts=counts)
        loss = loss_of(logits, truth)
        ended("loss", counts=counts)
        learner.backward(loss)
        ended("backward", counts=counts)
        learner.step(n, resolved.optimiser.clip)
        ended("step", counts=counts)
        images += len(pixels) if counts else 0
        progress("profiling", n + 1, WARM_UP + steps)
    return Profile(seconds, steps, images, torch.cuda.max_memory_allocated() if gpu else None)


def _batches(train_loader: TrainLoader, count: int) -> Iterator[Any]:
    """This many batches, from as many epochs as needed."""
    epoch = 0
    while True:
        train_loader.sampler.epoch = epoch
        for batch in train_loader.batches:
            yield batch
            count -= 1
            if not count:
                return
        epoch += 1
