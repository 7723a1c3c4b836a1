"""A network in pieces (FSDP): of every parameter each process holds a part, and with it that part of all that training
keeps beside it: gradient, the optimiser's averages, the moving average of weights.

torch cuts and puts together (`fully_shard`), on GPUs and among processes of a CPU alike; what accelerate has for it is
for GPUs alone. A block's parameters are put together for as long as the block computes. Buffers stay whole, and so does
everything that is written: a run may begin in pieces and go on without, and the other way round.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.optim import Optimizer

from trashkit.errors import TrashkitError

LAUNCHED = "ACCELERATE_USE_FSDP"
"""What ``accelerate launch --use_fsdp`` sets."""


def check_cut(model: nn.Module, engine: Accelerator) -> None:
    """Raises TrashkitError where a network cannot be cut, or there is nothing to spread it over."""
    if engine.num_processes == 1:
        raise TrashkitError(
            "a network is sharded over several processes, and here is one",
            hint="torchrun --nproc-per-node 4 -m trashkit train ... --shard, or leave out --shard",
        )
    if numbers := [name for name, parameter in model.named_parameters() if not parameter.ndim]:
        raise TrashkitError(
            f"this network cannot be sharded: {numbers[0]} is a single number", hint="train it without --shard"
        )


@contextmanager
def by_torch() -> Iterator[None]:
    """Inside, accelerate starts as for whole networks though it was launched for FSDP: the network comes in pieces."""
    launched = os.environ.pop(LAUNCHED, None)
    try:
        yield
    finally:
        if launched is not None:
            os.environ[LAUNCHED] = launched


def cut(module: nn.Module, blocks: Iterable[nn.Module], engine: Accelerator) -> None:
    """Cut a module on the CPU into pieces on the device, in place; its parameters are others afterwards.

    blocks: parts of it that are always called as modules; each is put together by itself, the rest at once.
    """
    for parameter in module.parameters():  # processes may have drawn other numbers; all begin with the main one's
        moved = parameter.detach().to(engine.device)
        torch.distributed.broadcast(moved, 0)
        parameter.data.copy_(moved)
    mesh = init_device_mesh(engine.device.type, (engine.num_processes,))
    for part in (*blocks, module):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


@contextmanager
def together(module: nn.Module) -> Iterator[None]:
    """Inside, every process holds a cut module whole, and runs it, without a gradient, as often as it likes.

    All processes enter and leave together. Whole modules stay what they are.
    """
    parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


def piece(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, to be changed in place."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(state: Any) -> Any:
    """A state with its tensors whole, on the CPU where they were in pieces; all processes call this together."""
    if isinstance(state, DTensor):
        return state.full_tensor().cpu()
    if isinstance(state, Mapping):
        return {key: gathered(value) for key, value in state.items()}
    return [gathered(value) for value in state] if isinstance(state, list) else state


def scattered(state: Mapping[str, Any], optimiser: Optimizer) -> dict[str, Any]:
    """The whole state of an optimiser, as one can load it whose parameters may be in pieces."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    kept = {
        number: {key: _like(value, parameters[number]) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": kept}


def _like(value: Any, parameter: Tensor) -> Any:
    """What an optimiser keeps of a parameter, cut as that is, and in the same order in memory.

    Fused optimisers go through weights and averages number by number as they lie there. What has another shape is the
    same for all processes.
    """
    if not isinstance(value, Tensor) or not value.ndim:
        return value
    same = value.shape == parameter.shape
    if not isinstance(parameter, DTensor):
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if same else value
    mesh, whole = parameter.device_mesh, value.to(parameter.device).contiguous()
    placements = parameter.placements if same else [Replicate()]
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)  # all have all of it
