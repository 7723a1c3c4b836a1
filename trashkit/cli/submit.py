"""``trashkit submit``: the CSV, made, checked before it leaves, compared, voted on, turned into COCO and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import default_group
from trashkit.cli.output import Classes, Json, Overwrite, command, note, progress, show, table, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.submission import Profile
    from trashkit.submit import Problem, Report

SHOWN = 20

Data = Annotated[Path, typer.Option("--data", help="COCO file that lists the images, such as test.json.")]
Sample = Annotated[Path | None, typer.Option("--sample", help="Sample submission whose header is taken.")]
Size = Annotated[int, typer.Option("--size", min=1, help="Side of the submission's label maps in pixels.")]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="Form of the submission: recycle (the default), kaggle-rle, png, cityscapes, ade20k, coco-results, or a "
        "TOML or JSON file; instead of --sample and --size.",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="File to write.")]

app = typer.Typer(
    cls=default_group("make"),
    help="Make a submission from a store (the default), check it, compare, vote, turn it into COCO and back.",
    no_args_is_help=True,
)


@app.command()
def make(
    store: Annotated[Path, typer.Argument(help="Store that predict or ensemble wrote.")],
    data: Data,
    out: Out,
    sample: Sample = None,
    size: Size = 256,
    form: ProfileName = None,
    train: Annotated[
        Path | None, typer.Option("--train", help="Training annotations, to compare the class mix.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Earlier submission that this must not equal.")
    ] = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the submission of a store, checked before it gets its name.

    Each pixel takes its most probable class. Rows follow --data, joined by image id and file name together.

    Examples:

      trashkit submit runs/first/test --data test.json --out submission.csv

      trashkit submit mean --data test.json --out mean.csv --sample sample_submission.csv --against submission.csv

      trashkit submit mean --data test.json --out predicted --profile png
    """
    from trashkit.coco import read_dataset
    from trashkit.store import open_store
    from trashkit.submit import check
    from trashkit.submit import make as make_submission

    if form is not None:
        _refuse_with_form(sample, train, against)
        _make_form(store, data, out, form, classes, overwrite=overwrite, json=json)
        return
    dataset, profile = _form(data, sample, size, classes)
    training = read_dataset(train, classes=classes) if train else None
    with progress() as report:
        made = make_submission(open_store(store), dataset, out, profile=profile, overwrite=overwrite, progress=report)
        checked = made.report
        if training is not None or against is not None:
            checked = check(out, dataset, profile=profile, train=training, against=against, progress=report)
    if made.resampled:
        note(f"the store is {made.size[1]}x{made.size[0]}: probabilities were resampled to {size}x{size}")
    if made.unused:
        note(f"{made.unused} images of the store are not in {data} and were left out")
    result = {"path": out, "rows": made.rows, "sha256": made.sha256, "resampled": made.resampled}
    human = [f"{made.rows} rows, checked: nothing fails", *_warnings(checked)]
    following = command("submit", "diff", against, out) if against else command("submit", "check", out, "--data", data)
    show({**result, **_plain(checked, out)}, json=json, human=human, wrote=out, next=following)


@app.command()
def check(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission to check.")],
    data: Data,
    sample: Sample = None,
    size: Size = 256,
    form: ProfileName = None,
    train: Annotated[
        Path | None, typer.Option("--train", help="Training annotations, to compare the class mix.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Earlier submission that this must not equal.")
    ] = None,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Check a submission from anywhere: exit 0 if nothing fails, 1 if something does.

    Fails: header, unknown, missing and doubled images, number of values, values that are no class. Warns: row order,
    all-background rows, equal rows, line ends; class mix (with --train); sameness (with --against).

    Examples:

      trashkit submit check submission.csv --data test.json

      trashkit submit check submission.csv --data test.json --train train.json --against earlier.csv --json

      trashkit submit check runs.csv --data test.json --profile kaggle-rle
    """
    from trashkit.coco import read_dataset
    from trashkit.submit import check as check_submission
    from trashkit.submit import check_form, read_form

    if form is not None:
        _refuse_with_form(sample, train, against)
        dataset = read_dataset(data, classes=classes, labels=False)
        with progress() as report:
            checked = check_form(csv, dataset, read_form(form), progress=report)
    else:
        dataset, profile = _form(data, sample, size, classes)
        training = read_dataset(train, classes=classes) if train else None
        with progress() as report:
            checked = check_submission(csv, dataset, profile=profile, train=training, against=against, progress=report)
    human: list[Any] = [f"{csv}: {checked.rows} rows for {checked.images} images"]
    if checked.failures:
        human += [f"{len(checked.failures)} failure{'s' * (len(checked.failures) != 1)}", _problems(checked.failures)]
    else:
        human.append("nothing fails")
    show(_plain(checked, csv), json=json, human=[*human, *_warnings(checked)])
    if not checked.ok:
        raise typer.Exit(1)


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A.csv", help="Submission before.")],
    second: Annotated[Path, typer.Argument(metavar="B.csv", help="Submission after.")],
    data: Annotated[Path | None, typer.Option("--data", help="COCO file whose class names are shown.")] = None,
    size: Size = 256,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many images and class changes to show.")] = 10,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Show what changed between two submissions: pixels in all, per class and per image.

    Examples:

      trashkit submit diff before.csv after.csv

      trashkit submit diff before.csv after.csv --data test.json --limit 30
    """
    from trashkit.coco import OFFICIAL_NAMES
    from trashkit.submission import Profile
    from trashkit.submit import diff as difference

    names, profile = OFFICIAL_NAMES, Profile(height=size, width=size)
    if data is not None:
        dataset, profile = _form(data, None, size, classes)
        names = dataset.classes.names
    with progress() as report:
        found = difference(first, second, profile=profile, progress=report)
    moves = [
        (names[before], names[after], int(count))
        for (before, after), count in _cells(found.matrix)
        if before != after and count
    ]
    moves.sort(key=lambda move: -move[2])
    images = [
        {"file_name": name, "changed": changed, "share": changed / found.pixels} for name, changed in found.images
    ]
    result = {
        "images": images,
        "share": found.share,
        "changes": [{"from": before, "to": after, "pixels": pixels} for before, after, pixels in moves],
        "only_first": found.only_a,
        "only_second": found.only_b,
    }
    human: list[Any] = [f"{found.changed:,} pixels ({found.share:.2%}) differ in {len(found.images)} images"]
    for path, only in ((first, found.only_a), (second, found.only_b)):
        if only:
            human.append(f"{len(only)} images are only in {path}, first {only[0]}")
    if moves and limit:
        human.append(table(["from", "to", "pixels"], moves[:limit]))
        most = [(image["file_name"], image["changed"], f"{image['share']:.2%}") for image in images[:limit]]
        human.append(table(["image", "pixels", "share"], most))
    show(result, json=json, human=human)


def _cells(matrix: Any) -> list[tuple[tuple[int, int], int]]:
    return [((row, column), value) for row, line in enumerate(matrix) for column, value in enumerate(line)]


@app.command("to-coco")
def to_coco(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission to turn into annotations.")],
    data: Data,
    out: Out,
    sample: Sample = None,
    size: Size = 256,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a submission as COCO annotations at native size, holes and all, to look at it in other tools.

    Examples:

      trashkit submit to-coco submission.csv --data test.json --out predicted.json
    """
    from trashkit.submit import to_coco as export

    dataset, profile = _form(data, sample, size, classes)
    with progress() as report:
        made = export(csv, dataset, out, profile=profile, overwrite=overwrite, progress=report)
    if made.lossy:
        warn(f"{len(made.lossy)} images are smaller than {size}x{size} and lose pixels, first {made.lossy[0]}")
    result = {"path": out, "images": made.images, "annotations": made.annotations, "lossy": made.lossy}
    human = f"{made.annotations} annotations in {made.images} images"
    following = command("submit", "from-coco", out, "--data", data, "--out", "back.csv")
    show(result, json=json, human=human, wrote=out, next=following)


@app.command("from-coco")
def from_coco(
    annotations: Annotated[Path, typer.Argument(metavar="PRED.json", help="COCO file, or list of COCO results.")],
    data: Data,
    out: Out,
    sample: Sample = None,
    size: Size = 256,
    order: Annotated[str, typer.Option("--order", help="Paint order: area, class, length or file.")] = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write COCO annotations or results as a submission; images without annotations are background.

    Examples:

      trashkit submit from-coco predicted.json --data test.json --out submission.csv
    """
    from trashkit.submit import from_coco as convert

    dataset, profile = _form(data, sample, size, classes)
    with progress() as report:
        rows = convert(
            annotations, dataset, out, profile=profile, order=paint_order(order), classes=classes,
            overwrite=overwrite, progress=report,
        )  # fmt: skip
    following = command("submit", "check", out, "--data", data)
    show({"path": out, "rows": rows}, json=json, human=f"{rows} rows", wrote=out, next=following)


@app.command()
def vote(
    csvs: Annotated[list[Path], typer.Argument(metavar="A.csv B.csv...", help="Submissions, the best first.")],
    data: Data,
    out: Out,
    weights: Annotated[str | None, typer.Option("--weights", help="One number per file, as in 2,1,1.")] = None,
    sample: Sample = None,
    size: Size = 256,
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

    dataset, profile = _form(data, sample, size, classes)
    with progress() as report:
        rows = vote_among(
            csvs, dataset, out, weights=numbers(weights), profile=profile, overwrite=overwrite, progress=report
        )
    following = command("submit", "diff", csvs[0], out)
    human = f"{rows} rows from {len(csvs)} submissions"
    show({"path": out, "rows": rows, "voters": csvs}, json=json, human=human, wrote=out, next=following)


@app.command()
def trace(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission that trashkit submit made.")],
    json: Json = False,
) -> None:
    """Tell what a submission was made from: its store, the runs behind it, the data, and their hashes.

    Examples:

      trashkit submit trace submission.csv
    """
    from trashkit.submit import trace as trace_back

    origin = trace_back(csv)
    rows = [(key, str(value)) for key, value in origin.items()]
    show(origin, json=json, human=table(["", str(csv)], rows))


def _refuse_with_form(sample: Path | None, train: Path | None, against: Path | None) -> None:
    if sample or train or against:
        raise TrashkitError(
            "--sample, --train and --against are for the competition's CSV", hint="leave them out with --profile"
        )


def _make_form(
    store: Path, data: Path, out: Path, form: str, classes: str | None, *, overwrite: bool, json: bool
) -> None:
    """``submit make --profile``."""
    from trashkit.coco import read_dataset
    from trashkit.store import open_store
    from trashkit.submit import make_form, read_form

    dataset = read_dataset(data, classes=classes, labels=False)
    with progress() as report:
        made = make_form(open_store(store), dataset, out, read_form(form), overwrite=overwrite, progress=report)
    result = {"path": out, "rows": made.rows, "sha256": made.sha256, "resampled": made.resampled}
    what = "files" if out.is_dir() else "rows"
    following = command("submit", "check", out, "--data", data, "--profile", form)
    human = [f"{made.rows} {what}, checked: nothing fails", *_warnings(made.report)]
    show({**result, **_plain(made.report, out)}, json=json, human=human, wrote=out, next=following)


def numbers(text: str | None) -> list[float] | None:
    """Numbers from an option such as ``--weights 2,1,0.5``; TrashkitError for anything else."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise TrashkitError(f"{text!r} is no list of numbers", hint="write them as in --weights 2,1,0.5") from error


def paint_order(text: str) -> Any:
    """A paint order by name; TrashkitError for an unknown one."""
    if text not in ("area", "class", "length", "file"):
        raise TrashkitError(f'there is no paint order "{text}"', hint="choose --order from: area, class, length, file")
    return text


def _form(data: Path, sample: Path | None, size: int, classes: str | None) -> tuple[Dataset, Profile]:
    """The images that are asked for, and the form of their submission."""
    from trashkit.coco import read_dataset
    from trashkit.submit import profile_of

    dataset = read_dataset(data, classes=classes, labels=False)
    return dataset, profile_of(dataset, sample=sample, size=(size, size))


def _plain(report: Report, path: Path) -> dict[str, Any]:
    shares = dict(zip(report.classes, report.shares, strict=True))
    return {
        "path": path,
        "ok": report.ok,
        "rows": report.rows,
        "images": report.images,
        "failures": [asdict(problem) for problem in report.failures],
        "warnings": [asdict(problem) for problem in report.warnings],
        "shares": shares,
    }


def _problems(problems: Sequence[Problem]) -> Any:
    rows = [(p.line, p.file_name, p.message, p.cure) for p in problems[:SHOWN]]
    title = f"the first {SHOWN} of {len(problems)} (all with --json)" if len(problems) > SHOWN else ""
    return table(["line", "image", "what is wrong", "cure"], rows, title=title)


def _warnings(report: Report) -> list[Any]:
    if not report.warnings:
        return []
    return [f"{len(report.warnings)} warning{'s' * (len(report.warnings) != 1)}", _problems(report.warnings)]
