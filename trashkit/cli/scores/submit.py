"""``trashkit submit``: write, check, compare, vote, trace and convert submissions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.options import Classes, Json, OutFile, Overwrite, PaintOrder, TestData
from trashkit.cli.output import command, note, progress, show, table, warn
from trashkit.cli.scores.submit_compare import diff, trace, vote
from trashkit.cli.scores.submit_options import (
    SIZE,
    Against,
    ProfileName,
    Sample,
    Size,
    Train,
    any_profile,
    data_and_layout,
    profile_options,
    refuse_with_profile,
)

if TYPE_CHECKING:
    from trashkit.submit import Problem, Report, WrittenSubmission

SHOWN = 20

app = Commands(
    cls=default_group("make"),
    help="Make a submission from a store (the default), check it, compare, vote, convert to COCO and back.",
    no_args_is_help=True,
)


@app.command()
def make(
    store: Annotated[Path, typer.Argument(help="Probability store, from predict or ensemble.")],
    data: TestData,
    out: OutFile,
    sample: Sample = None,
    size: Size = 256,
    profile: ProfileName = None,
    train: Train = None,
    against: Against = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a submission from a store; it is checked before it is written.

    Each pixel gets its most probable class. Rows follow --data, matched by image id and file name.

    Examples:

      trashkit submit runs/first/test --data test.json --out submission.csv

      trashkit submit mean --data test.json --out mean.csv --sample sample_submission.csv --against submission.csv

      trashkit submit mean --data test.json --out predicted --profile png
    """
    from trashkit.coco import OFFICIAL_NAMES, read_dataset
    from trashkit.predictions.store import open_store
    from trashkit.submit import make as make_submission

    if profile is not None:
        refuse_with_profile(sample, train, against)
        _make_with_profile(store, data, out, profile, classes, overwrite=overwrite, json=json)
        return
    dataset, layout = data_and_layout(data, sample, size, classes)
    training = read_dataset(train, classes=classes) if train else None
    with progress() as report:
        made = make_submission(
            open_store(store), dataset, out, layout=layout, train=training, against=against or (), overwrite=overwrite,
            progress=report,
        )  # fmt: skip
    if made.unused:
        note(f"{made.unused} images of the store are not in {data} and were left out")
    result = {"path": out, "rows": made.rows, "sha256": made.sha256, "resampled": made.resampled}
    human = [f"{made.rows} rows, checked: no failures", *_resampled(made, f"{size}x{size}"), *_warnings(made.report)]
    same = profile_options(sample, size, None, classes)
    known = dataset.classes.names == OFFICIAL_NAMES
    following = command("leaderboard", "add", out, *(("--size", size) if size != SIZE else ())) if known else ""
    if against:
        following = command("submit", "diff", against[-1], out, "--data", data, *same)
    show({**result, **_plain(made.report, out)}, json=json, human=human, wrote=out, next=following)


@app.command()
def check(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission to check.")],
    data: TestData,
    sample: Sample = None,
    size: Size = 256,
    profile: ProfileName = None,
    train: Train = None,
    against: Against = None,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Check a submission from any source; the exit code is 1 if it is invalid.

    Errors: header, unknown, missing and duplicate images, number of values, invalid class values. Warnings: row order,
    all-background rows, identical rows, line endings; class mix (with --train and --against); similarity (with
    --against).

    Examples:

      trashkit submit check submission.csv --data test.json

      trashkit submit check submission.csv --data test.json --train train.json --against earlier.csv --json

      trashkit submit check runs.csv --data test.json --profile kaggle-rle
    """
    from trashkit.coco import read_dataset
    from trashkit.submit import check as check_submission
    from trashkit.submit import check_with_profile, read_profile

    if profile is not None:
        refuse_with_profile(sample, train, against)
        dataset = read_dataset(data, classes=classes, labels=False)
        with progress() as report:
            checked = check_with_profile(csv, dataset, read_profile(profile), progress=report)
    else:
        dataset, layout = data_and_layout(data, sample, size, classes)
        training = read_dataset(train, classes=classes) if train else None
        with progress() as report:
            checked = check_submission(
                csv, dataset, layout=layout, train=training, against=against or (), progress=report
            )
    human: list[Any] = [f"{csv}: {checked.rows} rows for {checked.images} images"]
    if checked.failures:
        human += [f"{len(checked.failures)} failure{'s' * (len(checked.failures) != 1)}", _problems(checked.failures)]
    else:
        human.append("no failures")
    show(_plain(checked, csv), json=json, human=[*human, *_warnings(checked)])
    if not checked.ok:
        raise typer.Exit(1)


app.command()(diff)


@app.command("to-coco")
def to_coco(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission to convert.")],
    data: TestData,
    out: OutFile,
    sample: Sample = None,
    size: Size = 256,
    profile: ProfileName = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Convert a submission to COCO annotations at native size, including holes.

    Examples:

      trashkit submit to-coco submission.csv --data test.json --out predicted.json

      trashkit submit to-coco label_maps --profile png --data test.json --out predicted.json
    """
    from trashkit.submit import to_coco as export

    dataset, layout, found = any_profile(data, sample, size, profile, classes)
    with progress() as report:
        made = export(csv, dataset, out, layout=layout, profile=found, overwrite=overwrite, progress=report)
    if made.lossy:
        warn(f"{len(made.lossy)} images are smaller than their label maps and lose pixels, first {made.lossy[0]}")
    result = {"path": out, "images": made.images, "annotations": made.annotations, "lossy": made.lossy}
    human = f"{made.annotations} annotations in {made.images} images"
    show(result, json=json, human=human, wrote=out)


@app.command("from-coco")
def from_coco(
    annotations: Annotated[Path, typer.Argument(metavar="PRED.json", help="COCO file or list of COCO results.")],
    data: TestData,
    out: OutFile,
    sample: Sample = None,
    size: Size = 256,
    profile: ProfileName = None,
    order: PaintOrder = "area",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Convert COCO annotations or results to a submission; images without annotations are background.

    Examples:

      trashkit submit from-coco predicted.json --data test.json --out submission.csv
    """
    from trashkit.submit import from_coco as convert

    dataset, layout, found = any_profile(data, sample, size, profile, classes)
    with progress() as report:
        rows = convert(
            annotations, dataset, out, layout=layout, profile=found, order=order, classes=classes,
            overwrite=overwrite, progress=report,
        )  # fmt: skip
    following = command("submit", "check", out, "--data", data, *profile_options(sample, size, profile, classes))
    show({"path": out, "rows": rows}, json=json, human=f"{rows} rows", wrote=out, next=following)


app.command()(vote)
app.command()(trace)


def _make_with_profile(
    store: Path, data: Path, out: Path, profile: str, classes: str | None, *, overwrite: bool, json: bool
) -> None:
    """``submit make --profile``."""
    from trashkit.coco import read_dataset
    from trashkit.predictions.store import open_store
    from trashkit.submit import make_with_profile, read_profile

    dataset = read_dataset(data, classes=classes, labels=False)
    with progress() as report:
        made = make_with_profile(
            open_store(store), dataset, out, read_profile(profile), overwrite=overwrite, progress=report
        )
    result = {"path": out, "rows": made.rows, "sha256": made.sha256, "resampled": made.resampled}
    what = "files" if out.is_dir() else "rows"
    human = [f"{made.rows} {what}, checked: no failures", *_resampled(made, _side(profile)), *_warnings(made.report)]
    show({**result, **_plain(made.report, out)}, json=json, human=human, wrote=out)


def _resampled(made: WrittenSubmission, to: str) -> list[str]:
    """A line about resampling, if the store has another size than the submission."""
    if not made.resampled:
        return []
    height, width = made.size
    return [f"resampled: the store is {width}x{height}, its probabilities were resampled to {to} before the argmax"]


def _side(profile: str) -> str:
    from trashkit.submit import read_profile

    size = read_profile(profile).size
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
    return table(["line", "image", "problem", "fix"], rows, title=title)


def _warnings(report: Report) -> list[Any]:
    if not report.warnings:
        return []
    return [f"{len(report.warnings)} warning{'s' * (len(report.warnings) != 1)}", _problems(report.warnings)]
