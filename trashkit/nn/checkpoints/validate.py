"""Validation during training: one confusion matrix per image, counted as the command `score` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from trashkit.metrics.scores import Confusion, Matrix, confusion
from trashkit.nn.data.cache import PhotoCache
from trashkit.nn.data.datasets import ValidationDataset
from trashkit.nn.inference.predict import sampling_weights
from trashkit.nn.models.networks import Segmenter

SCORE_SIZE = (256, 256)
"""Label maps are compared at this (height, width), as in `score` and the submission."""


@torch.inference_mode()
def validate_per_image(
    model: Segmenter, cache: PhotoCache, accelerator: Accelerator, *, batch_size: int, workers: int
) -> Matrix:
    """Confusion matrices of `model`, int64 [N, C, C], one per image of a cache whose label maps have `SCORE_SIZE`.

    The images are divided between processes, each is counted once, and every process gets all matrices.
    """
    device, classes = accelerator.device, len(model.class_names)
    own = range(accelerator.process_index, len(cache), accelerator.num_processes)
    loader: DataLoader[Any] = DataLoader(
        ValidationDataset(cache),
        batch_size=batch_size,
        sampler=own,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    model.eval()
    matrices = np.zeros((len(cache), classes, classes), np.int64)
    for photos, positions in loader:
        with accelerator.autocast():
            logits = model(photos.to(device, non_blocking=True).permute(0, 3, 1, 2))
        predicted = []
        for probabilities, position in zip(logits.float().softmax(1), positions.tolist(), strict=True):
            image = cache.images[position]
            down = torch.from_numpy(sampling_weights(image.height, SCORE_SIZE[0], probabilities.shape[1])).to(device)
            across = torch.from_numpy(sampling_weights(image.width, SCORE_SIZE[1], probabilities.shape[2])).to(device)
            predicted.append((down @ probabilities @ across.T).argmax(0).to(torch.uint8))
        # One synchronisation with the device per batch instead of one per image.
        for label_map, position in zip(torch.stack(predicted).cpu().numpy(), positions.tolist(), strict=True):
            matrices[position] = confusion(cache.labels(position), label_map, classes)
    if accelerator.num_processes > 1:
        summed = accelerator.reduce(torch.from_numpy(matrices).to(device), "sum")
        matrices = summed.cpu().numpy()
    return matrices


def validate(
    model: Segmenter, cache: PhotoCache, accelerator: Accelerator, *, batch_size: int, workers: int
) -> Confusion:
    """The matrices of `validate_per_image`, summed."""
    matrices = validate_per_image(model, cache, accelerator, batch_size=batch_size, workers=workers)
    return Confusion(matrices.sum(axis=0), tuple(model.class_names))
