"""``trashkit postprocess``: clean the label maps of a store in named steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.options import Json, OutStore, Overwrite, Resume
from trashkit.cli.output import progress, show, table, warn
from trashkit.errors import TrashkitError


def postprocess(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Probability store. Never modified.")],
    out: OutStore,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            metavar="NAME=N",
            help="Step to apply: despeckle=3|5, fill-holes=N, min-area=N or min-area=CLASS:N (pixels), "
            "one-class=PERCENT. Repeatable, in order.",
        ),
    ] = None,
    presence: Annotated[
        Path | None,
        typer.Option(
            "--presence",
            metavar="FILE.json",
            help="Reweight predictions by class presence, from a file written by `presence`.",
        ),
    ] = None,
    power: Annotated[
        float | None,
        typer.Option("--power", min=0.05, max=4, help="Exponent of the class presence, 0.05 to 4; default: 1."),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Clean predicted label maps in named steps, and report what each step changed.

    Writes a new store, so that `trashkit compare` can tell whether it helps. Sizes are in pixels of the store.

    Examples:

      trashkit postprocess mix --step fill-holes=20 --step min-area=30 --out cleaned

      trashkit postprocess mix --presence test-presence.json --step one-class=1 --out voted

      trashkit postprocess runs/a/oof --step min-area=Battery:10 --out cleaned --json
    """
    from trashkit.outputs import Output
    from trashkit.predictions.class_presence import read_presence
    from trashkit.predictions.folder import STORE
    from trashkit.predictions.postprocess import parse_steps
    from trashkit.predictions.postprocess import postprocess as run
    from trashkit.predictions.store import open_store

    if power is not None and presence is None:
        raise TrashkitError("--power needs --presence", hint="add --presence FILE.json")
    opened = open_store(store)
    steps = parse_steps(step or [], opened.classes)
    shown = read_presence(presence) if presence is not None else None
    Output(out, overwrite=overwrite, resume=resume, kind=STORE).check()
    if shown is not None and (known := shown.source.get("seen")):
        warn(f"the classifier of {presence} was trained on {known} of its photos: scores with it are too optimistic")
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
    human = table(("step", "images changed", "regions removed", "pixels changed", "from", "to"), rows)
    closing = f"compare {store} {out} --data ANN.json tells whether that helps, where the photos are annotated"
    show(result, json=json, human=[human, closing], wrote=out)


def _most(counts: dict[str, int]) -> str:
    """The three classes with the most pixels."""
    largest = sorted(((n, name) for name, n in counts.items() if n), reverse=True)[:3]
    return ", ".join(f"{name} {n}" for n, name in largest)
