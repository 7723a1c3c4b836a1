"""Predict with runs or exported ONNX files: the images of a data set into a store, or photos with overlays.

torch is imported only where runs predict; exported files need onnxruntime alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.coco import ClassMap, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.files import remove, sha256
from trashkit.outputs import Output
from trashkit.predictions import onnx
from trashkit.predictions.folder import STORE
from trashkit.progress import Log, Progress, discard, silent
from trashkit.report.photo_overlays import (
    CheckedPhotos,
    PhotoOverlay,
    Predict,
    SkippedPhoto,
    check_headers,
    count_skipped,
    find_photos,
    write_overlays,
)
from trashkit.runs.run import Run, require_runs

if TYPE_CHECKING:
    from trashkit.predictions.store import StoreType


@dataclass(frozen=True)
class PredictInputs:
    """Inputs of a prediction by kind: runs, exported ONNX files, and photos or folders of photos."""

    runs: tuple[Run, ...]
    exported: tuple[Path, ...]
    photos: tuple[Path, ...]


@dataclass(frozen=True)
class StoreResult:
    """Result of `predict_data_set`. models: run folders or exported files. images: number of images in the store."""

    models: tuple[Path, ...]
    images: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class OverlayResult:
    """Result of `predict_photos`. photos: number of photos found, of which `skipped` could not be read."""

    overlays: tuple[PhotoOverlay, ...]
    skipped: tuple[SkippedPhoto, ...]
    photos: int


def sort_inputs(paths: Sequence[Path], *, log: Log = discard) -> PredictInputs:
    """Sort paths into runs, exported files and photos; a training folder means all runs in it.

    log: receives a line for each unfinished run. Raises TrashkitError for a missing path, a damaged run folder, no
    model at all, and runs mixed with exported files.
    """
    runs: list[Run] = []
    exported: list[Path] = []
    photos: list[Path] = []
    for path in paths:
        if not path.exists():
            raise TrashkitError(f"{path} does not exist", hint="give a run folder, then photos")
        found = require_runs(path) if path.is_dir() else []
        for run in found:
            if run.status != "complete":
                log(f"{run.path} is unfinished: {run.epochs} of {run.wanted} epochs")
        if found:
            runs += found
        elif onnx.is_onnx(path):
            exported.append(path)
        else:
            photos.append(path)
    if not runs and not exported:
        raise TrashkitError("no run was given", hint="trashkit predict RUN PHOTO --overlay DIR")
    if runs and exported:
        raise TrashkitError(
            f"{exported[0]} is an exported file and {runs[0].path} a run", hint="predict with one kind at a time"
        )
    return PredictInputs(tuple(runs), tuple(exported), tuple(photos))


def predict_data_set(
    inputs: PredictInputs,
    data: Path,
    images: Path,
    out: Path,
    *,
    tta: str = "none",
    zoom: float = 1.0,
    size: int = 256,
    dtype: StoreType = "uint8",
    batch_size: int = 8,
    workers: int = 2,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> StoreResult | None:
    """Predict every image of a data set and write the mean probabilities of all models to the store `out`.

    size: side of the store in pixels. zoom, batch_size, workers: only used by runs; exported files predict one photo at
    a time at their own size. Under torchrun or accelerate the processes share the images; returns None in all but the
    main process. Raises TrashkitError as `trashkit.nn.inference.predict.predict_dataset` does.
    """
    target = Output(out, overwrite=overwrite, resume=resume, kind=STORE)
    options: dict[str, Any] = {"tta": tta, "size": (size, size), "dtype": dtype, "resume": resume}
    options |= {"overwrite": overwrite, "progress": progress}
    if inputs.exported:
        target.check()
        dataset = read_dataset(data, labels=False)
        files = [onnx.load(path) for path in inputs.exported]
        keys = ("run", "checkpoint_sha256")
        named = [{key: file.metadata.get(key) for key in keys} for file in files]
        manifest = {"runs": named, "engine": "onnxruntime"}
        onnx.predict_dataset(files, dataset, images, out, manifest=manifest, **options)
        return StoreResult(inputs.exported, len(dataset), tuple(files[0].class_names))
    from trashkit.nn.experiments.folds import is_main_process

    if is_main_process():  # the main process creates the store, and the others find it
        target.check()
    options |= {"zoom": zoom, "batch_size": batch_size, "workers": workers}
    return _predict_with_runs(inputs, read_dataset(data, labels=False), images, out, **options)


def _predict_with_runs(
    inputs: PredictInputs, dataset: Dataset, images: Path, out: Path, **options: Any
) -> StoreResult | None:
    """The store of the mean of all runs; None in all but the main process. options: of `predict_dataset`."""
    from trashkit.nn.experiments.folds import is_main_process
    from trashkit.nn.inference.predict import device, predict_dataset
    from trashkit.nn.inference.tta import views
    from trashkit.nn.models.networks import load_run_model

    views(options["tta"])
    models = [load_run_model(run.path, device()) for run in inputs.runs]
    manifest = {"runs": [{"run": str(run.path), "checkpoint_sha256": sha256(run.checkpoint)} for run in inputs.runs]}
    predict_dataset(models, dataset, images, out, manifest=manifest, **options)
    if not is_main_process():
        return None
    return StoreResult(tuple(run.path for run in inputs.runs), len(dataset), tuple(models[0].class_names))


def predict_out_of_fold(
    inputs: PredictInputs,
    data: Path,
    images: Path,
    out: Path,
    *,
    size: int = 256,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> StoreResult | None:
    """Predict every image of a data set with the mean of those runs that held it out, into the store `out`.

    options: as in `predict_data_set`. Images that no run held out are not in the store. An interrupted prediction
    continues with `resume`. Raises TrashkitError for exported files, for runs that validated no image of the data set,
    and as `predict_data_set` does.
    """
    Output(out, overwrite=overwrite, resume=resume, kind=STORE).check()
    if inputs.exported:
        raise TrashkitError(
            f"{inputs.exported[0]} does not say which photos it was trained on", hint="give run folders"
        )
    from trashkit.nn.experiments.folds import is_main_process, wait_for_everyone
    from trashkit.nn.experiments.out_of_fold import join_stores

    dataset = read_dataset(data, labels=False)
    held = [frozenset(run.inputs.get("validation_files", ())) for run in inputs.runs]
    groups: dict[tuple[int, ...], list[int]] = {}
    for image in dataset.images:
        holders = tuple(n for n, files in enumerate(held) if image.file_name in files)
        if holders:
            groups.setdefault(holders, []).append(image.row)
    if not groups:
        raise TrashkitError(
            f"none of the {len(inputs.runs)} runs held out an image of {data}",
            hint="give the runs of `trashkit train --fold all`, and the --data that they were trained on",
        )
    options |= {"size": (size, size), "resume": True}
    parts = out.parent / f".{out.name}.parts"
    if overwrite and is_main_process():
        remove(parts)
    stores: list[Path] = []
    classes: tuple[str, ...] = ()
    for holders, rows in groups.items():
        stores.append(parts / "-".join(map(str, holders)))
        chosen = PredictInputs(tuple(inputs.runs[n] for n in holders), (), ())
        made = _predict_with_runs(chosen, dataset.subset(rows), images, stores[-1], **options)
        classes = made.classes if made is not None else ()
    if not is_main_process():
        wait_for_everyone()
        return None
    join_stores(stores, dataset, out, resume=resume, overwrite=overwrite)
    remove(parts)
    wait_for_everyone()
    return StoreResult(tuple(run.path for run in inputs.runs), sum(map(len, groups.values())), classes)


def check_photos(inputs: PredictInputs, folder: Path, *, overwrite: bool = False, log: Log = discard) -> CheckedPhotos:
    """Find the photos of a prediction and read their headers, before torch is loaded.

    log: receives how many files are skipped,
    by reason. Raises TrashkitError if no photo was given or none can be read, and where `folder` cannot be written.
    """
    if not inputs.photos:
        raise TrashkitError("no photo was given", hint="trashkit predict RUN PHOTO --overlay DIR")
    Output(folder, overwrite=overwrite).check()
    checked = check_headers(find_photos(inputs.photos, but=folder))
    for line in count_skipped(checked):
        log(line)
    return checked


def predict_photos(
    inputs: PredictInputs,
    folder: Path,
    checked: CheckedPhotos,
    *,
    tta: str = "none",
    zoom: float = 1.0,
    smallest: float = 0.0005,
    label_maps: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> OverlayResult:
    """Predict photos and write overlays and COCO annotations to `folder`; call it in one process only.

    checked: what `check_photos` returned. smallest: regions below this share of the photo are dropped. label_maps: also
    write a PNG of class indices for each photo. Damaged photos are skipped. Raises TrashkitError if none can be read.
    """
    predict, classes = _photo_predictor(inputs, tta, zoom)
    overlays, skipped = write_overlays(
        predict,
        classes,
        checked.found,
        folder,
        smallest=smallest,
        label_maps=label_maps,
        overwrite=overwrite,
        progress=progress,
    )
    return OverlayResult(tuple(overlays), checked.in_order(skipped), len(checked.all))


def _photo_predictor(inputs: PredictInputs, tta: str, zoom: float) -> tuple[Predict, ClassMap]:
    """Function that predicts one photo, and its classes."""
    if inputs.exported:
        files = [onnx.load(path) for path in inputs.exported]
        onnx.check_same_classes(files)
        for file in files:
            onnx.views(tta, file.size)
        return partial(onnx.predict_photo, files, tta=tta), files[0].classes
    from trashkit.nn.inference.predict import check_same_classes, device, predict_photo
    from trashkit.nn.inference.tta import views
    from trashkit.nn.models.networks import load_run_model

    views(tta)
    models = [load_run_model(run.path, device()) for run in inputs.runs]
    check_same_classes(models)
    classes = ClassMap(models[0].class_names, models[0].class_colors, {})
    return partial(predict_photo, models, tta=tta, zoom=zoom), classes
