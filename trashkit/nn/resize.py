"""How a photo becomes the input of a network; the same in training, validation and prediction."""

from __future__ import annotations

from trashkit.sampling import Pixels, resize_photo

__all__ = ["Pixels", "resize_photo"]
