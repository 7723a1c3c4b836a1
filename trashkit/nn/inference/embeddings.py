"""Photo embeddings: one feature vector per photo from a pretrained encoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_path, thumbnail
from trashkit.nn.data.resize import Pixels, resize_photo
from trashkit.nn.inference.predict import device
from trashkit.nn.models import weights
from trashkit.nn.models.encoders import fixed_size
from trashkit.nn.models.networks import Segmenter, build, encoder_names, load_run_model
from trashkit.progress import Progress, silent
from trashkit.runs.folder import is_run
from trashkit.runs.manifest import RunSpec

DEFAULT_SIZE = 224
"""Side of the input in pixels if neither the encoder nor the run has a fixed size."""


def offline_encoder() -> str | None:
    """Smallest encoder whose pretrained weights are in an installed package, or None."""
    return next((name for name in weights.OFFLINE if weights.offline_available(name)), None)


def load_encoder(name: str) -> tuple[Segmenter, str]:
    """Load a network with a pretrained encoder, in eval mode, and describe the source of its weights.

    name: a run folder, or an encoder (weights from an installed package if there is one, else from the hub). Raises
    TrashkitError for any other name, and if the weights are not available.
    """
    if is_run(Path(name)):
        return load_run_model(Path(name), device()), f"the encoder of the run {name}"
    if name not in encoder_names():
        raise TrashkitError(
            f"--encoder {name} is neither a run folder nor a known encoder",
            hint=f"use auto, none, a run folder, or an encoder such as {next(iter(weights.OFFLINE))}",
        )
    mean, std = weights.normalisation(name)
    side = fixed_size(name) or DEFAULT_SIZE
    spec = RunSpec("fpn", name, {}, (side, side), mean, std, ("Background", "object"), ((0, 0, 0), (255, 255, 255)))
    source, why = weights.choose_source("auto", name)
    try:
        model = build(spec, source)
    except TrashkitError as error:  # its hint is about training
        others = ", ".join(weights.OFFLINE)
        raise TrashkitError(
            error.message, hint=f"check the network, or use --encoder none or an encoder that needs no hub: {others}"
        ) from error
    return model.eval().to(device()).to(memory_format=torch.channels_last), f"{name}: {why}"


class Encoder(Protocol):
    """Maps RGB photos [B, 3, H, W] of `size` (height, width) to features [B, F, h, w]."""

    @property
    def size(self) -> tuple[int, int]: ...

    def features(self, photos: Tensor) -> Tensor: ...


@torch.inference_mode()
def embed(
    model: Encoder, dataset: Dataset, folder: Path, *, batch: int = 16, progress: Progress = silent
) -> NDArray[np.float64]:
    """Encoder features of every photo, averaged over its area: float64 [N, F] in data set order.

    A `Segmenter` gives its deepest features. Photos are resized to the model's size regardless of aspect ratio. Two
    batches of photos are in memory at a time. Raises TrashkitError naming an unreadable photo.
    """
    found: list[NDArray[np.float64]] = []
    done = 0
    progress("computing embeddings", 0, len(dataset.images))
    for photos in _batches(dataset, folder, model.size, batch):
        seen = torch.from_numpy(np.stack(photos)).to(device()).permute(0, 3, 1, 2)
        features = model.features(seen).float().mean(dim=(2, 3))
        found.append(features.cpu().numpy().astype(np.float64))
        done += len(photos)
        progress("computing embeddings", done, len(dataset.images))
    return np.concatenate(found)


def _batches(dataset: Dataset, folder: Path, size: tuple[int, int], batch: int) -> Iterator[list[Pixels]]:
    """Batches of photos [batch, H, W, 3] at `size`; the next batch is decoded in advance."""

    def load(image: Image) -> Pixels:
        path = photo_path(folder, image.file_name)
        return resize_photo(thumbnail(path, 2 * max(size), (image.width, image.height)), size)

    with ThreadPoolExecutor() as pool:
        waiting: deque[list[Future[Pixels]]] = deque()
        try:
            for start in range(0, len(dataset.images), batch):
                waiting.append([pool.submit(load, image) for image in dataset.images[start : start + batch]])
                if len(waiting) == 2:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            for future in (one for ahead in waiting for one in ahead):
                future.cancel()
