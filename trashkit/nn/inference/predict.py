"""Predict class probabilities: for a data set into a store, or for single photos of any size.

Models and views are averaged as probabilities, not logits; the choice changes a few per cent of the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch.nn import functional

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.images import photos
from trashkit.images.photos import check_photos
from trashkit.images.sampling import sampling_weights, upsample_to_photo
from trashkit.nn.data.resize import resize_photo
from trashkit.nn.devices import on_cpu, reuse_freed_memory
from trashkit.nn.inference.tta import input_size, views
from trashkit.nn.inference.windows import predict_windows
from trashkit.nn.models.networks import Segmenter
from trashkit.predictions.store import StoreType, create_store, open_store
from trashkit.progress import Progress, silent

Pixels = NDArray[np.uint8]

__all__ = ["check_photos", "device", "mean_probabilities", "predict_dataset", "predict_photo", "sampling_weights"]


def _autocast(device: torch.device) -> Any:
    # Half precision is faster on GPUs only.
    dtype = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
    return torch.autocast(device.type, dtype=dtype, enabled=device.type == "cuda")


@torch.inference_mode()
def mean_probabilities(
    model: Segmenter, batch: torch.Tensor, *, tta: str = "none", window: tuple[int, int] | None = None
) -> torch.Tensor:
    """Softmax of one model averaged over the views of `tta`: uint8 [B, 3, H, W] to float32 [B, C, H, W].

    window: (height, width) of the network input; larger photos are predicted in sliding windows.
    """

    def predict(photos: torch.Tensor) -> torch.Tensor:
        with _autocast(photos.device):
            logits = model(photos)
        softmax: torch.Tensor = logits.float().softmax(dim=1)
        return softmax

    chosen = views(tta)
    total: torch.Tensor | None = None
    for view in chosen:
        turned = view.apply(batch)
        size = (turned.shape[-2], turned.shape[-1])
        if view.scale != 1:
            target = input_size(size, view.scale)
            turned = functional.interpolate(turned.float(), target, mode="bilinear", antialias=True)
        softmax = predict(turned) if window is None else predict_windows(predict, turned, window)
        if view.scale != 1:
            softmax = functional.interpolate(softmax, size, mode="bilinear")
        softmax = view.undo(softmax)
        total = softmax if total is None else total + softmax
    assert total is not None
    return total / len(chosen)


def device() -> torch.device:
    """Device for prediction: this process's GPU under torchrun or accelerate, else the best available device."""
    chosen: torch.device = PartialState(cpu=on_cpu("auto")).device
    if chosen.type == "cpu":
        reuse_freed_memory()
    return chosen


def check_same_classes(models: Sequence[Segmenter]) -> None:
    """Raise TrashkitError unless all models predict the same classes in the same order."""
    for model in models[1:]:
        if model.class_names != models[0].class_names:
            raise TrashkitError(
                f"the runs predict different classes: {', '.join(models[0].class_names)} "
                f"against {', '.join(model.class_names)}",
                hint="predict with each run separately",
            )


@dataclass(frozen=True)
class _Loaded:
    row: int
    native: tuple[int, int]
    inputs: tuple[Pixels, ...]


def _load(row: int, image: Image, folder: Path, sizes: Sequence[tuple[int, int]]) -> _Loaded:
    path = photos.photo_path(folder, image.file_name)
    photo = photos.read_photo(path, (image.width, image.height))
    # The store records the size in the annotation file, at which ground truth is rasterised.
    return _Loaded(row, (image.height, image.width), tuple(resize_photo(photo, size) for size in sizes))


def _batches(
    rows: Sequence[int],
    images: Sequence[Image],
    folder: Path,
    *,
    sizes: Sequence[tuple[int, int]],
    batch: int,
    workers: int,
) -> Iterator[list[_Loaded]]:
    """Batches of photos decoded in advance by threads, at most two batches in memory."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[_Loaded]] = []
        position = 0
        try:
            while position < len(rows) or waiting:
                while position < len(rows) and len(waiting) < 2 * batch:
                    row = rows[position]
                    waiting.append(pool.submit(_load, row, images[row], folder, sizes))
                    position += 1
                ready, waiting = waiting[:batch], waiting[batch:]
                yield [future.result() for future in ready]
        finally:
            for future in waiting:
                future.cancel()


def predict_dataset(
    models: Sequence[Segmenter],
    dataset: Dataset,
    folder: Path,
    out: Path,
    *,
    tta: str = "none",
    zoom: float = 1.0,
    size: tuple[int, int] = (256, 256),
    dtype: StoreType = "uint8",
    batch_size: int = 8,
    workers: int = 2,
    manifest: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write the mean probabilities of `models` for every image of a data set to a store.

    size: (height, width) of the store; values are sampled at the pixels that nearest-neighbour sampling of the ground
    truth uses. zoom: above 1, photos are enlarged to this multiple of a model's size and predicted in blended sliding
    windows. manifest: description of the models; the data set's hash, `tta` and size are added, and `resume` requires
    all of it to be equal. Memory use is a few batches. Under torchrun or accelerate each process predicts its share.
    Raises TrashkitError for a missing or broken photo (the store is then incomplete and can be resumed), models with
    different classes, an unknown `tta`, and an existing store that can be neither resumed nor overwritten.
    """
    check_same_classes(models)
    views(tta)
    images = dataset.images
    check_photos(images, folder)
    state = PartialState(cpu=on_cpu("auto"))
    settings = {
        **(manifest or {}),
        "tta": tta,
        "data_sha256": dataset.coco.sha256,
        **({"zoom": zoom} if zoom != 1 else {}),
    }
    shape: dict[str, Any] = {
        "image_ids": [image.id for image in images],
        "file_names": [image.file_name for image in images],
        "native_sizes": [(image.height, image.width) for image in images],
        "classes": models[0].class_names,
        "size": size,
        "dtype": dtype,
        "manifest": settings,
    }
    created = create_store(out, **shape, resume=resume, overwrite=overwrite) if state.is_main_process else None
    state.wait_for_everyone()
    with created or create_store(out, **shape, resume=True) as writer:
        written = writer.done
        own = list(range(state.process_index, len(images), state.num_processes))
        rows = _rows_of_unfinished_batches(own, written, batch_size)
        done = 0
        progress("predict", done, len(rows))
        sizes = [input_size(model.size, zoom) for model in models]
        for batch in _batches(rows, images, folder, sizes=sizes, batch=batch_size, workers=workers):
            probabilities = _predict_batch(models, batch, size, tta)
            for loaded, values in zip(batch, probabilities, strict=True):
                if not written[loaded.row]:
                    writer.write(loaded.row, values)
            done += len(batch)
            progress("predict", done, len(rows))
    state.wait_for_everyone()
    if state.is_main_process:
        open_store(out).require_complete()


def _rows_of_unfinished_batches(rows: Sequence[int], written: NDArray[np.bool_], batch: int) -> list[int]:
    """Rows of all batches of which a row is missing: probabilities depend, in the last digit, on the whole batch."""
    batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    return [row for one in batches if not written[list(one)].all() for row in one]


def _predict_batch(
    models: Sequence[Segmenter], batch: Sequence[_Loaded], size: tuple[int, int], tta: str
) -> NDArray[np.float32]:
    """Mean probabilities over models, float32 [B, C, height, width] at the store's size."""
    total: torch.Tensor | None = None
    for n, model in enumerate(models):
        inputs = torch.from_numpy(np.stack([loaded.inputs[n] for loaded in batch])).to(device())
        seen = inputs.permute(0, 3, 1, 2).contiguous()
        probabilities = mean_probabilities(model, seen, tta=tta, window=_window(model, seen))
        sampled = torch.stack(
            [_sample(values, loaded.native, size) for values, loaded in zip(probabilities, batch, strict=True)]
        )
        total = sampled if total is None else total + sampled
    assert total is not None
    mean: NDArray[np.float32] = (total / len(models)).cpu().numpy()
    return mean


def _window(model: Segmenter, seen: torch.Tensor) -> tuple[int, int] | None:
    """The model's size if the photos are larger, else None."""
    return model.size if seen.shape[-2] > model.size[0] or seen.shape[-1] > model.size[1] else None


def _sample(values: torch.Tensor, native: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Sample one image's probabilities [C, h, w] at the store's pixels [C, height, width]."""
    down = torch.from_numpy(sampling_weights(native[0], size[0], values.shape[1])).to(values.device)
    across = torch.from_numpy(sampling_weights(native[1], size[1], values.shape[2])).to(values.device)
    return down @ values @ across.T


def predict_photo(
    models: Sequence[Segmenter], photo: Pixels, *, tta: str = "none", zoom: float = 1.0
) -> tuple[Pixels, NDArray[np.float32]]:
    """Predict the label map and the confidence of one photo of any size.

    photo: RGB uint8 [H, W, 3]. zoom: as in `predict_dataset`. Returns the label map uint8 [H, W] and the probability of
    the predicted class float32 [H, W].
    """
    check_same_classes(models)
    planes: list[NDArray[np.float32]] = []
    for model in models:
        shown = torch.from_numpy(resize_photo(photo, input_size(model.size, zoom))).to(device())
        batch = shown.permute(2, 0, 1)[None].contiguous()
        planes.append(mean_probabilities(model, batch, tta=tta, window=_window(model, batch))[0].cpu().numpy())
    return upsample_to_photo(planes, (photo.shape[0], photo.shape[1]))
