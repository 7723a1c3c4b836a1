"""``trashkit sweep``: many short trainings that look for better settings."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, Overwrite, Resume, command, note, progress, show, table
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trashkit.config import TrainConfig
    from trashkit.run import Run


def sweep(
    data: Annotated[Path, typer.Option("--data", metavar="ANN.json", help="COCO file with annotations.")],
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder that its file names start from.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the study, its runs and best.toml.")],
    try_: Annotated[
        list[str] | None,
        typer.Option("--try", metavar="KEY=WHAT", help="LOW..HIGH, LOW..HIGH:log, or A|B|C for one setting."),
    ] = None,
    space: Annotated[Path | None, typer.Option("--space", metavar="FILE.toml", help="The same as a file.")] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many trials the study shall have.")] = 20,
    split: Annotated[
        Path | None, typer.Option("--split", metavar="SPLIT.json", help="Split to take the fold from.")
    ] = None,
    fold: Annotated[str | None, typer.Option("--fold", metavar="K", help="Fold to validate on; 0 by default.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME|FILE.toml", help="Settings to start from.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting that stays the same.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The same as --set seed=N.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu", help="cpu leaves a GPU alone.")] = "auto",
    classes: Classes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Look for better settings by many trainings on one fold; those that fall behind end early.

    optuna proposes values, and remembers them in study.db: a sweep that was stopped goes on with --resume. All trials
    train with one seed. The best settings are written as a recipe. Measure them on other folds before you trust them.

    Examples:

      trashkit sweep --data train.json --images photos --try optimiser.lr=1e-4..1e-2:log --trials 12 --out sweeps/lr

      trashkit sweep --data train.json --images photos --try "loss=ce|ce + dice" --set epochs=5 --out sweeps/loss
    """
    from trashkit.cli.train_plan import read_folds, read_recipes, refuse_contradictions, say_nothing
    from trashkit.coco import read_dataset

    refuse_contradictions(data, split, fold, device=device, resume=resume, overwrite=overwrite)
    if fold == "all":
        raise TrashkitError("a sweep compares on one fold", hint="give --fold K")
    if not images.is_dir():
        raise TrashkitError(f"the photo folder {images} does not exist", hint="check --images")
    dataset = read_dataset(data, classes=classes)

    from trashkit.nn.choices import check_settings
    from trashkit.nn.folds import plan_jobs, train_jobs
    from trashkit.nn.space import read_space
    from trashkit.nn.sweep import sweep as search

    wanted = read_space(space, try_ or [])
    fixed = [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]
    chosen = [recipe] if recipe else None
    base = next(iter(read_recipes(chosen, fixed, device, note).values()))
    folds = read_folds(dataset, split, fold, all_data=False, seed=base.seed, say=note)

    def resolve(assignments: Sequence[str]) -> TrainConfig:
        config = next(iter(read_recipes(chosen, [*fixed, *assignments], device, say_nothing).values()))
        check_settings(config, dataset.classes.names)
        return config

    def train_one(
        config: TrainConfig, place: Path, name: str, after: Callable[[Sequence[Mapping[str, Any]]], None]
    ) -> Run:
        (job,) = plan_jobs({name: config}, folds, dataset, place)
        about = {"kind": "trial", "command": shlex.join(["trashkit", *sys.argv[1:]])}
        return train_jobs(
            [job], dataset, images, place, about=about, device=device, resume=True, after_epoch=after, say=note,
            trackers=["auto"], progress=tell,
        )[0]  # fmt: skip

    held = [str(image_id) for _, val in folds.values() for image_id in val]
    identity = {"data": dataset.coco.sha256, "settings": base.model_dump(), "validation images": held}
    with progress() as tell:
        found = search(
            wanted, resolve, train_one, out, trials=trials, identity=identity, seed=base.seed, resume=resume,
            overwrite=overwrite, say=note,
        )  # fmt: skip
    result = [
        {"number": one.number, "state": one.state, "score": one.score, "settings": one.values, "path": one.folder}
        for one in found
    ]
    rows = [[one.number, one.score, one.state, *(one.values.get(key) for key in wanted)] for one in found]
    human = table(["trial", "smoothed mIoU", "state", *wanted], rows)
    next_ = command("train", "--data", data, "--images", images, "--recipe", out / "best.toml", "--out", "RUN")
    show({"trials": result, "best": out / "best.toml"}, json=json, human=human, wrote=out, next=next_)
