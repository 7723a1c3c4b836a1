"""``trashkit soup``: the weights of several runs averaged into one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Classes, Json, Overwrite, command, note, progress, show, table
from trashkit.errors import TrashkitError


def soup(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Complete runs of one network and fold.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.")],
    method: Annotated[
        str, typer.Option("--method", metavar="greedy|uniform", help="Keep what helps in validation, or average all.")
    ] = "greedy",
    data: Annotated[
        Path | None, typer.Option("--data", metavar="ANN.json", help="Annotations, where the runs' have moved.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="Photos, where they moved.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu", help="cpu leaves a GPU alone.")] = "auto",
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Average the weights of runs into one network, which costs no more than each of them.

    The best run comes first; another is kept only where the average with it scores at least as well on the validation
    images. It pays for runs that started from the same weights, such as several seeds or settings of one recipe.

    Examples:

      trashkit soup runs/plain runs/copy-paste --out runs/soup

      trashkit soup runs/folds/cpu-small/fold-* --method uniform --out runs/mean
    """
    from trashkit.coco import read_dataset
    from trashkit.nn.soup import check_ingredients, cook
    from trashkit.run import read_run
    from trashkit.run_folder import refuse_folder

    if device not in ("auto", "cpu"):
        raise TrashkitError(f'there is no device "{device}"', hint="choose auto or cpu")
    refuse_folder(out, overwrite=overwrite, resumes=False)
    found = [read_run(path) for path in runs]
    check_ingredients(found, method)
    inputs = found[0].manifest.get("inputs") or {}
    dataset = read_dataset(data or Path(str(inputs.get("data"))), classes=classes)
    about = {"command": shlex.join(["trashkit", *sys.argv[1:]])}
    with progress() as tell:
        made = cook(
            runs, dataset, images or Path(str(inputs.get("images"))), out, method=method, about=about, device=device,
            overwrite=overwrite, say=note, progress=tell,
        )  # fmt: skip
    ingredients = made.manifest["ingredients"]
    result = {"path": made.path, "miou": made.miou, "choice": made.manifest.get("choice"), "ingredients": ingredients}
    rows = [[one["run"], one["miou"], "taken" if one["taken"] else "left out"] for one in ingredients]
    human = table(["ingredient", "validation mIoU", ""], [*rows, [made.path, made.miou, "soup"]])
    show(result, json=json, human=human, wrote=out, next=command("report", made.path, runs[0]))
