"""What learns in a run: the network, the moving average of its weights, and the optimiser, on their device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch import nn

from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.nn.checkpoint import save_state, save_weights
from trashkit.nn.devices import on_cpu
from trashkit.nn.models import PresenceHead, Segmenter
from trashkit.nn.optimise import MovingAverage, encoder_blocks, encoder_layers, make_optimiser, parameter_groups
from trashkit.nn.schedule import encoder_factor, factor, reductions
from trashkit.nn.shard import by_torch, cut, gathered, scattered, together
from trashkit.run import write_metrics
from trashkit.run_folder import CHECKPOINTS


def start_accelerator(device: str, amp: str) -> Accelerator:
    """The engine: finds the devices and the other processes. device: ``auto`` or ``cpu``."""
    precision = {"off": "no", "auto": "no"}.get(amp, amp)
    shared = AcceleratorState._shared_state
    if shared and shared.get("_mixed_precision") != precision:
        AcceleratorState._reset_state()  # it is one per process, and the next run may want another precision
    # Some encoders have heads that segmentation does not use. Each process gathers statistics of its own images, see
    # share_statistics, and does not overwrite them by those of the first one.
    how = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    # accelerate names it so still; torch's new name for it is not in accelerate yet
    warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
    with by_torch():
        engine = Accelerator(cpu=on_cpu(device), mixed_precision=precision, kwargs_handlers=[how])
    if engine.distributed_type not in _WAYS:
        raise TrashkitError(
            f"training in the way of {engine.distributed_type.value} is not supported",
            hint="accelerate launch --multi_gpu, or --use_fsdp for a network that is too large for one GPU",
        )
    return engine


_WAYS = (
    DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.MULTI_XPU,
    DistributedType.MULTI_NPU,
)  # fmt: skip


class Pupil(nn.Module):
    """What a training batch goes through: the network, and the head that helps it to learn, which no prediction uses.

    Input: photos as `Segmenter` takes them. Output: logits [B, C, H, W], and logits [B, C] of which classes are in the
    picture, or None.
    """

    def __init__(self, model: Segmenter, presence: PresenceHead | None) -> None:
        super().__init__()
        self.model = model
        self.presence = presence

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits, features = self.model.with_features(photos)
        return logits, self.presence(features) if self.presence is not None else None


def step_parts(sizes: Sequence[int], accumulate: int) -> list[tuple[float, bool]]:
    """For each batch of an epoch: its share of the images of its optimiser step, and whether it ends that step.

    Losses times their shares add up to the mean over the step's images, so `accumulate` small batches are one large.
    """
    parts = []
    for start in range(0, len(sizes), accumulate):
        together = sizes[start : start + accumulate]
        parts += [(size / sum(together), n == len(together) - 1) for n, size in enumerate(together)]
    return parts


@dataclass(frozen=True)
class Learner:
    """model: the network. presence: its auxiliary head. average: of its weights, what is validated and saved. forward,
    stepper: the `Pupil` and the optimiser as accelerate wraps them, for many processes and half precision. parameters:
    those that learn. Model, presence, average and optimiser may be in pieces, see `trashkit.nn.shard`.
    """

    model: Segmenter
    presence: PresenceHead | None
    average: MovingAverage
    optimiser: torch.optim.Optimizer
    forward: nn.Module
    stepper: AcceleratedOptimizer
    parameters: tuple[nn.Parameter, ...]
    accelerator: Accelerator

    def begin_epoch(self, config: TrainConfig, epoch: int) -> None:
        """Training mode, but for an encoder that is still frozen, and for norms whose statistics are."""
        self.forward.train()
        encoder = self.model.encoder
        frozen = epoch < config.optimiser.freeze_epochs or config.optimiser.encoder_lr_ratio == 0
        for group in self.optimiser.param_groups:
            if group["encoder"]:
                for parameter in group["params"]:
                    parameter.requires_grad_(not frozen)
        if frozen:
            encoder.eval()
        elif config.optimiser.frozen_norm:
            for module in encoder.modules():
                if isinstance(module, nn.modules.batchnorm._NormBase):
                    module.eval()

    def set_learning_rate(self, config: TrainConfig, step: int, steps: int, rows: Sequence[Mapping[str, Any]]) -> float:
        """Set every group's rate for this step; the decoder's comes back. steps: of an epoch. rows: of the epochs."""
        schedule, total = config.schedule, steps * config.epochs
        share = factor(schedule, step, total)
        lowered = schedule.gamma ** reductions(schedule, rows, int(schedule.warmup * total))
        share = max(share * lowered, min(share, schedule.floor))
        encoder = encoder_factor(schedule, step, total, steps * config.optimiser.freeze_epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * share * (encoder if group["encoder"] else 1.0)
        return share * config.optimiser.lr

    def encoder_rate(self) -> float:
        """The rate of the encoder's last layers at this step; 0 where it is frozen."""
        rates = [group["lr"] for group in self.optimiser.param_groups if group["encoder"]]
        return float(max(rates, default=0.0))

    def sharing(self, *, ends_step: bool) -> AbstractContextManager[Any]:
        """Around a batch's forward and backward pass: processes share gradients once, with the last batch of a step.

        The forward pass is in it because DDP decides there. Gradients of a network in pieces are shared with every
        batch: to wait, each process would have to keep them whole.
        """
        return nullcontext() if ends_step else self.accelerator.no_sync(self.forward)

    def backward(self, loss: torch.Tensor) -> None:
        """Add to the gradients."""
        self.accelerator.backward(loss)

    def step(self, step: int, clip: float) -> None:
        """Clip gradients to that norm (0: not at all), optimiser step, moving average."""
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

    @contextmanager
    def whole_average(self) -> Iterator[Segmenter]:
        """The average, whole on every process however the network is cut; all enter and leave together."""
        with together(self.forward if self.average.model is self.model else self.average.model):
            yield self.average.model

    def state(self) -> dict[str, Any]:
        """What a training goes on from, all of it whole; all processes call this together."""
        scaler = self.accelerator.scaler
        found: dict[str, Any] = gathered(
            {
                "network": self.model.network.state_dict(),
                "presence": self.presence.state_dict() if self.presence is not None else None,
                "average": self.average.model.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
            }
        )
        return found


def make_learner(
    config: TrainConfig,
    model: Segmenter,
    accelerator: Accelerator,
    state: Mapping[str, Any] | None,
    *,
    shard: bool = False,
) -> Learner:
    """Put everything on its device, and back to how it was in a saved `state`. shard: in pieces."""
    presence = PresenceHead(model) if config.model.presence else None
    pupil = Pupil(model, presence)
    average = MovingAverage(model, config.ema)
    if state is not None:
        model.network.load_state_dict(state["network"])
        average.model.network.load_state_dict(state["average"])
        if presence is not None:
            presence.load_state_dict(state["presence"])
    _place(pupil, model, accelerator, shard=shard)
    if config.ema:
        _place(average.model, average.model, accelerator, shard=shard)
    groups = parameter_groups(pupil.named_parameters(), encoder_layers(model.encoder), config.optimiser)
    if config.compile:
        pupil.compile()  # in place: names of weights stay, and the average is computed as it is
    optimiser = make_optimiser(groups, config.optimiser)
    if state is not None:
        optimiser.load_state_dict(scattered(state["optimiser"], optimiser))
    forward, stepper = (pupil, accelerator.prepare(optimiser)) if shard else accelerator.prepare(pupil, optimiser)
    if state is not None and state["scaler"] and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    parameters = tuple(parameter for group in groups for parameter in group["params"])
    return Learner(model, presence, average, optimiser, forward, stepper, parameters, accelerator)


def _place(module: nn.Module, model: Segmenter, accelerator: Accelerator, *, shard: bool) -> None:
    """Put a module on its device. model: the network in it."""
    if not shard:
        module.to(accelerator.device).to(memory_format=torch.channels_last)
        return
    blocks = encoder_blocks(model.encoder)
    innermost = [block for name, block in blocks.items() if not any(other.startswith(f"{name}.") for other in blocks)]
    cut(module, innermost, accelerator)  # torch cuts only what lies in memory row by row, so no channels_last


def save_epoch(run: Path, learner: Learner, rows: Sequence[Mapping[str, Any]], counts: dict[str, Any]) -> None:
    """Write checkpoints, metrics and training state after an epoch; `counts` learns the hash of the best weights.

    The state comes last: a kill in between makes the epoch be trained again, to the same files. All processes call
    this together, the main one writes.
    """
    state = learner.state()
    if not learner.accelerator.is_main_process:
        return
    weights = state["average"]
    save_weights(run / CHECKPOINTS / "last.safetensors", weights)
    if counts["best_epoch"] == counts["epoch"]:
        save_weights(run / CHECKPOINTS / "best.safetensors", weights)
        counts["best_sha256"] = sha256(run / CHECKPOINTS / "best.safetensors")
    write_metrics(run, rows)
    save_state(run, {**counts, "rows": list(rows), **state})
