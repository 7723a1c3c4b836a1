"""``trashkit ensemble``: one store of probabilities from several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, Overwrite, Resume, command, note, progress, show, table, warn
from trashkit.cli.submit_form import numbers
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.ensemble import Method, Mix
    from trashkit.ensemble.fit import Fit
    from trashkit.store import Probabilities


def ensemble(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Stores of the same images.")],
    out: Annotated[Path, typer.Option("--out", help="Store to write.")],
    method: Annotated[
        str | None, typer.Option("--method", help="mean (the default), weighted (with --weights), geometric or vote.")
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="One number per store, as in 2,1,1.")] = None,
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit", metavar="ANN.json", help="The stores are out of fold: find the mix by these annotations."
        ),
    ] = None,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="STORE", help="Combine as this store was, which --fit made.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Deals images to folds and draws pixels, for --fit.")] = 0,
    classes: Classes = None,
    dtype: Annotated[str, typer.Option("--dtype", help="uint8, or float16 for twice the space.")] = "uint8",
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Combine stores image by image: by the mean of their probabilities, or by a mix fitted to evidence.

    Images are joined by id and file name, classes by name. Ties of a vote go to the higher mean probability, and never
    to the background. --fit tries weights, temperatures and the geometric mean on out-of-fold stores, reports the gain
    on images that the fit did not see, and keeps the plain mean where that gain is within the noise. --like then
    combines the test stores in the same way, each with the weight of its model.

    Examples:

      trashkit ensemble runs/a/test runs/b/test --out mean

      trashkit ensemble runs/a/test runs/b/test --method weighted --weights 2,1 --out mean --json

      trashkit ensemble runs/a/oof runs/b/oof --fit train.json --out mix-oof

      trashkit ensemble runs/a/test runs/b/test --like mix-oof --out mix
    """
    from trashkit.ensemble import METHODS
    from trashkit.ensemble import ensemble as combine
    from trashkit.store import open_store, refuse_existing_store

    known: dict[str, Method] = {name: name for name in METHODS}
    if fit is not None or like is not None:
        _alone(method, weights, fit, like)
    elif method is not None and method not in known:
        raise TrashkitError(f'there is no ensemble method "{method}"', hint=f"choose from: {', '.join(METHODS)}")
    if dtype not in ("uint8", "float16"):
        raise TrashkitError(f'there is no dtype "{dtype}"', hint="choose --dtype from: uint8, float16")
    refuse_existing_store(out, overwrite=overwrite or resume)
    members = [open_store(path) for path in stores]
    found = _fit(members, fit, method, seed, classes) if fit is not None else None
    mix = _chosen(found, method) if found is not None else _like(like, members) if like is not None else None
    with progress() as report:
        made = combine(
            members,
            out,
            method=known[method] if method and mix is None else "mean",
            weights=numbers(weights),
            mix=mix,
            dtype="uint8" if dtype == "uint8" else "float16",
            resume=resume,
            overwrite=overwrite,
            progress=report,
        )
    shares = dict(zip(map(str, stores), made.weights, strict=True))
    result: dict[str, Any] = {
        "store": out,
        "images": made.images,
        "reused": made.reused,
        "method": made.method,
        "weights": shares,
    }
    human: list[Any] = []
    if mix is not None:
        result["temperatures"] = mix.temperatures
    if found is not None:
        result["fit"] = _as_json(found)
        human = _tables(found)
    human.append(f"{made.images} images from {len(stores)} stores, {made.method}")
    following = command("submit", out, "--data", "TEST.json", "--out", "submission.csv")
    if found is not None:
        following = command("ensemble", "TEST_STORE...", "--like", out, "--out", "mix")
    show(result, json=json, human=human, wrote=out, next=following)


def _alone(method: str | None, weights: str | None, fit: Path | None, like: Path | None) -> None:
    if fit is not None and like is not None:
        raise TrashkitError("--fit finds a mix and --like takes one", hint="give one of the two")
    if weights is not None or (like is not None and method is not None):
        raise TrashkitError("the mix is not given by hand here", hint="leave out --weights and --method")


def _fit(members: list[Probabilities], truth: Path, method: str | None, seed: int, classes: str | None) -> Fit:
    from trashkit.coco import read_dataset
    from trashkit.ensemble.fit import FITTED
    from trashkit.ensemble.fit import fit as run
    from trashkit.evaluate import require_labels

    choices = ("mean", *FITTED)
    if method is not None and method not in choices:
        raise TrashkitError(
            f'"{method}" is nothing that --fit fits', hint=f"choose --method from: {', '.join(choices)}"
        )
    dataset = read_dataset(truth, classes=classes)
    require_labels(dataset)
    _require_unseen(members, dataset)
    with progress() as report:
        found = run(members, dataset, seed=seed, progress=report)
    if found.images < len(members[0]):
        note(f"{len(members[0]) - found.images} images are not in {truth} and took no part in the fit")
    return found


def _chosen(found: Fit, method: str | None) -> Mix:
    candidate = found.chosen if method is None else next(one for one in found.candidates if one.name == method)
    assert candidate.mix is not None
    return candidate.mix


def _like(path: Path, members: list[Probabilities]) -> Mix:
    from trashkit.ensemble import repeat
    from trashkit.store import open_store

    found = repeat(open_store(path), members)
    for doubt in found.doubts:
        warn(doubt)
    if found.order != tuple(range(len(members))):
        note("each store takes the weight of its own model, which is not in the order of the fit")
    return found.mix


def _require_unseen(members: list[Probabilities], dataset: Dataset) -> None:
    """Refuse to fit on images that a member was trained on: it would win by what it remembers."""
    from trashkit.audit.label_seen import seen_in_training

    annotated = {image.id for image in dataset.images}
    silent = []
    for store in members:
        seen = seen_in_training(store)
        if seen is None:
            silent.append(str(store.path))
        elif seen & annotated:
            raise TrashkitError(
                f"{store.path} was predicted by models that were trained on {len(seen & annotated)} of these images, "
                "so a mix fitted here would trust it for what it remembers",
                hint="give out-of-fold stores, RUN/oof or RUN/RECIPE/oof, to --fit",
            )
    if silent:
        warn(
            f"nothing says which images the models of {', '.join(silent)} were trained on: if they saw these, "
            "the gain below is not real"
        )


def _as_json(found: Fit) -> dict[str, Any]:
    candidates = [
        {
            "name": one.name,
            "miou": one.miou,
            "gain": one.gain,
            "interval": [one.low, one.high],
            "evidence": one.evidence,
            "in_sample": one.in_sample,
            "mix": None if one.mix is None else one.mix.as_json(),
        }
        for one in found.candidates
    ]
    members = [
        {
            "name": one.name,
            "miou": one.miou,
            "worth": one.worth,
            "interval": [one.low, one.high],
            "verdict": one.verdict,
        }
        for one in found.members
    ]
    return {
        "images": found.images,
        "chosen": found.chosen.name,
        "verdict": found.verdict,
        "better_alone": None if found.better_alone is None else found.better_alone.name,
        "candidates": candidates,
        "members": members,
        "disagreement": found.disagreement,
    }


def _tables(found: Fit) -> list[Any]:
    tried = [
        (one.name, one.miou, f"{one.gain:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}", one.in_sample)
        for one in found.candidates
    ]
    worth = [
        (one.name, one.miou, f"{one.worth:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}", one.verdict)
        for one in found.members
    ]
    letters = [chr(65 + n) if n < 26 else str(n) for n in range(len(found.members))]
    pairs = [
        (f"{letters[n]} {one.name}", *(f"{100 * value:.1f}" for value in found.disagreement[n]))
        for n, one in enumerate(found.members)
    ]
    return [
        f"{found.images} images; mIoU on images that the fit did not see, gain over the plain mean",
        table(("mix", "mIoU", "gain", "95 % of resampled image sets", "on its own images"), tried),
        table(("store", "mIoU alone", "adds to the mean", "interval", ""), worth),
        table(("pixels that differ, %", *letters), pairs),
        found.verdict,
    ]
