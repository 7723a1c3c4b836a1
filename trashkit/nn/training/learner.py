"""Everything that changes during training: the network, the moving average of its weights, and the optimiser."""

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

from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.nn.checkpoints.checkpoint import save_state, save_weights
from trashkit.nn.devices import on_cpu, reuse_freed_memory
from trashkit.nn.models.networks import PresenceHead, Segmenter
from trashkit.nn.training.fsdp import (
    full_state,
    shard_module,
    shard_optimiser_state,
    unsharded,
    without_accelerate_fsdp,
)
from trashkit.nn.training.optimisers import encoder_blocks, encoder_layers, make_optimiser, parameter_groups
from trashkit.nn.training.schedule import encoder_lr_factor, lr_factor, plateau_reductions
from trashkit.nn.training.weight_averaging import MovingAverage
from trashkit.runs.folder import CHECKPOINTS
from trashkit.runs.metrics import EpochRow, write_metrics
from trashkit.settings.training import TrainConfig

_SUPPORTED = (
    DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.MULTI_XPU,
    DistributedType.MULTI_NPU,
)  # fmt: skip


def start_accelerator(device: str, amp: str) -> Accelerator:
    """The accelerator, which finds the devices and the other processes. device: ``auto`` or ``cpu``.

    Raises TrashkitError for kinds of distributed training that are not supported.
    """
    precision = {"off": "no", "auto": "no"}.get(amp, amp)
    shared = AcceleratorState._shared_state
    if shared and shared.get("_mixed_precision") != precision:
        AcceleratorState._reset_state()  # there is one per process, and the next run may want another precision
    # Some encoders have parameters that segmentation does not use. Each process keeps the batch statistics of its own
    # images (see average_batch_statistics), so they are not overwritten by those of the first process.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    # accelerate still uses a name that torch has deprecated
    warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
    with without_accelerate_fsdp():
        accelerator = Accelerator(cpu=on_cpu(device), mixed_precision=precision, kwargs_handlers=[ddp])
    if accelerator.device.type == "cpu":
        reuse_freed_memory()
    if accelerator.distributed_type not in _SUPPORTED:
        raise TrashkitError(
            f"training with {accelerator.distributed_type.value} is not supported",
            hint="accelerate launch --multi_gpu, or --use_fsdp for a network that is too large for one GPU",
        )
    return accelerator


class NetworkWithPresenceHead(nn.Module):
    """The module that training calls: the network, and the auxiliary head that predictions do not use.

    Input: photos as `Segmenter` takes them. Output: logits [B, C, H, W], and logits [B, C] of which classes are in the
    image (None without the head).
    """

    def __init__(self, model: Segmenter, presence: PresenceHead | None) -> None:
        super().__init__()
        self.model = model
        self.presence = presence

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits, features = self.model.with_features(photos)
        return logits, self.presence(features) if self.presence is not None else None


def step_parts(sizes: Sequence[int], accumulate: int) -> list[tuple[float, bool]]:
    """For each batch of an epoch, its share of the images of its optimiser step, and whether it ends that step.

    Losses multiplied by their shares add up to the mean over the step's images, so that `accumulate` small batches are
    equivalent to a large one. sizes: images per batch.
    """
    parts = []
    for start in range(0, len(sizes), accumulate):
        step = sizes[start : start + accumulate]
        parts += [(size / sum(step), n == len(step) - 1) for n, size in enumerate(step)]
    return parts


@dataclass(frozen=True)
class Learner:
    """The network and everything that trains it.

    presence_head: auxiliary, None without. average: moving average of the weights, which is validated and saved.
    forward, stepper: the `NetworkWithPresenceHead` and the optimiser as accelerate wraps them. parameters: those that
    are trained. Modules and optimiser may be sharded, see `trashkit.nn.training.fsdp`.
    """

    model: Segmenter
    presence_head: PresenceHead | None
    average: MovingAverage
    optimiser: torch.optim.Optimizer
    forward: nn.Module
    stepper: AcceleratedOptimizer
    parameters: tuple[nn.Parameter, ...]
    accelerator: Accelerator

    def begin_epoch(self, config: TrainConfig, epoch: int) -> None:
        """Switch to training mode, except for a frozen encoder and frozen norms."""
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

    def set_learning_rate(self, config: TrainConfig, step: int, steps: int, rows: Sequence[EpochRow]) -> float:
        """Set the rate of every parameter group for this step, and return the decoder's.

        steps: per epoch. rows: of the finished epochs.
        """
        schedule, total = config.schedule, steps * config.epochs
        share = lr_factor(schedule, step, total)
        reduced = schedule.gamma ** plateau_reductions(schedule, rows, int(schedule.warmup * total))
        share = max(share * reduced, min(share, schedule.floor))
        encoder = encoder_lr_factor(schedule, step, total, steps * config.optimiser.freeze_epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * share * (encoder if group["encoder"] else 1.0)
        return share * config.optimiser.lr

    def encoder_lr(self) -> float:
        """The current learning rate of the encoder's last layers; 0 if it is frozen."""
        rates = [group["lr"] for group in self.optimiser.param_groups if group["encoder"]]
        return float(max(rates, default=0.0))

    def gradient_sync(self, *, ends_step: bool) -> AbstractContextManager[Any]:
        """Context of a batch's forward and backward pass: gradients are synchronised with the last batch of a step.

        The forward pass is included because DDP decides there. Sharded gradients are synchronised with every batch:
        waiting would need full gradients on each process.
        """
        return nullcontext() if ends_step else self.accelerator.no_sync(self.forward)

    def backward(self, loss: torch.Tensor) -> None:
        """Add to the gradients."""
        self.accelerator.backward(loss)

    def step(self, step: int, clip: float) -> None:
        """Clip the gradient norm (0: no clipping), step the optimiser, and update the moving average."""
        if clip:
            self.accelerator.clip_grad_norm_(self.parameters, clip)
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        self.average.update(step)

    def average_batch_statistics(self) -> None:
        """Average the running statistics of batch norm over processes, each of which saw only its own images."""
        if self.accelerator.num_processes == 1:
            return
        for model in {id(m): m for m in (self.model, self.average.model)}.values():
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.accelerator.reduce(buffer.contiguous(), "mean"))

    @contextmanager
    def unsharded_average(self) -> Iterator[Segmenter]:
        """Yield the moving average, unsharded on every process. All processes enter and leave together."""
        with unsharded(self.forward if self.average.model is self.model else self.average.model):
            yield self.average.model

    def state(self) -> dict[str, Any]:
        """The full state from which training can be resumed. All processes call this together."""
        scaler = self.accelerator.scaler
        found: dict[str, Any] = full_state(
            {
                "network": self.model.network.state_dict(),
                "presence": self.presence_head.state_dict() if self.presence_head is not None else None,
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
    fsdp: bool = False,
) -> Learner:
    """Put everything on its device, and restore a saved `state`. fsdp: shard network, average and optimiser."""
    presence_head = PresenceHead(model) if config.model.presence else None
    module = NetworkWithPresenceHead(model, presence_head)
    average = MovingAverage(model, config.ema)
    if state is not None:
        model.network.load_state_dict(state["network"])
        average.model.network.load_state_dict(state["average"])
        if presence_head is not None:
            presence_head.load_state_dict(state["presence"])
    _place(module, model, accelerator, fsdp=fsdp)
    if config.ema:
        _place(average.model, average.model, accelerator, fsdp=fsdp)
    groups = parameter_groups(module.named_parameters(), encoder_layers(model.encoder), config.optimiser)
    if config.compile:
        module.compile()  # in place: names of weights stay, and the average is not compiled
    optimiser = make_optimiser(groups, config.optimiser)
    if state is not None:
        optimiser.load_state_dict(shard_optimiser_state(state["optimiser"], optimiser))
    forward, stepper = (module, accelerator.prepare(optimiser)) if fsdp else accelerator.prepare(module, optimiser)
    if state is not None and state["scaler"] and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    parameters = tuple(parameter for group in groups for parameter in group["params"])
    return Learner(model, presence_head, average, optimiser, forward, stepper, parameters, accelerator)


def _place(module: nn.Module, model: Segmenter, accelerator: Accelerator, *, fsdp: bool) -> None:
    """Put a module on its device. model: the network in it."""
    if not fsdp:
        module.to(accelerator.device).to(memory_format=torch.channels_last)
        return
    blocks = encoder_blocks(model.encoder)
    innermost = [block for name, block in blocks.items() if not any(other.startswith(f"{name}.") for other in blocks)]
    shard_module(module, innermost, accelerator)  # torch shards only row-major tensors, so no channels_last


def save_epoch(run: Path, learner: Learner, rows: Sequence[EpochRow], counts: dict[str, Any]) -> None:
    """Write checkpoints, metrics and training state after an epoch, and add the hash of the best weights to `counts`.

    The state is written last: after a kill in between, the epoch is trained again to the same files. All processes
    call this together, the main one writes.
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
