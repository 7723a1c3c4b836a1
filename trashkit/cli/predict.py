"""``trashkit predict``: probabilities for a data set, or overlays and COCO annotations for single photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Json, Overwrite, Resume, command, note, progress, show, table, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import ClassMap
    from trashkit.report.describe import Predict
    from trashkit.run import Run


def predict(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN... [PHOTO...]",
            help="Run folders or exported .onnx files, then (with --overlay) photos or folders of photos.",
        ),
    ],
    data: Annotated[Path | None, typer.Option("--data", help="COCO file that lists the images.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder that its file names start from.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Store to write the probabilities to.")] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", help="Folder for pictures with coloured regions and annotations.json.")
    ] = None,
    tta: Annotated[str, typer.Option("--tta", help="Views: none, flip, flips, d4, scales or scales-flip.")] = "none",
    zoom: Annotated[
        float, typer.Option("--zoom", min=1, max=16, help="See photos this many times larger, in sliding windows.")
    ] = 1.0,
    size: Annotated[int, typer.Option("--size", min=8, max=8192, help="Side of the store in pixels.")] = 256,
    dtype: Annotated[str, typer.Option("--dtype", help="uint8, or float16 for twice the space.")] = "uint8",
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Photos at a time, 8 unless said; runs only.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Threads that decode photos, 2 unless said; runs only.")
    ] = None,
    smallest: Annotated[
        float,
        typer.Option("--smallest", min=0, max=1, help="Drop regions below this share of a photo (with --overlay)."),
    ] = 0.0005,
    label_maps: Annotated[
        bool, typer.Option("--label-maps", help="Also write a PNG of class indices for each photo (with --overlay).")
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Predict with one run, or with the mean of several.

    For a data set (--data, --images, --out) it writes class probabilities, which submit, score and ensemble read. For
    photos (--overlay) it writes a picture with coloured regions and a legend for each, and COCO annotations; photos
    that cannot be read are named and left out, and the exit code is then 1. Files that `trashkit export` wrote predict
    without torch, one photo at a time and at one size: without --zoom and --tta scales.

    Examples:

      trashkit predict runs/first --data test.json --images photos --out runs/first/test

      trashkit predict runs/a runs/b --data test.json --images photos --out mean --tta flip

      trashkit predict runs/first phone.jpg more-photos/ --overlay seen

      trashkit predict runs/first drone.jpg --zoom 3 --overlay seen

      trashkit predict first.onnx phone.jpg --overlay seen --label-maps
    """
    models, exported, paths = _sort(runs)
    if not models and not exported:
        raise TrashkitError("no run is named", hint="trashkit predict RUN PHOTO --overlay DIR")
    if models and exported:
        raise TrashkitError(
            f"{exported[0]} is an exported file and {models[0].path} a run", hint="predict with one kind at a time"
        )
    if exported and zoom != 1:
        raise TrashkitError("an exported file sees photos at its own size only", hint="leave out --zoom")
    if overlay is not None:
        if data or images or out:
            raise TrashkitError(
                "--overlay takes photos; --data, --images and --out predict a data set",
                hint="run the two one after the other",
            )
        _photos(
            models, exported, paths, overlay, tta=tta, zoom=zoom, smallest=smallest, label_maps=label_maps,
            overwrite=overwrite, json=json,
        )  # fmt: skip
        return
    if paths:
        raise TrashkitError(
            f"{paths[0]} is no run folder: it has no manifest.json",
            hint="for photos add --overlay DIR; for a data set name --data, --images and --out",
        )
    missing = [name for name, value in (("--data", data), ("--images", images), ("--out", out)) if value is None]
    if data is None or images is None or out is None:
        raise TrashkitError(
            f"{', '.join(missing)} missing", hint="trashkit predict RUN --data TEST.json --images DIR --out STORE"
        )
    if dtype not in ("uint8", "float16"):
        raise TrashkitError(f'there is no dtype "{dtype}"', hint="choose --dtype from: uint8, float16")
    options: dict[str, Any] = {
        "tta": tta, "size": (size, size), "dtype": dtype, "resume": resume, "overwrite": overwrite
    }  # fmt: skip
    if exported:
        if batch_size is not None or workers is not None:
            note("--batch-size and --workers are for runs; an exported file takes one photo at a time")
        _data_set_onnx(exported, data, images, out, options, json)
        return
    engine = {"zoom": zoom, "batch_size": batch_size or 8, "workers": workers or 2}
    _data_set(models, data, images, out, {**options, **engine}, json)


def _sort(paths: list[Path]) -> tuple[list[Run], list[Path], list[Path]]:
    """Run folders (those of a training of several folds or recipes are all of them), exported files, and the rest."""
    from trashkit.onnx import is_onnx
    from trashkit.run import find_runs, read_run
    from trashkit.run_folder import is_damaged

    models: list[Run] = []
    exported: list[Path] = []
    rest: list[Path] = []
    for path in paths:
        if not path.exists():
            raise TrashkitError(f"{path} does not exist", hint="name a run folder, then photos")
        found = find_runs(path) if path.is_dir() else []
        for run in found:
            if run.status != "complete":
                warn(f"{run.path} is unfinished: {run.epochs} of {run.wanted} epochs")
        if found:
            models += found
        elif is_damaged(path):
            models.append(read_run(path))  # says what is wrong with it
        elif is_onnx(path):
            exported.append(path)
        else:
            rest.append(path)
    return models, exported, rest


def _data_set(runs: list[Run], data: Path, images: Path, out: Path, options: dict[str, Any], json: bool) -> None:
    from trashkit.coco import read_dataset
    from trashkit.files import sha256
    from trashkit.nn.folds import is_main_process
    from trashkit.nn.models import load_run_model
    from trashkit.nn.predict import device, predict_dataset
    from trashkit.nn.tta import views
    from trashkit.store import refuse_existing_store

    views(options["tta"])
    main = is_main_process()
    if main:  # of several processes one makes the store, and the others find it
        refuse_existing_store(out, overwrite=options["overwrite"] or options["resume"])
    dataset = read_dataset(data, labels=False)
    models = [load_run_model(run.path, device()) for run in runs]
    manifest = {"runs": [{"run": str(run.path), "checkpoint_sha256": sha256(run.checkpoint)} for run in runs]}
    with progress() as report:
        predict_dataset(models, dataset, images, out, manifest=manifest, progress=report, **options)
    if main:
        named = [run.path for run in runs]
        _show_store(named, data, out, options, json, images=len(dataset), classes=models[0].class_names)


def _data_set_onnx(
    exported: list[Path], data: Path, images: Path, out: Path, options: dict[str, Any], json: bool
) -> None:
    from trashkit.coco import read_dataset
    from trashkit.onnx import load, predict_dataset
    from trashkit.store import refuse_existing_store

    refuse_existing_store(out, overwrite=options["overwrite"] or options["resume"])
    dataset = read_dataset(data, labels=False)
    models = [load(path) for path in exported]
    keys = ("run", "checkpoint_sha256")
    manifest = {"runs": [{key: model.metadata.get(key) for key in keys} for model in models], "engine": "onnxruntime"}
    with progress() as report:
        predict_dataset(models, dataset, images, out, manifest=manifest, progress=report, **options)
    _show_store(exported, data, out, options, json, images=len(dataset), classes=models[0].class_names)


def _show_store(
    runs: list[Path], data: Path, out: Path, options: dict[str, Any], json: bool, *, images: int, classes: Any
) -> None:
    tta, side, dtype = options["tta"], options["size"][0], options["dtype"]
    result = {"store": out, "runs": runs, "images": images, "classes": classes, "tta": tta}
    human = f"{images} images, {len(runs)} model{'s' if len(runs) > 1 else ''}, tta {tta}, {side}x{side} {dtype}"
    following = command("submit", out, "--data", data, "--out", "submission.csv")
    show(result, json=json, human=human, wrote=out, next=following)


def _draws(runs: list[Run]) -> bool:
    """Whether this process is the one that draws, of those that torchrun started."""
    if not runs:
        return int(os.environ.get("RANK", "0")) == 0
    from trashkit.nn.folds import is_main_process

    return is_main_process()  # all processes meet here before the others leave


def _photos(
    runs: list[Run],
    exported: list[Path],
    paths: list[Path],
    folder: Path,
    *,
    tta: str,
    zoom: float,
    smallest: float,
    label_maps: bool,
    overwrite: bool,
    json: bool,
) -> None:
    from trashkit.files import refuse_existing
    from trashkit.report.describe import describe, photos_in

    if not paths:
        raise TrashkitError("no photo is named", hint="trashkit predict RUN PHOTO --overlay DIR")
    if not _draws(runs):
        return
    refuse_existing(folder, overwrite=overwrite)
    found = photos_in(paths, but=folder)
    predict, classes = _engine(runs, exported, tta, zoom)
    with progress() as report:
        described, unreadable = describe(
            predict,
            classes,
            found,
            folder,
            smallest=smallest,
            label_maps=label_maps,
            overwrite=overwrite,
            progress=report,
        )
    result = {
        "annotations": folder / "annotations.json",
        "photos": [{"photo": one.photo, "overlay": one.overlay, "shares": one.shares} for one in described],
        "unreadable": [{"photo": one.photo, "reason": one.reason} for one in unreadable],
    }
    rows = [
        (one.photo.name, ", ".join(f"{name} {share:.1%}" for name, share in one.shares.items()) or "nothing found")
        for one in described
    ]
    show(result, json=json, human=table(("photo", "found (share of the picture)"), rows), wrote=folder)
    if unreadable:
        for one in unreadable:
            warn(f"left out: {one.reason}")
        warn(f"{len(unreadable)} of {len(found)} photos could not be read; the other {len(described)} are done")
        raise typer.Exit(1)


def _engine(runs: list[Run], exported: list[Path], tta: str, zoom: float) -> tuple[Predict, ClassMap]:
    """What predicts one photo, and the classes that it knows."""
    from functools import partial

    from trashkit.coco import ClassMap

    if exported:
        from trashkit import onnx

        files = [onnx.load(path) for path in exported]
        onnx.check_same_classes(files)
        for file in files:
            onnx.views(tta, file.size)
        return partial(onnx.predict_photo, files, tta=tta), files[0].classes
    from trashkit.nn.models import load_run_model
    from trashkit.nn.predict import check_same_classes, device, predict_photo
    from trashkit.nn.tta import views

    views(tta)
    models = [load_run_model(run.path, device()) for run in runs]
    check_same_classes(models)
    classes = ClassMap(models[0].class_names, models[0].class_colors, {})
    return partial(predict_photo, models, tta=tta, zoom=zoom), classes
