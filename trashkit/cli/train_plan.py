"""What ``train`` and ``sweep`` ask before they train: settings by recipe, and images by fold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.errors import TrashkitError, told_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trashkit.coco import Dataset
    from trashkit.config import TrainConfig

Folds = dict[int | None, tuple[list[Any], list[Any]]]
"""Fold number (None for a holdout or all images) -> image ids to train on and to validate on."""

HOLDOUT = 0.2
HOLDOUT_TRIALS = 20_000_000
"""A few seconds of search: for a single holdout more gains nothing."""


def refuse_contradictions(
    data: Path, split: Path | None, fold: str | None, *, device: str, resume: bool, overwrite: bool
) -> None:
    """Raise TrashkitError for options that do not go together, before anything is read."""
    if device not in ("auto", "cpu"):
        raise TrashkitError(f'there is no device "{device}"', hint="choose auto or cpu")
    if fold is not None and split is None:
        raise TrashkitError("--fold needs --split", hint=f"trashkit split {data} --out split.json makes one")


def read_recipes(
    chosen: list[str] | None, assignments: list[str], device: str, say: Callable[[str], None]
) -> dict[str, TrainConfig]:
    """Settings by recipe name."""
    from trashkit.config import read_recipe, resolve
    from trashkit.nn.choices import names
    from trashkit.nn.devices import torch_report

    if not chosen:
        gpu = device != "cpu" and any(found.name.startswith("cuda") for found in torch_report().devices)
        chosen = ["fpn-efficientnetv2-l" if gpu else "cpu-small"]
        say(f"recipe {chosen[0]}: {'there is a GPU' if gpu else 'made for a CPU'}; see `trashkit recipes list`")
    found: dict[str, TrainConfig] = {}
    choices = names()
    for name in chosen:
        recipe = read_recipe(name)
        if recipe.name in found:
            raise TrashkitError(f'two recipes are called "{recipe.name}"', hint="give each once, or rename a file")
        with told_of(recipe.name if len(chosen) > 1 else ""):
            found[recipe.name] = resolve(recipe, assignments, choices=choices)
    return found


def read_folds(
    dataset: Dataset, split: Path | None, fold: str | None, *, all_data: bool, seed: int, say: Callable[[str], None]
) -> Folds:
    """Fold number -> image ids to train on and to validate on."""
    every = [image.id for image in dataset.images]
    if all_data:
        return {None: (every, [])}
    if split is None:
        return _holdout(dataset, seed, say)
    from trashkit.split.files import read_split

    folds = read_split(split, dataset).folds
    if fold is None and len(folds) > 1:
        say(f"fold 0 of {len(folds)}: no --fold was given; --fold all trains them all")
    numbers = range(len(folds)) if fold == "all" else [_fold_number(fold or "0", len(folds), split)]
    return {number: (list(folds[number].train), list(folds[number].val)) for number in numbers}


def _fold_number(text: str, count: int, split: Path) -> int:
    if not text.isdecimal() or int(text) >= count:
        raise TrashkitError(f'{split} has no fold "{text}"', hint=f"give --fold 0 to {count - 1}, or all")
    return int(text)


def _holdout(dataset: Dataset, seed: int, say: Callable[[str], None]) -> Folds:
    from trashkit.split.make import make_split

    few = TrashkitError(
        f"{len(dataset)} images are too few to hold out {HOLDOUT:.0%} of them",
        hint="--all-data trains without validation; a --split says itself what is held out",
    )
    if len(dataset) < 2:
        raise few
    made = make_split(dataset, holdout=HOLDOUT, seed=seed, trials=HOLDOUT_TRIALS)
    if any(found.interrupted for found in made.found):
        raise KeyboardInterrupt
    held = made.split.folds[0]
    if not held.val:
        raise few
    say(
        f"validation {len(held.val)} of {len(dataset)} images: no --split was given, so {HOLDOUT:.0%} are held out, "
        f"stratified, with seed {seed}"
    )
    return {None: (list(held.train), list(held.val))}


def say_nothing(_: str) -> None:
    """What the other processes of a distributed training say."""
