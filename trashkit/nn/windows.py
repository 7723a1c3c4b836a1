"""Sliding windows over photos larger than a network was trained at, blended smoothly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

OVERLAP = 0.5
"""Share of a window that the next one covers again, at least."""


def starts(length: int, window: int) -> list[int]:
    """Where windows begin that cover an axis evenly, the last ending at its end; [0] where one is enough."""
    if length <= window:
        return [0]
    step = max(1, round(window * (1 - OVERLAP)))
    count = -(-(length - window) // step) + 1
    return [round(n * (length - window) / (count - 1)) for n in range(count)]


def ramp(window: int) -> Tensor:
    """Weights [window] of a raised cosine, above 0 everywhere: windows fade into each other."""
    at = (torch.arange(window, dtype=torch.float32) + 0.5) / window
    return 0.5 - 0.5 * torch.cos(2 * torch.pi * at) + 1e-3


def slide(predict: Callable[[Tensor], Tensor], photos: Tensor, window: tuple[int, int]) -> Tensor:
    """Probabilities [B, C, H, W] of photos [B, 3, H, W], from windows of (height, width) blended by `ramp`.

    predict: probabilities [B, C, h, w] of photos [B, 3, h, w]. What depends on single pixels alone comes out exactly as
    without windows (but for rounding); photos no larger than the window are predicted at once.
    """
    height, width = photos.shape[-2:]
    high, wide = min(window[0], height), min(window[1], width)
    if (high, wide) == (height, width):
        return predict(photos)
    weight = (ramp(high)[:, None] * ramp(wide)[None, :]).to(photos.device)
    total: Tensor | None = None
    share = torch.zeros(height, width, device=photos.device)
    for top in starts(height, high):
        for left in starts(width, wide):
            values = predict(photos[..., top : top + high, left : left + wide])
            if total is None:
                total = torch.zeros(*values.shape[:2], height, width, device=photos.device)
            total[..., top : top + high, left : left + wide] += values * weight
            share[top : top + high, left : left + wide] += weight
    assert total is not None
    return total / share
