"""``trashkit sheets``: photo, truth and predictions side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.options import Classes, Data, Images, Json, OutFolder, Overwrite, PaintOrder
from trashkit.cli.output import note, progress, show, table


def sheets(
    predicted: Annotated[
        list[Path],
        typer.Argument(
            metavar="PRED...",
            help="Probability stores, submission CSVs, COCO files or run folders, in the order shown.",
        ),
    ],
    data: Data,
    images: Images,
    out: OutFolder,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Number of images, the worst first if annotations are given.")
    ] = 50,
    side: Annotated[int, typer.Option("--side", min=64, max=4096, help="Longer side of each picture in pixels.")] = 512,
    order: PaintOrder = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw the photo, the truth and each prediction of an image side by side.

    Images are sorted by the mIoU of the first prediction, worst first, or without annotations as in the file. A run
    folder means its out-of-fold stores.

    Examples:

      trashkit sheets runs/first/oof --data train.json --images photos --out sheets

      trashkit sheets mean weighted --data train.json --images photos --out sheets --most 20

      trashkit sheets submission.csv --data test.json --images photos --out sheets
    """
    from trashkit.coco import read_dataset
    from trashkit.outputs import Output
    from trashkit.predictions.reading import open_predictions, out_of_fold
    from trashkit.report.sheets import write_sheets

    Output(out, overwrite=overwrite).check()
    dataset = read_dataset(data, classes=classes)
    parts = [
        [open_predictions(path, dataset, order=order, classes=classes) for path in out_of_fold(given)]
        for given in predicted
    ]
    with progress() as report:
        made = write_sheets(
            parts,
            images,
            out,
            names=[str(path) for path in predicted],
            order=order,
            most=most,
            side=side,
            overwrite=overwrite,
            progress=report,
        )
    if not dataset.annotations:
        note(f"{data} has no annotations: the sheets show only predictions, in file order")
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
