"""``trashkit data``: make data sets, bring them in from other tools, and hand them to other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trashkit.cli.groups import Commands
from trashkit.cli.output import Classes, Json, Overwrite, Resume, command, note, progress, show, table
from trashkit.errors import TrashkitError

Incoming = Literal[
    "coco", "yolo", "labelme", "cvat", "label-studio", "voc", "cityscapes", "ade20k", "mmsegmentation", "masks",
    "huggingface", "predictions",
]  # fmt: skip
Outgoing = Literal[
    "coco", "yolo", "labelme", "cvat", "label-studio", "voc", "cityscapes", "ade20k", "mmsegmentation", "masks",
    "huggingface",
]  # fmt: skip
Order = Annotated[
    Literal["area", "class", "length", "file"],
    typer.Option("--order", help="Paint order: which of two overlapping annotations is seen."),
]

app = Commands(help="Make, import and export data sets.", no_args_is_help=True)


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


@app.command("import")
def import_(
    kind: Annotated[Incoming, typer.Argument(metavar="FORMAT", help="Format of the source; see the list above.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File or folder that the other tool wrote.")],
    out: Annotated[Path, typer.Option("--out", help="COCO file to write; for predictions the store.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the photos; default: looked for beside the labels.")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            metavar="official|FILE|A,B,C",
            help="Class names where the format has none, in the order of its numbers; background may come first.",
        ),
    ] = None,
    classes: Classes = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="COCO file whose images and annotations come first in --out.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", metavar="ORIGINAL.json", help="File that was exported: its names and ids come back."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Predictions: COCO file that lists the predicted images.")
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Predictions: arrays hold logits.")] = False,
    name_map: Annotated[
        Path | None,
        typer.Option("--name-map", help="Predictions: the export's names.json, from names of files to images."),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Predictions: side of the store's images.")] = 256,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Bring in annotations of another tool as COCO, or predictions of another framework as a store.

    Formats: coco, yolo (segmentation), labelme, cvat (for images 1.1), label-studio (JSON), voc, cityscapes, ade20k,
    mmsegmentation, masks (PNG label maps), huggingface (imagefolder), predictions (PNG, npy, npz per image).

    Examples:

      trashkit data import yolo their_folder --out theirs.json

      trashkit data import coco taco.json --classes taco --into train.json --out merged.json

      trashkit data import voc VOC2012 --out voc.json --names classes.txt

      trashkit data import cvat annotations.xml --images images --like train.json --out edited.json

      trashkit data import predictions work_dir/predictions --data test.json --out stores/mmseg
    """
    if kind == "predictions":
        _import_predictions(
            source, out, data, names=names, classes=classes, logits=logits, name_map=name_map, size=size,
            overwrite=overwrite, resume=resume, json=json,
        )  # fmt: skip
        return
    if data or logits or name_map or resume:
        raise TrashkitError(
            "--data, --logits, --name-map and --resume are for predictions",
            hint="trashkit data import predictions FOLDER --data test.json --out STORE",
        )
    from trashkit.interop.formats import import_annotations

    with progress() as report:
        made = import_annotations(
            kind, source, out, images=images, names=names, classes=classes, into=into, like=like,
            overwrite=overwrite, progress=report,
        )  # fmt: skip
    for line in made.notes:
        note(f"note: {line}")
    photos = images or made.photos
    result = {
        "path": made.path, "photos": photos, "images": made.images, "annotations": made.annotations,
        "annotations_per_class": made.per_class, "notes": made.notes,
    }  # fmt: skip
    human: list[Any] = [
        f"{made.annotations} annotations in {made.images} images",
        table(["class", "annotations"], list(made.per_class.items())),
    ]
    following = command("audit", out, *(("--images", photos) if photos else ()))
    if like is not None:
        following = command("edits", "diff", like, out, "--part", "--out", out.with_suffix(".edits.jsonl"))
    show(result, json=json, human=human, wrote=out, next=following)


def _import_predictions(
    source: Path,
    out: Path,
    data: Path | None,
    *,
    names: str | None,
    classes: str | None,
    logits: bool,
    name_map: Path | None,
    size: int,
    overwrite: bool,
    resume: bool,
    json: bool,
) -> None:
    if data is None:
        raise TrashkitError("predictions of which images?", hint="add --data with the COCO file that lists them")
    from trashkit.coco import read_dataset
    from trashkit.interop.folders import class_names
    from trashkit.interop.predictions import import_predictions

    dataset = read_dataset(data, classes=classes, labels=False)
    with progress() as report:
        made = import_predictions(
            source, dataset, out, names=name_map, classes=class_names(names, source) if names else None, logits=logits,
            size=(size, size), resume=resume, overwrite=overwrite, progress=report,
        )  # fmt: skip
    if made.unused:
        note(f"note: {len(made.unused)} files belong to no image of {data}, first {made.unused[0]}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in made.kinds.items()) or "nothing new"
    result = {"path": out, "images": made.images, "kinds": made.kinds, "unused": made.unused}
    following = command("submit", out, "--data", data, "--out", "submission.csv")
    show(result, json=json, human=f"{made.images} images ({kinds})", wrote=out, next=following)


@app.command()
def export(
    kind: Annotated[Outgoing, typer.Argument(metavar="FORMAT", help="Format to write; see the list above.")],
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO file to hand over.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the photos; without it labels alone are written.")
    ] = None,
    photos: Annotated[
        Literal["copy", "link", "none"],
        typer.Option("--photos", help="Copy photos, hard-link them (same disk, no space), or leave them out."),
    ] = "copy",
    split: Annotated[Path | None, typer.Option("--split", help="SPLIT.json whose fold makes train and val.")] = None,
    fold: Annotated[int, typer.Option("--fold", min=0, help="Fold of --split.")] = 0,
    order: Order = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Hand a data set to another tool; reading it back gives the same label maps.

    Formats: coco, yolo (segmentation), labelme, cvat (for images 1.1), label-studio (JSON), voc, cityscapes, ade20k,
    mmsegmentation (with a data set config), masks (PNG label maps), huggingface (imagefolder).

    Examples:

      trashkit data export mmsegmentation train.json --images images --split split.json --fold 0 --out mmseg

      trashkit data export yolo train.json --images images --photos link --out yolo
    """
    from trashkit.coco import read_dataset
    from trashkit.interop.formats import export as export_to

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
    back = out / "train.json" if kind == "coco" else out
    following = command("data", "import", kind, back, "--out", "back.json")
    show(result, json=json, human=counts, wrote=out, next=following)


def _parts(split: Path, fold: int, dataset: Any) -> dict[str, list[Any]]:
    """Image ids of one fold's train and val."""
    from trashkit.split.files import read_split

    found = read_split(split, dataset)
    if fold >= len(found.folds):
        raise TrashkitError(
            f"{split} has {len(found.folds)} folds, and none numbered {fold}",
            hint=f"--fold 0 to {len(found.folds) - 1}",
        )
    return {"train": list(found.folds[fold].train), "val": list(found.folds[fold].val)}


@app.command()
def masks(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO file whose label maps are drawn.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Side in pixels, sampled as submissions are; default: native.")
    ] = None,
    order: Order = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw the label map of every image as a palette PNG: pixel value = class index, colours to look at.

    Beside them lie classes.txt (one name a line, the first is background) and labelmap.txt (colours).

    Examples:

      trashkit data masks train.json --out label_maps

      trashkit data masks train.json --out label_maps_256 --size 256
    """
    from trashkit.coco import read_dataset
    from trashkit.interop.masks_png import draw_all

    dataset = read_dataset(annotations, classes=classes)
    with progress() as report:
        drawn = draw_all(
            dataset, out, size=(size, size) if size else None, order=order, overwrite=overwrite, progress=report
        )
    result = {"path": out, "images": drawn, "classes": dataset.classes.names}
    show(result, json=json, human=f"{drawn} label maps of {len(dataset.classes)} classes", wrote=out)


@app.command()
def taco(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; with --resume to go on in.")],
    unofficial: Annotated[
        bool, typer.Option("--unofficial", help="The annotations that people sent in, instead of the official ones.")
    ] = False,
    annotations: Annotated[
        str | None, typer.Option("--annotations", help="Address or file of the annotations, instead of TACO's own.")
    ] = None,
    size: Annotated[
        Literal["original", "640"],
        typer.Option("--size", help="Photos as taken, or of 640 pixels with the annotations scaled to them."),
    ] = "original",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="taco|own|MAP.json", help="taco makes the 60 categories the ten classes."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many images.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="Downloads at a time.")] = 4,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=50, help="Requests a second in all.")] = 4.0,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds without an answer.")] = 30.0,
    tries: Annotated[int, typer.Option("--tries", min=1, max=10, help="Tries for each photo.")] = 4,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Download TACO (litter photos with outlines): annotations and photos, checked one by one.

    Stop it at any time and go on with --resume. Dead links are listed; photos that failed for now make it exit with 1.
    annotations.json names the photos that are there, published.json is the file as published.

    Examples:

      trashkit data taco --out taco --classes taco

      trashkit data taco --out taco --classes taco --resume

      trashkit data taco --out taco640 --size 640 --unofficial
    """
    from trashkit.interop.download import Manners
    from trashkit.interop.taco import OFFICIAL, UNOFFICIAL, download

    source = annotations or (UNOFFICIAL if unofficial else OFFICIAL)
    with progress() as report:
        made = download(
            out, source=source, size=size, classes=classes, limit=limit, workers=workers,
            manners=Manners(rate=rate, timeout=timeout, tries=tries), resume=resume, overwrite=overwrite,
            progress=report,
        )  # fmt: skip
    result = {
        "path": out, "annotations": made.annotations, "images": made.images, "new": made.new, "present": made.present,
        "dead": [{"file_name": name, "reason": reason} for name, reason in made.dead],
        "failed": [{"file_name": name, "reason": reason} for name, reason in made.failed],
    }  # fmt: skip
    human: list[Any] = [f"{made.new} photos downloaded, {made.present} were there, of {made.images}"]
    for what, rows in (("dead links", made.dead), ("failed for now", made.failed)):
        if rows:
            human.append(table(["photo", "why"], rows[:20], title=f"{len(rows)} {what} (all in photos.jsonl)"))
    if made.failed:
        following = command("data", "taco", "--out", out, "--resume")
    else:
        following = command("audit", made.annotations, "--images", out / "images")
    show(result, json=json, human=human, wrote=made.annotations, next=following)
    if made.failed:
        raise typer.Exit(1)
