"""Validation while training: one pooled confusion matrix, as `score` would count it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from trashkit.nn.cache import PhotoCache
from trashkit.nn.data import ValidationPhotos
from trashkit.nn.models import Segmenter
from trashkit.nn.predict import sampling
from trashkit.scores import Confusion, confusion

SCORED = (256, 256)
"""Label maps are compared at this (height, width), as `score` and the submission do."""


@torch.inference_mode()
def validate(
    model: Segmenter, cache: PhotoCache, accelerator: Accelerator, *, batch_size: int, workers: int
) -> Confusion:
    """Confusion of `model` over a cache whose label maps are SCORED; each image is counted once by all processes."""
    device = accelerator.device
    mine = range(accelerator.process_index, len(cache), accelerator.num_processes)
    loader: DataLoader[Any] = DataLoader(
        ValidationPhotos(cache), batch_size=batch_size, sampler=mine, num_workers=workers
    )
    model.eval()
    matrix = np.zeros((len(model.class_names), len(model.class_names)), np.int64)
    for photos, positions in loader:
        with accelerator.autocast():
            logits = model(photos.to(device).permute(0, 3, 1, 2))
        for values, position in zip(logits.float().softmax(1), positions.tolist(), strict=True):
            image = cache.images[position]
            down = torch.from_numpy(sampling(image.height, SCORED[0], values.shape[1])).to(device)
            across = torch.from_numpy(sampling(image.width, SCORED[1], values.shape[2])).to(device)
            guess = (down @ values @ across.T).argmax(0).to(torch.uint8).cpu().numpy()
            matrix += confusion(cache.labels(position), guess, len(model.class_names))
    summed = accelerator.reduce(torch.from_numpy(matrix).to(device), "sum")
    return Confusion(summed.cpu().numpy(), tuple(model.class_names))
