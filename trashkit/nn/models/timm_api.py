"""Every use of timm goes through this file, so that a change in timm is fixed in one place.

`tests/nn/models/test_timm_api.py` checks what is relied on here, and names what has changed when it fails.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from timm import optim as timm_optim
from torch import nn
from torch.optim import Optimizer

# --- models ----------------------------------------------------------------------------------------------------------


def model_names() -> list[str]:
    """Names of all models, and of all their pretrained weights (``model.tag``), without duplicates."""
    return list(dict.fromkeys([*timm.list_models(), *timm.list_pretrained()]))


def create_model(name: str, **options: Any) -> nn.Module:
    """``timm.create_model``."""
    model: nn.Module = timm.create_model(name, **options)
    return model


def create_model_shapes(name: str, **options: Any) -> Any:
    """A model on the device ``meta``: shapes and attributes, without memory for its weights."""
    with torch.device("meta"):
        return timm.create_model(name, **options)


def feature_strides(name: str) -> tuple[int, ...]:
    """How many pixels of the input a feature covers, for each depth, as in ``(4, 8, 16, 32)``."""
    return tuple(create_model_shapes(name, features_only=True).feature_info.reduction())


def pretrained_config(name: str) -> Any | None:
    """timm's ``PretrainedCfg`` of a model: mean, std, input_size, fixed_input_size; None for unknown models."""
    return timm.get_pretrained_cfg(name)


def pooled_features(classifier: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Penultimate features [B, F] of a classifier, pooled over positions, for inputs [B, 3, H, W]."""
    model: Any = classifier
    features: torch.Tensor = model.forward_head(model.forward_features(inputs), pre_logits=True)
    return features


def weights_file_options(file: Path) -> dict[str, Any]:
    """Options of `create_model` that load a file in timm's format instead of the download, with ``pretrained=True``."""
    # Some models read .npz files with their own loader, which reads nothing else.
    return {"pretrained_cfg_overlay": {"file": str(file), "custom_load": file.suffix == ".npz"}}


IMAGENET_MEAN: tuple[float, ...] = timm.data.IMAGENET_DEFAULT_MEAN
IMAGENET_STD: tuple[float, ...] = timm.data.IMAGENET_DEFAULT_STD


# --- optimisers ------------------------------------------------------------------------------------------------------

_optim: Any = timm_optim  # its functions are public, though not in `__all__`


def optimiser_names() -> list[str]:
    """Names of all optimisers that timm can create."""
    return [str(name) for name in _optim.list_optimizers()]


def create_optimiser(groups: list[dict[str, Any]], name: str, **options: Any) -> Optimizer:
    """An optimiser by name over parameter groups; ``foreach`` where it has that."""
    made: Optimizer = _optim.create_optimizer_v2(groups, opt=name, **options)
    return made


def optimiser_parameters(name: str) -> list[str]:
    """Names of the parameters of an optimiser's constructor."""
    make: Callable[..., Optimizer] = _optim.get_optimizer_class(name, bind_defaults=False)
    return list(inspect.signature(make).parameters)
