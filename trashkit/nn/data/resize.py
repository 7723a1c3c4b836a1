"""Resizing of photos to network input, shared by training, validation and prediction."""

from __future__ import annotations

from trashkit.images.sampling import Pixels, resize_photo

__all__ = ["Pixels", "resize_photo"]
