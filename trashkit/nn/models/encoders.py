"""Encoders that SMP's architectures do not accept directly: those of a fixed input size, and those of a single scale.

**Fixed input size.** Swin, MaxViT, ViT, BEiT and others are built for one input size. They get the size of the run, and
timm interpolates the weights that depend on it.

**Single scale.** ViT, BEiT, EVA and similar encoders have features of one stride at every depth, but every architecture
except DPT needs a feature pyramid. `SimpleFeaturePyramid` makes one from four depths, as BEiT's authors do for UPerNet:
the shallow features are enlarged by transposed convolutions, the deepest are pooled.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from torch import Tensor, nn
from torch.nn import functional

from trashkit.nn.models import timm_api

TOKEN_STRIDE = 16
"""Pixels per token: photos are scaled so that a ViT's tokens have this stride whatever its patch size, which gives a
pyramid of strides 4, 8, 16 and 32."""


def timm_name(encoder: str) -> str | None:
    """The name in timm of an encoder called ``tu-NAME``; None for SMP's own encoders."""
    return encoder[3:] if encoder.startswith("tu-") else None


@lru_cache(maxsize=64)
def is_single_scale(encoder: str) -> bool:
    """Whether an encoder has the same stride at every depth, as ViT and BEiT do."""
    if timm_name(encoder) is None:
        return False
    try:
        return len(set(_strides(encoder))) == 1
    except Exception:  # building the network will report it
        return False


@lru_cache(maxsize=64)
def _strides(encoder: str) -> tuple[int, ...]:
    return timm_api.feature_strides(encoder[3:])


def fixed_size(encoder: str) -> int | None:
    """The side of the input that an encoder was made for if it takes no other by default; else None."""
    name = timm_name(encoder)
    config = timm_api.pretrained_config(name) if name is not None else None
    if config is None or not config.fixed_input_size:
        return None
    return int(config.input_size[-1])


@lru_cache(maxsize=64)
def size_options(encoder: str, side: int) -> dict[str, Any]:
    """Options with which timm builds an encoder for inputs of `side` pixels; empty if it takes any size or only one."""
    if fixed_size(encoder) is None:
        return {}
    candidates: list[dict[str, Any]] = [{"img_size": side, "dynamic_img_size": True}, {"img_size": side}]
    for options in candidates:
        try:
            timm_api.create_model_shapes(encoder[3:], **options)
        except (TypeError, AssertionError, ValueError, RuntimeError):
            continue
        return options
    return {}


def has_fixed_size(encoder: str, side: int) -> bool:
    """Whether an encoder built for inputs of `side` pixels takes no other size."""
    return fixed_size(encoder) is not None and "dynamic_img_size" not in size_options(
        encoder, _body_side(encoder, side)
    )


def _body_side(encoder: str, side: int) -> int:
    return side // TOKEN_STRIDE * _patch(encoder) if is_single_scale(encoder) else side


def _patch(encoder: str) -> int:
    return _strides(encoder)[0]


class SimpleFeaturePyramid(nn.Module):
    """A timm ViT as an encoder for SMP's architectures: features of strides 1, 2 (empty), 4, 8, 16, 32.

    body: the ViT, which may be pretrained. necks: change the resolution of its features; always randomly initialised.
    output_stride: largest stride, for architectures that need 8 or 16.
    """

    def __init__(
        self,
        name: str,
        side: int,
        *,
        pretrained: bool = False,
        file: Path | None = None,
        depth: int = 5,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        self.patch = _patch(f"tu-{name}")
        options = size_options(f"tu-{name}", side // TOKEN_STRIDE * self.patch) | weights_file_options(file)
        self.body = TimmViTEncoder(name, pretrained=pretrained, depth=depth - 1, **options)
        widths = self.body.out_channels
        self.out_channels = [3, 0, *widths]
        self.output_stride = min(output_stride, 2**depth)
        strides = [min(2 ** (n + 2), output_stride) for n in range(depth - 1)]
        self.necks = nn.ModuleList(_neck(width, stride) for width, stride in zip(widths, strides, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of photos [B, 3, H, W], sides multiples of 32: `x`, an empty one, and the pyramid."""
        height, width = x.shape[-2:]
        scaled = x
        if self.patch != TOKEN_STRIDE:
            size = (height // TOKEN_STRIDE * self.patch, width // TOKEN_STRIDE * self.patch)
            scaled = functional.interpolate(x, size, mode="bilinear", antialias=True)
        features, _ = self.body(scaled)
        empty = x.new_empty(len(x), 0, height // 2, width // 2)
        return [x, empty, *(neck(one) for neck, one in zip(self.necks, features, strict=True))]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:  # noqa: ARG002 - called by SMP
        """Only RGB is supported."""
        assert in_channels == 3

    def make_dilated(self, output_stride: int) -> None:
        """Nothing to do: the necks have the output stride already."""


def _neck(width: int, stride: int) -> nn.Module:
    if stride == 4:
        return nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
    if stride == 8:
        return nn.ConvTranspose2d(width, width, 2, stride=2)
    return nn.MaxPool2d(2) if stride == 32 else nn.Identity()


def weights_file_options(file: Path | None) -> dict[str, Any]:
    """Options with which timm loads a file of its weights instead of downloading them."""
    return timm_api.weights_file_options(file) if file else {}


def register_pyramid(encoder: str, side: int, *, pretrained: bool, file: Path | None = None) -> str:
    """Register a single-scale encoder as a pyramid with SMP, and return its name there; other encoders keep theirs."""
    if not is_single_scale(encoder):
        return encoder
    name = f"pyramid-{encoder[3:]}-{side}-{file or ('pretrained' if pretrained else 'fresh')}"
    smp.encoders.encoders[name] = {
        "encoder": SimpleFeaturePyramid,
        "pretrained_settings": {},
        "params": {"name": encoder[3:], "side": side, "pretrained": pretrained, "file": file},
    }
    return name
