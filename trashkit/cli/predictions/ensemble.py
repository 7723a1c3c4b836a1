"""``trashkit ensemble``: one store of probabilities from several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trashkit.cli.options import Classes, Json, OutStore, Overwrite, Resume, Seed, StoreType, Weights
from trashkit.cli.output import command, note, progress, show, table, warn
from trashkit.cli.scores.submit_options import numbers
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.ensemble import Method, Mix
    from trashkit.ensemble.fit import Fit
    from trashkit.predictions.store import Probabilities
    from trashkit.workflows.ensemble import FittedEnsemble


def ensemble(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Probability stores of the same images.")],
    out: OutStore,
    method: Annotated[
        Literal["mean", "weighted", "geometric", "vote", "greedy", "class-weighted"] | None,
        typer.Option(
            "--method",
            help="How to combine the stores; default: mean. weighted needs --weights; greedy and class-weighted need "
            "--fit.",
        ),
    ] = None,
    weights: Weights = None,
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit", metavar="ANN.json", help="Fit the weights on out-of-fold stores against these annotations."
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", metavar="STORE", help="Combine with the weights of this store, which --fit made."),
    ] = None,
    seed: Seed = 0,
    classes: Classes = None,
    dtype: StoreType = "uint8",
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Combine probability stores: by their mean, or with weights fitted on out-of-fold predictions.

    Images are matched by id and file name, classes by name. Ties of a vote go to the class with the higher mean
    probability, never to the background. --fit tries weights, temperatures and the geometric mean on out-of-fold
    stores, reports the gain on images left out of the fit, and keeps the plain mean if that gain is within the noise.
    --like then combines the test stores in the same way, each with the weight of its model.

    Examples:

      trashkit ensemble runs/a/test runs/b/test --out mean

      trashkit ensemble runs/a/test runs/b/test --method weighted --weights 2,1 --out mean --json

      trashkit ensemble runs/a/oof runs/b/oof --fit train.json --out mix-oof

      trashkit ensemble runs/a/test runs/b/test --like mix-oof --out mix
    """
    from trashkit.ensemble import METHODS
    from trashkit.ensemble import ensemble as combine
    from trashkit.outputs import Output
    from trashkit.predictions.folder import STORE
    from trashkit.predictions.store import open_store

    known: dict[str, Method] = {name: name for name in METHODS}
    if method in ("greedy", "class-weighted") and fit is None:
        raise TrashkitError(f"--method {method} needs --fit", hint="add --fit ANN.json")
    if fit is not None or like is not None:
        _check_mix_options(method, weights, fit, like)
    Output(out, overwrite=overwrite, resume=resume, kind=STORE).check()
    members = [open_store(path) for path in stores]
    fitted = _fit(members, fit, method, seed, classes) if fit is not None else None
    mix = fitted.mix if fitted is not None else _like(like, members) if like is not None else None
    with progress() as report:
        made = combine(
            members,
            out,
            method=known.get(method or "mean", "mean") if mix is None else "mean",
            weights=numbers(weights),
            mix=mix,
            dtype=dtype,
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
    if fitted is not None:
        result["fit"] = _as_json(fitted.fit)
        human = _tables(fitted.fit)
    human.append(f"{made.images} images from {len(stores)} stores, {made.method}")
    if fitted is not None:
        human.append(f"ensemble STORE... --like {out} mixes the same models' stores of other photos in this way")
    following = command("score", out, "--data", fit, *(("--classes", classes) if classes else ())) if fit else ""
    show(result, json=json, human=human, wrote=out, next=following)


def _check_mix_options(method: str | None, weights: str | None, fit: Path | None, like: Path | None) -> None:
    if fit is not None and like is not None:
        raise TrashkitError("--fit and --like cannot be combined", hint="use only one of them")
    if weights is not None or (like is not None and method is not None):
        raise TrashkitError(
            "--fit and --like determine the weights", hint="leave out --weights, and with --like also --method"
        )


def _fit(
    stores: list[Probabilities], truth: Path, method: str | None, seed: int, classes: str | None
) -> FittedEnsemble:
    from trashkit.workflows.ensemble import fit_ensemble

    with progress() as report:
        found = fit_ensemble(stores, truth, method=method, seed=seed, classes=classes, progress=report)
    if found.unknown:
        warn(
            f"the training images of {', '.join(map(str, found.unknown))} are not recorded: if they include these "
            "images, the gain below is too high"
        )
    if found.fit.images < len(stores[0]):
        note(f"{len(stores[0]) - found.fit.images} images are not in {truth} and were not used for the fit")
    return found


def _like(path: Path, members: list[Probabilities]) -> Mix:
    from trashkit.ensemble import transfer_mix
    from trashkit.predictions.store import open_store

    found = transfer_mix(open_store(path), members)
    for warning in found.warnings:
        warn(warning)
    if found.order != tuple(range(len(members))):
        note("each store gets the weight of its own model; their order differs from the fit")
    return found.mix


def _as_json(found: Fit) -> dict[str, Any]:
    from trashkit.metrics.summary import without_background

    candidates = [
        {
            "name": one.name,
            "miou": one.miou,
            "miou_without_background": without_background(one.iou),
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
            "miou_without_background": without_background(one.iou),
            "worth": one.contribution,
            "interval": [one.low, one.high],
            "verdict": one.conclusion,
        }
        for one in found.members
    ]
    return {
        "images": found.images,
        "chosen": found.chosen.name,
        "verdict": found.conclusion,
        "better_alone": None if found.better_alone is None else found.better_alone.name,
        "candidates": candidates,
        "members": members,
        "disagreement": found.disagreement,
    }


def _tables(found: Fit) -> list[Any]:
    from trashkit.metrics.summary import without_background

    tried = [
        (one.name, one.miou, without_background(one.iou), f"{one.gain:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}",
         one.in_sample)
        for one in found.candidates
    ]  # fmt: skip
    worth = [
        (one.name, one.miou, without_background(one.iou), f"{one.contribution:+.4f}",
         f"{one.low:+.4f} to {one.high:+.4f}", one.conclusion)
        for one in found.members
    ]  # fmt: skip
    letters = [chr(65 + n) if n < 26 else str(n) for n in range(len(found.members))]
    pairs = [
        (f"{letters[n]} {one.name}", *(f"{100 * value:.1f}" for value in found.disagreement[n]))
        for n, one in enumerate(found.members)
    ]
    return [
        f"{found.images} images; mIoU on images held out of the fit, gain over the plain mean",
        table(("mix", "mIoU", "without background", "gain", "95 % interval", "mIoU in sample"), tried),
        table(("store", "mIoU alone", "without background", "adds to the mean", "interval", ""), worth),
        table(("differing pixels, %", *letters), pairs),
        found.conclusion,
    ]
