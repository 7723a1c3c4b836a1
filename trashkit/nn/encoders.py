"""Encoders that SMP's architectures cannot take as they are: Transformers bound to one size, and those of one scale.

**One size.** Swin, MaxViT, ViT, BEiT and others are built for the size of their photos. They are told the run's, and
timm interpolates what depends on it when it loads weights.

**One scale.** ViT, BEiT, EVA and their kin have features of one stride at every depth, where every architecture but DPT
wants a pyramid. `PlainPyramid` makes one from four depths, as BEiT's authors do for UPerNet: the shallower ones
enlarged by transposed convolutions, the deepest pooled.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from torch import Tensor, nn
from torch.nn import functional

GRID = 16
"""Photo pixels to a token, whatever the patch of a ViT: photos are scaled so that its tokens make a pyramid of 4, 8, 16
and 32."""


@lru_cache(maxsize=64)
def is_plain(encoder: str) -> bool:
    """Whether a timm encoder has one stride at every depth, as ViT and BEiT do."""
    if not encoder.startswith("tu-"):
        return False
    try:
        return len(set(_strides(encoder))) == 1
    except Exception:  # whatever it is, building the network will say it
        return False


@lru_cache(maxsize=64)
def _strides(encoder: str) -> tuple[int, ...]:
    with torch.device("meta"):
        model: Any = timm.create_model(encoder[3:], features_only=True)
    return tuple(model.feature_info.reduction())


def fixed_size(encoder: str) -> int | None:
    """The side of the photos that a timm encoder was made for, where it takes no other as it is; else None."""
    settings = timm.get_pretrained_cfg(encoder[3:]) if encoder.startswith("tu-") else None
    if settings is None or not settings.fixed_input_size:
        return None
    return int(settings.input_size[-1])


@lru_cache(maxsize=64)
def size_arguments(encoder: str, side: int) -> dict[str, Any]:
    """What timm must be told so that an encoder takes photos of `side` pixels; empty where it takes any, or no other
    than its own."""
    if fixed_size(encoder) is None:
        return {}
    tried: list[dict[str, Any]] = [{"img_size": side, "dynamic_img_size": True}, {"img_size": side}]
    for arguments in tried:
        try:
            with torch.device("meta"):
                timm.create_model(encoder[3:], **arguments)
        except (TypeError, AssertionError, ValueError, RuntimeError):
            continue
        return arguments
    return {}


def is_bound(encoder: str, side: int) -> bool:
    """Whether an encoder built for photos of `side` pixels takes no others."""
    return fixed_size(encoder) is not None and "dynamic_img_size" not in size_arguments(
        encoder, _body_side(encoder, side)
    )


def _body_side(encoder: str, side: int) -> int:
    return side // GRID * _patch(encoder) if is_plain(encoder) else side


def _patch(encoder: str) -> int:
    return _strides(encoder)[0]


class PlainPyramid(nn.Module):
    """An encoder as SMP's architectures want it, from a timm ViT: features of strides 1, 2 (empty), 4, 8, 16, 32.

    body: what may come pretrained. necks: make its features larger or smaller, and are always fresh. output_stride: no
    feature is coarser, for architectures that want it 8 or 16.
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
        arguments = size_arguments(f"tu-{name}", side // GRID * self.patch) | file_arguments(file)
        self.body = TimmViTEncoder(name, pretrained=pretrained, depth=depth - 1, **arguments)
        widths = self.body.out_channels
        self.out_channels = [3, 0, *widths]
        self.output_stride = min(output_stride, 2**depth)
        strides = [min(2 ** (n + 2), output_stride) for n in range(depth - 1)]
        self.necks = nn.ModuleList(_neck(width, stride) for width, stride in zip(widths, strides, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of photos [B, 3, H, W], sides multiples of 32: `x`, an empty one, and the pyramid."""
        height, width = x.shape[-2:]
        shown = x
        if self.patch != GRID:
            size = (height // GRID * self.patch, width // GRID * self.patch)
            shown = functional.interpolate(x, size, mode="bilinear", antialias=True)
        features, _ = self.body(shown)
        empty = x.new_empty(len(x), 0, height // 2, width // 2)
        return [x, empty, *(neck(one) for neck, one in zip(self.necks, features, strict=True))]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:  # noqa: ARG002 - SMP calls it so
        """RGB only."""
        assert in_channels == 3

    def make_dilated(self, output_stride: int) -> None:
        """Nothing: the necks know it from the start."""


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


def file_arguments(file: Path | None) -> dict[str, Any]:
    """What timm must be told so that a file of its weights stands for the hub's."""
    # some models load NumPy files by code of their own, which takes no others
    return {"pretrained_cfg_overlay": {"file": str(file), "custom_load": file.suffix == ".npz"}} if file else {}


def smp_name(encoder: str, side: int, *, pretrained: bool, file: Path | None = None) -> str:
    """The name under which SMP makes an encoder as a pyramid; registers it where SMP has none of its own."""
    if not is_plain(encoder):
        return encoder
    name = f"pyramid-{encoder[3:]}-{side}-{file or ('pretrained' if pretrained else 'fresh')}"
    smp.encoders.encoders[name] = {
        "encoder": PlainPyramid,
        "pretrained_settings": {},
        "params": {"name": encoder[3:], "side": side, "pretrained": pretrained, "file": file},
    }
    return name
