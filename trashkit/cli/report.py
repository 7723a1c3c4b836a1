"""``trashkit report``: the page of a run, and of runs against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.output import Classes, Json, Overwrite, note, progress, show, table
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.run import Run


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; the first is told in full.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="Where to write; RUN/report.html by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="ANN.json", help="Annotations, where the run's have moved.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="Photos, where they moved.")] = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the page of a run: curves, classes with intervals, confusion, calibration, best and worst photos.

    Training writes the same page after every epoch. Further runs are compared with the first on the same validation
    images; with one run, those beside it are.

    Examples:

      trashkit report runs/first

      trashkit report runs/copy-paste runs/plain --out compared.html
    """
    from trashkit.files import refuse_existing, refuse_inputs
    from trashkit.report.run_page import siblings, write_report
    from trashkit.run import read_run
    from trashkit.run_folder import REPORT

    found = [read_run(path) for path in runs]
    if len({run.path.resolve() for run in found}) < len(found):
        raise TrashkitError("a run is named twice", hint="trashkit report RUN OTHER...")
    first = found[0]
    inputs = first.manifest.get("inputs") or {}
    photos = images or Path(str(inputs.get("images", "")))
    dataset = _dataset(first, data, classes)
    if out is not None and out.resolve() != (first.path / REPORT).resolve():
        refuse_existing(out, overwrite=overwrite)
        seen = dataset.images if dataset is not None else ()
        refuse_inputs(out, [*runs, data, photos, inputs.get("data"), *(photos / one.file_name for one in seen)])
    if dataset is not None and not photos.is_dir():
        note(f"the photo folder {photos} is not there: the page shows no photos; --images DIR names it")
        dataset = None
    others = found[1:] or siblings(first)
    with progress() as tell:
        path = write_report(first, dataset=dataset, photos=photos, others=others, out=out, progress=tell)
    result = {
        "path": path,
        "run": first.path,
        "status": first.status,
        "miou": first.miou,
        "checkpoint": first.checkpoint.stem,
        "compared_with": [other.path for other in others],
        "photos": dataset is not None,
    }
    rows = [[run.path, run.state, run.miou, run.epochs] for run in [first, *others]]
    show(result, json=json, human=table(["run", "status", "validation mIoU", "epochs"], rows), wrote=path)


def _dataset(run: Run, data: Path | None, classes: str | None) -> Dataset | None:
    """What the run was validated on; None, with a note, where it is not there any more or has changed."""
    from trashkit.coco import read_dataset

    path = data or Path(str((run.manifest.get("inputs") or {}).get("data", "")))
    if not path.is_file():
        note(f"{path} is not there: the page shows no photos; --data ANN.json names it")
        return None
    found = read_dataset(path, classes=classes)
    names = run.spec.class_names
    if found.classes.names != names:
        raise TrashkitError(
            f"{path} has the classes {', '.join(found.classes.names)}, and the run {', '.join(names)}",
            hint="give the same --classes as in training",
        )
    return found
