"""``trashkit predict``: probabilities for a data set, or overlays and COCO annotations for single photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.options import Json, OptionalImages, Overwrite, Resume, StoreType, Tta
from trashkit.cli.output import command, note, progress, show, table, unused, warn
from trashkit.errors import TrashkitError
from trashkit.progress import discard

if TYPE_CHECKING:
    from trashkit.workflows.prediction.predict import OverlayResult, PredictInputs, StoreResult


def predict(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN... [PHOTO...]",
            help="Run folders or exported .onnx files, followed (with --overlay) by photos or folders of photos.",
        ),
    ],
    data: Annotated[Path | None, typer.Option("--data", "-d", help="COCO file that lists the images.")] = None,
    images: OptionalImages = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Probability store to write.")] = None,
    overlay: Annotated[Path | None, typer.Option("--overlay", help="Folder for overlays and annotations.json.")] = None,
    tta: Tta = "none",
    zoom: Annotated[
        float,
        typer.Option("--zoom", min=1, max=16, help="Enlarge photos this many times and predict in sliding windows."),
    ] = 1.0,
    out_of_fold: Annotated[
        bool,
        typer.Option("--out-of-fold", help="Predict each image with the runs that held it out (with --data)."),
    ] = False,
    size: Annotated[int, typer.Option("--size", min=8, max=8192, help="Side of the store in pixels.")] = 256,
    dtype: StoreType = "uint8",
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Photos per batch; default: 8. Not for .onnx files.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Threads that decode photos; default: 2. Not for .onnx files."),
    ] = None,
    smallest: Annotated[
        float,
        typer.Option(
            "--smallest", min=0, max=1, help="Drop regions smaller than this share of the photo (with --overlay)."
        ),
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
    photos (--overlay) it writes overlays with a legend, and COCO annotations; unreadable photos are listed and skipped,
    and the exit code is then 1. Files written by `trashkit export` predict without torch, one photo at a time and at
    one size, so without --zoom and --tta scales.

    Examples:

      trashkit predict runs/first --data test.json --images photos --out runs/first/test

      trashkit predict runs/a runs/b --data test.json --images photos --out mean --tta flip

      trashkit predict runs/folds --data train.json --images photos --out-of-fold --tta flip --out oof-flip

      trashkit predict runs/first phone.jpg more-photos/ --overlay seen

      trashkit predict runs/first drone.jpg --zoom 3 --overlay seen

      trashkit predict first.onnx phone.jpg --overlay seen --label-maps
    """
    from trashkit.workflows.prediction.predict import (
        check_photos,
        predict_data_set,
        predict_out_of_fold,
        predict_photos,
        sort_inputs,
    )

    inputs = sort_inputs(runs, log=warn)
    if inputs.exported and zoom != 1:
        raise TrashkitError("an exported file predicts photos only at its own size", hint="leave out --zoom")
    if overlay is not None:
        if data or images or out or out_of_fold:
            raise TrashkitError(
                "--overlay takes photos; --data, --images, --out and --out-of-fold predict a data set",
                hint="run predict once for each",
            )
        log = note if int(os.environ.get("RANK", "0")) == 0 else discard
        checked = check_photos(inputs, overlay, overwrite=overwrite, log=log)
        if not _is_main(inputs):
            return
        with progress() as report:
            made = predict_photos(
                inputs, overlay, checked, tta=tta, zoom=zoom, smallest=smallest, label_maps=label_maps,
                overwrite=overwrite, progress=report,
            )  # fmt: skip
        _show_overlays(made, overlay, json=json)
        return
    if inputs.photos:
        raise TrashkitError(
            f"{inputs.photos[0]} is not a run folder: it has no manifest.json",
            hint="for photos add --overlay DIR; for a data set name --data, --images and --out",
        )
    missing = [name for name, value in (("--data", data), ("--images", images), ("--out", out)) if value is None]
    if data is None or images is None or out is None:
        raise TrashkitError(
            f"{', '.join(missing)} missing", hint="trashkit predict RUN --data TEST.json --images DIR --out STORE"
        )
    if dtype not in ("uint8", "float16"):
        raise TrashkitError(f'there is no dtype "{dtype}"', hint="choose --dtype from: uint8, float16")
    if inputs.exported and (batch_size is not None or workers is not None):
        note("--batch-size and --workers only apply to runs; an exported file predicts one photo at a time")
    predict_images = predict_out_of_fold if out_of_fold else predict_data_set
    with progress() as report:
        store = predict_images(
            inputs, data, images, out, tta=tta, zoom=zoom, size=size, dtype=dtype, batch_size=batch_size or 8,
            workers=workers or 2, resume=resume, overwrite=overwrite, progress=report,
        )  # fmt: skip
    if store is not None:
        truth = data if out_of_fold else None
        _show_store(store, data, out, json=json, tta=tta, form=f"{size}x{size} {dtype}", truth=truth)


def _is_main(inputs: PredictInputs) -> bool:
    """Whether this is the main process, of those that torchrun started."""
    if not inputs.runs:
        return int(os.environ.get("RANK", "0")) == 0
    from trashkit.nn.experiments.folds import is_main_process

    return is_main_process()  # waits for all processes before the others return


def _show_store(
    made: StoreResult, data: Path, out: Path, *, json: bool, tta: str, form: str, truth: Path | None
) -> None:
    count = len(made.models)
    result = {"store": out, "runs": made.models, "images": made.images, "classes": made.classes, "tta": tta}
    human = f"{made.images} images, {count} model{'s' if count > 1 else ''}, tta {tta}, {form}"
    following = command("submit", out, "--data", data, "--out", unused("submission.csv"))
    if truth is not None:
        following = command("score", out, "--data", truth)
    show(result, json=json, human=human, wrote=out, next=following)


def _show_overlays(made: OverlayResult, folder: Path, *, json: bool) -> None:
    result = {
        "annotations": folder / "annotations.json",
        "photos": [{"photo": one.photo, "overlay": one.overlay, "shares": one.shares} for one in made.overlays],
        "unreadable": [{"photo": one.photo, "reason": one.reason} for one in made.skipped],
    }
    rows = [
        (one.name, ", ".join(f"{name} {share:.1%}" for name, share in one.shares.items()) or "nothing found")
        for one in made.overlays
    ]
    show(result, json=json, human=table(("photo", "found (share of the photo)"), rows), wrote=folder)
    if made.skipped:
        for one in made.skipped:
            warn(f"skipped: {one.reason}")
        warn(f"{len(made.skipped)} of {made.photos} photos could not be read; the other {len(made.overlays)} are done")
        raise typer.Exit(1)
