"""``trashkit data select`` and ``data list``: part of a data set, and a list of photos without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.options import Annotations, Json, OutFile, Overwrite
from trashkit.cli.output import command, progress, show


def select(
    annotations: Annotations,
    out: OutFile,
    max_annotations: Annotated[
        int | None, typer.Option("--max-annotations", min=1, help="Only images with at most this many annotations.")
    ] = None,
    min_annotations: Annotated[
        int, typer.Option("--min-annotations", min=0, help="Only images with at least this many annotations.")
    ] = 1,
    outlined: Annotated[
        bool, typer.Option("--outlined", help="Leave out images with an annotation that is only a box.")
    ] = False,
    relabel_to: Annotated[
        str | None,
        typer.Option("--relabel-to", metavar="CATEGORY", help="Give all annotations this category."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a COCO file with some of the images, such as an additional data set for `train --extra`.

    Images and annotations that are kept stay as they are, ids included.

    Examples:

      trashkit data select street.json --max-annotations 2 --outlined --out few.json

      trashkit data select street.json --max-annotations 2 --relabel-to "Plastic bag" --out bags.json
    """
    from trashkit.coco import read, write
    from trashkit.coco.select import select as select_images

    coco = read(annotations)
    kept = select_images(coco, most=max_annotations, least=min_annotations, outlined=outlined, relabel_to=relabel_to)
    write(kept, out, overwrite=overwrite)
    counts = {block: kept.count(block) for block in ("images", "annotations")}
    human = (
        f"{counts['images']} of {coco.count('images')} images, "
        f"{counts['annotations']} of {coco.count('annotations')} annotations"
    )
    show({"path": out, **counts}, json=json, human=human, wrote=out, next=command("audit", out))


def list_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of photos.")],
    out: OutFile,
    without: Annotated[
        Path | None,
        typer.Option(
            "--without",
            metavar="ANN.json",
            help="COCO file whose photos are left out, and whose categories are taken over.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """List the photos of a folder in a COCO file without annotations, which predict and submit take as --data.

    Examples:

      trashkit data list photos --out photos.json

      trashkit data list photos --without train.json --out unlabelled.json
    """
    from trashkit.coco import read, write
    from trashkit.interop.photo_list import list_photos

    with progress() as report:
        made = list_photos(folder, labelled=read(without) if without is not None else None, progress=report)
    write(made, out, overwrite=overwrite)
    count = made.count("images")
    show({"path": out, "images": count}, json=json, human=f"{count} photos", wrote=out)
