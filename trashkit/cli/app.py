"""The trashkit command and the registry of its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from trashkit import __version__
from trashkit.cli import audit, doctor, edits, ensemble, fix, recipes, runs, score, split, submit, train
from trashkit.cli.groups import Root

app = typer.Typer(
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


# One line per command module: `app.command("name")(module.function)` or `app.add_typer(module.app, name="name")`.
app.command("audit")(audit.audit)
app.command("doctor")(doctor.doctor)
app.command("ensemble")(ensemble.ensemble)
app.command("fix")(fix.fix)
app.add_typer(edits.app, name="edits")
app.command("score")(score.score)
app.add_typer(recipes.app, name="recipes")
app.command("runs")(runs.runs)
app.add_typer(split.app, name="split")
app.add_typer(submit.app, name="submit")
app.command("train")(train.train)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="trashkit")
