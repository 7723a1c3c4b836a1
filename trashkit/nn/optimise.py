"""Optimisers by name, parameter groups with their own learning rates, and the moving average of weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from accelerate import Accelerator
from timm.optim import _optim_factory as timm_table
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import Optimizer

from trashkit.config import OptimiserSettings, unknown
from trashkit.errors import TrashkitError
from trashkit.nn.models import Segmenter
from trashkit.nn.shard import gathered, piece

Groups = list[dict[str, Any]]
Make = Callable[..., Optimizer]

# fused: one kernel instead of one per tensor, several times as fast on a CPU too
TORCH_OPTIMISERS: dict[str, tuple[Make, dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"fused": True}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "nadamw": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}),
}

_NOT_HERE = ("bnb", "fused", "adahessian", "larc", "nlarc", "kron")
"""What needs further packages, second derivatives or a compiler, or is another's name with an option."""

_TIMM: list[Any] = timm_table.list_optimizers()

OPTIMISERS: tuple[str, ...] = (
    *TORCH_OPTIMISERS,
    *(name for name in _TIMM if name not in TORCH_OPTIMISERS and not name.startswith(_NOT_HERE)),
)

_NEVER_DECAYED = ("pos_embed", "relative_position_bias_table", "cls_token", "reg_token", "dist_token")
"""Learned positions and tokens, which are no weights of anything: decay would only wear them off."""


def encoder_blocks(encoder: nn.Module) -> dict[str, nn.Module]:
    """An encoder's blocks by name: members of a sequence of modules that have at least two weight matrices."""
    inside = {
        prefix
        for prefix, module in encoder.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    }
    return {
        prefix: module
        for prefix, module in encoder.named_modules()
        if prefix.rpartition(".")[0] in inside
        and prefix not in inside
        and sum(parameter.ndim > 1 for parameter in module.parameters()) >= 2
    }


def encoder_layers(encoder: nn.Module) -> dict[int, int]:
    """Depth of each of an encoder's parameters, by `id`: 0 is its stem, 1 the first block, and so on.

    What lies between `encoder_blocks` counts with the next one, what lies after them with the last.
    """
    blocks = encoder_blocks(encoder)
    named = list(encoder.named_parameters())
    if type(encoder).__name__.startswith("MixVisionTransformer"):  # it registers its patch embeddings before all blocks
        named.sort(key=lambda pair: next((int(letter) for letter in pair[0] if letter.isdecimal()), 0))
    depth = 0
    numbered: set[str] = set()
    found: dict[int, int] = {}
    for name, parameter in named:
        parts = name.split(".")
        inner = [prefix for n in range(len(parts)) if (prefix := ".".join(parts[:n])) in blocks]
        if inner and inner[-1] not in numbered:
            depth = depth + 1
            numbered.add(inner[-1])
        found[id(parameter)] = depth
    return found


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], layers: dict[int, int], settings: OptimiserSettings
) -> Groups:
    """Groups of encoder and decoder, with and without weight decay (none on norms, biases and learned positions), and
    where there is layer-wise decay one for each of the encoder's layers.

    layers: `encoder_layers`; their parameters learn at ``lr * encoder_lr_ratio * layer_decay ** (deepest - layer)``,
    and are frozen with ratio 0. Each group has its name, whether it is the encoder's, and its peak learning rate
    `peak`, which a schedule multiplies.
    """
    deepest = max(layers.values(), default=0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in named:
        inside = id(parameter) in layers
        if inside and settings.encoder_lr_ratio == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not any(part in name for part in _NEVER_DECAYED)
        layer = -1 if not inside else layers[id(parameter)] if settings.layer_decay < 1 else deepest
        if (layer, decays) not in groups:
            lr = settings.lr
            if inside:
                lr *= settings.encoder_lr_ratio * settings.layer_decay ** (deepest - layer)
            what = "decoder" if not inside else "encoder" if settings.layer_decay == 1 else f"encoder layer {layer}"
            groups[layer, decays] = {
                "params": [],
                "name": f"{what}{'' if decays else ', no decay'}",
                "encoder": inside,
                "lr": lr,
                "peak": lr,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
        groups[layer, decays]["params"].append(parameter)
    return list(groups.values())


def make_optimiser(groups: Groups, settings: OptimiserSettings) -> Optimizer:
    """The optimiser that the settings name, over these groups.

    Raises TrashkitError for options that it does not have, naming those that it has.
    """
    known = optimiser_options(settings.name)
    takes = f"{settings.name} takes {', '.join(known) or 'no options'}"
    if wrong := [name for name in settings.options if name not in known]:
        text = unknown("optimiser.options", wrong[0], known)
        if wrong[0] in ("lr", "weight_decay"):
            text, takes = f"{wrong[0]} is no option of its own", f"--set optimiser.{wrong[0]}=..."
        raise TrashkitError(f"the optimiser {settings.name} refuses its settings: {text}", hint=takes)
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    try:
        if settings.name in TORCH_OPTIMISERS:
            make, fixed = TORCH_OPTIMISERS[settings.name]
            if settings.name == "sgd" and any(isinstance(one, DTensor) for group in groups for one in group["params"]):
                fixed = {**fixed, "fused": False}  # torch has none for pieces
            return make(groups, **{**fixed, **common, **settings.options})
        # foreach where it has it: timm's own default
        return timm_table.create_optimizer_v2(groups, opt=settings.name, **{**common, **settings.options})
    except (TypeError, ValueError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.options.items())
        text = f"one of {given} is of another type" if isinstance(error, TypeError) and given else str(error)
        raise TrashkitError(
            f"the optimiser {settings.name} refuses its settings: {' '.join(text.split())[:200]}",
            hint="leave the option out",
        ) from error


def check_pieces(settings: OptimiserSettings, engine: Accelerator) -> None:
    """Raises TrashkitError for an optimiser that does not do to pieces of weights what it does to whole ones.

    Some lack what torch needs for it; a few steps with random gradients tell. All processes call this together.
    """
    mesh = init_device_mesh(engine.device.type, (engine.num_processes,))
    try:
        whole, cut = (_after_steps(settings, engine, mesh) for mesh in (None, mesh))
        same = all(torch.allclose(one, other, atol=0.01 * settings.lr) for one, other in zip(whole, cut, strict=True))
    except (AssertionError, NotImplementedError, RuntimeError):
        same = False
    if not same:
        raise TrashkitError(
            f"the optimiser {settings.name} cannot work on a sharded network", hint="--set optimiser.name=adamw"
        )


def _after_steps(settings: OptimiserSettings, engine: Accelerator, mesh: DeviceMesh | None) -> list[Tensor]:
    """Random weights after some steps, in pieces on a mesh."""
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
    return [gathered(parameter.detach()).cpu() for parameter in parameters]


def optimiser_options(name: str) -> list[str]:
    """Further arguments that an optimiser takes by name."""
    ours = TORCH_OPTIMISERS.get(name)
    make = ours[0] if ours else timm_table.get_optimizer_class(name, bind_defaults=False)
    given = ("self", "params", "lr", "weight_decay")
    return [key for key in inspect.signature(make).parameters if key not in given]


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
    return [piece(tensor.detach()) for tensor in (*model.parameters(), *model.buffers())]
