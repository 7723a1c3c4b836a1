"""The trashkit command and the registry of its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from trashkit import __version__
from trashkit.cli import (
    audit,
    compare,
    data,
    demo,
    doctor,
    edits,
    ensemble,
    export,
    fix,
    leaderboard,
    postprocess,
    predict,
    presence,
    pseudo,
    recipes,
    report,
    review,
    runs,
    score,
    sheets,
    soup,
    split,
    submit,
    sweep,
    train,
)
from trashkit.cli.groups import Commands, Root

app = Commands(
    name="trashkit",
    cls=Root,
    help="From a folder of photos with noisy COCO annotations to a segmentation model you can trust.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trashkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """From a folder of photos with noisy COCO annotations to a segmentation model you can trust."""


# One line per command module: `app.command("name")(module.function)` or `app.add_typer(module.app, name="name")`, in
# the order in which a user meets them.
DATA, MODEL, HELP = "Annotations", "Models and predictions", "Supporting cast"
app.command("audit", rich_help_panel=DATA)(audit.audit)
app.command("fix", rich_help_panel=DATA)(fix.fix)
app.command("review", rich_help_panel=DATA)(review.review)
app.add_typer(edits.app, name="edits", rich_help_panel=DATA)
app.add_typer(split.app, name="split", rich_help_panel=DATA)
app.add_typer(data.app, name="data", rich_help_panel=DATA)
app.command("train", rich_help_panel=MODEL, many=True)(train.train)
app.command("predict", rich_help_panel=MODEL)(predict.predict)
app.command("score", rich_help_panel=MODEL)(score.score)
app.command("sheets", rich_help_panel=MODEL)(sheets.sheets)
app.command("compare", rich_help_panel=MODEL)(compare.compare)
app.command("ensemble", rich_help_panel=MODEL)(ensemble.ensemble)
app.command("presence", rich_help_panel=MODEL)(presence.presence)
app.command("postprocess", rich_help_panel=MODEL)(postprocess.postprocess)
app.command("export", rich_help_panel=MODEL)(export.export)
app.command("pseudo", rich_help_panel=MODEL)(pseudo.pseudo)
app.add_typer(submit.app, name="submit", rich_help_panel=MODEL)
app.add_typer(leaderboard.app, name="leaderboard", rich_help_panel=MODEL)
app.command("runs", rich_help_panel=MODEL)(runs.runs)
app.command("report", rich_help_panel=MODEL)(report.report)
app.command("soup", rich_help_panel=MODEL)(soup.soup)
app.command("sweep", rich_help_panel=MODEL)(sweep.sweep)
app.add_typer(recipes.app, name="recipes", rich_help_panel=MODEL)
app.command("demo", rich_help_panel=HELP)(demo.demo)
app.command("doctor", rich_help_panel=HELP)(doctor.doctor)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="trashkit")
