"""Averages of weights: the moving average during training, the mean of several states, and their batch statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import islice

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from trashkit.nn.models.networks import Segmenter
from trashkit.nn.training.fsdp import local_tensor

MOST_BATCHES = 200
"""Batch statistics are measured on at most this many batches."""


class MovingAverage:
    """Exponential moving average of a network's weights and running statistics.

    The decay rises to `decay` as ``(1 + step) / (10 + step)``, so that the random start is soon forgotten. With decay 0
    the average is the network itself.
    """

    def __init__(self, model: Segmenter, decay: float) -> None:
        self.decay = decay
        self.source = model
        self.model = copy.deepcopy(model).requires_grad_(False).eval() if decay else model

    def update(self, step: int) -> None:
        """Add the network's weights after optimiser step `step` (from 0)."""
        if not self.decay:
            return
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averages, weights = _local_tensors(self.model), _local_tensors(self.source)
        floating = [n for n, tensor in enumerate(averages) if tensor.is_floating_point()]
        torch._foreach_lerp_([averages[n] for n in floating], [weights[n] for n in floating], weight)
        for n, tensor in enumerate(averages):
            if not tensor.is_floating_point():  # batch counters
                tensor.copy_(weights[n])


def _local_tensors(model: nn.Module) -> list[Tensor]:
    return [local_tensor(tensor.detach()) for tensor in (*model.parameters(), *model.buffers())]


def add_to_mean(mean: Mapping[str, Tensor] | None, count: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of ``count + 1`` states, from the mean of `count` and one more, float32 on the CPU.

    Integer tensors (batch counters) are taken from the newest state.
    """
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        new = value.detach().cpu()
        if mean is None or not new.is_floating_point():
            found[key] = new.clone()
        else:
            found[key] = mean[key] + (new - mean[key]) / (count + 1)
    return found


@torch.no_grad()
def measure_batch_statistics(model: Segmenter, photos: Iterator[Tensor], accelerator: Accelerator) -> None:
    """Recompute the running statistics of batch norm for the model's current weights.

    The statistics of averaged weights are not the average of the statistics. photos: uint8 [B, 3, H, W], of which at
    most `MOST_BATCHES` are used; each process measures its own and the results are averaged. Other layers stay in eval
    mode, because dropout would change the statistics. Source: P. Izmailov et al., "Averaging Weights Leads to Wider
    Optima and Better Generalization".
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    for batch in islice(photos, MOST_BATCHES):
        with accelerator.autocast():
            model(batch.to(accelerator.device, non_blocking=True))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if accelerator.num_processes > 1:
            for buffer in (norm.running_mean, norm.running_var):
                assert buffer is not None
                buffer.copy_(accelerator.reduce(buffer.contiguous(), "mean"))
    model.eval()
