"""What learns in a run: the network, the moving average of its weights, and the optimiser, on their device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from torch import nn

from trashkit.config import TrainConfig
from trashkit.nn.checkpoint import save_state, save_weights
from trashkit.nn.devices import on_cpu
from trashkit.nn.models import Segmenter, encoder_parameters
from trashkit.nn.optimise import MovingAverage, make_optimiser, parameter_groups
from trashkit.nn.schedule import factor
from trashkit.run import CHECKPOINTS, write_metrics


def start_accelerator(device: str, amp: str) -> Accelerator:
    """The engine: finds the devices and the other processes. device: ``auto`` or ``cpu``."""
    precision = {"off": "no", "auto": "no"}.get(amp, amp)
    shared = AcceleratorState._shared_state
    if shared and shared.get("_mixed_precision") != precision:
        AcceleratorState._reset_state()  # it is one per process, and the next run may want another precision
    # Some encoders have heads that segmentation does not use.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=on_cpu(device), mixed_precision=precision, kwargs_handlers=[unused])


@dataclass(frozen=True)
class Learner:
    """model: the network. average: of its weights, what is validated and saved. forward, stepper: the network and the
    optimiser as accelerate wraps them, for many processes and half precision. parameters: those that learn.
    """

    model: Segmenter
    average: MovingAverage
    optimiser: torch.optim.Optimizer
    forward: nn.Module
    stepper: AcceleratedOptimizer
    parameters: tuple[nn.Parameter, ...]
    accelerator: Accelerator

    def set_learning_rate(self, config: TrainConfig, step: int, total: int) -> float:
        """Set every group's rate for this step; the decoder's comes back."""
        schedule = config.schedule
        share = factor(schedule.name, step, total, warmup=schedule.warmup, floor=schedule.floor)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * share
        return share * config.optimiser.lr

    def step(self, loss: torch.Tensor, step: int, clip: float) -> None:
        """Backward, clip to that norm (0: not at all), optimiser step, moving average."""
        self.accelerator.backward(loss)
        if clip:
            self.accelerator.clip_grad_norm_(self.parameters, clip)
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        self.average.update(step)

    def share_statistics(self) -> None:
        """Average the running statistics of batch norm over processes, which each gathered from its own images."""
        if self.accelerator.num_processes == 1:
            return
        for model in {id(m): m for m in (self.model, self.average.model)}.values():
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.accelerator.reduce(buffer.contiguous(), "mean"))


def make_learner(
    config: TrainConfig, model: Segmenter, accelerator: Accelerator, state: Mapping[str, Any] | None
) -> Learner:
    """Put everything on its device, and back to how it was in a saved `state`."""
    groups = parameter_groups(model.named_parameters(), encoder_parameters(model), config.optimiser)
    model = model.to(accelerator.device).to(memory_format=torch.channels_last)
    average = MovingAverage(model, config.ema)
    optimiser = make_optimiser(groups, config.optimiser)
    if state is not None:
        model.network.load_state_dict(state["network"])
        average.model.network.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
    forward, stepper = accelerator.prepare(model, optimiser)
    if state is not None and state["scaler"] and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    parameters = tuple(parameter for group in groups for parameter in group["params"])
    return Learner(model, average, optimiser, forward, stepper, parameters, accelerator)


def save_epoch(
    run: Path, learner: Learner, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, Any], *, is_best: bool
) -> None:
    """Write checkpoints, metrics and training state after an epoch.

    The state comes last: a kill in between makes the epoch be trained again, to the same files.
    """
    weights = learner.average.model.network.state_dict()
    save_weights(run / CHECKPOINTS / "last.safetensors", weights)
    if is_best:
        save_weights(run / CHECKPOINTS / "best.safetensors", weights)
    write_metrics(run, rows)
    scaler = learner.accelerator.scaler
    state = {
        **counts,
        "rows": list(rows),
        "network": learner.model.network.state_dict(),
        "average": weights,
        "optimiser": learner.optimiser.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
    }
    save_state(run, state)
