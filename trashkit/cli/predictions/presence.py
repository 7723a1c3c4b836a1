"""``trashkit presence``: predict which classes each photo shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.options import Classes, Extra, Images, Json, Overwrite, Seed
from trashkit.cli.output import progress, show, table, warn


def presence(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO annotation file to train on.")],
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="Class presence file (JSON) to write.")],
    split: Annotated[
        Path | None,
        typer.Option("--split", "-S", help="Split for the out-of-fold predictions; default: five random folds."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", help="COCO file of other photos; predicts these instead of those of ANN.json."),
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option("--test-images", help="Folder of the other photos; default: --images.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="Pretrained timm classifiers whose features are used; several are concatenated. Default: all from "
            "installed packages. Repeatable.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=32,
            max=2048,
            help="Side of the photos in pixels; default: the size each encoder was trained at.",
        ),
    ] = None,
    extra: Extra = None,
    seed: Seed = 0,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Predict which classes each photo shows, with a linear classifier on pretrained encoders.

    On small data sets, training for segmentation makes an encoder forget part of what it knew about object classes; a
    classifier on the frozen encoder keeps it. `postprocess --presence` reweights predictions by class presence, and
    `compare` shows on the out-of-fold photos whether that helps. For each photo, the file has the expected share of
    each class in its objects' area: predicted out of fold for the photos of ANN.json, and for those of --test by a
    classifier trained on all of ANN.json.

    Examples:

      trashkit presence train.json --images photos --split split.json --out oof-presence.json

      trashkit presence train.json --images photos --test test.json --out test-presence.json

      trashkit postprocess runs/a/oof --presence oof-presence.json --out reweighted
    """
    from trashkit.outputs import Output
    from trashkit.predictions.class_presence import write_presence
    from trashkit.workflows.prediction.presence import predict_presence

    Output(out, overwrite=overwrite).check()
    with progress() as report:
        found = predict_presence(
            annotations,
            images,
            split=split,
            test=test,
            test_images=test_images,
            encoders=encoder or (),
            size=size,
            extra=extra or (),
            seed=seed,
            classes=classes,
            progress=report,
        )
    if found.seen:
        warn(f"{found.seen} photos of {test} are among the training photos, so their values are not out of sample")
    write_presence(found.presence, out, overwrite=overwrite)
    human: list[Any] = [
        table(("most common class of a photo", "photos", "predicted out of fold"), found.by_class),
        f"{100 * found.hits:.1f} % of the photos are classified correctly out of fold (ridge {found.ridge:g})",
    ]
    human.append(f"postprocess STORE --presence {out} reweights predictions of these photos by it")
    result = {"presence": out, "photos": len(found.presence.image_ids), **found.presence.source}
    show(result, json=json, human=human, wrote=out)
