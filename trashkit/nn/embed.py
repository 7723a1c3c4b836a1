"""Photos as a pretrained encoder sees them: one row of numbers each, for telling kinds of photos apart."""

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
from trashkit.nn import weights
from trashkit.nn.encoders import fixed_size
from trashkit.nn.models import Segmenter, build, encoder_names, load_run_model
from trashkit.nn.predict import device
from trashkit.nn.resize import Pixels, resize_photo
from trashkit.photos import photo_path, thumbnail
from trashkit.progress import Progress, silent
from trashkit.run import RunSpec
from trashkit.run_folder import is_run

SIDE = 224
"""Photos are seen at this many pixels, where an encoder or a run has no size of its own."""


def offline_encoder() -> str | None:
    """The smallest encoder whose pretrained weights are in an installed package; None where there is none."""
    return next((name for name in weights.OFFLINE if weights.offline_available(name)), None)


def photo_encoder(name: str) -> tuple[Segmenter, str]:
    """A network whose encoder is pretrained, in eval mode, and where its weights come from, in words.

    name: of an encoder (its weights from an offline package where one has them, else from the hub), or a run folder.
    TrashkitError for what is neither, and for weights that cannot be had.
    """
    if is_run(Path(name)):
        return load_run_model(Path(name), device()), f"the encoder of the run {name}"
    if name not in encoder_names():
        raise TrashkitError(
            f"--encoder {name} is no run folder and no encoder",
            hint=f"give auto, none, a run folder, or an encoder such as {next(iter(weights.OFFLINE))}",
        )
    mean, std = weights.normalisation(name)
    side = fixed_size(name) or SIDE
    spec = RunSpec("fpn", name, {}, (side, side), mean, std, ("Background", "object"), ((0, 0, 0), (255, 255, 255)))
    source, why = weights.choose("auto", name)
    try:
        model = build(spec, source)
    except TrashkitError as error:  # its hint speaks of training
        others = ", ".join(weights.OFFLINE)
        raise TrashkitError(
            error.message, hint=f"check the network, give --encoder none, or one that needs no hub: {others}"
        ) from error
    return model.eval().to(device()).to(memory_format=torch.channels_last), f"{name}: {why}"


class Encoder(Protocol):
    """What turns photos RGB [B, 3, H, W] of `size` (height, width) into features [B, F, h, w]."""

    @property
    def size(self) -> tuple[int, int]: ...

    def features(self, photos: Tensor) -> Tensor: ...


@torch.inference_mode()
def embed(
    model: Encoder, dataset: Dataset, folder: Path, *, batch: int = 16, progress: Progress = silent
) -> NDArray[np.float64]:
    """An encoder's features of every photo (a `Segmenter`'s deepest), averaged over its area: [N, F] in data set order.

    Photos are scaled to the model's size, whatever their aspect. In memory are two batches of photos and the result;
    the same photos give the same numbers. TrashkitError naming a photo that cannot be read.
    """
    found: list[NDArray[np.float64]] = []
    done = 0
    progress("photos through the encoder", 0, len(dataset.images))
    for photos in _batches(dataset, folder, model.size, batch):
        seen = torch.from_numpy(np.stack(photos)).to(device()).permute(0, 3, 1, 2)
        features = model.features(seen).float().mean(dim=(2, 3))
        found.append(features.cpu().numpy().astype(np.float64))
        done += len(photos)
        progress("photos through the encoder", done, len(dataset.images))
    return np.concatenate(found)


def _batches(dataset: Dataset, folder: Path, size: tuple[int, int], batch: int) -> Iterator[list[Pixels]]:
    """Photos [batch, H, W, 3] at `size`, one batch decoded ahead."""

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
