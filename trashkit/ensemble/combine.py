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
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities, StoreType, create_store

Method = Literal["mean", "vote", "weighted", "geometric"]

METHODS: tuple[Method, ...] = ("mean", "vote", "weighted", "geometric")

_TIE_SHARE = 1e-3
REST = 1e-6
"""How much of the plain mean is mixed into weights per class, see `with_rest`."""
# Two sums of the same numbers in another order are equal only so far.
_TIED = np.float32(1e-6)
# Half of what uint8 stores can tell from 0: a member that rules a class out must not rule it out alone.
_FLOOR = np.float32(0.5 / 255)

Weights = tuple[float, ...] | tuple[tuple[float, ...], ...]
"""One weight per store, or for each store one per class."""


@dataclass(frozen=True)
class Mix:
    """How stores are combined: what `ensemble` does, what `fit` finds, and what a store's manifest says.

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
        """As a manifest keeps it, and `of` reads it."""
        return {
            "method": self.method,
            "weights": [list(w) if isinstance(w, tuple) else w for w in self.weights],
            "temperatures": list(self.temperatures),
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Mix:
        """A mix from its JSON form. Raises KeyError, TypeError or ValueError for anything else."""
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
    """Probabilities [C, ...] to the power ``1 / temperature``, scaled to sum to 1; above 1 they become less certain."""
    if temperature == 1.0:
        return probabilities
    powered = np.power(probabilities, np.float32(1 / temperature))
    powered /= np.maximum(powered.sum(axis=0), np.float32(1e-12))
    return np.asarray(powered, np.float32)


def _column(weight: float | tuple[float, ...], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A weight, or one per class, ready to multiply [C, ...] with."""
    return np.asarray(weight, np.float32).reshape(-1, *[1] * (values.ndim - 1))


def with_rest(weights: Sequence[float | tuple[float, ...]]) -> list[float | tuple[float, ...]]:
    """Weights with a millionth of the plain mean mixed in.

    Weights of 0 per class can leave a pixel without any class: where each store says what only the others are asked
    about. The plain mean then speaks, and nowhere else is it heard.
    """
    rest = REST / len(weights)
    return [tuple(w + rest for w in row) if isinstance(row, tuple) else row + rest for row in weights]


def mean(
    probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float | tuple[float, ...]]
) -> NDArray[np.float32]:
    """Weighted mean of probabilities, each float32 [C, H, W]; weights sum to 1. Of probabilities, not of logits."""
    total = np.zeros_like(probabilities[0])
    for values, weight in zip(probabilities, weights, strict=True):
        total += _column(weight, values) * values
    return total


def geometric(
    probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float | tuple[float, ...]]
) -> NDArray[np.float32]:
    """Weighted geometric mean, scaled to sum to 1 over the classes: a class that one member rules out is unlikely.

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
    """Share of the votes of each class, float32 [C, H, W] summing to 1; each member votes for its most probable class.

    Ties in votes go to the class with the higher (weighted) mean probability, which is mixed in at a thousandth of
    all votes: too little to overrule one. Classes that tie in both go to the lowest, the background to none: a pixel
    is not empty because nobody could decide what lies there.
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
    """Argmax of [C, ...] in which the background wins no tie."""
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
    settings goes on.
    Raises TrashkitError for fewer than two stores, and naming the store for one that is unfinished or differs.
    """
    if mix is None:
        mix = Mix(method, _shares(stores, method, weights), (1.0,) * len(stores))
    elif len(mix.weights) != len(stores):
        raise TrashkitError(
            f"the mix is of {len(mix.weights)} stores, given are {len(stores)}",
            hint="give one store of each model, in the order of the fit",
        )
    joins = join_stores(stores)
    first = stores[0]
    if out.resolve() in {store.path.resolve() for store in stores}:
        raise TrashkitError(f"{out} is one of the stores to combine", hint="choose another --out")
    manifest = {
        "made_by": "ensemble",
        **mix.as_json(),
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
    done = writer.done
    for row in range(len(first)):
        if not done[row]:
            writer.write(row, mix(read_members(stores, joins, row)))
        progress("combining images", row + 1, len(first))
    return Ensemble(out, len(first), int(done.sum()), mix.method, mix.weights)


def read_members(stores: Sequence[Probabilities], joins: Sequence[Join], row: int) -> list[NDArray[np.float32]]:
    """Probabilities of one image of the first store from each store, classes in the first store's order."""
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
            f"{len(stores)} stores need {len(stores)} weights above 0, given are {', '.join(map(str, weights))}",
            hint="give one per store, as in --weights 2,1,1; leave out a store that should not count",
        )
    return tuple(weight / sum(weights) for weight in weights)


Join = tuple[list[int], list[int]]
"""Rows and classes of a store in the order of another."""


def join_stores(stores: Sequence[Probabilities]) -> list[Join]:
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
