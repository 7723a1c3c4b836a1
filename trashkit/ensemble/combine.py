"""One store of probabilities from several, image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.predictions.store import Probabilities, StoreType, create_store
from trashkit.progress import Progress, silent

Method = Literal["mean", "vote", "weighted", "geometric"]

METHODS: tuple[Method, ...] = ("mean", "vote", "weighted", "geometric")

_TIE_SHARE = 1e-3
REST = 1e-6
"""Share of the plain mean that is mixed into weights per class, see `with_rest`."""
# Sums of the same numbers in different order are equal only up to rounding.
_TIED = np.float32(1e-6)
# Half of the smallest value above 0 in uint8 stores: one member must not rule a class out on its own.
_FLOOR = np.float32(0.5 / 255)

Weights = tuple[float, ...] | tuple[tuple[float, ...], ...]
"""One weight per store, or for each store one per class."""


@dataclass(frozen=True)
class Mix:
    """How stores are combined; a store's manifest records it.

    weights: one per store, or for each store one per class (in the first store's order, which is that of the store
    that `ensemble` writes). temperatures: one per store; probabilities are raised to 1 / temperature and scaled to sum
    to 1 before they are combined.
    """

    method: Method
    weights: Weights
    temperatures: tuple[float, ...]

    def __call__(self, members: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Combine probabilities, each float32 [C, H, W] (or [C, M]), into one array that sums to 1 over the classes."""
        warm = [tempered(values, t) for values, t in zip(members, self.temperatures, strict=True)]
        if self.method == "vote":
            return vote(warm, self.weights)
        if self.method == "geometric":
            return geometric(warm, self.weights)
        if not any(isinstance(weight, tuple) for weight in self.weights):
            return mean(warm, self.weights)
        total = mean(warm, with_rest(self.weights))
        total /= total.sum(axis=0)
        return total

    def as_json(self) -> dict[str, Any]:
        """Return the mix as a manifest holds it; `of` reads it."""
        return {
            "method": self.method,
            "weights": [list(w) if isinstance(w, tuple) else w for w in self.weights],
            "temperatures": list(self.temperatures),
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Mix:
        """Return a mix from its JSON form. Raises KeyError, TypeError or ValueError for anything else."""
        method = {name: name for name in METHODS}[value["method"]]
        rows = [tuple(float(x) for x in w) if isinstance(w, list) else float(w) for w in value["weights"]]
        temperatures = tuple(float(t) for t in value.get("temperatures", [1.0] * len(rows)))
        if len(temperatures) != len(rows) or not all(t > 0 for t in temperatures):
            raise ValueError("weights and temperatures do not fit")
        table = np.array([[w] if isinstance(w, float) else w for w in rows])
        if not (np.isfinite(table).all() and (table >= 0).all() and np.allclose(table.sum(axis=0), 1, atol=1e-4)):
            raise ValueError("weights must be at least 0 and sum to 1 over the stores")
        return cls(method, tuple(rows), temperatures)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Result of `ensemble`. weights sum to 1, one per store. reused: images that an earlier, interrupted run made."""

    path: Path
    images: int
    reused: int
    method: Method
    weights: Weights


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return probabilities [C, ...] to the power ``1 / temperature``, scaled to sum to 1; above 1 less certain."""
    if temperature == 1.0:
        return probabilities
    powered = np.power(probabilities, np.float32(1 / temperature))
    powered /= np.maximum(powered.sum(axis=0), np.float32(1e-12))
    return np.asarray(powered, np.float32)


def _column(weight: float | tuple[float, ...], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A weight, or one per class, in a shape that multiplies [C, ...]."""
    return np.asarray(weight, np.float32).reshape(-1, *[1] * (values.ndim - 1))


def with_rest(weights: Sequence[float | tuple[float, ...]]) -> list[float | tuple[float, ...]]:
    """Return weights with a millionth of the plain mean mixed in.

    Weights of 0 per class can leave a pixel without any class, if each store predicts a class in which it has no
    weight. The plain mean decides such pixels, and changes no other.
    """
    rest = REST / len(weights)
    return [tuple(w + rest for w in row) if isinstance(row, tuple) else row + rest for row in weights]


def mean(
    probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float | tuple[float, ...]]
) -> NDArray[np.float32]:
    """Return the weighted mean of probabilities (not logits), each float32 [C, H, W]; weights sum to 1."""
    total = np.zeros_like(probabilities[0])
    for values, weight in zip(probabilities, weights, strict=True):
        total += _column(weight, values) * values
    return total


def geometric(
    probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float | tuple[float, ...]]
) -> NDArray[np.float32]:
    """Return the weighted geometric mean, scaled to sum to 1: a class that one member rules out is unlikely.

    The same as the softmax of the weighted mean of logits. Probabilities count as at least half of 1 / 255.
    """
    total = np.zeros_like(probabilities[0])
    for values, weight in zip(probabilities, weights, strict=True):
        total += _column(weight, values) * np.log(np.maximum(values, _FLOOR))
    total -= total.max(axis=0)
    np.exp(total, out=total)
    total /= total.sum(axis=0)
    return total


def vote(
    probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float | tuple[float, ...]]
) -> NDArray[np.float32]:
    """Return each class's share of the votes, float32 [C, H, W] summing to 1; members vote for their argmax.

    Ties in votes go to the class with the higher (weighted) mean probability, which is mixed in at a thousandth of
    all votes: too little to overrule one. If classes tie in both, the lowest wins, but never the background.
    """
    weights = with_rest(weights)
    shares = mean(probabilities, weights)
    votes = np.zeros_like(shares)
    for values, weight in zip(probabilities, weights, strict=True):
        winner = _firm_argmax(values)[None]
        ballot = np.broadcast_to(_column(weight, values), values.shape)
        cast = np.take_along_axis(votes, winner, axis=0) + np.take_along_axis(ballot, winner, axis=0)
        np.put_along_axis(votes, winner, cast, axis=0)
    total = votes + np.float32(_TIE_SHARE) * shares
    rival = total[1:].argmax(axis=0)[None] + 1
    tied = np.ones(shares.shape[1:], bool)
    for values in (votes, shares):
        theirs = np.take_along_axis(values, rival, axis=0)[0]
        tied &= np.abs(values[0] - theirs) <= _TIED * theirs
    total[0][tied] = np.take_along_axis(total, rival, axis=0)[0][tied] * (1 - _TIED)
    return np.asarray(total / total.sum(axis=0), np.float32)


def _firm_argmax(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """Argmax of [C, ...] in which the background wins no ties."""
    rival = values[1:].argmax(axis=0) + 1
    return np.where(values[0] > values[1:].max(axis=0), 0, rival)


def ensemble(
    stores: Sequence[Probabilities],
    out: Path,
    *,
    method: Method = "mean",
    weights: Sequence[float] | None = None,
    mix: Mix | None = None,
    dtype: StoreType = "uint8",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Ensemble:
    """Combine finished stores of the same images, classes and size into one.

    Images are joined by id and file name together and classes by name, whatever their order; the result follows the
    first store. method: ``mean`` of the probabilities, ``weighted`` mean (`weights`, one per store, are scaled to sum
    to 1), ``vote`` (see `vote`; weights are taken if given), ``geometric`` mean (likewise). mix: all of this at once,
    as `fit` found it. One image is in memory at a time. With `resume` an interrupted run of the same stores and
    settings continues.
    Raises TrashkitError for fewer than two stores, and naming the store for one that is unfinished or differs.
    """
    if mix is None:
        mix = Mix(method, _shares(stores, method, weights), (1.0,) * len(stores))
    elif len(mix.weights) != len(stores):
        raise TrashkitError(
            f"the mix is for {len(mix.weights)} stores, not {len(stores)}",
            hint="give one store of each model, in the order of the fit",
        )
    joins = join_stores(stores)
    first = stores[0]
    if real_path(out) in {real_path(store.path) for store in stores}:
        raise TrashkitError(f"{out} is one of the stores to combine", hint="choose another --out")
    manifest = {
        "made_by": "ensemble",
        **mix.as_json(),
        "members": [{"path": str(store.path), "fingerprint": store.fingerprint} for store in stores],
        "sources": [store.manifest for store in stores],
    }
    with create_store(
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
        keep_part=False,
    ) as writer:
        done = writer.done
        for row in range(len(first)):
            if not done[row]:
                writer.write(row, mix(read_members(stores, joins, row)))
            progress("combining images", row + 1, len(first))
    return Ensemble(out, len(first), int(done.sum()), mix.method, mix.weights)


def read_members(stores: Sequence[Probabilities], joins: Sequence[Join], row: int) -> list[NDArray[np.float32]]:
    """Return the probabilities of one image from each store; rows and classes as in the first store."""
    return [store.read(rows[row])[order] for store, (rows, order) in zip(stores, joins, strict=True)]


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
            f"{len(stores)} stores need {len(stores)} weights above 0, not {', '.join(map(str, weights))}",
            hint="give one per store, as in --weights 2,1,1; leave out stores that should not count",
        )
    return tuple(weight / sum(weights) for weight in weights)


Join = tuple[list[int], list[int]]
"""Rows and classes of a store in the order of another."""


def join_stores(stores: Sequence[Probabilities]) -> list[Join]:
    """Return each store's row of each image and index of each class, in the order of the first store."""
    first = stores[0]
    joins = []
    for store in stores:
        store.require_complete()
        if set(store.classes) != set(first.classes):
            lacking = next(iter(sorted(set(first.classes) ^ set(store.classes))))
            raise TrashkitError(
                f"{store.path} has different classes than {first.path}: {lacking!r} is only in one of them",
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
                f"{store.path} was predicted for other images than {first.path}: it lacks {name} (id {image_id})",
                hint="combine stores that were predicted for the same data",
            )
        rows.append(where[image_id, name])
    for own, row in enumerate(rows):
        (high, wide), (height, width) = first.native_sizes[own].tolist(), store.native_sizes[row].tolist()
        if (high, wide) != (height, width):
            raise TrashkitError(
                f"{store.path} was made for {first.file_names[own]} of {width}x{height} pixels, "
                f"{first.path} for {wide}x{high}",
                hint="predict the same data with both",
            )
    if len(store) > len(first):
        known = set(first.image_ids)
        extra = next(name for i, name in zip(store.image_ids, store.file_names, strict=True) if i not in known)
        raise TrashkitError(
            f"{store.path} was predicted for other images than {first.path}, which lacks {extra}",
            hint="combine stores that were predicted for the same data",
        )
    return rows
