"""The trashkit command and the registry of its subcommands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from trashkit import __version__
from trashkit.cli.annotations import audit, data, edits, fix, review
from trashkit.cli.groups import Commands, Root
from trashkit.cli.predictions import ensemble, export, postprocess, predict, presence, sheets
from trashkit.cli.scores import compare, leaderboard, score, submit
from trashkit.cli.training import auto, pseudo, recipes, report, runs, soup, split, sweep, train
from trashkit.cli.utilities import demo, doctor, init

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


def _add(panel: str, name: str, command: Callable[..., Any] | typer.Typer, short: str, **options: Any) -> None:
    """Register a command, or a group of commands, with the line that `trashkit --help` shows for it."""
    Root.order.append(name)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, rich_help_panel=panel, short_help=short)
    else:
        app.command(name, rich_help_panel=panel, short_help=short, **options)(command)


START = "Start here"
_add(START, "init", init.init, "Write the project file of a folder")
_add(START, "auto", auto.auto, "Do the whole job within a time budget", many=True)

ANNOTATIONS = "Annotations"
_add(ANNOTATIONS, "audit", audit.audit, "Find what is wrong with annotations and photos")
_add(ANNOTATIONS, "fix", fix.fix, "Apply fixes, and log every change")
_add(ANNOTATIONS, "review", review.review, "Review findings in the FiftyOne App")
_add(ANNOTATIONS, "edits", edits.app, "Show, apply, invert, merge and make edit logs")
_add(ANNOTATIONS, "data", data.app, "Generate, import, export and download data sets")

TRAINING = "Training"
_add(TRAINING, "split", split.app, "Build, check and export cross-validation folds")
_add(TRAINING, "train", train.train, "Train segmentation networks", many=True)
_add(TRAINING, "pseudo", pseudo.pseudo, "Train with pseudo-labels on unlabelled photos")
_add(TRAINING, "sweep", sweep.sweep, "Search for better training settings")
_add(TRAINING, "soup", soup.soup, "Average the weights of several runs")
_add(TRAINING, "recipes", recipes.app, "List and show training recipes")
_add(TRAINING, "runs", runs.runs, "List runs, best validation mIoU first")
_add(TRAINING, "report", report.report, "Write a run's HTML report")

PREDICTIONS = "Predictions"
_add(PREDICTIONS, "predict", predict.predict, "Predict a data set, or draw predictions on photos")
_add(PREDICTIONS, "ensemble", ensemble.ensemble, "Combine predictions of several models")
_add(PREDICTIONS, "presence", presence.presence, "Classify which classes each photo shows")
_add(PREDICTIONS, "postprocess", postprocess.postprocess, "Clean predicted label maps in named steps")
_add(PREDICTIONS, "sheets", sheets.sheets, "Draw photos with truth and predictions side by side")
_add(PREDICTIONS, "export", export.export, "Export a network to ONNX")

SCORES = "Scores and submissions"
_add(SCORES, "score", score.score, "Score predictions against annotations")
_add(SCORES, "compare", compare.compare, "Test whether one prediction beats another")
_add(SCORES, "submit", submit.app, "Make, check, compare and trace submissions")
_add(SCORES, "leaderboard", leaderboard.app, "Record submissions, estimate the hidden score")

UTILITIES = "Utilities"
_add(UTILITIES, "demo", demo.demo, "Run the whole workflow on the synthetic data set")
_add(UTILITIES, "doctor", doctor.doctor, "Check the installation")


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="trashkit")
