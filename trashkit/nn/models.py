"""Segmentation networks: any SMP architecture over any SMP or timm encoder, and a finished run's network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from trashkit.errors import TrashkitError
from trashkit.nn import weights as weight_sources
from trashkit.run import RunSpec, read_run

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "manet": smp.MAnet,
    "linknet": smp.Linknet,
    "fpn": smp.FPN,
    "pspnet": smp.PSPNet,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "pan": smp.PAN,
    "upernet": smp.UPerNet,
    "segformer": smp.Segformer,
    "dpt": smp.DPT,
}

STRIDE = 32
"""Input sides are padded to a multiple of this; every encoder here halves at most five times."""


def encoder_names() -> list[str]:
    """Names of all encoders: SMP's own, and ``tu-`` with the name of any timm model, or of its weights."""
    timm_names = dict.fromkeys([*timm.list_models(), *timm.list_pretrained()])
    return [*smp.encoders.encoders, *(f"tu-{name}" for name in timm_names)]


class Segmenter(nn.Module):
    """A network from photos to logits, with everything between done on the device.

    Input: RGB [B, 3, H, W] uint8 (or float on the scale 0..255), any H and W. Output: logits [B, C, H, W]. Attributes:
    size (height, width) that it was trained at, class_names and class_colors, one per logit, background first.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: RunSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.size = spec.size
        self.class_names = spec.class_names
        self.class_colors = spec.class_colors
        # Not in checkpoints: they are the run's settings, not its weights.
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1) * 255, persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part of the network that may come pretrained."""
        encoder = self.network.encoder
        assert isinstance(encoder, nn.Module)
        return encoder

    def forward(self, photos: Tensor) -> Tensor:
        """Logits [B, C, H, W] of photos [B, 3, H, W]; sides that are no multiple of 32 are padded by their border."""
        return self.with_features(photos)[0]

    def with_features(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Logits as `forward` gives them, and the encoder's deepest features [B, F, h, w]."""
        height, width = photos.shape[-2:]
        x = (photos.to(self.mean.dtype) - self.mean) / self.std
        down, right = -height % STRIDE, -width % STRIDE
        if down or right:
            x = functional.pad(x, (0, right, 0, down), mode="replicate")
        # As SMP's own forward, which keeps the features to itself.
        encoded = self.network.encoder(x)  # type: ignore[operator]
        parts = encoded if isinstance(encoded, tuple) else (encoded,)  # DPT's comes with its prefix tokens
        logits: Tensor = self.network.segmentation_head(self.network.decoder(*parts))  # type: ignore[operator]
        return logits[..., :height, :width], parts[0][-1]


class PresenceHead(nn.Sequential):
    """Auxiliary head: logits [B, C] of which classes are in a picture, from the encoder's deepest features."""

    def __init__(self, model: Segmenter) -> None:
        channels: Any = model.encoder.out_channels
        super().__init__(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels[-1], len(model.class_names))
        )


def bare_network(spec: RunSpec) -> nn.Module:
    """The network of a spec with random weights. Raises TrashkitError where the architecture refuses the encoder."""
    return _create(spec, None)


def parameter_count(spec: RunSpec) -> int:
    """Parameters of the network of a spec, counted without memory for them where it can be built so.

    Raises TrashkitError where the architecture refuses the encoder.
    """
    try:
        with torch.device("meta"):
            network = bare_network(spec)
    except TrashkitError:  # the MiT encoders compute while they are built
        network = bare_network(spec)
    return sum(parameter.numel() for parameter in network.parameters())


def _create(spec: RunSpec, pretrained: str | None) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SMP warns about the names of encoders and weights, which we chose
            return ARCHITECTURES[spec.architecture](
                encoder_name=spec.encoder,
                encoder_weights=pretrained,
                in_channels=3,
                classes=len(spec.class_names),
                **spec.options,
            )
    except Exception as error:
        if pretrained is not None:
            raise
        text = " ".join(str(error).split())[:200]
        raise TrashkitError(
            f"the architecture {spec.architecture} does not go with the encoder {spec.encoder}: {text}",
            hint="choose another pair, or other model.options",
        ) from error


def build(spec: RunSpec, source: str = "none") -> Segmenter:
    """A network ready to be trained, its encoder pretrained as `source` says (see `weights.choose`, no ``auto``).

    Raises TrashkitError for pairs that do not fit and weights that cannot be had.
    """
    if source == "hub":
        network = _from_hub(spec)
    else:
        network = bare_network(spec)
        encoder = network.encoder
        assert isinstance(encoder, nn.Module)
        if source == "offline":
            weight_sources.load_encoder_offline(encoder, spec.encoder)
        elif source != "none":
            weight_sources.load_file_into(network, encoder, Path(source))
    return Segmenter(network, spec)


def _from_hub(spec: RunSpec) -> nn.Module:
    bare_network(spec)  # a pair that does not fit is no fault of the hub
    if spec.encoder.startswith("tu-"):
        pretrained = "imagenet"
    else:
        known = list(smp.encoders.encoders[spec.encoder]["pretrained_settings"])
        if not known:
            raise TrashkitError(
                f"the encoder {spec.encoder} has no pretrained weights", hint="--set model.weights=none"
            )
        pretrained = "imagenet" if "imagenet" in known else known[0]
    loudness = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # five retries in two lines each; our error says it in one
    try:
        return _create(spec, pretrained)
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise TrashkitError(
            f"weights of the encoder {spec.encoder} cannot be fetched from the hub: {text}",
            hint="check the network, use --set model.weights=none or a file, "
            f"or an encoder that needs no hub: {', '.join(weight_sources.OFFLINE)}",
        ) from error
    finally:
        hub_logging.set_verbosity(loudness)


def load_run_model(run_dir: Path, device: torch.device | str = "cpu") -> Segmenter:
    """The network of a run with the weights that the run is used with, in eval mode and channels-last on `device`.

    Forward takes RGB uint8 [B, 3, H, W] and gives logits [B, C, H, W]; see `Segmenter` for its attributes.
    Raises TrashkitError for a folder that is no run, has no checkpoint yet, or does not fit its own manifest.
    """
    run = read_run(run_dir)
    path = run.checkpoint
    if not path.exists():
        raise TrashkitError(
            f"{run_dir} has no {path.name} yet", hint="finish its training: repeat its command line with --resume"
        )
    model = Segmenter(bare_network(run.spec), run.spec)
    try:
        model.network.load_state_dict(load_file(path), strict=True)
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise TrashkitError(f"{path} does not fit its manifest: {text}", hint="train the run again") from error
    return model.eval().to(device).to(memory_format=torch.channels_last)
