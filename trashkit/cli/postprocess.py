"""``trashkit postprocess``: clean the label maps of a store in named steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Json, Overwrite, Resume, command, progress, show, table, warn
from trashkit.errors import TrashkitError


def postprocess(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store of probabilities. It is not changed.")],
    out: Annotated[Path, typer.Option("--out", help="Store to write.")],
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            metavar="NAME=N",
            help="despeckle=3|5, fill-holes=N, min-area=N or CLASS:N (pixels), one-class=PERCENT; one after another.",
        ),
    ] = None,
    presence: Annotated[
        Path | None,
        typer.Option(
            "--presence", metavar="FILE.json", help="Weigh classes by what each photo shows, as `presence` wrote it."
        ),
    ] = None,
    power: Annotated[
        float | None,
        typer.Option(
            "--power", min=0.05, max=4, help="How much that counts, with --presence: 0.05 to 4, by default 1."
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Clean predicted label maps, and say what each step erased and what it gave to others.

    Writes another store, so that `trashkit compare` can tell whether it helps. Pixels are the store's.

    Examples:

      trashkit postprocess mix --step fill-holes=20 --step min-area=30 --out cleaned

      trashkit postprocess mix --presence test-presence.json --step one-class=1 --out voted

      trashkit postprocess runs/a/oof --step min-area=Battery:10 --out cleaned --json
    """
    from trashkit.postprocess import parse_steps
    from trashkit.postprocess import postprocess as run
    from trashkit.presence import read_presence
    from trashkit.store import open_store, refuse_existing_store

    if power is not None and presence is None:
        raise TrashkitError("--power needs --presence, which it gives its weight", hint="add --presence FILE.json")
    opened = open_store(store)
    steps = parse_steps(step or [], opened.classes)
    shown = read_presence(presence) if presence is not None else None
    refuse_existing_store(out, overwrite=overwrite or resume)
    if shown is not None and (known := shown.source.get("seen")):
        warn(f"{presence} judges {known} of its photos by a classifier that learned from them: do not score with it")
    with progress() as report:
        reports = run(
            opened, out, steps, presence=shown, power=power or 1.0, resume=resume, overwrite=overwrite, progress=report
        )
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
