"""``trashkit review``: look at findings, decide, and get an edit log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Overwrite, command, note, progress, show, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Coco
    from trashkit.coco.edit import Edit
    from trashkit.finding import Finding
    from trashkit.predictions import Predictions
    from trashkit.review.app import Opened
    from trashkit.review.room import Fix, Room

RESERVED = ("annotations", "proposed", "original", "row", "findings", "open", "worst", "codes", "group", "note", "tags")
"""Fields of the App's data set that no comparison may be named after."""


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
        typer.Option("--predictions", metavar="STORE|CSV", help="Compare with these label maps; may be repeated."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="OTHER.json", help="Compare with another version of the file.")
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

      trashkit review ANN.json --images data --html review.html

      trashkit fix ANN.json --edits review.jsonl --out REVIEWED.json
    """
    from trashkit.coco import read
    from trashkit.files import refuse_existing

    if edits is None and html is None:
        raise TrashkitError("decisions need a place", hint="add --edits LOG.jsonl, or --html FILE for a page")
    if html is not None:
        refuse_existing(html, overwrite=overwrite)
    if not images.is_dir():
        raise TrashkitError(f"{images} is no folder", hint="give the folder of the photos as --images")
    coco = read(annotations)
    # Without a log, nothing is decided yet.
    room = _room(coco, images, edits or annotations.with_suffix(".no-edits"), findings, reviewer, config)
    if html is not None:
        _page(room, html, overwrite)
        return
    assert edits is not None
    beside = [*(predictions or []), *([against] if against is not None else [])]
    _app(room, _opened(coco, beside, classes), port, browser)


def _page(room: Room, path: Path, overwrite: bool) -> None:
    from trashkit.files import write_text
    from trashkit.review.page import review_page

    with progress() as report:
        write_text(path, review_page(room, progress=report), overwrite=overwrite)
    decided, number = room.progress()
    result = {"html": path, "findings": number, "decided": decided}
    next = command("fix", room.coco.path, "--edits", "review.jsonl", "--out", "reviewed.json")
    show(result, human=[f"{number - decided} findings to decide on"], wrote=path, next=next)


def _room(
    coco: Coco,
    images: Path,
    log: Path,
    findings_file: Path | None,
    reviewer: str | None,
    config: Path | None,
) -> Room:
    from trashkit.review.room import Room

    found, fixes = _findings(coco, images, findings_file, config)
    return Room(coco, found, fixes, log, reviewer=reviewer or _user(), images=images)


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("USERNAME") or "reviewer"


def _findings(
    coco: Coco, images: Path | None, findings_file: Path | None, config: Path | None
) -> tuple[list[Finding], dict[int, Fix]]:
    """Findings, from the file or an audit made now, and their proposed fixes."""
    from trashkit.audit import audit, read_settings
    from trashkit.audit.settings import FILE_NAME
    from trashkit.review.room_file import read_findings

    settings = read_settings(config if config is not None else (Path(FILE_NAME) if Path(FILE_NAME).is_file() else None))
    with progress() as report:
        if findings_file is not None:
            blocks = {block: coco.count(block) for block in coco.blocks()}
            found: list[Finding] = read_findings(findings_file, blocks)
        else:
            found = audit(coco, settings=settings, images=images, progress=report).findings
        return found, _fixes(coco, found, settings, report)


def _fixes(coco: Coco, findings: Sequence[Finding], settings: Any, report: Any) -> dict[int, Fix]:
    """The proposed fix of each finding that has one: alone, and together with the others of its row."""
    from collections import Counter, defaultdict

    from trashkit.audit.fix import propose
    from trashkit.review.room import Fix

    fixable = {n: finding for n, finding in enumerate(findings) if finding.fix is not None and finding.row is not None}
    together: dict[tuple[str, int | None], list[Edit]] = defaultdict(list)
    for edit in propose(coco, fixable.values(), unsafe=True, settings=settings):
        together[edit.block, edit.row].append(edit)
    crowd = Counter((finding.block, finding.row) for finding in fixable.values())
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in fixable.values():
        if crowd[finding.block, finding.row] > 1:
            by_code[finding.code].append(finding)
    alone: dict[tuple[str, str, int | None], list[Edit]] = defaultdict(list)
    for done, (code, some) in enumerate(by_code.items()):
        report("proposing fixes", done, len(by_code))
        for edit in propose(coco, some, unsafe=True, settings=settings):
            alone[code, edit.block, edit.row].append(edit)
    fixes: dict[int, Fix] = {}
    for n, finding in fixable.items():
        chain = tuple(together[finding.block, finding.row])
        single = tuple(alone[finding.code, finding.block, finding.row])
        if chain or single:
            fixes[n] = Fix(single or chain, chain or single)
    return fixes


def _opened(coco: Coco, paths: Sequence[Path], classes: str | None) -> list[Predictions]:
    """Files to compare with, opened before the App starts, so that mistakes show at once."""
    if not paths:
        return []
    from trashkit.coco import read_dataset
    from trashkit.predictions import open_predictions

    dataset = read_dataset(coco, classes=classes)
    return [open_predictions(path, dataset, classes=classes) for path in paths]


def _app(room: Room, beside: Sequence[Predictions], port: int, browser: bool) -> None:
    from trashkit.review.app import free_port, open_review, serve
    from trashkit.review.database import fiftyone_ready

    free_port(port)
    home = _home()
    with fiftyone_ready(home, os.environ.get("FIFTYONE_DATABASE_URI", "")):
        with progress() as report:
            opened = open_review(room, home, progress=report)
            _compare(opened, beside, home, report)
        _say_opened(room, opened)

        def ready(address: str) -> None:
            note(f"review at {address} (Ctrl-C ends it); decisions go to {room.log}")

        serve(room, opened, port=port, browser=browser, ready=ready, told=_taken_over)
    decided, number = room.progress()
    edits = len(room.standing().edits)
    sentence = f"{decided} of {number} findings decided, {edits} edits in {room.log}"
    show({"decided": decided, "findings": number, "edits": edits}, human=[sentence], next=_next(room))


def _compare(opened: Opened, beside: Sequence[Predictions], home: Path, report: Any) -> None:
    if not beside:
        return
    from trashkit.review.compare import add_comparison, field_name

    taken: list[str] = list(RESERVED)
    for predictions in beside:
        taken.append(field_name(predictions.path, taken))
        folder = home / "label-maps" / opened.dataset.name / taken[-1]
        add_comparison(opened.dataset, predictions, taken[-1], folder, progress=report)
        note(f"{predictions.path} is the field {taken[-1]}; saved views show the worst images first")


def _say_opened(room: Room, opened: Opened) -> None:
    decided, number = room.progress()
    note(
        f"{'filled' if opened.built else 'found'} the App's data set in {opened.seconds:.1f} s: "
        f"{len(room.images_rows)} images, {room.coco.count('annotations')} annotations, "
        f"{number} findings ({decided} decided)"
    )
    hidden = len(room.findings) - number
    if hidden:
        note(f"{hidden} findings are about categories, the file or rows without image: `trashkit audit` lists them")


def _taken_over(edits: Sequence[Edit], problems: Sequence[str]) -> None:
    if edits:
        note(f"{len(edits)} edits from the Annotate tab")
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
