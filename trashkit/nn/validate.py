"""Validation while training: one confusion matrix for each image, as `score` would count it."""

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
from trashkit.scores import Confusion, Matrix, confusion

SCORED = (256, 256)
"""Label maps are compared at this (height, width), as `score` and the submission do."""


@torch.inference_mode()
def validate_each(
    model: Segmenter, cache: PhotoCache, accelerator: Accelerator, *, batch_size: int, workers: int
) -> Matrix:
    """Confusion matrices of `model`, int64 [N, C, C], one for each image of a cache whose label maps are SCORED.

    Processes share the images, each of which is counted once, and all get all matrices.
    """
    device, classes = accelerator.device, len(model.class_names)
    mine = range(accelerator.process_index, len(cache), accelerator.num_processes)
    loader: DataLoader[Any] = DataLoader(
        ValidationPhotos(cache),
        batch_size=batch_size,
        sampler=mine,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    model.eval()
    matrices = np.zeros((len(cache), classes, classes), np.int64)
    for photos, positions in loader:
        with accelerator.autocast():
            logits = model(photos.to(device, non_blocking=True).permute(0, 3, 1, 2))
        guesses = []
        for values, position in zip(logits.float().softmax(1), positions.tolist(), strict=True):
            image = cache.images[position]
            down = torch.from_numpy(sampling(image.height, SCORED[0], values.shape[1])).to(device)
            across = torch.from_numpy(sampling(image.width, SCORED[1], values.shape[2])).to(device)
            guesses.append((down @ values @ across.T).argmax(0).to(torch.uint8))
        # The device is waited for once a batch, not once an image.
        for guess, position in zip(torch.stack(guesses).cpu().numpy(), positions.tolist(), strict=True):
            matrices[position] = confusion(cache.labels(position), guess, classes)
    if accelerator.num_processes > 1:
        summed = accelerator.reduce(torch.from_numpy(matrices).to(device), "sum")
        matrices = summed.cpu().numpy()
    return matrices


def validate(
    model: Segmenter, cache: PhotoCache, accelerator: Accelerator, *, batch_size: int, workers: int
) -> Confusion:
    """The matrices of `validate_each` in one."""
    matrices = validate_each(model, cache, accelerator, batch_size=batch_size, workers=workers)
    return Confusion(matrices.sum(axis=0), tuple(model.class_names))
