"""``trashkit data``: make data sets, and import and export them for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trashkit.cli.annotations.data_subsets import list_, select
from trashkit.cli.annotations.imports import import_predictions, show_import
from trashkit.cli.groups import Commands
from trashkit.cli.options import Classes, Json, OutFolder, Overwrite, PaintOrder, Resume
from trashkit.cli.output import command, note, progress, show, table
from trashkit.cli.suffixes import JSON, STORE
from trashkit.errors import TrashkitError
from trashkit.outputs import check_suffix

app = Commands(help="Make, import and export data sets.", no_args_is_help=True)


@app.command()
def synth(
    out: OutFolder,
    images: Annotated[int, typer.Option("--images", help="Number of photos, 20 to 20,000.")] = 200,
    size: Annotated[int, typer.Option("--size", help="Side of the square photos in pixels, 64 to 1,024.")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same data set.")] = 0,
    test_share: Annotated[float, typer.Option("--test-share", help="Share of the photos in the test set.")] = 0.2,
    noise: Annotated[
        Literal["none", "light", "heavy"],
        typer.Option("--noise", help="Planted annotation errors; none gives a clean data set."),
    ] = "light",
    shift: Annotated[
        float, typer.Option("--shift", help="How much the class mix of the test set differs; 0 for none.")
    ] = 0.15,
    damage_photos: Annotated[
        bool,
        typer.Option(
            "--damage-photos/--whole-photos",
            help="With noise: also plant missing, broken, duplicate and leaked photos.",
        ),
    ] = True,
    quality: Annotated[
        int | None, typer.Option("--quality", min=1, max=100, help="JPEG quality; default: random, 72 to 95.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of processes.")] = 1,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Generate the synthetic data set: scenes of trash with exact outlines and planted errors.

    It has ten classes with the competition's long tail, clutter, shadows, occlusion, near-duplicates, a hidden test set
    and a list of every planted error (planted.json), so that audit, split and training can be measured.

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


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(metavar="FORMAT", help="Format of SOURCE; see the list above.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File or folder written by the other tool.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="COCO file to write, or for predictions the store.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", "-i", help="Folder of the photos; default: searched for next to the labels."),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            metavar="official|FILE|A,B,C",
            help="Class names in the order of their numbers, for formats without names; background may come first.",
        ),
    ] = None,
    class_zero: Annotated[
        Literal["background", "class"] | None,
        typer.Option(
            "--class-zero", help="What class number 0 is, if the names do not say: background, or the first class."
        ),
    ] = None,
    classes: Classes = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", help="COCO file to append to; its images and annotations come first in --out."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like", metavar="ORIGINAL.json", help="File that was exported; restores its file names and ids."
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option("--parts", metavar="A,B", help="Only images in folders of these names, such as train,valid."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="For predictions: COCO file that lists the images.")
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="For predictions: the arrays hold logits.")] = False,
    name_map: Annotated[
        Path | None,
        typer.Option("--name-map", help="For predictions: names.json of the export, which maps files to images."),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="For predictions: side of the store in pixels.")] = 256,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing and exit with code 2 if any shape cannot be imported.")
    ] = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Import another tool's annotations as COCO, or another framework's predictions as a store.

    Formats: coco, yolo (segmentation), labelme, cvat (for images 1.1), label-studio (JSON), voc, cityscapes, ade20k,
    mmsegmentation, masks (PNG label maps), huggingface (imagefolder), predictions (PNG, npy, npz per image).

    Shapes that cannot be read are skipped and counted by reason. The table shows what each class number became.

    Examples:

      trashkit data import yolo their_folder --out theirs.json

      trashkit data import coco taco.json --classes taco --into train.json --out merged.json

      trashkit data import voc VOC2012 --out voc.json --names classes.txt

      trashkit data import cvat annotations.xml --images images --like train.json --out edited.json

      trashkit data import predictions work_dir/predictions --data test.json --out stores/mmseg
    """
    check_suffix(out, *(STORE if kind == "predictions" else JSON))
    if kind == "predictions":
        import_predictions(
            source, out, data, names=names, class_zero=class_zero, classes=classes, logits=logits, name_map=name_map,
            size=size, overwrite=overwrite, resume=resume, json=json,
        )  # fmt: skip
        return
    if data or logits or name_map or resume:
        raise TrashkitError(
            "--data, --logits, --name-map and --resume are for predictions",
            hint="trashkit data import predictions FOLDER --data test.json --out STORE",
        )
    from trashkit.interop.registry import import_annotations

    with progress() as report:
        made = import_annotations(
            kind, source, out, images=images, names=names, class_zero=class_zero, classes=classes, into=into, like=like,
            parts=parts.split(",") if parts else (), strict=strict, overwrite=overwrite, progress=report,
        )  # fmt: skip
    show_import(made, out, photos=images or made.photos, like=like, json=json)


@app.command()
def export(
    kind: Annotated[str, typer.Argument(metavar="FORMAT", help="Format to write; see the list above.")],
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO file to export.")],
    out: OutFolder,
    images: Annotated[
        Path | None, typer.Option("--images", "-i", help="Folder of the photos; without it only labels are written.")
    ] = None,
    photos: Annotated[
        Literal["copy", "link", "none"],
        typer.Option(
            "--photos", help="Copy the photos, hard-link them (same disk, no extra space), or leave them out."
        ),
    ] = "copy",
    split: Annotated[Path | None, typer.Option("--split", "-S", help="Split whose fold defines train and val.")] = None,
    fold: Annotated[int, typer.Option("--fold", min=0, help="Fold of --split.")] = 0,
    order: PaintOrder = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a data set to another tool's format; importing it again gives the same label maps.

    Formats: coco, yolo (segmentation), labelme, cvat (for images 1.1), label-studio (JSON), voc, cityscapes, ade20k,
    mmsegmentation (with a data set config), masks (PNG label maps), huggingface (imagefolder).

    Examples:

      trashkit data export mmsegmentation train.json --images images --split split.json --fold 0 --out mmseg

      trashkit data export yolo train.json --images images --photos link --out yolo
    """
    from trashkit.coco import read_dataset
    from trashkit.interop.registry import export as export_to

    dataset = read_dataset(annotations, classes=classes)
    parts = _parts(split, fold, dataset) if split else None
    with progress() as report:
        made = export_to(
            kind, dataset, out, images=images, photos=photos, parts=parts, order=order, classes=classes,
            overwrite=overwrite, progress=report,
        )  # fmt: skip
    for line in made.notes:
        note(f"note: {line}")
    result = {"path": out, "images": made.images, "shapes": made.shapes, "notes": made.notes}
    counts = ", ".join(f"{count} images in {part}" for part, count in made.images.items())
    show(result, json=json, human=counts, wrote=out)


def _parts(split: Path, fold: int, dataset: Any) -> dict[str, list[Any]]:
    """Image ids of train and val in one fold."""
    from trashkit.split.files import read_split

    found = read_split(split, dataset)
    if fold >= len(found.folds):
        raise TrashkitError(
            f"{split} has no fold {fold}",
            hint=f"--fold 0 to {len(found.folds) - 1}",
        )
    return {"train": list(found.folds[fold].train), "val": list(found.folds[fold].val)}


@app.command()
def masks(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO annotation file.")],
    out: OutFolder,
    size: Annotated[
        int | None,
        typer.Option("--size", min=1, help="Side in pixels, sampled like submissions; default: native size."),
    ] = None,
    order: PaintOrder = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw the label map of every image as a palette PNG whose pixel value is the class index.

    Also writes classes.txt (one name per line, background first) and labelmap.txt (colours).

    Examples:

      trashkit data masks train.json --out label_maps

      trashkit data masks train.json --out label_maps_256 --size 256
    """
    from trashkit.coco import read_dataset
    from trashkit.interop.label_map_folders import export_label_maps

    dataset = read_dataset(annotations, classes=classes)
    with progress() as report:
        drawn = export_label_maps(
            dataset, out, size=(size, size) if size else None, order=order, overwrite=overwrite, progress=report
        )
    result = {"path": out, "images": drawn, "classes": dataset.classes.names}
    show(result, json=json, human=f"{drawn} label maps of {len(dataset.classes)} classes", wrote=out)


app.command()(select)
app.command("list")(list_)


@app.command()
def taco(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write, or to continue with --resume.")],
    unofficial: Annotated[
        bool, typer.Option("--unofficial", help="Use the community annotations instead of the official ones.")
    ] = False,
    annotations: Annotated[
        str | None, typer.Option("--annotations", help="URL or file of annotations to use instead of TACO's.")
    ] = None,
    size: Annotated[
        Literal["original", "640"],
        typer.Option("--size", help="Original photos, or 640-pixel ones with the annotations scaled to match."),
    ] = "original",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="taco|own|MAP.json", help="taco maps the 60 categories to the ten classes."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Download only the first N images.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="Parallel downloads.")] = 4,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=50, help="Requests per second in total.")] = 4.0,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Timeout of a request in seconds.")] = 30.0,
    tries: Annotated[int, typer.Option("--tries", min=1, max=10, help="Attempts per photo.")] = 4,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Download TACO (litter photos with outlines), and check every photo.

    An interrupted download continues with --resume. Dead links are listed; if photos failed temporarily, the exit code
    is 1. annotations.json lists the photos that were downloaded, and published.json is the file as published.

    Examples:

      trashkit data taco --out taco --classes taco

      trashkit data taco --out taco --classes taco --resume

      trashkit data taco --out taco640 --size 640 --unofficial
    """
    from trashkit.interop.download import RetryPolicy
    from trashkit.interop.taco import OFFICIAL, UNOFFICIAL, download

    source = annotations or (UNOFFICIAL if unofficial else OFFICIAL)
    with progress() as report:
        made = download(
            out, source=source, size=size, classes=classes, limit=limit, workers=workers,
            policy=RetryPolicy(rate=rate, timeout=timeout, tries=tries), resume=resume, overwrite=overwrite,
            progress=report,
        )  # fmt: skip
    result = {
        "path": out, "annotations": made.annotations, "images": made.images, "new": made.new, "present": made.present,
        "dead": [{"file_name": name, "reason": reason} for name, reason in made.dead],
        "failed": [{"file_name": name, "reason": reason} for name, reason in made.failed],
    }  # fmt: skip
    human: list[Any] = [f"{made.images} photos: {made.new} downloaded, {made.present} already present"]
    for what, rows in (("dead links", made.dead), ("temporary failures", made.failed)):
        if rows:
            human.append(table(["photo", "reason"], rows[:20], title=f"{len(rows)} {what} (all in photos.jsonl)"))
    if made.failed:
        following = command("data", "taco", "--out", out, "--resume")
    else:
        following = command("audit", made.annotations, "--images", out / "images")
    show(result, json=json, human=human, wrote=made.annotations, next=following)
    if made.failed:
        raise typer.Exit(1)
