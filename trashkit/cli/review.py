"""``trashkit review``: look at findings, decide, and get an edit log."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.output import Classes, Overwrite, command, note, progress, show, warn
from trashkit.cli.review_beside import Besides, label_error_stores
from trashkit.cli.review_findings import Asked, findings_of
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Coco, Dataset
    from trashkit.coco.edit import Edit
    from trashkit.review.app import Opened
    from trashkit.review.beside import Beside
    from trashkit.review.room import Room


def review(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO annotation file. It is not changed.")],
    images: Annotated[Path, typer.Option("--images", help="Folder of the photos.")],
    edits: Annotated[
        Path | None,
        typer.Option("--edits", metavar="LOG.jsonl", help="Edit log for the decisions; one that exists goes on."),
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option("--findings", metavar="F.json", help="What `audit --json` printed; default: audit now."),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions",
            metavar="STORE|RUN|CSV|PSEUDO",
            help="Compare with these label maps, or show pseudo-labels; out-of-fold ones find label errors too. May be "
            "repeated.",
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="OTHER.json", help="Compare with another version of the file; repeatable."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="TEST.json", help="Show a test set beside it: leaks, colours, its predictions."),
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option("--test-images", metavar="DIR", help="Its photos; default: those of --images.")
    ] = None,
    label_maps: Annotated[
        bool, typer.Option("--label-maps", help="Draw the annotations as label maps too; comparisons always do.")
    ] = False,
    open_: Annotated[
        Path | None, typer.Option("--open", metavar="CASES.json", help="Open at the cases that a team mate shared.")
    ] = None,
    classes: Classes = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port of the App, on this machine alone.")
    ] = 5151,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", help="Who decides, for the log; default: the user's name.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Instead: a page to decide on anywhere, which exports a log."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="trashkit.toml", help="Thresholds of the checks.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Review findings in the FiftyOne App; every decision lands in an edit log at once.

    The App shows each finding with its proposed fix, before and after. Accept it, reject it, change the class, delete,
    merge, mark an image as unusable, leave a note, or draw in the Annotate tab. Ctrl-C ends the review; the same
    command goes on with it. `trashkit fix --edits` applies the log: what nobody decided on stays as it is.

    Examples:

      trashkit review ANN.json --images data --edits review.jsonl

      trashkit review ANN.json --images data --edits review.jsonl --findings audit.json --port 5160 --no-browser

      trashkit review ANN.json --images data --edits review.jsonl --predictions runs/a/oof --against old.json

      trashkit review train.json --images data --edits review.jsonl --test test.json --predictions submission.csv

      trashkit review ANN.json --images data --edits review.jsonl --open cases.json

      trashkit review ANN.json --images data --html review.html

      trashkit fix ANN.json --edits review.jsonl --out REVIEWED.json
    """
    from trashkit.coco import read
    from trashkit.files import refuse_existing
    from trashkit.review.room import Room

    if edits is None and open_ is not None:
        edits = open_.with_suffix(".edits.jsonl")
    if edits is None and html is None:
        raise TrashkitError("decisions need a place", hint="add --edits LOG.jsonl, or --html FILE for a page")
    if html is not None:
        refuse_existing(html, overwrite=overwrite)
    if html is not None and open_ is not None:
        raise TrashkitError("--open shows cases in the App, not on a page", hint="leave out --html")
    for option, folder in (("--images", images), ("--test-images", test_images)):
        if folder is not None and not folder.is_dir():
            raise TrashkitError(f"{folder} is no folder", hint=f"give the folder of the photos as {option}")
    if test_images is not None and test is None:
        raise TrashkitError("--test-images needs to know of what", hint="add --test TEST.json")
    if html is None:
        _ready_for_app(port)
    coco = read(annotations)
    _warn_wrong_folder(coco, images, "--images")
    besides = Besides(tuple(predictions or ()), tuple(against or ()), test, test_images or images, label_maps, classes)
    parts, beside = besides.opened(coco)
    asked = Asked(
        images,
        findings,
        config,
        test if test_images is None else None,
        label_error_stores(beside),
        None if html is not None else _home() / "audits",
    )
    found, fixes = findings_of(coco, asked)
    # Without a log, nothing is decided yet.
    log = edits or annotations.with_suffix(".no-edits")
    room = Room(coco, found, fixes, log, reviewer=reviewer or _user(), images=images)
    if room.torn():
        warn(room.torn())
    if html is not None:
        _page(room, html, overwrite)
        return
    if open_ is not None:
        _open_cases(room, open_)
    _app(room, besides, parts, beside, port=port, browser=browser)


def _page(room: Room, path: Path, overwrite: bool) -> None:
    from trashkit.files import write_text
    from trashkit.review.page import review_page

    with progress() as report:
        write_text(path, review_page(room, progress=report), overwrite=overwrite)
    decided, number = room.progress()
    left = number - decided
    result = {"html": path, "findings": number, "decided": decided}
    next = command("fix", room.coco.path, "--edits", "review.jsonl", "--out", "reviewed.json")
    show(result, human=[f"{count_of(left, 'finding')} to decide on"], wrote=path, next=next)


def count_of(number: int, what: str) -> str:
    """A number and what it counts, in the singular where it is one."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("USERNAME") or "reviewer"


def _ready_for_app(port: int) -> None:
    """What would stop the App in the end is said before the audit, which may take a while."""
    from trashkit.review.app import free_port
    from trashkit.review.database import require_fiftyone

    free_port(port)
    require_fiftyone(os.environ.get("FIFTYONE_DATABASE_URI", ""))


def _warn_wrong_folder(coco: Coco, images: Path, option: str) -> None:
    from trashkit.audit.photo_folder import wrong_folder

    missing, number, hint = wrong_folder(coco, images)
    if missing == number and number:
        warn(f"none of the {number} photos is in {images}; {hint.replace('--images', option)}")
    elif missing:
        warn(f"{missing} of the {number} photos {'is' if missing == 1 else 'are'} not in {images}: outlines alone show")


def _open_cases(room: Room, path: Path) -> None:
    from trashkit.review.cases import read_cases

    room.shared, missing = read_cases(path, room)
    number = count_of(len(room.shared.cases), "case")
    note(f'{number} of "{room.shared.title}" in the view "shared cases"')
    if missing:
        warn(f"{missing} of its cases are not in {room.coco.path}")


def _app(
    room: Room, besides: Besides, parts: Sequence[Dataset], beside: Sequence[Beside], *, port: int, browser: bool
) -> None:
    from trashkit.review.app import SHARED_VIEW, VIEW, open_review, serve
    from trashkit.review.database import fiftyone_ready

    home, start = _home(), time.monotonic()
    with fiftyone_ready(home, os.environ.get("FIFTYONE_DATABASE_URI", ""), port=port) as server:
        connected = time.monotonic() - start
        test = besides.test_room()
        if test is not None and test.images is not None:
            _warn_wrong_folder(test.coco, test.images, "--test-images")
        with progress() as report:
            opened = open_review(room, home, test=test, progress=report)
            besides.add(opened, parts, beside, home, report)
        _say_opened(room, opened)
        room.begin()
        served = time.monotonic()

        def ready(address: str) -> None:
            took = time.monotonic()
            note(f"FiftyOne and its database took {connected:.1f} s to start, its server {took - served:.1f} s")
            note(f"review at {address} (Ctrl-C ends it); decisions go to {room.log}")

        view = SHARED_VIEW if room.shared is not None else VIEW
        serve(room, opened, server, port=port, browser=browser, view=view, ready=ready, told=_taken_over)
    decided, number = room.progress()
    edits = len(room.standing().edits)
    sentence = f"{decided} of {count_of(number, 'finding')} decided, {count_of(edits, 'edit')} in {room.log}"
    show({"decided": decided, "findings": number, "edits": edits}, human=[sentence], next=_next(room))


def _say_opened(room: Room, opened: Opened) -> None:
    decided, number = room.progress()
    note(
        f"{'filled' if opened.built else 'found'} the App's data set in {opened.seconds:.1f} s: "
        f"{count_of(len(room.images_rows), 'image')}, {count_of(room.coco.count('annotations'), 'annotation')}, "
        f"{count_of(number, 'finding')} ({decided} decided)"
    )
    for sentence in opened.said:
        note(sentence)
    hidden = len(room.findings) - number
    if hidden:
        verb = "is" if hidden == 1 else "are"
        about = "about categories, the file or rows without image: `trashkit audit` lists"
        note(f"{count_of(hidden, 'finding')} {verb} {about} {'it' if hidden == 1 else 'them'}")


def _taken_over(edits: Sequence[Edit], problems: Sequence[str]) -> None:
    if edits:
        note(f"{count_of(len(edits), 'edit')} from the Annotate tab")
    for problem in problems:
        warn(problem)


def _home() -> Path:
    """Where the review's database lies: the user's data folder."""
    if os.environ.get("TRASHKIT_HOME"):
        return Path(os.environ["TRASHKIT_HOME"]) / "review"
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "trashkit" / "review"


def _next(room: Room) -> str:
    source = room.coco.path or Path("annotations.json")
    return command("fix", source, "--edits", room.log, "--out", f"{source.stem}-reviewed.json")
