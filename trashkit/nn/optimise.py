"""Optimisers by name, parameter groups with their own learning rates, and the moving average of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim.lion import Lion
from torch import Tensor, nn
from torch.optim import Optimizer

from trashkit.config import OptimiserSettings
from trashkit.nn.models import Segmenter

Groups = list[dict[str, Any]]

# fused: one kernel instead of one per tensor, several times as fast on a CPU too
OPTIMISERS: dict[str, Callable[[Groups, float, float], Optimizer]] = {
    "adamw": lambda groups, lr, decay: torch.optim.AdamW(groups, lr=lr, weight_decay=decay, fused=True),
    "adam": lambda groups, lr, decay: torch.optim.Adam(groups, lr=lr, weight_decay=decay, fused=True),
    "nadamw": lambda groups, lr, decay: torch.optim.NAdam(groups, lr, weight_decay=decay, decoupled_weight_decay=True),
    "radam": lambda groups, lr, decay: torch.optim.RAdam(groups, lr, weight_decay=decay, decoupled_weight_decay=True),
    "sgd": lambda groups, lr, decay: torch.optim.SGD(
        groups, lr, momentum=0.9, nesterov=True, weight_decay=decay, fused=True
    ),
    "lion": lambda groups, lr, decay: Lion(groups, lr=lr, weight_decay=decay),
}


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], encoder: set[int], settings: OptimiserSettings
) -> Groups:
    """Four groups: encoder and decoder, each with and without weight decay (none on norms and biases).

    encoder: identities (`id`) of the encoder's parameters, which learn at ``lr * encoder_lr_ratio``; with ratio 0 they
    are frozen. Each group has its name and its peak learning rate `peak`, which a schedule multiplies.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for _, parameter in named:
        inside = id(parameter) in encoder
        if inside and settings.encoder_lr_ratio == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1
        if (inside, decays) not in groups:
            lr = settings.lr * (settings.encoder_lr_ratio if inside else 1.0)
            groups[inside, decays] = {
                "params": [],
                "name": f"{'encoder' if inside else 'decoder'}{'' if decays else ', no decay'}",
                "lr": lr,
                "peak": lr,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
        groups[inside, decays]["params"].append(parameter)
    return list(groups.values())


def make_optimiser(groups: Groups, settings: OptimiserSettings) -> Optimizer:
    """The optimiser that the settings name, over these groups."""
    return OPTIMISERS[settings.name](groups, settings.lr, settings.weight_decay)


class MovingAverage:
    """Exponential moving average of a network's weights and running statistics.

    The decay rises to `decay` as ``(1 + step) / (10 + step)``, so that the random start is soon forgotten. With decay
    0 the average is the network itself.
    """

    def __init__(self, model: Segmenter, decay: float) -> None:
        self.decay = decay
        self.source = model
        self.model = copy.deepcopy(model).requires_grad_(False).eval() if decay else model

    def update(self, step: int) -> None:
        """Take in the network's weights after optimiser step `step` (from 0)."""
        if not self.decay:
            return
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = _tensors(self.model), _tensors(self.source)
        floating = [n for n, tensor in enumerate(mine) if tensor.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in floating], [theirs[n] for n in floating], weight)
        for n, tensor in enumerate(mine):
            if not tensor.is_floating_point():  # counters of batches
                tensor.copy_(theirs[n])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
