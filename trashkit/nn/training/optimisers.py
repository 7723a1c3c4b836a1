"""Optimisers by name, and parameter groups with their own learning rates.

To add an optimiser, add it to `TORCH_OPTIMISERS`; timm's are included by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import Optimizer

from trashkit.errors import TrashkitError
from trashkit.nn.models import timm_api
from trashkit.nn.training.fsdp import full_state
from trashkit.settings.training import OptimiserSettings, unknown

Groups = list[dict[str, Any]]
Make = Callable[..., Optimizer]

# fused: one kernel for all tensors instead of one each, several times as fast, on a CPU too
TORCH_OPTIMISERS: dict[str, tuple[Make, dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"fused": True}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "nadamw": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}),
}

_EXCLUDED = ("bnb", "fused", "adahessian", "larc", "nlarc", "kron")
"""Prefixes of timm's names that need further packages, second derivatives or a compiler, or are aliases."""

OPTIMISERS: tuple[str, ...] = (
    *TORCH_OPTIMISERS,
    *(name for name in timm_api.optimiser_names() if name not in TORCH_OPTIMISERS and not name.startswith(_EXCLUDED)),
)

_NEVER_DECAYED = ("pos_embed", "relative_position_bias_table", "cls_token", "reg_token", "dist_token")
"""Learned positions and tokens: weight decay would only pull them to 0."""


def encoder_blocks(encoder: nn.Module) -> dict[str, nn.Module]:
    """An encoder's blocks by name: elements of a sequence of modules that have at least two weight matrices."""
    sequences = {
        prefix
        for prefix, module in encoder.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    }
    return {
        prefix: module
        for prefix, module in encoder.named_modules()
        if prefix.rpartition(".")[0] in sequences
        and prefix not in sequences
        and sum(parameter.ndim > 1 for parameter in module.parameters()) >= 2
    }


def encoder_layers(encoder: nn.Module) -> dict[int, int]:
    """Depth of each parameter of an encoder, by `id`: 0 for the stem, 1 for the first block, and so on.

    Parameters between `encoder_blocks` count with the next block, those after the last block with the last.
    """
    blocks = encoder_blocks(encoder)
    named = list(encoder.named_parameters())
    if type(encoder).__name__.startswith("MixVisionTransformer"):  # registers its patch embeddings before all blocks
        named.sort(key=lambda pair: next((int(letter) for letter in pair[0] if letter.isdecimal()), 0))
    depth = 0
    numbered: set[str] = set()
    found: dict[int, int] = {}
    for name, parameter in named:
        parts = name.split(".")
        inside = [prefix for n in range(len(parts)) if (prefix := ".".join(parts[:n])) in blocks]
        if inside and inside[-1] not in numbered:
            depth = depth + 1
            numbered.add(inside[-1])
        found[id(parameter)] = depth
    return found


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], layers: dict[int, int], settings: OptimiserSettings
) -> Groups:
    """Parameter groups: encoder and decoder, each with and without weight decay (norms, biases and learned positions
    have none), and with layer-wise decay one group per encoder layer.

    layers: see `encoder_layers`. Encoder parameters learn at ``lr * encoder_lr_ratio * layer_decay ** (deepest -
    layer)`` and are frozen if the ratio is 0. Each group has a `name`, `encoder` (bool), and its peak learning rate
    `peak`, which the schedule multiplies.
    """
    deepest = max(layers.values(), default=0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in named:
        in_encoder = id(parameter) in layers
        if in_encoder and settings.encoder_lr_ratio == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not any(part in name for part in _NEVER_DECAYED)
        layer = -1 if not in_encoder else layers[id(parameter)] if settings.layer_decay < 1 else deepest
        if (layer, decays) not in groups:
            lr = settings.lr
            if in_encoder:
                lr *= settings.encoder_lr_ratio * settings.layer_decay ** (deepest - layer)
            what = "decoder" if not in_encoder else "encoder" if settings.layer_decay == 1 else f"encoder layer {layer}"
            groups[layer, decays] = {
                "params": [],
                "name": f"{what}{'' if decays else ', no decay'}",
                "encoder": in_encoder,
                "lr": lr,
                "peak": lr,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
        groups[layer, decays]["params"].append(parameter)
    return list(groups.values())


def make_optimiser(groups: Groups, settings: OptimiserSettings) -> Optimizer:
    """The optimiser that the settings name, over these parameter groups.

    Raises TrashkitError, listing the options it has, for options that it does not have.
    """
    known = optimiser_options(settings.name)
    hint = f"{settings.name} takes {', '.join(known) or 'no options'}"
    if wrong := [name for name in settings.options if name not in known]:
        text = unknown("optimiser.options", wrong[0], known)
        if wrong[0] in ("lr", "weight_decay"):
            text, hint = f"{wrong[0]} is a setting, not an option", f"--set optimiser.{wrong[0]}=..."
        raise TrashkitError(f"the optimiser {settings.name} rejects its settings: {text}", hint=hint)
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    try:
        if settings.name in TORCH_OPTIMISERS:
            make, fixed = TORCH_OPTIMISERS[settings.name]
            if settings.name == "sgd" and any(isinstance(one, DTensor) for group in groups for one in group["params"]):
                fixed = {**fixed, "fused": False}  # torch has no fused SGD for shards
            return make(groups, **{**fixed, **common, **settings.options})
        return timm_api.create_optimiser(groups, settings.name, **{**common, **settings.options})
    except (TypeError, ValueError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.options.items())
        text = f"one of {given} has the wrong type" if isinstance(error, TypeError) and given else str(error)
        raise TrashkitError(
            f"the optimiser {settings.name} rejects its settings: {' '.join(text.split())[:200]}",
            hint="leave the option out",
        ) from error


def optimiser_options(name: str) -> list[str]:
    """Names of the options of an optimiser, apart from lr and weight_decay."""
    if name in TORCH_OPTIMISERS:
        parameters = list(inspect.signature(TORCH_OPTIMISERS[name][0]).parameters)
    else:
        parameters = timm_api.optimiser_parameters(name)
    return [key for key in parameters if key not in ("self", "params", "lr", "weight_decay")]


def check_sharded_optimiser(settings: OptimiserSettings, engine: Accelerator) -> None:
    """Raise TrashkitError for an optimiser that treats sharded weights differently from full ones.

    Some lack what torch needs for it, so a few steps with random gradients are compared. All processes call this
    together.
    """
    mesh = init_device_mesh(engine.device.type, (engine.num_processes,))
    try:
        full, sharded = (_after_steps(settings, engine, mesh) for mesh in (None, mesh))
        same = all(torch.allclose(a, b, atol=0.01 * settings.lr) for a, b in zip(full, sharded, strict=True))
    except (AssertionError, NotImplementedError, RuntimeError):
        same = False
    if not same:
        raise TrashkitError(
            f"the optimiser {settings.name} does not support --shard", hint="--set optimiser.name=adamw"
        )


def _after_steps(settings: OptimiserSettings, engine: Accelerator, mesh: DeviceMesh | None) -> list[Tensor]:
    """Random weights after some steps, sharded if a mesh is given."""
    generator = torch.Generator().manual_seed(0)

    def drawn(shape: tuple[int, ...]) -> Tensor:
        numbers = torch.randn(shape, generator=generator).to(engine.device)
        return numbers if mesh is None else distribute_tensor(numbers, mesh, [Shard(0)])

    parameters = [nn.Parameter(drawn(shape)) for shape in ((8, 3, 3, 3), (6, 5), (7,))]
    optimiser = make_optimiser([{"params": parameters}], settings)
    for _ in range(3):
        for parameter in parameters:
            parameter.grad = drawn(parameter.shape)
        optimiser.step()
    return [full_state(parameter.detach()).cpu() for parameter in parameters]
