"""``trashkit submit``: the CSV, made, checked before it leaves, compared, voted on, turned into COCO and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.output import Classes, Json, Overwrite, command, note, progress, show, table, warn
from trashkit.cli.submit_compare import diff, trace, vote
from trashkit.cli.submit_form import (
    SIZE,
    Against,
    Data,
    Out,
    ProfileName,
    Sample,
    Size,
    Train,
    any_form,
    form_of,
    paint_order,
    refuse_with_form,
    same_form,
)

if TYPE_CHECKING:
    from trashkit.submit import Made, Problem, Report

SHOWN = 20

app = Commands(
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
    train: Train = None,
    against: Against = None,
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
        refuse_with_form(sample, train, against)
        _make_form(store, data, out, form, classes, overwrite=overwrite, json=json)
        return
    dataset, profile = form_of(data, sample, size, classes)
    training = read_dataset(train, classes=classes) if train else None
    with progress() as report:
        made = make_submission(open_store(store), dataset, out, profile=profile, overwrite=overwrite, progress=report)
        checked = made.report
        if training is not None or against:
            checked = check(out, dataset, profile=profile, train=training, against=against or (), progress=report)
    if made.unused:
        note(f"{made.unused} images of the store are not in {data} and were left out")
    result = {"path": out, "rows": made.rows, "sha256": made.sha256, "resampled": made.resampled}
    human = [f"{made.rows} rows, checked: nothing fails", *_resampled(made, f"{size}x{size}"), *_warnings(checked)]
    same = same_form(sample, size, None, classes)
    following = command("submit", "check", out, "--data", data, *same)
    if against:
        following = command("submit", "diff", against[-1], out, "--data", data, *same)
    show({**result, **_plain(checked, out)}, json=json, human=human, wrote=out, next=following)


@app.command()
def check(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission to check.")],
    data: Data,
    sample: Sample = None,
    size: Size = 256,
    form: ProfileName = None,
    train: Train = None,
    against: Against = None,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Check a submission from anywhere: exit 0 if nothing fails, 1 if something does.

    Fails: header, unknown, missing and doubled images, number of values, values that are no class. Warns: row order,
    all-background rows, equal rows, line ends; class mix (with --train and --against); sameness (with --against).

    Examples:

      trashkit submit check submission.csv --data test.json

      trashkit submit check submission.csv --data test.json --train train.json --against earlier.csv --json

      trashkit submit check runs.csv --data test.json --profile kaggle-rle
    """
    from trashkit.coco import read_dataset
    from trashkit.submit import check as check_submission
    from trashkit.submit import check_form, read_form

    if form is not None:
        refuse_with_form(sample, train, against)
        dataset = read_dataset(data, classes=classes, labels=False)
        with progress() as report:
            checked = check_form(csv, dataset, read_form(form), progress=report)
    else:
        dataset, profile = form_of(data, sample, size, classes)
        training = read_dataset(train, classes=classes) if train else None
        with progress() as report:
            checked = check_submission(
                csv, dataset, profile=profile, train=training, against=against or (), progress=report
            )
    human: list[Any] = [f"{csv}: {checked.rows} rows for {checked.images} images"]
    if checked.failures:
        human += [f"{len(checked.failures)} failure{'s' * (len(checked.failures) != 1)}", _problems(checked.failures)]
    else:
        human.append("nothing fails")
    show(_plain(checked, csv), json=json, human=[*human, *_warnings(checked)])
    if not checked.ok:
        raise typer.Exit(1)


app.command()(diff)


@app.command("to-coco")
def to_coco(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission to turn into annotations.")],
    data: Data,
    out: Out,
    sample: Sample = None,
    size: Size = 256,
    form: ProfileName = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a submission as COCO annotations at native size, holes and all, to look at it in other tools.

    Examples:

      trashkit submit to-coco submission.csv --data test.json --out predicted.json

      trashkit submit to-coco label_maps --profile png --data test.json --out predicted.json
    """
    from trashkit.submit import to_coco as export

    dataset, profile, found = any_form(data, sample, size, form, classes)
    with progress() as report:
        made = export(csv, dataset, out, profile=profile, form=found, overwrite=overwrite, progress=report)
    if made.lossy:
        warn(f"{len(made.lossy)} images are smaller than their label maps and lose pixels, first {made.lossy[0]}")
    result = {"path": out, "images": made.images, "annotations": made.annotations, "lossy": made.lossy}
    human = f"{made.annotations} annotations in {made.images} images"
    same = same_form(sample, size, form, classes)
    following = command("submit", "from-coco", out, "--data", data, "--out", f"back{csv.suffix}", *same)
    show(result, json=json, human=human, wrote=out, next=following)


@app.command("from-coco")
def from_coco(
    annotations: Annotated[Path, typer.Argument(metavar="PRED.json", help="COCO file, or list of COCO results.")],
    data: Data,
    out: Out,
    sample: Sample = None,
    size: Size = 256,
    form: ProfileName = None,
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

    dataset, profile, found = any_form(data, sample, size, form, classes)
    with progress() as report:
        rows = convert(
            annotations, dataset, out, profile=profile, form=found, order=paint_order(order), classes=classes,
            overwrite=overwrite, progress=report,
        )  # fmt: skip
    following = command("submit", "check", out, "--data", data, *same_form(sample, size, form, classes))
    show({"path": out, "rows": rows}, json=json, human=f"{rows} rows", wrote=out, next=following)


app.command()(vote)
app.command()(trace)


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
    following = command("submit", "check", out, "--data", data, *same_form(None, SIZE, form, classes))
    human = [f"{made.rows} {what}, checked: nothing fails", *_resampled(made, _side(form)), *_warnings(made.report)]
    show({**result, **_plain(made.report, out)}, json=json, human=human, wrote=out, next=following)


def _resampled(made: Made, to: str) -> list[str]:
    """Said with the result, since it changes pixels: a store of another size than the submission's."""
    if not made.resampled:
        return []
    height, width = made.size
    return [f"resampled: the store is {width}x{height}, its probabilities were brought to {to} before the argmax"]


def _side(form: str) -> str:
    from trashkit.submit import read_form

    size = read_form(form).size
    return f"{size[1]}x{size[0]}" if size else "each image's own size"


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
