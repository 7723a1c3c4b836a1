"""``trashkit data``: make data sets, starting with the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from trashkit.cli.output import Json, Overwrite, command, progress, show, table

app = typer.Typer(help="Make, import and export data sets.", no_args_is_help=True)


@app.command()
def synth(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    images: Annotated[int, typer.Option("--images", help="Photos in all, 20 to 20,000.")] = 200,
    size: Annotated[int, typer.Option("--size", help="Side of the square photos in pixels, 64 to 1,024.")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same data set.")] = 0,
    test_share: Annotated[float, typer.Option("--test-share", help="Share of photos in the test part.")] = 0.2,
    noise: Annotated[
        Literal["none", "light", "heavy"],
        typer.Option("--noise", help="Planted annotation errors; none gives a set to train on at once."),
    ] = "light",
    shift: Annotated[
        float, typer.Option("--shift", help="How far the class mix of the test part differs; 0 is not at all.")
    ] = 0.15,
    damage_photos: Annotated[
        bool,
        typer.Option("--damage-photos/--whole-photos", help="With noise: missing, broken, doubled, leaked photos too."),
    ] = True,
    quality: Annotated[
        int | None, typer.Option("--quality", min=1, max=100, help="JPEG quality; default: varies, 72 to 95.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that draw.")] = 1,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw the embedded data set: scenes of trash made by code, with true outlines and planted errors.

    Ten classes with the competition's long tail, clutter, shadows, occlusion, near-duplicates, a hidden test part and
    a list of every planted error (planted.json), so that audit, split and training can be measured.

    Examples:

      trashkit data synth --out synth

      trashkit data synth --out easy --images 400 --size 128 --noise none
    """
    from trashkit.demo.synth import make

    with progress() as report:
        made = make(
            out,
            images=images,
            size=size,
            seed=seed,
            test_share=test_share,
            noise=noise,
            shift=shift,
            damage_photos=damage_photos,
            quality=quality,
            workers=workers,
            overwrite=overwrite,
            progress=report,
        )
    show(
        made,
        json=json,
        human=[
            f"{made['train_images']} training images with {made['train_annotations']} annotations, "
            f"{made['test_images']} test images, {made['scenes']} scenes",
            f"planted: {made['defects']} defects, {made['label_errors']} wrong labels",
            table(["class", "annotations"], list(made["annotations_per_class"].items())),
        ],
        wrote=out,
        next=command("audit", out / "train.json", "--images", out / "images"),
    )
