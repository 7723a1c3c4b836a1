"""``trashkit submit diff``, ``vote`` and ``trace``: submissions next to each other, and where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.options import Classes, Json, OutFile, Overwrite, TestData, Weights
from trashkit.cli.output import command, note, progress, show, table
from trashkit.cli.scores.submit_options import ProfileName, Sample, Size, any_profile, numbers, profile_options
from trashkit.errors import TrashkitError


def diff(
    first: Annotated[Path, typer.Argument(metavar="A.csv", help="First submission.")],
    second: Annotated[Path, typer.Argument(metavar="B.csv", help="Second submission.")],
    data: Annotated[Path | None, typer.Option("--data", "-d", help="COCO file, for class names.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", "-i", metavar="DIR", help="Folder of the photos, for --html.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write an HTML page with the largest changes (needs --data)."),
    ] = None,
    size: Size = 256,
    profile: ProfileName = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Number of images and class changes to show.")] = 10,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show what changed between two submissions: pixels in total, per class and per image.

    Examples:

      trashkit submit diff before.csv after.csv

      trashkit submit diff before.csv after.csv --data test.json --images photos --html changes.html

      trashkit submit diff label_maps_a label_maps_b --data test.json --profile png
    """
    from trashkit.coco import OFFICIAL_NAMES
    from trashkit.outputs import Output, write_text
    from trashkit.predictions.submission_csv import CsvLayout
    from trashkit.submit import diff as difference
    from trashkit.submit.page import CLASS_COLUMNS, class_rows, diff_page

    if profile is not None and data is None:
        raise TrashkitError("--profile needs the images", hint="add --data test.json")
    names, layout, dataset, kind = OFFICIAL_NAMES, CsvLayout(height=size, width=size), None, None
    if data is not None:
        dataset, layout, kind = any_profile(data, None, size, profile, classes)
        names = dataset.classes.names
    if html is not None:
        if dataset is None:
            raise TrashkitError("--html needs the images", hint="add --data test.json")
        Output(html, overwrite=overwrite).check()
    with progress() as report:
        found = difference(first, second, layout=layout, profile=kind, dataset=dataset, progress=report)
        if html is not None and dataset is not None:
            made = diff_page(first, second, found, dataset, layout=layout, profile=kind, images=images, progress=report)
            write_text(html, made, overwrite=overwrite)
    changes: list[dict[str, Any]] = [
        {"from": names[before], "to": names[after], "pixels": int(count)}
        for before, line in enumerate(found.matrix)
        for after, count in enumerate(line)
        if before != after and count
    ]
    changes.sort(key=lambda one: -int(one["pixels"]))
    listed = [
        {"file_name": name, "changed": count, "share": count / found.pixels[name]} for name, count in found.images
    ]
    rows = class_rows(found, names)
    result = {
        "images": listed,
        "share": found.share,
        "changes": changes,
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
    if changes and limit:
        human.append(table(CLASS_COLUMNS, [row for row in rows if row[1] or row[2]]))
        human.append(table(["from", "to", "pixels"], [tuple(one.values()) for one in changes[:limit]]))
        most = [(one["file_name"], one["changed"], f"{one['share']:.2%}") for one in listed[:limit]]
        human.append(table(["image", "pixels", "share"], most))
    show(result, json=json, human=human, wrote=html)


def vote(
    csvs: Annotated[list[Path], typer.Argument(metavar="A.csv B.csv...", help="Submissions, the best first.")],
    data: TestData,
    out: OutFile,
    weights: Weights = None,
    sample: Sample = None,
    size: Size = 256,
    profile: ProfileName = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Vote among submissions pixel by pixel, matched by image; ties go to the first file.

    If you have the probability stores, their mean (trashkit ensemble) is usually better.

    Examples:

      trashkit submit vote best.csv second.csv third.csv --data test.json --out voted.csv

      trashkit submit vote best.csv second.csv third.csv --weights 2,1,1 --data test.json --out voted.csv
    """
    from trashkit.submit import vote as vote_among

    dataset, layout, kind = any_profile(data, sample, size, profile, classes)
    with progress() as report:
        rows = vote_among(
            csvs, dataset, out, weights=numbers(weights), layout=layout, profile=kind, overwrite=overwrite,
            progress=report,
        )  # fmt: skip
    if len(csvs) == 2 and len(set(numbers(weights) or [1.0])) == 1:
        note(f"note: two submissions of equal weight tie wherever they differ, so the result equals {csvs[0]}")
    following = command("submit", "diff", csvs[0], out, "--data", data, *profile_options(None, size, profile, classes))
    human = f"{rows} rows from {len(csvs)} submissions"
    show({"path": out, "rows": rows, "voters": csvs}, json=json, human=human, wrote=out, next=following)


def trace(
    csv: Annotated[
        str, typer.Argument(metavar="SUB.csv|SHA256", help="Submission file, or the first digits of its SHA-256.")
    ],
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--in", metavar="DIR", help="Other folder to search for notes, edit logs and annotations. Repeatable."
        ),
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Also show each run's command and settings; always in --json.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what a submission was made from: stores, runs, settings, data, and the edits that made the data.

    Each file is compared by hash with what was used then. An edit log is listed if applying it reproduces the file that
    was trained on.

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
