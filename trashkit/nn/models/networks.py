"""Segmentation networks: any SMP architecture with any SMP or timm encoder, and the network of a finished run."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from huggingface_hub.utils import logging as hub_logging
from torch import Tensor, nn
from torch.nn import functional

from trashkit.errors import TrashkitError
from trashkit.nn.checkpoints.checkpoint import read_weights
from trashkit.nn.models import timm_api
from trashkit.nn.models import weights as weight_sources
from trashkit.nn.models.encoders import (
    SimpleFeaturePyramid,
    has_fixed_size,
    is_single_scale,
    register_pyramid,
    size_options,
    weights_file_options,
)
from trashkit.runs.manifest import RunSpec
from trashkit.runs.run import read_run
from trashkit.settings.training import unknown

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
"""Inputs are padded to a multiple of this: every encoder here halves the resolution at most five times."""


def encoder_names() -> list[str]:
    """Names of all encoders: SMP's own, and ``tu-NAME`` for every timm model, or for one of its pretrained weights."""
    own = [name for name in smp.encoders.encoders if not name.startswith("pyramid-")]
    return [*own, *(f"tu-{name}" for name in timm_api.model_names())]


class Segmenter(nn.Module):
    """A network from photos to logits, with normalisation and resizing on the device.

    Input: RGB [B, 3, H, W] uint8 (or float on the scale 0..255), any H and W. Output: logits [B, C, H, W].

    size: (height, width) that it was trained at. class_names, class_colors: one per logit, background first.
    loaded_from: description of the file its weights were loaded from, or empty. fixed_size: the encoder takes only
    inputs of `size`; others are resized to it, and their logits back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: RunSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.size = spec.size
        self.loaded_from = ""
        self.fixed_size = has_fixed_size(spec.encoder, _side(spec))
        self.class_names = spec.class_names
        self.class_colors = spec.class_colors
        # Not in checkpoints: they are settings of the run, not weights.
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1) * 255, persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part of the network that may come pretrained."""
        encoder = self.network.encoder
        body = encoder.body if isinstance(encoder, SimpleFeaturePyramid) else encoder
        assert isinstance(body, nn.Module)
        return body

    def forward(self, photos: Tensor) -> Tensor:
        """Logits [B, C, H, W] of photos [B, 3, H, W]; sides are padded to multiples of 32 by repeating the border."""
        return self.with_features(photos)[0]

    def with_features(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of `forward`, and the encoder's deepest features [B, F, h, w]."""
        height, width = photos.shape[-2:]
        x = self._normalised(photos)
        parts = self._encoded(x)
        logits: Tensor = self.network.segmentation_head(self.network.decoder(*parts))  # type: ignore[operator]
        if logits.shape[-2:] != x.shape[-2:]:  # the padded border
            logits = logits[..., : x.shape[-2], : x.shape[-1]]
        if x.shape[-2:] != (height, width):
            logits = functional.interpolate(logits, (height, width), mode="bilinear")
        return logits, parts[0][-1]

    def features(self, photos: Tensor) -> Tensor:
        """The encoder's deepest features [B, F, h, w], without running the decoder."""
        deepest: Tensor = self._encoded(self._normalised(photos))[0][-1]
        return deepest

    def _normalised(self, photos: Tensor) -> Tensor:
        """Normalised photos, resized if the network has a fixed size."""
        x = (photos.to(self.mean.dtype) - self.mean) / self.std
        if self.fixed_size and photos.shape[-2:] != self.size:
            return functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        return x

    def _encoded(self, x: Tensor) -> Any:
        """The decoder's input, for photos padded to multiples of 32."""
        height, width = x.shape[-2:]
        down, right = -height % STRIDE, -width % STRIDE
        if down or right:
            x = functional.pad(x, (0, right, 0, down), mode="replicate")
        # The same as SMP's forward, which does not return the features.
        encoded = self.network.encoder(x)  # type: ignore[operator]
        return encoded if isinstance(encoded, tuple) else (encoded,)  # DPT's encoder also returns prefix tokens


class PresenceHead(nn.Sequential):
    """Auxiliary head: logits [B, C] of which classes are in an image, from the encoder's deepest features."""

    def __init__(self, model: Segmenter) -> None:
        channels: Any = model.network.encoder.out_channels  # type: ignore[union-attr]
        super().__init__(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels[-1], len(model.class_names))
        )


def untrained_network(spec: RunSpec) -> nn.Module:
    """The network of a spec with random weights. Raises TrashkitError if architecture and encoder do not fit."""
    return _create(spec, None)


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """What a network needs. parameters: their number. activations: bytes that a training batch keeps for its backward
    pass, in float32."""

    parameters: int
    activations: int

    def memory(self, *, half: bool = False) -> int:
        """Approximate bytes that training needs: weights, gradients, two averages of the optimiser, the moving average
        of weights, and activations, which half precision nearly halves. The device's workspace is not included."""
        return 20 * self.parameters + self.activations // (2 if half else 1)


def measure_network(spec: RunSpec, batch: int) -> NetworkSize:
    """Build the network of a spec and pass a batch through it as shapes only, without memory or computation.

    Raises TrashkitError if architecture and encoder do not fit, or if the network does not take photos of this size;
    the hint is the nearest size that fits.
    """
    network = _on_meta_device(spec)
    try:
        kept = _activation_bytes(network, max(2, batch), _side(spec))
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        sides = sorted(range(STRIDE, 1025, STRIDE), key=lambda side: abs(side - spec.size[0]))
        for side in [side for side in sides if side != _side(spec)][:16]:
            other = replace(spec, size=(side, side))
            try:
                _activation_bytes(_on_meta_device(other), 2, side)
            except Exception:  # the first reason is the one to report
                continue
            raise TrashkitError(
                f"{spec.architecture} with {spec.encoder} does not take photos of {spec.size[0]} px: {text}",
                hint=f"--set data.size={side}",
            ) from error
        raise TrashkitError(
            f"{spec.architecture} does not fit the encoder {spec.encoder}: {text}", hint=_OTHER_PAIR
        ) from error
    return NetworkSize(sum(parameter.numel() for parameter in network.parameters()), kept)


def _on_meta_device(spec: RunSpec) -> nn.Module:
    try:
        with torch.device("meta"):
            return untrained_network(spec)
    except TrashkitError:  # the MiT encoders compute in their constructors
        return untrained_network(spec).to("meta")


def _activation_bytes(network: nn.Module, batch: int, side: int) -> int:
    """Bytes that the forward pass of a network on the device ``meta`` keeps for the backward pass."""
    kept: dict[int, Tensor] = {}
    # Compared by storage: a kept tensor may be a view of a weight.
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logits = network.train()(torch.zeros(batch, 3, side, side, device="meta"))
    if logits.shape[-2:] != (side, side):
        raise ValueError(f"its logits are {logits.shape[-2]} x {logits.shape[-1]}")
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _side(spec: RunSpec) -> int:
    """Side of the square that the encoder sees, including padding."""
    return -(-spec.size[0] // STRIDE) * STRIDE


_GIVEN = ("encoder_name", "encoder_weights", "in_channels", "classes", "kwargs")
"""Arguments that `model.options` may not set."""

_OTHER_PAIR = "choose another architecture or encoder, or other model.options"


def _create(spec: RunSpec, pretrained: str | None, file: Path | None = None) -> nn.Module:
    """pretrained: name of pretrained weights in SMP. file: weights in timm's format to load instead of a download."""
    pyramid = spec.architecture != "dpt" and is_single_scale(spec.encoder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SMP warns about names of encoders and weights
            return ARCHITECTURES[spec.architecture](
                encoder_name=register_pyramid(spec.encoder, _side(spec), pretrained=pretrained is not None, file=file)
                if pyramid
                else spec.encoder,
                encoder_weights=None if pyramid else pretrained,
                in_channels=3,
                classes=len(spec.class_names),
                **({} if pyramid else size_options(spec.encoder, _side(spec)) | weights_file_options(file)),
                **spec.options,
            )
    except Exception as error:
        if pretrained is not None:
            raise
        text = " ".join(str(error).split())[:200]
        takes = set(inspect.signature(ARCHITECTURES[spec.architecture]).parameters) - set(_GIVEN)
        wrong = [name for name in spec.options if name not in takes]
        if wrong:
            raise TrashkitError(
                f"{unknown('model.options', wrong[0], sorted(takes))} of {spec.architecture}, "
                f"and {spec.encoder} does not have it either",
                hint="--set 'model.options={}' removes the options of the recipe",
            ) from error
        if "output_stride" in text:
            text = f"it needs an encoder whose last stages keep their resolution, which {spec.encoder} cannot do"
        raise TrashkitError(
            f"the architecture {spec.architecture} does not fit the encoder {spec.encoder}: {text}",
            hint=_OTHER_PAIR,
        ) from error


def build(spec: RunSpec, source: str = "none") -> Segmenter:
    """A network ready for training.

    source: of the pretrained weights, see `weights.choose_source`, but not ``auto``. Raises TrashkitError if
    architecture and encoder do not fit, or the weights are not available.
    """
    loaded_from = ""
    if source == "hub":
        network = _from_hub(spec)
    else:
        network = untrained_network(spec)
        encoder = Segmenter(network, spec).encoder
        if source == "offline":
            weight_sources.load_encoder_offline(encoder, spec.encoder)
        elif source != "none":
            network, loaded_from = _from_file(network, encoder, spec, Path(source))
    model = Segmenter(network, spec)
    model.loaded_from = loaded_from
    return model


def _from_file(network: nn.Module, encoder: nn.Module, spec: RunSpec, source: Path) -> tuple[nn.Module, str]:
    """A network with the weights of a file or run, and a description of them."""
    try:
        return network, weight_sources.load_file_into(network, encoder, source, spec.class_names)
    except TrashkitError:
        if source.is_dir() or not weight_sources.is_timm_state(source, spec.encoder):
            raise
    # timm adapts its own weights to another input size
    return _create(spec, "imagenet", source), f"the encoder's weights from {source}"


def _from_hub(spec: RunSpec) -> nn.Module:
    untrained_network(spec)  # so that a pair that does not fit is not reported as a download error
    if spec.encoder.startswith("tu-"):
        pretrained = "imagenet"
    else:
        known = list(smp.encoders.encoders[spec.encoder]["pretrained_settings"])
        if not known:
            raise TrashkitError(
                f"the encoder {spec.encoder} has no pretrained weights", hint="--set model.weights=none"
            )
        pretrained = "imagenet" if "imagenet" in known else known[0]
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # otherwise five retries with two lines each
    try:
        return _create(spec, pretrained)
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise TrashkitError(
            f"the weights of the encoder {spec.encoder} cannot be downloaded: {text}",
            hint="check the network connection, use --set model.weights=none or a file, "
            f"or an encoder whose weights come from a package: {', '.join(weight_sources.OFFLINE)}",
        ) from error
    finally:
        hub_logging.set_verbosity(verbosity)


def load_run_model(run_dir: Path, device: torch.device | str = "cpu") -> Segmenter:
    """The network of a run with its chosen checkpoint, in eval mode and channels-last on `device`.

    Raises TrashkitError if the folder is not a run, has no checkpoint yet, or if the checkpoint is damaged or does not
    fit the manifest.
    """
    run = read_run(run_dir)
    path = run.checkpoint
    if not path.exists():
        raise TrashkitError(
            f"{run_dir} has no {path.name} yet", hint="finish the training: repeat its command line with --resume"
        )
    state = read_weights(path, str(run.manifest.get("checkpoint_sha256") or ""))
    if state is None:
        raise TrashkitError(
            f"{path} is damaged: its content has changed since training",
            hint="copy it again from a backup, or train the run again",
        )
    model = Segmenter(untrained_network(run.spec), run.spec)
    try:
        model.network.load_state_dict(state, strict=True)
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise TrashkitError(f"{path} does not match its manifest: {text}", hint="train the run again") from error
    return model.eval().to(device).to(memory_format=torch.channels_last)
