"""Predict from an exported file, without torch: onnxruntime, numpy and OpenCV are all it takes.

The file takes photos uint8 [B, 3, H, W] of the size it names and gives probabilities float32 [B, C, H, W]; what else is
needed (class names, colours, size) stands in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit import photos
from trashkit.coco import ClassMap, Dataset
from trashkit.errors import TrashkitError
from trashkit.progress import Progress, silent
from trashkit.sampling import at_photo_size, resize_photo, sampling
from trashkit.store import StoreType, create_store, open_store

FORMAT = "trashkit model"
Pixels = NDArray[np.uint8]
Planes = NDArray[np.float32]

VIEWS: dict[str, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "flip": ((0, False), (0, True)),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "d4": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}
"""Quarter turns and mirroring of each view, by the name of the set."""


@dataclass(frozen=True)
class OnnxModel:
    """An exported network, open for prediction.

    size: (height, width) that it takes. class_names, class_colors: one per class, background first. metadata: all that
    the file says of itself. session: onnxruntime's.
    """

    path: Path
    size: tuple[int, int]
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    metadata: Mapping[str, Any]
    session: Any

    @property
    def classes(self) -> ClassMap:
        """Its classes, without categories."""
        return ClassMap(self.class_names, self.class_colors, {})

    def __call__(self, batch: Pixels, tta: str = "none") -> Planes:
        """Probabilities float32 [B, C, H, W] of photos uint8 [B, H, W, 3] at `size`, averaged over the views of `tta`.

        Quarter turns ask for a square size.
        """
        total: Planes | None = None
        chosen = views(tta, self.size)
        for turns, mirrored in chosen:
            turned = batch[:, :, ::-1] if mirrored else batch
            turned = np.ascontiguousarray(np.rot90(turned, turns, (1, 2)).transpose(0, 3, 1, 2))
            values = self.session.run(None, {"photos": turned})[0]
            values = np.rot90(values, -turns, (2, 3))
            values = values[..., ::-1] if mirrored else values
            total = np.array(values) if total is None else total + values
        assert total is not None
        return np.asarray(total / np.float32(len(chosen)), np.float32)


def views(tta: str, size: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    """The views of a set. TrashkitError for an unknown name, and for quarter turns of a size that is not square."""
    if tta not in VIEWS:
        raise TrashkitError(
            f'an exported model has no test-time augmentation "{tta}"',
            hint=f"it takes photos of one size; choose --tta from: {', '.join(VIEWS)}, or predict with the run",
        )
    if size[0] != size[1] and any(turns % 2 for turns, _ in VIEWS[tta]):
        raise TrashkitError(f"{size[1]}x{size[0]} pixels cannot be turned by a quarter", hint="choose --tta flips")
    return VIEWS[tta]


def is_onnx(path: Path) -> bool:
    """Whether a path is an exported model, by its suffix."""
    return path.suffix.lower() == ".onnx" and path.is_file()


def load(path: Path, *, threads: int = 0) -> OnnxModel:
    """Open an exported model. threads: of onnxruntime, 0 for its own choice.

    TrashkitError where onnxruntime is not installed, and for files that `trashkit export` did not write.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise TrashkitError(
            "predicting from an ONNX file needs onnxruntime", hint="pip install 'trashkit[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
        given = dict(session.get_modelmeta().custom_metadata_map)
    except Exception as error:  # onnxruntime has an error class for each way in which a file can be wrong
        text = " ".join(str(error).split())[:160]
        raise TrashkitError(f"{path} cannot be opened: {text}", hint="export the run again") from error
    try:
        metadata = json.loads(given["trashkit"])
        if metadata["format"] != FORMAT:
            raise ValueError(metadata["format"])
        height, width = metadata["size"]
        colors = tuple((int(r), int(g), int(b)) for r, g, b in metadata["class_colors"])
        names = tuple(str(name) for name in metadata["class_names"])
        if len(names) != len(colors):
            raise ValueError("classes")
    except (KeyError, TypeError, ValueError) as error:
        raise TrashkitError(
            f"{path} does not name its classes and size", hint="trashkit export RUN --onnx FILE writes one that does"
        ) from error
    return OnnxModel(path, (int(height), int(width)), names, colors, metadata, session)


def check_same_classes(models: Sequence[OnnxModel]) -> None:
    """Raise TrashkitError unless all models predict the same classes in the same order."""
    for model in models[1:]:
        if model.class_names != models[0].class_names:
            raise TrashkitError(f"{model.path} predicts other classes than {models[0].path}", hint="predict alone")


def predict_photo(models: Sequence[OnnxModel], photo: Pixels, *, tta: str = "none") -> tuple[Pixels, Planes]:
    """Label map uint8 [H, W] and confidence float32 [H, W] of one photo RGB uint8 [H, W, 3] of any size."""
    check_same_classes(models)
    planes = [model(resize_photo(photo, model.size)[None], tta)[0] for model in models]
    return at_photo_size(planes, (photo.shape[0], photo.shape[1]))


def predict_dataset(
    models: Sequence[OnnxModel],
    dataset: Dataset,
    folder: Path,
    out: Path,
    *,
    tta: str = "none",
    size: tuple[int, int] = (256, 256),
    dtype: StoreType = "uint8",
    manifest: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write the mean probabilities of `models` for every image of a data set into a store, one image at a time.

    As `trashkit.nn.predict.predict_dataset`, whose stores it repeats but for rounding. TrashkitError for a missing or
    broken photo or one of another size than the data set says, models with different classes, and an existing store
    that may not be continued or replaced.
    """
    check_same_classes(models)
    for model in models:
        views(tta, model.size)
    images = dataset.images
    photos.check_photos(images, folder)
    with create_store(
        out,
        image_ids=[image.id for image in images],
        file_names=[image.file_name for image in images],
        native_sizes=[(image.height, image.width) for image in images],
        classes=models[0].class_names,
        size=size,
        dtype=dtype,
        manifest={**(manifest or {}), "tta": tta, "data_sha256": dataset.coco.sha256},
        resume=resume,
        overwrite=overwrite,
    ) as writer:
        missing = np.flatnonzero(~writer.done).tolist()
        for n, row in enumerate(missing):
            image = images[row]
            photo = photos.read_photo(photos.photo_path(folder, image.file_name), (image.width, image.height))
            total = np.zeros((len(models[0].class_names), *size), np.float32)
            for model in models:
                values = model(resize_photo(photo, model.size)[None], tta)[0]
                down = sampling(image.height, size[0], values.shape[1])
                across = sampling(image.width, size[1], values.shape[2])
                total += down @ values @ across.T
            writer.write(row, total / np.float32(len(models)))
            progress("predict", n + 1, len(missing))
    open_store(out).require_complete()
