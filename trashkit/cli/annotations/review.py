"""``trashkit review``: review findings in the FiftyOne App or on a static page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.options import Annotations, Classes, Config, Images, NearDuplicateMatching, Overwrite
from trashkit.cli.output import command, note, progress, show, unused, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.edits.edit import Edit
    from trashkit.review.fiftyone_app.app import OpenedReview
    from trashkit.review.session import ReviewSession
    from trashkit.workflows.review import PreparedReview


def review(
    annotations: Annotations,
    images: Images,
    edits: Annotated[
        Path | None,
        typer.Option("--edits", metavar="LOG.jsonl", help="Edit log for the decisions; an existing log is continued."),
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option("--findings", metavar="F.json", help="Output of `audit --json`; default: run the audit now."),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions",
            metavar="STORE|RUN|CSV|PSEUDO",
            help="Compare with these predictions, or show pseudo-labels; out-of-fold predictions also reveal label "
            "errors. Repeatable.",
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", metavar="OTHER.json", help="Compare with another version of the annotations. Repeatable."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            "--test", metavar="TEST.json", help="Also show a test set: leaks, colour statistics, predictions."
        ),
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option("--test-images", metavar="DIR", help="Folder of the test photos; default: --images.")
    ] = None,
    label_maps: Annotated[
        bool, typer.Option("--label-maps", help="Also draw the annotations as label maps; comparisons always do.")
    ] = False,
    open_: Annotated[
        Path | None, typer.Option("--open", metavar="CASES.json", help="Open the cases that a teammate shared.")
    ] = None,
    classes: Classes = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the App on 127.0.0.1.")] = 5151,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", help="Name recorded with each decision; default: the user name.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Instead: write a self-contained page that exports an edit log."),
    ] = None,
    near_duplicate_matching: NearDuplicateMatching = "normal",
    config: Config = None,
    overwrite: Overwrite = False,
) -> None:
    """Review findings in the FiftyOne App; every decision is saved to an edit log immediately.

    The App shows each finding with its proposed fix, before and after. Accept it, reject it, change the class, delete,
    merge, mark an image as unusable, leave a note, or draw in the Annotate tab. Ctrl-C ends the review; the same
    command continues it. `trashkit fix --edits` applies the log; findings without a decision change nothing.

    Examples:

      trashkit review ANN.json --images data --edits review.jsonl

      trashkit review ANN.json --images data --edits review.jsonl --findings audit.json --port 5160 --no-browser

      trashkit review ANN.json --images data --edits review.jsonl --predictions runs/a/oof --against old.json

      trashkit review train.json --images data --edits review.jsonl --test test.json --predictions submission.csv

      trashkit review ANN.json --images data --edits review.jsonl --open cases.json

      trashkit review ANN.json --images data --html review.html

      trashkit fix ANN.json --edits review.jsonl --out REVIEWED.json
    """
    if edits is None and open_ is not None:
        edits = open_.with_suffix(".edits.jsonl")
    _check_options(edits, html, open_, images, test, test_images, overwrite=overwrite)
    if html is None:
        _check_app(port)
    from trashkit.workflows.review import ReviewInputs, prepare_review

    inputs = ReviewInputs(
        annotations,
        images,
        edits,
        reviewer or _user(),
        findings=findings,
        config=config,
        cache=None if html is not None else _home() / "audits",
        cases=open_,
        predictions=tuple(predictions or ()),
        against=tuple(against or ()),
        label_maps=label_maps,
        test=test,
        test_images=test_images,
        classes=classes,
        near_duplicate_matching=near_duplicate_matching,
    )
    with progress() as report:
        prepared = prepare_review(inputs, progress=report, note=note, warn=warn)
    if html is not None:
        _write_page(prepared.session, html, overwrite)
    else:
        _run_app(prepared, port=port, browser=browser)


def _check_options(
    edits: Path | None,
    html: Path | None,
    cases: Path | None,
    images: Path,
    test: Path | None,
    test_images: Path | None,
    *,
    overwrite: bool,
) -> None:
    from trashkit.outputs import Output

    if edits is None and html is None:
        raise TrashkitError(
            "no file for the decisions was given", hint="add --edits LOG.jsonl, or --html FILE for a page"
        )
    if html is not None:
        Output(html, overwrite=overwrite).check()
    if html is not None and cases is not None:
        raise TrashkitError("--open shows cases in the App, not on a page", hint="leave out --html")
    for option, folder in (("--images", images), ("--test-images", test_images)):
        if folder is not None and not folder.is_dir():
            raise TrashkitError(f"{folder} is not a folder", hint=f"give the folder of the photos as {option}")
    if test_images is not None and test is None:
        raise TrashkitError("--test-images needs a test set", hint="add --test TEST.json")


def _check_app(port: int) -> None:
    """Check what the App needs before the audit, which may take a while."""
    from trashkit.review.fiftyone_app.app import require_free_port
    from trashkit.review.fiftyone_app.database import require_fiftyone

    require_free_port(port)
    require_fiftyone(_database_uri())


def _write_page(session: ReviewSession, path: Path, overwrite: bool) -> None:
    from trashkit.outputs import write_text
    from trashkit.review.static_page import review_page

    with progress() as report:
        write_text(path, review_page(session, progress=report), overwrite=overwrite)
    decided, number = session.progress()
    result = {"html": path, "findings": number, "decided": decided}
    human = [f"{_count(number - decided, 'open finding')}; `trashkit fix --edits` applies the log that the page saves"]
    show(result, human=human, wrote=path)


def _run_app(prepared: PreparedReview, *, port: int, browser: bool) -> None:
    from trashkit.workflows.review import review_app

    session = prepared.session
    with review_app(prepared, _home(), port=port, database_uri=_database_uri()) as app:
        with progress() as report:
            opened = app.fill(progress=report, note=note, warn=warn)
        _note_opened(session, opened)

        def on_ready(address: str, seconds: float) -> None:
            note(f"FiftyOne and its database took {app.connect_seconds:.1f} s to start, its server {seconds:.1f} s")
            note(f"review at {address} (Ctrl-C ends it); decisions go to {session.log}")

        app.serve(browser=browser, on_ready=on_ready, on_edits=_note_edits)
    decided, number = session.progress()
    edits = len(session.working_copy().edits)
    source = session.coco.path or Path("annotations.json")
    show(
        {"decided": decided, "findings": number, "edits": edits},
        human=[f"{decided} of {_count(number, 'finding')} decided, {_count(edits, 'edit')} in {session.log}"],
        next=command("fix", source, "--edits", session.log, "--out", unused(f"{source.stem}-reviewed.json"))
        if edits
        else "",
    )


def _note_opened(session: ReviewSession, opened: OpenedReview) -> None:
    decided, number = session.progress()
    note(
        f"{'built' if opened.built else 'reopened'} the App's data set in {opened.seconds:.1f} s: "
        f"{_count(len(session.image_records), 'image')}, {_count(session.coco.count('annotations'), 'annotation')}, "
        f"{_count(number, 'finding')} ({decided} decided)"
    )
    for sentence in opened.notes:
        note(sentence)
    hidden = len(session.findings) - number
    if hidden:
        verb, them = ("is", "it") if hidden == 1 else ("are", "them")
        about = "about categories, the file or rows without an image"
        note(f"{_count(hidden, 'finding')} {verb} {about} and not shown: `trashkit audit` lists {them}")


def _note_edits(edits: Sequence[Edit], problems: Sequence[str]) -> None:
    if edits:
        note(f"{_count(len(edits), 'edit')} from the Annotate tab")
    for problem in problems:
        warn(problem)


def _count(number: int, noun: str) -> str:
    """A number and a noun, in the singular for one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("USERNAME") or "reviewer"


def _database_uri() -> str:
    return os.environ.get("FIFTYONE_DATABASE_URI", "")


def _home() -> Path:
    """The folder of the review's database, in the user's data folder."""
    if os.environ.get("TRASHKIT_HOME"):
        return Path(os.environ["TRASHKIT_HOME"]) / "review"
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "trashkit" / "review"
