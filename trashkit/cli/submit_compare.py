"""``trashkit submit diff``, ``vote`` and ``trace``: submissions next to each other, and where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, Overwrite, command, note, progress, show, table
from trashkit.cli.submit_form import Data, Out, ProfileName, Sample, Size, any_form, numbers, same_form
from trashkit.errors import TrashkitError


def diff(
    first: Annotated[Path, typer.Argument(metavar="A.csv", help="Submission before.")],
    second: Annotated[Path, typer.Argument(metavar="B.csv", help="Submission after.")],
    data: Annotated[Path | None, typer.Option("--data", help="COCO file whose class names are shown.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Folder of the photos, for the pictures of --html.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with the largest changes (needs --data)."),
    ] = None,
    size: Size = 256,
    form: ProfileName = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many images and class changes to show.")] = 10,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show what changed between two submissions: pixels in all, per class and per image.

    Examples:

      trashkit submit diff before.csv after.csv

      trashkit submit diff before.csv after.csv --data test.json --images photos --html changes.html

      trashkit submit diff label_maps_a label_maps_b --data test.json --profile png
    """
    from trashkit.coco import OFFICIAL_NAMES
    from trashkit.files import refuse_existing, write_text
    from trashkit.submission import Profile
    from trashkit.submit import diff as difference
    from trashkit.submit.page import CLASS_COLUMNS, class_rows, diff_page

    if form is not None and data is None:
        raise TrashkitError("a profile needs to know the images", hint="add --data test.json")
    names, profile, dataset, kind = OFFICIAL_NAMES, Profile(height=size, width=size), None, None
    if data is not None:
        dataset, profile, kind = any_form(data, None, size, form, classes)
        names = dataset.classes.names
    if html is not None:
        if dataset is None:
            raise TrashkitError("a page needs to know the images", hint="add --data test.json")
        refuse_existing(html, overwrite=overwrite)
    with progress() as report:
        found = difference(first, second, profile=profile, form=kind, dataset=dataset, progress=report)
        if html is not None and dataset is not None:
            made = diff_page(first, second, found, dataset, profile=profile, form=kind, images=images, progress=report)
            write_text(html, made, overwrite=overwrite)
    moves: list[dict[str, Any]] = [
        {"from": names[before], "to": names[after], "pixels": int(count)}
        for before, line in enumerate(found.matrix)
        for after, count in enumerate(line)
        if before != after and count
    ]
    moves.sort(key=lambda move: -int(move["pixels"]))
    listed = [
        {"file_name": name, "changed": count, "share": count / found.pixels[name]} for name, count in found.images
    ]
    rows = class_rows(found, names)
    result = {
        "images": listed,
        "share": found.share,
        "changes": moves,
        "classes": [
            dict(zip(("class", "first", "second", "difference", "both", "iou"), row, strict=True)) for row in rows
        ],
        "only_first": found.only_a,
        "only_second": found.only_b,
        "html": html,
    }
    human: list[Any] = [f"{found.changed:,} pixels ({found.share:.2%}) differ in {len(found.images)} images"]
    for path, only in ((first, found.only_a), (second, found.only_b)):
        if only:
            human.append(f"{len(only)} images are only in {path}, first {only[0]}")
    if moves and limit:
        human.append(table(CLASS_COLUMNS, [row for row in rows if row[1] or row[2]]))
        human.append(table(["from", "to", "pixels"], [tuple(move.values()) for move in moves[:limit]]))
        most = [(one["file_name"], one["changed"], f"{one['share']:.2%}") for one in listed[:limit]]
        human.append(table(["image", "pixels", "share"], most))
    show(result, json=json, human=human, wrote=html)


def vote(
    csvs: Annotated[list[Path], typer.Argument(metavar="A.csv B.csv...", help="Submissions, the best first.")],
    data: Data,
    out: Out,
    weights: Annotated[str | None, typer.Option("--weights", help="One number per file, as in 2,1,1.")] = None,
    sample: Sample = None,
    size: Size = 256,
    form: ProfileName = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Vote among submissions pixel by pixel, joined by image; ties go to the file named first.

    Where stores exist, the mean of their probabilities (trashkit ensemble) is usually better.

    Examples:

      trashkit submit vote best.csv second.csv third.csv --data test.json --out voted.csv

      trashkit submit vote best.csv second.csv third.csv --weights 2,1,1 --data test.json --out voted.csv
    """
    from trashkit.submit import vote as vote_among

    dataset, profile, kind = any_form(data, sample, size, form, classes)
    with progress() as report:
        rows = vote_among(
            csvs, dataset, out, weights=numbers(weights), profile=profile, form=kind, overwrite=overwrite,
            progress=report,
        )  # fmt: skip
    if len(csvs) == 2 and len(set(numbers(weights) or [1.0])) == 1:
        note(f"note: two submissions of equal weight tie wherever they differ, so this is {csvs[0]} again")
    following = command("submit", "diff", csvs[0], out, "--data", data, *same_form(None, size, form, classes))
    human = f"{rows} rows from {len(csvs)} submissions"
    show({"path": out, "rows": rows, "voters": csvs}, json=json, human=human, wrote=out, next=following)


def trace(
    csv: Annotated[str, typer.Argument(metavar="SUB.csv|SHA256", help="Submission, or the first digits of its hash.")],
    folders: Annotated[
        list[Path] | None,
        typer.Option("--in", metavar="DIR", help="Where else notes, edit logs and annotations lie; may be repeated."),
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Show each run's command and settings too; --json has all of it.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell what a submission was made from: stores, runs, settings, data, and the edits that made the data.

    Each file is compared with what it was then, by its hash. An edit log is named where applying it again gives the
    very file that was trained with.

    Examples:

      trashkit submit trace submission.csv

      trashkit submit trace 3f9c2a --in submissions --json
    """
    from trashkit.submit.trace import describe
    from trashkit.submit.trace import trace as trace_back

    origin = trace_back(csv, folders or ([] if Path(csv).exists() else [Path()]))
    changed = [
        one["path"]
        for one in (*(origin.get("voters") or ()), *origin["stores"], *origin["runs"], *origin["files"])
        if one["state"] == "changed"
    ]
    if changed:
        note(f"note: {len(changed)} of these have changed since, first {changed[0]}")
    show(origin, json=json, human=table(["", csv], describe(origin, settings=settings)))
