"""``trashkit demo``: the whole workflow on the synthetic data set."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.options import Json, Resume
from trashkit.cli.output import console, show


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; an earlier demo is replaced.")] = Path(
        "trashkit-demo"
    ),
    full: Annotated[
        bool, typer.Option("--full", help="More photos, all folds and longer training; takes much longer.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the photos and the training.")] = 0,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Run the whole workflow on synthetic photos: audit, fix, split, train, predict, ensemble, submit, score.

    Needs no data, network or GPU, and takes under three minutes on two CPU cores. Writes an HTML page, overlays, an
    edit log, a run, stores and a valid submission.

    Examples:

      trashkit demo

      trashkit demo --full --out longer

      trashkit demo --resume
    """
    if find_spec("torch") is None:  # fail before 200 photos are drawn
        raise ModuleNotFoundError("torch", name="torch")
    from trashkit.demo.page import write_page
    from trashkit.demo.story import run_demo

    lines = console(stderr=json)

    def log(text: str) -> None:
        for line in text.split("\n"):
            lines.print(line, soft_wrap=True)

    story = run_demo(out, full=full, seed=seed, log=log, resume=resume)
    page = write_page(story, out)
    seconds = sum(step["seconds"] for step in story.steps)
    result = {"page": page, "folder": out, "seconds": seconds, "numbers": story.numbers, "steps": story.steps}
    show(result, json=json, human=["", f"{len(story.steps)} commands in {seconds:.0f} s"], wrote=page)
