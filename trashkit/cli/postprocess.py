"""``trashkit postprocess``: clean the label maps of a store in named steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Json, Overwrite, Resume, command, progress, show, table


def postprocess(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store of probabilities. It is not changed.")],
    out: Annotated[Path, typer.Option("--out", help="Store to write.")],
    step: Annotated[
        list[str],
        typer.Option(
            "--step",
            metavar="NAME=N",
            help="despeckle=3|5, fill-holes=PIXELS, min-area=PIXELS, min-area=CLASS:PIXELS, one-class=PERCENT; several in turn.",
        ),
    ],
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Clean predicted label maps, and say what each step erased.

    Writes another store, so that `trashkit compare` can tell whether it helps. Pixels are the store's.

    Examples:

      trashkit postprocess mix --step fill-holes=20 --step min-area=30 --out cleaned

      trashkit postprocess mix --step one-class=1 --out voted

      trashkit postprocess runs/a/oof --step min-area=Battery:10 --out cleaned --json
    """
    from trashkit.postprocess import parse_steps
    from trashkit.postprocess import postprocess as run
    from trashkit.store import open_store, refuse_existing_store

    opened = open_store(store)
    steps = parse_steps(step, opened.classes)
    refuse_existing_store(out, overwrite=overwrite or resume)
    with progress() as report:
        reports = run(opened, out, steps, resume=resume, overwrite=overwrite, progress=report)
    result = {
        "store": out,
        "steps": [
            {"name": r.name, "images": r.images, "regions_erased": r.regions, "erased": r.erased, "added": r.added}
            for r in reports
        ],
    }
    rows = [(r.name, r.images, r.regions, sum(r.erased.values()), _most(r.erased), _most(r.added)) for r in reports]
    human = table(("step", "images changed", "regions fewer", "pixels changed", "taken from", "given to"), rows)
    following = command("compare", store, out, "--truth", "ANN.json")
    show(result, json=json, human=human, wrote=out, next=following)


def _most(counts: dict[str, int]) -> str:
    """The three classes with most pixels."""
    largest = sorted(((n, name) for name, n in counts.items() if n), reverse=True)[:3]
    return ", ".join(f"{name} {n}" for n, name in largest)
