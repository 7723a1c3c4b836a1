"""Segmentation networks: any SMP architecture over any SMP or timm encoder, and a finished run's network."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub.utils import logging as hub_logging
from torch import Tensor, nn
from torch.nn import functional

from trashkit.config import unknown
from trashkit.errors import TrashkitError
from trashkit.nn import weights as weight_sources
from trashkit.nn.checkpoint import read_weights
from trashkit.nn.encoders import PlainPyramid, file_arguments, is_bound, is_plain, size_arguments, smp_name
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
    ours = [name for name in smp.encoders.encoders if not name.startswith("pyramid-")]
    return [*ours, *(f"tu-{name}" for name in timm_names)]


class Segmenter(nn.Module):
    """A network from photos to logits, with everything between done on the device.

    Input: RGB [B, 3, H, W] uint8 (or float on the scale 0..255), any H and W. Output: logits [B, C, H, W]. Attributes:
    size (height, width) that it was trained at, class_names and class_colors, one per logit, background first.
    came_from: which weights it started with, where that was a file. bound: the encoder takes photos of that size alone;
    others are scaled to it, and their logits back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: RunSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.size = spec.size
        self.came_from = ""
        self.bound = is_bound(spec.encoder, _side(spec))
        self.class_names = spec.class_names
        self.class_colors = spec.class_colors
        # Not in checkpoints: they are the run's settings, not its weights.
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1) * 255, persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part of the network that may come pretrained."""
        encoder = self.network.encoder
        body = encoder.body if isinstance(encoder, PlainPyramid) else encoder
        assert isinstance(body, nn.Module)
        return body

    def forward(self, photos: Tensor) -> Tensor:
        """Logits [B, C, H, W] of photos [B, 3, H, W]; sides that are no multiple of 32 are padded by their border."""
        return self.with_features(photos)[0]

    def with_features(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Logits as `forward` gives them, and the encoder's deepest features [B, F, h, w]."""
        height, width = photos.shape[-2:]
        x = self._seen(photos)
        parts = self._encoded(x)
        logits: Tensor = self.network.segmentation_head(self.network.decoder(*parts))  # type: ignore[operator]
        if logits.shape[-2:] != x.shape[-2:]:  # the padded border
            logits = logits[..., : x.shape[-2], : x.shape[-1]]
        if x.shape[-2:] != (height, width):
            logits = functional.interpolate(logits, (height, width), mode="bilinear")
        return logits, parts[0][-1]

    def features(self, photos: Tensor) -> Tensor:
        """The encoder's deepest features [B, F, h, w] alone: no decoder is run."""
        deepest: Tensor = self._encoded(self._seen(photos))[0][-1]
        return deepest

    def _seen(self, photos: Tensor) -> Tensor:
        """Normalised photos, at the network's own size where it takes no other."""
        x = (photos.to(self.mean.dtype) - self.mean) / self.std
        if self.bound and photos.shape[-2:] != self.size:
            return functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        return x

    def _encoded(self, x: Tensor) -> Any:
        """What the decoder is given, of photos whose border is padded to a multiple of 32."""
        height, width = x.shape[-2:]
        down, right = -height % STRIDE, -width % STRIDE
        if down or right:
            x = functional.pad(x, (0, right, 0, down), mode="replicate")
        # As SMP's own forward, which keeps the features to itself.
        encoded = self.network.encoder(x)  # type: ignore[operator]
        return encoded if isinstance(encoded, tuple) else (encoded,)  # DPT's comes with its prefix tokens


class PresenceHead(nn.Sequential):
    """Auxiliary head: logits [B, C] of which classes are in a picture, from the encoder's deepest features."""

    def __init__(self, model: Segmenter) -> None:
        channels: Any = model.network.encoder.out_channels  # type: ignore[union-attr]
        super().__init__(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels[-1], len(model.class_names))
        )


def bare_network(spec: RunSpec) -> nn.Module:
    """The network of a spec with random weights. Raises TrashkitError where the architecture refuses the encoder."""
    return _create(spec, None)


@dataclass(frozen=True, slots=True)
class Fit:
    """What a network needs. parameters: how many. activations: bytes that a training batch keeps for its backward pass,
    in float32."""

    parameters: int
    activations: int

    def memory(self, *, half: bool = False) -> int:
        """Bytes that training takes about: weights, gradients, two averages of the optimiser, the moving average of
        weights, and activations, which half precision nearly halves. Work space of the device comes on top."""
        return 20 * self.parameters + self.activations // (2 if half else 1)


def check_fit(spec: RunSpec, batch: int) -> Fit:
    """Build the network of a spec and send a batch through it, without memory or computing: shapes alone.

    Raises TrashkitError where the architecture refuses the encoder, or the network the size of its photos; the nearest
    size that fits is named.
    """
    network = _without_memory(spec)
    try:
        kept = _kept(network, max(2, batch), _side(spec))
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        sides = sorted(range(STRIDE, 1025, STRIDE), key=lambda side: abs(side - spec.size[0]))
        for side in [side for side in sides if side != _side(spec)][:16]:
            other = replace(spec, size=(side, side))
            try:
                _kept(_without_memory(other), 2, side)
            except Exception:  # another reason not to fit; the first is the one to tell
                continue
            raise TrashkitError(
                f"{spec.architecture} over {spec.encoder} does not take photos of {spec.size[0]} px: {text}",
                hint=f"--set data.size={side}",
            ) from error
        raise TrashkitError(
            f"{spec.architecture} does not go with the encoder {spec.encoder}: {text}", hint=_OTHER_PAIR
        ) from error
    return Fit(sum(parameter.numel() for parameter in network.parameters()), kept)


def _without_memory(spec: RunSpec) -> nn.Module:
    try:
        with torch.device("meta"):
            return bare_network(spec)
    except TrashkitError:  # the MiT encoders compute while they are built
        return bare_network(spec).to("meta")


def _kept(network: nn.Module, batch: int, side: int) -> int:
    """Bytes that a forward pass of a network on the device ``meta`` keeps."""
    kept: dict[int, Tensor] = {}
    # By storage: what is kept of a weight may be a view of it.
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
    """The side of the square that the network sees, with what `Segmenter` pads."""
    return -(-spec.size[0] // STRIDE) * STRIDE


_GIVEN = ("encoder_name", "encoder_weights", "in_channels", "classes", "kwargs")
"""What is not for `model.options` to say."""

_OTHER_PAIR = "choose another pair, or other model.options"


def _create(spec: RunSpec, pretrained: str | None, file: Path | None = None) -> nn.Module:
    """pretrained: name of SMP's for the encoder's weights. file: of timm's weights, to take instead of the hub's."""
    pyramid = spec.architecture != "dpt" and is_plain(spec.encoder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SMP warns about the names of encoders and weights, which we chose
            return ARCHITECTURES[spec.architecture](
                encoder_name=smp_name(spec.encoder, _side(spec), pretrained=pretrained is not None, file=file)
                if pyramid
                else spec.encoder,
                encoder_weights=None if pyramid else pretrained,
                in_channels=3,
                classes=len(spec.class_names),
                **({} if pyramid else size_arguments(spec.encoder, _side(spec)) | file_arguments(file)),
                **spec.options,
            )
    except Exception as error:
        if pretrained is not None:
            raise
        text = " ".join(str(error).split())[:200]
        takes = set(inspect.signature(ARCHITECTURES[spec.architecture]).parameters) - set(_GIVEN)
        strange = [name for name in spec.options if name not in takes]
        if strange:
            raise TrashkitError(
                f"{unknown('model.options', strange[0], sorted(takes))} of {spec.architecture}, "
                f"and {spec.encoder} does not know it either",
                hint="--set 'model.options={}' leaves out those of the recipe",
            ) from error
        if "output_stride" in text:
            text = f"its last stages would have to keep their resolution, which {spec.encoder} cannot do"
        raise TrashkitError(
            f"the architecture {spec.architecture} does not go with the encoder {spec.encoder}: {text}",
            hint=_OTHER_PAIR,
        ) from error


def build(spec: RunSpec, source: str = "none") -> Segmenter:
    """A network ready to be trained, its encoder pretrained as `source` says (see `weights.choose`, no ``auto``).

    Raises TrashkitError for pairs that do not fit and weights that cannot be had.
    """
    came_from = ""
    if source == "hub":
        network = _from_hub(spec)
    else:
        network = bare_network(spec)
        encoder = Segmenter(network, spec).encoder
        if source == "offline":
            weight_sources.load_encoder_offline(encoder, spec.encoder)
        elif source != "none":
            network, came_from = _from_file(network, encoder, spec, Path(source))
    model = Segmenter(network, spec)
    model.came_from = came_from
    return model


def _from_file(network: nn.Module, encoder: nn.Module, spec: RunSpec, source: Path) -> tuple[nn.Module, str]:
    """A network with a file's or a run's weights, and which those are."""
    try:
        return network, weight_sources.load_file_into(network, encoder, source, spec.class_names)
    except TrashkitError:
        if source.is_dir() or not weight_sources.is_timm_s(source, spec.encoder):
            raise
    # timm knows how to fit its own weights to another size of photos
    return _create(spec, "imagenet", source), f"the encoder's weights from {source}"


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
    Raises TrashkitError for a folder that is no run, has no checkpoint yet, or one that is damaged or does not fit its
    own manifest.
    """
    run = read_run(run_dir)
    path = run.checkpoint
    if not path.exists():
        raise TrashkitError(
            f"{run_dir} has no {path.name} yet", hint="finish its training: repeat its command line with --resume"
        )
    state = read_weights(path, str(run.manifest.get("checkpoint_sha256") or ""))
    if state is None:
        raise TrashkitError(
            f"{path} is damaged: it is not what the training wrote", hint="copy it anew, or train the run again"
        )
    model = Segmenter(bare_network(run.spec), run.spec)
    try:
        model.network.load_state_dict(state, strict=True)
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise TrashkitError(f"{path} does not fit its manifest: {text}", hint="train the run again") from error
    return model.eval().to(device).to(memory_format=torch.channels_last)
