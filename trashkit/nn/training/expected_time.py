"""How long a training will take, from one timed step."""

from __future__ import annotations

import time
from copy import deepcopy

import torch
from accelerate import Accelerator
from torch import nn

from trashkit.settings.training import TrainConfig

FORWARD_SHARE = 1 / 3
"""Time of a forward pass as a share of a training step's: a backward pass takes about twice as long."""
TIMED_SIDE, TIMED_IMAGES = 256, 4
"""Most pixels a side and photos of the step that is timed on a CPU, where the time grows with their number."""


def step_seconds(network: nn.Module, config: TrainConfig, accelerator: Accelerator, images: int) -> float | None:
    """Seconds of the forward and backward pass of a batch; None where that cannot be timed, for lack of memory.

    network: as `trashkit.nn.models.networks` builds it; a copy is timed, so that nothing of it changes. images: of the
    data set, since a batch is not larger. On a CPU fewer and smaller photos are timed, and the time is scaled.
    """
    side, batch = config.data.size, max(2, min(int(config.data.batch_size), images))
    tries = [(side, batch)]
    if accelerator.device.type == "cpu":
        few = min(batch, TIMED_IMAGES)
        tries = [(min(side, TIMED_SIDE), few), (side, few)]  # some networks take one size only
    for timed_side, count in dict.fromkeys(tries):
        try:
            seconds = _timed(network, accelerator, timed_side, count)
        except torch.OutOfMemoryError:
            return None
        except (RuntimeError, ValueError, AssertionError):
            continue
        return seconds * (side / timed_side) ** 2 * batch / count
    return None


def _timed(network: nn.Module, accelerator: Accelerator, side: int, count: int) -> float:
    """Seconds of the second of two passes of blank photos: the first allocates memory."""
    seconds = 0.0
    with torch.random.fork_rng(devices=[]):
        timed = deepcopy(network).to(accelerator.device).train()
        photos = torch.zeros(count, 3, side, side, device=accelerator.device)
        for _ in range(2):
            started = time.monotonic()
            with accelerator.autocast():
                output = timed(photos)
            output.float().mean().backward()
            if accelerator.device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.monotonic() - started
    return seconds


def training_seconds(step: float, config: TrainConfig, *, train: int, val: int, processes: int = 1) -> float:
    """Seconds of all epochs with this time of a step. train, val: images of an epoch, and to validate on."""
    batch = int(config.data.batch_size) * processes
    batches = -(-train // batch) + FORWARD_SHARE * -(-val // batch)
    return step * batches * config.epochs
