"""Where the time of a training goes: waiting for the loader, transfer, forward, backward, optimiser step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trashkit.config import TrainConfig
from trashkit.loss_text import parse_loss
from trashkit.nn.choices import automatic
from trashkit.nn.feed import Feed, make_feed, open_caches
from trashkit.nn.learner import make_learner, start_accelerator
from trashkit.nn.losses import weighted_sum
from trashkit.nn.models import build
from trashkit.nn.record import TrainData, run_spec
from trashkit.nn.shard import check_cut
from trashkit.progress import Progress, silent

PHASES = ("loader", "transfer", "forward", "loss", "backward", "step")
WARM_UP = 3
"""Steps before measuring: kernels are chosen, memory is taken, workers start."""


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
    *,
    steps: int,
    cache: Path,
    device: str = "auto",
    shard: bool = False,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Profile:
    """Train for some steps, waiting for the device after each phase, and keep nothing but the times.

    Training itself waits only once an epoch and overlaps these phases, so that it is a little faster than their sum.
    """
    engine = start_accelerator(device, "off")
    chosen, choices = automatic(config, device=engine.device, processes=engine.num_processes, images=data.count)
    for choice in choices:
        say(str(choice))
    engine = start_accelerator(device, chosen.amp)
    torch.manual_seed(chosen.seed)
    model = build(run_spec(chosen, data.dataset), chosen.model.weights)
    if shard:
        check_cut(model, engine)
    caches = open_caches(chosen, data, cache, engine, progress)
    learner = make_learner(chosen, model, engine, None, shard=shard)
    feed = make_feed(chosen, data, caches[0], engine)
    loss_of = weighted_sum(parse_loss(chosen.loss))
    learner.begin_epoch(chosen, chosen.optimiser.freeze_epochs)
    seconds, images, last = dict.fromkeys(PHASES, 0.0), 0, time.monotonic()
    gpu = engine.device.type == "cuda"

    def ended(phase: str, *, counts: bool) -> None:
        nonlocal last
        if gpu:
            torch.cuda.synchronize()
        now = time.monotonic()
        seconds[phase] += now - last if counts else 0.0
        last = now

    for n, (pixels, labels) in enumerate(_batches(feed, WARM_UP + steps)):
        counts = n >= WARM_UP
        ended("loader", counts=counts)
        photos = pixels.to(engine.device, non_blocking=True).permute(0, 3, 1, 2)
        truth = labels.to(engine.device, non_blocking=True)
        ended("transfer", counts=counts)
        learner.set_learning_rate(chosen, n, WARM_UP + steps, [])
        with engine.autocast():
            logits, _ = learner.forward(photos)
        ended("forward", counts=counts)
        loss = loss_of(logits, truth)
        ended("loss", counts=counts)
        learner.backward(loss)
        ended("backward", counts=counts)
        learner.step(n, chosen.optimiser.clip)
        ended("step", counts=counts)
        images += len(pixels) if counts else 0
        progress("profiling", n + 1, WARM_UP + steps)
    return Profile(seconds, steps, images, torch.cuda.max_memory_allocated() if gpu else None)


def _batches(feed: Feed, count: int) -> Iterator[Any]:
    """So many batches, from as many epochs as that takes."""
    epoch = 0
    while True:
        feed.batches.epoch = epoch
        for batch in feed.loader:
            yield batch
            count -= 1
            if not count:
                return
        epoch += 1
