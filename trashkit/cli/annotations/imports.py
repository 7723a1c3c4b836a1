"""What ``trashkit data import`` prints, and its import of predictions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trashkit.cli.output import command, note, progress, show, table, unused, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.interop.registry import ImportResult


def show_import(made: ImportResult, out: Path, *, photos: Path | None, like: Path | None, json: bool) -> None:
    """Print notes, warnings and the table of classes. photos, like: for the next command."""
    for line in made.notes:
        if line in made.warnings:
            warn(f"skipped {line}")
        elif line in made.undrawn:
            warn(line)
        else:
            note(f"note: {line}")
    result = {
        "path": made.path, "photos": photos, "images": made.images, "annotations": made.annotations,
        "annotations_per_class": made.per_class, "notes": made.notes,
        "classes": [asdict(one) for one in made.classes], "skipped": made.skipped,
        "images_without_objects": made.empty_images,
    }  # fmt: skip
    numbered = any(one.number is not None for one in made.classes)
    rows = [
        (
            *((one.number,) if numbered else ()),
            one.id,
            one.name,
            *((one.objects, one.pixels) if one.id is not None else ("", "")),
        )
        for one in made.classes
    ]
    lost = sum(made.skipped.values())
    human: list[Any] = [
        f"{made.annotations} annotations in {made.images} images ({made.empty_images} without objects), "
        f"{lost} shapes skipped",
        table([*(("number",) if numbered else ()), "id", "class", "objects", "pixels"], rows),
    ]
    following = command("audit", out, *(("--images", photos) if photos else ()))
    if like is not None:
        following = command("edits", "diff", like, out, "--part", "--out", unused(out.with_suffix(".edits.jsonl")))
    show(result, json=json, human=human, wrote=out, next=following)


def import_predictions(
    source: Path,
    out: Path,
    data: Path | None,
    *,
    names: str | None,
    class_zero: Literal["background", "class"] | None,
    classes: str | None,
    logits: bool,
    name_map: Path | None,
    size: int,
    overwrite: bool,
    resume: bool,
    json: bool,
) -> None:
    """Import predictions as a store, and print what was found."""
    if data is None:
        raise TrashkitError(
            "the images of the predictions are unknown", hint="add --data with the COCO file that lists them"
        )
    from trashkit.coco import read_dataset
    from trashkit.interop import predictions
    from trashkit.interop.names.table import names_in_order

    dataset = read_dataset(data, classes=classes, labels=False)
    with progress() as report:
        made = predictions.import_predictions(
            source, dataset, out, names=name_map, logits=logits,
            classes=names_in_order(names, class_zero) if names else None,
            size=(size, size), resume=resume, overwrite=overwrite, progress=report,
        )  # fmt: skip
    if made.unused:
        note(f"note: {len(made.unused)} files do not belong to any image of {data}, first {made.unused[0]}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in made.kinds.items()) or "nothing new"
    result = {"path": out, "images": made.images, "kinds": made.kinds, "unused": made.unused}
    following = command("submit", out, "--data", data, "--out", unused("submission.csv"))
    show(result, json=json, human=f"{made.images} images ({kinds})", wrote=out, next=following)
