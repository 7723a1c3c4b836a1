"""``trashkit ensemble``: one store of probabilities from several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Json, Overwrite, Resume, command, progress, show
from trashkit.cli.submit import numbers
from trashkit.errors import TrashkitError


def ensemble(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Stores of the same images.")],
    out: Annotated[Path, typer.Option("--out", help="Store to write.")],
    method: Annotated[str, typer.Option("--method", help="mean, weighted (with --weights) or vote.")] = "mean",
    weights: Annotated[str | None, typer.Option("--weights", help="One number per store, as in 2,1,1.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="uint8, or float16 for twice the space.")] = "uint8",
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Combine stores image by image: the mean of their probabilities, a weighted mean, or a vote.

    Images are joined by id and file name, classes by name. Ties of a vote go to the higher mean probability.

    Examples:

      trashkit ensemble runs/a/test runs/b/test --out mean

      trashkit ensemble runs/a/test runs/b/test --method weighted --weights 2,1 --out mean --json
    """
    from trashkit.ensemble import METHODS
    from trashkit.ensemble import ensemble as combine
    from trashkit.store import open_store

    known = {name: name for name in METHODS}
    if method not in known:
        raise TrashkitError(f'there is no ensemble method "{method}"', hint=f"choose from: {', '.join(METHODS)}")
    if dtype not in ("uint8", "float16"):
        raise TrashkitError(f'there is no dtype "{dtype}"', hint="choose --dtype from: uint8, float16")
    members = [open_store(path) for path in stores]
    with progress() as report:
        made = combine(
            members,
            out,
            method=known[method],
            weights=numbers(weights),
            dtype="uint8" if dtype == "uint8" else "float16",
            resume=resume,
            overwrite=overwrite,
            progress=report,
        )
    shares = dict(zip(map(str, stores), made.weights, strict=True))
    result = {"store": out, "images": made.images, "reused": made.reused, "method": method, "weights": shares}
    human = f"{made.images} images from {len(stores)} stores, {method}"
    following = command("submit", out, "--data", "TEST.json", "--out", "submission.csv")
    show(result, json=json, human=human, wrote=out, next=following)
