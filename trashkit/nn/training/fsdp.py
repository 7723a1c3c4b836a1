"""Fully sharded data parallelism (FSDP): each process holds a shard of every parameter, gradient, optimiser state and
of the moving average.

Sharding is torch's `fully_shard`, which works on GPUs and between CPU processes; accelerate's FSDP needs GPUs. A
block's parameters are gathered while the block computes. Buffers are not sharded, and nothing that is written is: a run
may start sharded and be resumed without, or the other way round.
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

ENVIRONMENT_VARIABLE = "ACCELERATE_USE_FSDP"
"""Set by ``accelerate launch --use_fsdp``."""


def check_shardable(model: nn.Module, engine: Accelerator) -> None:
    """Raise TrashkitError if a network cannot be sharded, or there is only one process."""
    if engine.num_processes == 1:
        raise TrashkitError(
            "sharding needs several processes, but there is only one",
            hint="torchrun --nproc-per-node 4 -m trashkit train ... --shard, or leave out --shard",
        )
    if scalars := [name for name, parameter in model.named_parameters() if not parameter.ndim]:
        raise TrashkitError(
            f"this network cannot be sharded: the parameter {scalars[0]} is a scalar", hint="train it without --shard"
        )


@contextmanager
def without_accelerate_fsdp() -> Iterator[None]:
    """Hide from accelerate that it was launched with FSDP: the network is sharded by torch instead."""
    value = os.environ.pop(ENVIRONMENT_VARIABLE, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[ENVIRONMENT_VARIABLE] = value


def shard_module(module: nn.Module, blocks: Iterable[nn.Module], engine: Accelerator) -> None:
    """Shard a module on the CPU over all processes and move it to the device, in place; its parameters are replaced.

    blocks: parts that are only ever called as modules; each is gathered on its own, the rest of the module together.
    """
    for parameter in module.parameters():  # random starts may differ between processes; all start with the main one's
        moved = parameter.detach().to(engine.device)
        torch.distributed.broadcast(moved, 0)
        parameter.data.copy_(moved)
    mesh = init_device_mesh(engine.device.type, (engine.num_processes,))
    for part in (*blocks, module):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


@contextmanager
def unsharded(module: nn.Module) -> Iterator[None]:
    """Gather a sharded module on every process, to run it without gradients as often as needed.

    All processes enter and leave together. Modules that are not sharded are unchanged.
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


def local_tensor(tensor: Tensor) -> Tensor:
    """The shard of a tensor that this process holds, to be changed in place; the tensor itself if it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_state(state: Any) -> Any:
    """A state with full tensors, on the CPU if they were sharded. All processes call this together."""
    if isinstance(state, DTensor):
        return state.full_tensor().cpu()
    if isinstance(state, Mapping):
        return {key: full_state(value) for key, value in state.items()}
    return [full_state(value) for value in state] if isinstance(state, list) else state


def shard_optimiser_state(state: Mapping[str, Any], optimiser: Optimizer) -> dict[str, Any]:
    """The full state of an optimiser in the form that `optimiser`, whose parameters may be sharded, can load."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    sharded = {
        number: {key: _shard_like(value, parameters[number]) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": sharded}


def _shard_like(value: Any, parameter: Tensor) -> Any:
    """A value of an optimiser's state, sharded as its parameter is and with the same memory layout.

    Fused optimisers iterate over weights and averages in memory order. Values of another shape are replicated.
    """
    if not isinstance(value, Tensor) or not value.ndim:
        return value
    same = value.shape == parameter.shape
    if not isinstance(parameter, DTensor):
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if same else value
    mesh, full = parameter.device_mesh, value.to(parameter.device).contiguous()
    placements = parameter.placements if same else [Replicate()]
    return distribute_tensor(full, mesh, placements, src_data_rank=None)  # every process has the full value
