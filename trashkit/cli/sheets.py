"""``trashkit sheets``: photo, truth and predictions side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Classes, Json, Overwrite, note, progress, show, table
from trashkit.cli.submit_form import paint_order


def sheets(
    predicted: Annotated[
        list[Path],
        typer.Argument(metavar="PRED...", help="Stores, submission CSVs, COCO files or run folders, shown in turn."),
    ],
    data: Annotated[
        Path, typer.Option("--data", metavar="ANN.json", help="COCO file of the images, with truth or not.")
    ],
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder that its file names start from.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    most: Annotated[
        int, typer.Option("--most", min=1, help="So many images, the worst first where there is truth.")
    ] = 50,
    side: Annotated[int, typer.Option("--side", min=64, max=4096, help="Longer side of each picture in pixels.")] = 512,
    order: Annotated[str, typer.Option("--order", help="Paint order: area, class, length or file.")] = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw sheets to look at: photo, truth and each prediction of an image side by side.

    Images are in the order of the first prediction's mIoU on them, worst first; without annotations in file order. A
    run folder stands for its out-of-fold stores.

    Examples:

      trashkit sheets runs/first/oof --data train.json --images photos --out sheets

      trashkit sheets mean weighted --data train.json --images photos --out sheets --most 20

      trashkit sheets submission.csv --data test.json --images photos --out sheets
    """
    from trashkit.coco import read_dataset
    from trashkit.files import refuse_existing
    from trashkit.predictions import open_predictions, out_of_fold
    from trashkit.report.sheets import write_sheets

    wanted = paint_order(order)
    refuse_existing(out, overwrite=overwrite)
    dataset = read_dataset(data, classes=classes)
    parts = [
        [open_predictions(path, dataset, order=wanted, classes=classes) for path in out_of_fold(given)]
        for given in predicted
    ]
    with progress() as report:
        made = write_sheets(
            parts,
            images,
            out,
            names=[str(path) for path in predicted],
            order=wanted,
            most=most,
            side=side,
            overwrite=overwrite,
            progress=report,
        )
    if not dataset.annotations:
        note(f"{data} has no annotations: the sheets show no truth and are in file order")
    result = {
        "sheets": [
            {
                "file_name": one.file_name,
                "sheet": one.sheet,
                "mious": dict(zip(map(str, predicted), one.mious, strict=False)),
            }
            for one in made
        ]
    }
    rows = [(one.sheet.name, *one.mious) for one in made[:10]]
    human = table(("sheet", *(f"mIoU {path}" for path in predicted if dataset.annotations)), rows)
    show(result, json=json, human=human, wrote=out)
