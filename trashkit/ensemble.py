"""One store of probabilities from several, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities, StoreType, create_store

Method = Literal["mean", "vote", "weighted"]

METHODS: tuple[Method, ...] = ("mean", "vote", "weighted")

_TIE_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Result of `ensemble`. weights sum to 1, one per store. reused: images that an earlier, interrupted run made."""

    path: Path
    images: int
    reused: int
    method: Method
    weights: tuple[float, ...]


def mean(probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Weighted mean of probabilities, each float32 [C, H, W]; weights sum to 1. Of probabilities, not of logits."""
    total = np.zeros_like(probabilities[0])
    for values, weight in zip(probabilities, weights, strict=True):
        total += np.float32(weight) * values
    return total


def vote(probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Share of the votes of each class, float32 [C, H, W] summing to 1; each member votes for its most probable class.

    Ties in votes go to the class with the higher (weighted) mean probability, which is mixed in at a thousandth of
    all votes: too little to overrule one. Classes that tie in both go to the lowest.
    """
    total = mean(probabilities, weights) * np.float32(_TIE_SHARE)
    for values, weight in zip(probabilities, weights, strict=True):
        winner = values.argmax(axis=0)[None]
        np.put_along_axis(total, winner, np.take_along_axis(total, winner, axis=0) + np.float32(weight), axis=0)
    return total / np.float32(1.0 + _TIE_SHARE)


def ensemble(
    stores: Sequence[Probabilities],
    out: Path,
    *,
    method: Method = "mean",
    weights: Sequence[float] | None = None,
    dtype: StoreType = "uint8",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Ensemble:
    """Combine finished stores of the same images, classes and size into one.

    Images are joined by id and file name together and classes by name, whatever their order; the result follows the
    first store. method: ``mean`` of the probabilities, ``weighted`` mean (`weights`, one per store, are scaled to sum
    to 1), ``vote`` (see `vote`; weights are taken if given). One image is in memory at a time. With `resume` an
    interrupted run of the same stores and settings goes on.
    Raises TrashkitError for fewer than two stores, and naming the store for one that is unfinished or differs.
    """
    shares = _shares(stores, method, weights)
    joins = _joins(stores)
    first = stores[0]
    if out.resolve() in {store.path.resolve() for store in stores}:
        raise TrashkitError(f"{out} is one of the stores to combine", hint="choose another --out")
    manifest = {
        "made_by": "ensemble",
        "method": method,
        "weights": list(shares),
        "members": [{"path": str(store.path), "fingerprint": store.fingerprint} for store in stores],
        "sources": [store.manifest for store in stores],
    }
    writer = create_store(
        out,
        image_ids=first.image_ids,
        file_names=first.file_names,
        native_sizes=first.native_sizes,
        classes=first.classes,
        size=first.size,
        dtype=dtype,
        manifest=manifest,
        resume=resume,
        overwrite=overwrite,
    )
    combine = vote if method == "vote" else mean
    done = writer.done
    for row in range(len(first)):
        if not done[row]:
            members = [store.read(rows[row])[order] for store, (rows, order) in zip(stores, joins, strict=True)]
            writer.write(row, combine(members, shares))
        progress("combining images", row + 1, len(first))
    return Ensemble(out, len(first), int(done.sum()), method, shares)


def _shares(stores: Sequence[Probabilities], method: Method, weights: Sequence[float] | None) -> tuple[float, ...]:
    if method not in METHODS:
        raise TrashkitError(f"there is no ensemble method {method!r}", hint=f"choose from {', '.join(METHODS)}")
    if len(stores) < 2:
        raise TrashkitError("an ensemble needs at least two stores", hint="trashkit ensemble A B --out STORE")
    if weights is None:
        if method == "weighted":
            raise TrashkitError("a weighted mean needs weights", hint="give one per store, as in --weights 2,1,1")
        return (1 / len(stores),) * len(stores)
    if method == "mean":
        raise TrashkitError("the plain mean takes no weights", hint="add --method weighted")
    if len(weights) != len(stores) or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise TrashkitError(
            f"{len(stores)} stores need {len(stores)} weights above 0, given are {', '.join(map(str, weights))}",
            hint="give one per store, as in --weights 2,1,1; leave out a store that should not count",
        )
    return tuple(weight / sum(weights) for weight in weights)


def _joins(stores: Sequence[Probabilities]) -> list[tuple[list[int], list[int]]]:
    """For each store its row of each image and its index of each class, in the order of the first store."""
    first = stores[0]
    joins = []
    for store in stores:
        store.require_complete()
        if set(store.classes) != set(first.classes):
            lacking = next(iter(sorted(set(first.classes) ^ set(store.classes))))
            raise TrashkitError(
                f"{store.path} has other classes than {first.path}: {lacking!r} is only in one of them",
                hint="combine stores of models trained with the same --classes",
            )
        if store.size != first.size:
            raise TrashkitError(
                f"{store.path} is {store.size[1]}x{store.size[0]}, {first.path} is {first.size[1]}x{first.size[0]}",
                hint="predict both at the same size",
            )
        joins.append((_rows(first, store), [store.classes.index(name) for name in first.classes]))
    return joins


def _rows(first: Probabilities, store: Probabilities) -> list[int]:
    where = {pair: row for row, pair in enumerate(zip(store.image_ids, store.file_names, strict=True))}
    rows: list[int] = []
    for image_id, name in zip(first.image_ids, first.file_names, strict=True):
        if (image_id, name) not in where:
            raise TrashkitError(
                f"{store.path} is from other images than {first.path}: it lacks {name} (id {image_id})",
                hint="combine stores that were predicted for the same data",
            )
        rows.append(where[image_id, name])
    if len(store) > len(first):
        known = set(first.image_ids)
        extra = next(name for i, name in zip(store.image_ids, store.file_names, strict=True) if i not in known)
        raise TrashkitError(
            f"{store.path} is from other images than {first.path}, which lacks {extra}",
            hint="combine stores that were predicted for the same data",
        )
    return rows
