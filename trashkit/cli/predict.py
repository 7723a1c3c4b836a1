"""``trashkit predict``: probabilities for a data set, or overlays and COCO annotations for single photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.output import Json, Overwrite, Resume, command, progress, show, table
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.run import Run


def predict(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN... [PHOTO...]", help="Run folders, then (with --overlay) photos or folders of photos."
        ),
    ],
    data: Annotated[Path | None, typer.Option("--data", help="COCO file that lists the images.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder that its file names start from.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Store to write the probabilities to.")] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", help="Folder for pictures with coloured regions and annotations.json.")
    ] = None,
    tta: Annotated[str, typer.Option("--tta", help="Views to average over: none, flip, flips or d4.")] = "none",
    size: Annotated[int, typer.Option("--size", min=8, help="Side of the store in pixels.")] = 256,
    dtype: Annotated[str, typer.Option("--dtype", help="uint8, or float16 for twice the space.")] = "uint8",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Photos at a time.")] = 8,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads that decode photos.")] = 2,
    smallest: Annotated[
        float,
        typer.Option("--smallest", min=0, max=1, help="Drop regions below this share of a photo (with --overlay)."),
    ] = 0.0005,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Predict with one run, or with the mean of several.

    For a data set (--data, --images, --out) it writes class probabilities, which submit, score and ensemble read. For
    photos (--overlay) it writes a picture with coloured regions and a legend for each, and COCO annotations.

    Examples:

      trashkit predict runs/first --data test.json --images photos --out runs/first/test

      trashkit predict runs/a runs/b --data test.json --images photos --out mean --tta flip

      trashkit predict runs/first phone.jpg more-photos/ --overlay seen
    """
    models, paths = _sort(runs)
    if not models:
        raise TrashkitError("no run is named", hint="trashkit predict RUN PHOTO --overlay DIR")
    if overlay is not None:
        if data or images or out:
            raise TrashkitError(
                "--overlay takes photos; --data, --images and --out predict a data set",
                hint="run the two one after the other",
            )
        _photos(models, paths, overlay, tta=tta, smallest=smallest, overwrite=overwrite, json=json)
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
    _data_set(
        models, data, images, out, tta=tta, size=size, dtype=dtype, batch_size=batch_size, workers=workers,
        resume=resume, overwrite=overwrite, json=json,
    )  # fmt: skip


def _sort(paths: list[Path]) -> tuple[list[Run], list[Path]]:
    """Run folders (those of a training of several folds or recipes are all of them), and everything else."""
    from trashkit.run import find_runs

    models: list[Run] = []
    rest: list[Path] = []
    for path in paths:
        if not path.exists():
            raise TrashkitError(f"{path} does not exist", hint="name a run folder, then photos")
        found = find_runs(path) if path.is_dir() else []
        if found:
            models += found
        else:
            rest.append(path)
    return models, rest


def _data_set(
    runs: list[Run],
    data: Path,
    images: Path,
    out: Path,
    *,
    tta: str,
    size: int,
    dtype: str,
    batch_size: int,
    workers: int,
    resume: bool,
    overwrite: bool,
    json: bool,
) -> None:
    from trashkit.coco import read_dataset
    from trashkit.files import refuse_existing, sha256
    from trashkit.nn.folds import is_main_process
    from trashkit.nn.models import load_run_model
    from trashkit.nn.predict import device, predict_dataset
    from trashkit.nn.tta import views

    if dtype not in ("uint8", "float16"):
        raise TrashkitError(f'there is no dtype "{dtype}"', hint="choose --dtype from: uint8, float16")
    views(tta)
    main = is_main_process()
    if main:  # of several processes one makes the store, and the others find it
        refuse_existing(out, overwrite=overwrite or resume)
    dataset = read_dataset(data, labels=False)
    models = [load_run_model(run.path, device()) for run in runs]
    with progress() as report:
        predict_dataset(
            models,
            dataset,
            images,
            out,
            tta=tta,
            size=(size, size),
            dtype="uint8" if dtype == "uint8" else "float16",
            batch_size=batch_size,
            workers=workers,
            manifest={"runs": [{"run": str(run.path), "checkpoint_sha256": sha256(run.checkpoint)} for run in runs]},
            resume=resume,
            overwrite=overwrite,
            progress=report,
        )
    if not main:
        return
    result = {
        "store": out,
        "runs": [run.path for run in runs],
        "images": len(dataset),
        "classes": models[0].class_names,
        "tta": tta,
    }
    human = (
        f"{len(dataset)} images, {len(models)} model{'s' if len(models) > 1 else ''}, tta {tta}, {size}x{size} {dtype}"
    )
    following = command("submit", out, "--data", data, "--out", "submission.csv")
    show(result, json=json, human=human, wrote=out, next=following)


def _photos(
    runs: list[Run], paths: list[Path], folder: Path, *, tta: str, smallest: float, overwrite: bool, json: bool
) -> None:
    from trashkit.files import refuse_existing
    from trashkit.nn.describe import describe, photos_in
    from trashkit.nn.models import load_run_model
    from trashkit.nn.predict import device
    from trashkit.nn.tta import views

    if not paths:
        raise TrashkitError("no photo is named", hint="trashkit predict RUN PHOTO --overlay DIR")
    views(tta)
    refuse_existing(folder, overwrite=overwrite)
    found = photos_in(paths)
    models = [load_run_model(run.path, device()) for run in runs]
    with progress() as report:
        described = describe(models, found, folder, tta=tta, smallest=smallest, overwrite=overwrite, progress=report)
    result = {
        "annotations": folder / "annotations.json",
        "photos": [{"photo": one.photo, "overlay": one.overlay, "shares": one.shares} for one in described],
    }
    rows = [
        (one.photo.name, ", ".join(f"{name} {share:.1%}" for name, share in one.shares.items()) or "nothing found")
        for one in described
    ]
    show(result, json=json, human=table(("photo", "found (share of the picture)"), rows), wrote=folder)
