"""Predict from an exported ONNX file, without torch: onnxruntime, numpy and OpenCV are enough.

The model takes photos uint8 [B, 3, H, W] of its size and gives probabilities float32 [B, C, H, W]; its metadata holds
class names, colours and size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap, Dataset
from trashkit.errors import TrashkitError
from trashkit.images import photos
from trashkit.images.sampling import resize_photo, sampling_weights, upsample_to_photo
from trashkit.predictions.store import StoreType, create_store, open_store
from trashkit.progress import Progress, silent
from trashkit.readers import ContentError, decode_json

FORMAT = "trashkit model"
INPUT = "photos"
MOST_PIXELS = 4096
"""Longest side of a model's input."""
_EXPORT = "export the run again"
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

    size: (height, width) that it takes. class_names, class_colors: one per class, background first. metadata: of the
    file. session: onnxruntime's.
    """

    path: Path
    size: tuple[int, int]
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    metadata: Mapping[str, Any]
    session: Any

    @property
    def classes(self) -> ClassMap:
        """The classes, without categories."""
        return ClassMap(self.class_names, self.class_colors, {})

    def __call__(self, batch: Pixels, tta: str = "none") -> Planes:
        """Return probabilities float32 [B, C, H, W] of photos uint8 [B, H, W, 3], averaged over the views of `tta`.

        Quarter turns need a square size.
        """
        total: Planes | None = None
        chosen = views(tta, self.size)
        for turns, mirrored in chosen:
            turned = batch[:, :, ::-1] if mirrored else batch
            turned = np.ascontiguousarray(np.rot90(turned, turns, (1, 2)).transpose(0, 3, 1, 2))
            values = self._probabilities(turned)
            values = np.rot90(values, -turns, (2, 3))
            values = values[..., ::-1] if mirrored else values
            total = np.array(values) if total is None else total + values
        assert total is not None
        return np.asarray(total / np.float32(len(chosen)), np.float32)

    def _probabilities(self, photos: Pixels) -> Planes:
        """Run the model on photos uint8 [B, 3, H, W]; TrashkitError unless it gives probabilities [B, C, H, W]."""
        try:
            (values,) = self.session.run(None, {INPUT: photos})
        except Exception as error:  # onnxruntime has many errors for models that do not fit their input
            text = " ".join(str(error).split())[:160]
            raise TrashkitError(f"{self.path} cannot predict: {text}", hint=_EXPORT) from error
        problem = _problem(values, (len(photos), len(self.class_names), *self.size))
        if problem:
            raise TrashkitError(f"{self.path} does not give probabilities: {problem}", hint=_EXPORT)
        return np.asarray(values, np.float32)


def _problem(values: Any, shape: tuple[int, ...]) -> str:
    """What is wrong with the output of a model, as a clause; empty if nothing is."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        return "its output is not an array of floats"
    if values.shape != shape:
        return f"its output has the shape {values.shape} instead of {shape}"
    low, total = values.min(initial=0.0), values.sum(axis=1, dtype=np.float32)
    # NaN fails both comparisons.
    if not (low >= -1e-6 and np.abs(total - 1).max(initial=0.0) <= 0.02):
        return "its values are not at least 0 with a sum of 1 over the classes (it needs a softmax)"
    return ""


def views(tta: str, size: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    """Return the views of a set; TrashkitError for an unknown name, and for quarter turns of a non-square size."""
    if tta not in VIEWS:
        raise TrashkitError(
            f'an exported model has no test-time augmentation "{tta}"',
            hint=f"it takes photos of one size; choose --tta from: {', '.join(VIEWS)}, or predict with the run",
        )
    if size[0] != size[1] and any(turns % 2 for turns, _ in VIEWS[tta]):
        raise TrashkitError(f"{size[1]}x{size[0]} pixels cannot be rotated by 90 degrees", hint="choose --tta flips")
    return VIEWS[tta]


def is_onnx(path: Path) -> bool:
    """Whether a path is an exported model, by its suffix."""
    return path.suffix.lower() == ".onnx" and path.is_file()


def load(path: Path, *, threads: int = 0) -> OnnxModel:
    """Open an exported model. threads: of onnxruntime, 0 for its default.

    It is tried on a blank photo. TrashkitError where onnxruntime is not installed, for files that `trashkit export` did
    not write, and for models that do not give probabilities.
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
    except Exception as error:  # onnxruntime has many errors for damaged files
        text = " ".join(str(error).split())[:160]
        raise TrashkitError(f"{path} cannot be opened: {text}", hint=_EXPORT) from error
    try:
        metadata = decode_json(given.get("trashkit", "{}"), _Metadata)
        _check(metadata)
        size, names = metadata["size"], tuple(metadata["class_names"])
    except ContentError as error:
        raise TrashkitError(
            f"{path} does not name its classes and size: {error}",
            hint="trashkit export RUN --onnx FILE writes one that does",
        ) from error
    taken = [one.name for one in session.get_inputs()]
    if taken != [INPUT] or len(session.get_outputs()) != 1:
        inputs = ", ".join(taken)[:80]
        raise TrashkitError(
            f"{path} has the inputs {inputs} and {len(session.get_outputs())} outputs instead of {INPUT} and one",
            hint=_EXPORT,
        )
    model = OnnxModel(path, size, names, tuple(metadata["class_colors"]), cast(dict[str, Any], metadata), session)
    model(np.zeros((1, *size, 3), np.uint8))
    return model


class _Metadata(TypedDict):
    format: str
    size: tuple[int, int]
    class_names: list[str]
    class_colors: list[tuple[int, int, int]]
    run: NotRequired[str | None]
    checkpoint_sha256: NotRequired[str | None]


def _check(metadata: _Metadata) -> None:
    """Raise ContentError for metadata that contradicts itself."""
    names, colors, size = metadata["class_names"], metadata["class_colors"], metadata["size"]
    if metadata["format"] != FORMAT:
        raise ContentError(f"its format is {metadata['format'][:40]!r}")
    if not 1 <= min(size) <= max(size) <= MOST_PIXELS:
        raise ContentError(f"its size is {size[1]}x{size[0]}, not 1 to {MOST_PIXELS} pixels")
    if not 2 <= len(names) == len(set(names)) <= 255:
        raise ContentError("it needs 2 to 255 classes with different names")
    if len(colors) != len(names) or any(not 0 <= value < 256 for color in colors for value in color):
        raise ContentError("it needs an RGB color for each class")


def check_same_classes(models: Sequence[OnnxModel]) -> None:
    """Raise TrashkitError unless all models predict the same classes in the same order."""
    for model in models[1:]:
        if model.class_names != models[0].class_names:
            raise TrashkitError(
                f"{model.path} predicts different classes than {models[0].path}",
                hint="predict with each model separately",
            )


def predict_photo(models: Sequence[OnnxModel], photo: Pixels, *, tta: str = "none") -> tuple[Pixels, Planes]:
    """Return label map uint8 [H, W] and confidence float32 [H, W] of one RGB photo uint8 [H, W, 3] of any size."""
    check_same_classes(models)
    planes = [model(resize_photo(photo, model.size)[None], tta)[0] for model in models]
    return upsample_to_photo(planes, (photo.shape[0], photo.shape[1]))


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

    Equal to `trashkit.nn.inference.predict.predict_dataset` up to rounding. TrashkitError for a missing or broken photo
    or one of another size than the data set says, for models with different classes, and for an existing store that
    may not be continued or replaced.
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
                down = sampling_weights(image.height, size[0], values.shape[1])
                across = sampling_weights(image.width, size[1], values.shape[2])
                total += down @ values @ across.T
            writer.write(row, total / np.float32(len(models)))
            progress("predict", n + 1, len(missing))
    open_store(out).require_complete()
