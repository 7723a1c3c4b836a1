"""``trashkit demo``: the whole story on the embedded data set."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Json, console, show


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder to leave everything in; an earlier demo is replaced.")
    ] = Path("trashkit-demo"),
    full: Annotated[
        bool, typer.Option("--full", help="More photos, all folds, longer training; takes much longer.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the photos and of the training.")] = 0,
    json: Json = False,
) -> None:
    """Tell the whole story on scenes drawn by code: audit, fix, split, train, predict, ensemble, submit, score.

    Needs no data, no network and no GPU; takes under three minutes on two CPU cores. Leaves a page, overlays, an edit
    log, a run, stores and a valid submission.

    Examples:

      trashkit demo

      trashkit demo --full --out longer
    """
    if find_spec("torch") is None:  # found before 200 photos are drawn
        raise ModuleNotFoundError("torch", name="torch")
    from trashkit.demo.page import write_page
    from trashkit.demo.story import tell

    lines = console(stderr=json)

    def say(text: str) -> None:
        lines.print(text, soft_wrap=True)

    story = tell(out, full=full, seed=seed, say=say)
    page = write_page(story, out)
    seconds = sum(step["seconds"] for step in story.steps)
    result = {"page": page, "folder": out, "seconds": seconds, "numbers": story.numbers, "steps": story.steps}
    show(result, json=json, human=f"\n{len(story.steps)} commands in {seconds:.0f} s", wrote=page)
