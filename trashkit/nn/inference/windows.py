"""Sliding-window prediction of photos larger than the network's input, with smooth blending."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

OVERLAP = 0.5
"""Minimum overlap of neighbouring windows, as a share of the window."""


def window_starts(length: int, window: int) -> list[int]:
    """Start positions of evenly spaced windows that cover an axis; [0] if one window is enough."""
    if length <= window:
        return [0]
    step = max(1, round(window * (1 - OVERLAP)))
    count = -(-(length - window) // step) + 1
    return [round(n * (length - window) / (count - 1)) for n in range(count)]


def blend_weights(window: int) -> Tensor:
    """Raised-cosine weights [window], positive everywhere, that blend overlapping windows."""
    at = (torch.arange(window, dtype=torch.float32) + 0.5) / window
    return 0.5 - 0.5 * torch.cos(2 * torch.pi * at) + 1e-3


def predict_windows(predict: Callable[[Tensor], Tensor], photos: Tensor, window: tuple[int, int]) -> Tensor:
    """Probabilities [B, C, H, W] of photos [B, 3, H, W], predicted in windows of (height, width) and blended.

    predict: maps photos [B, 3, h, w] to probabilities [B, C, h, w]. For a pixel-wise function the result equals
    ``predict(photos)`` up to rounding. Photos no larger than the window are predicted at once.
    """
    height, width = photos.shape[-2:]
    high, wide = min(window[0], height), min(window[1], width)
    if (high, wide) == (height, width):
        return predict(photos)
    weight = (blend_weights(high)[:, None] * blend_weights(wide)[None, :]).to(photos.device)
    total: Tensor | None = None
    share = torch.zeros(height, width, device=photos.device)
    for top in window_starts(height, high):
        for left in window_starts(width, wide):
            values = predict(photos[..., top : top + high, left : left + wide])
            if total is None:
                total = torch.zeros(*values.shape[:2], height, width, device=photos.device)
            total[..., top : top + high, left : left + wide] += values * weight
            share[top : top + high, left : left + wide] += weight
    assert total is not None
    return total / share
