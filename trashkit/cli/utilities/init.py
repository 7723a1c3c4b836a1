"""``trashkit init``: write the project file of a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.groups import Root
from trashkit.cli.options import Json, Overwrite
from trashkit.cli.output import command, note, progress, show, table
from trashkit.files import real_path


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of the data set.")] = Path(),
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="FILE", help="COCO file to train on."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", "-i", metavar="DIR", help="Folder of the photos, if it is elsewhere.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE", help="COCO file of the photos to predict.")
    ] = None,
    sample: Annotated[Path | None, typer.Option("--sample", metavar="FILE", help="Sample submission.")] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="official|own|taco|MAP", help="Map from categories to classes.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Recognise the files of a folder, and write trashkit.toml, so that other commands need fewer options.

    Finds COCO files, photos and a sample submission. Labels of other tools are imported as train.json; train and valid
    parts are joined; photos without labels become test.json. Where several files could play one role, name one of them.

    Examples:

      trashkit init

      trashkit init my-photos --data my-photos/labels_v2.json
    """
    from trashkit.workflows.project.init import Roles, init_project

    with progress() as report:
        made = init_project(folder, Roles(data, images, test, sample, classes), overwrite=overwrite, progress=report)
    for line in made.notes:
        note(f"note: {line}")
    result: dict[str, Any] = {
        "path": made.path, "values": made.values, "files": [asdict(one) for one in made.files], "made": made.made,
        "notes": made.notes,
    }  # fmt: skip
    human = table(("file", "taken for", "what it is"), [(one.path, one.role or "–", one.about) for one in made.files])
    words = ["auto", "--dry-run"] if "auto" in Root.order else ["audit"]
    elsewhere = [] if real_path(folder) == real_path(Path()) else ["--project", made.path]
    show(result, json=json, human=human, wrote=made.path, next=command(*words, *elsewhere))
