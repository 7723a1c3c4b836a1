"""A mix fitted on some stores, for other stores of the same models: joined by class name and model, not by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trashkit.ensemble.combine import Mix
from trashkit.errors import TrashkitError
from trashkit.store import Probabilities


@dataclass(frozen=True)
class Repeated:
    """A mix for given stores. order: for each store, which member of the fit it stands for. doubts: what nobody could
    tell or what looks wrong, in words, for people to read."""

    mix: Mix
    order: tuple[int, ...]
    doubts: tuple[str, ...]


def repeat(fitted: Probabilities, stores: Sequence[Probabilities]) -> Repeated:
    """The mix that made `fitted`, for `stores`.

    Weights per class follow the classes' names. Weights and temperatures per store follow the models where both sides
    name their weights' hashes; else stores are taken in the given order, and `doubts` says so.
    Raises TrashkitError where `fitted` does not say how it was combined, for another number of stores, for other
    classes, and where the given stores are all known and two are of one model.
    """
    mix = _mix_of(fitted)
    if len(mix.weights) != len(stores):
        raise TrashkitError(
            f"the mix of {fitted.path} is of {len(mix.weights)} stores, given are {len(stores)}",
            hint="give one store of each model that was fitted",
        )
    first = stores[0]
    if set(first.classes) != set(fitted.classes):
        lacking = sorted(set(first.classes) ^ set(fitted.classes))[0]
        raise TrashkitError(
            f"{first.path} has other classes than {fitted.path}, which was fitted: {lacking!r} is only in one of them",
            hint="give stores of the models that were fitted",
        )
    classes = [fitted.classes.index(name) for name in first.classes]
    order, doubts = _order(fitted, stores)
    weights = [mix.weights[n] for n in order]
    renamed = tuple(tuple(row[c] for c in classes) if isinstance(row, tuple) else row for row in weights)
    temperatures = tuple(mix.temperatures[n] for n in order)
    return Repeated(replace(mix, weights=renamed, temperatures=temperatures), order, doubts)  # type: ignore[arg-type]


def _mix_of(fitted: Probabilities) -> Mix:
    try:
        mix = Mix.of(fitted.manifest)
        if any(isinstance(row, tuple) and len(row) != len(fitted.classes) for row in mix.weights):
            raise ValueError("weights and classes differ in number")
    except (KeyError, TypeError, ValueError) as error:
        raise TrashkitError(
            f"{fitted.path} does not say how it was combined", hint="give a store that trashkit ensemble --fit wrote"
        ) from error
    return mix


def _order(fitted: Probabilities, stores: Sequence[Probabilities]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Which member of the fit each store stands for, and what is doubtful about it."""
    given = tuple(range(len(stores)))
    members = fitted.manifest.get("members") or [{}] * len(stores)
    names = [str(member.get("path", f"store {n + 1}")) for n, member in enumerate(members)]
    theirs = [models(source) for source in fitted.manifest.get("sources") or [{}] * len(stores)]
    ours = [models(store.manifest) for store in stores]
    if len(theirs) != len(stores) or len(names) != len(stores) or not all(theirs) or not all(ours):
        pairs = ", ".join(f"{store.path} for {name}" for store, name in zip(stores, names, strict=False))
        return given, (f"the stores do not all say which models made them, so they are taken as given: {pairs}",)
    shared = [[bool(one & other) for other in theirs] for one in ours]
    order, doubled = _paired(shared)
    if doubled is not None:
        raise TrashkitError(
            f"{stores[doubled].path} is of a model that another of the stores is of already",
            hint=f"give one store of each of {', '.join(names)}",
        )
    doubts = tuple(
        f"{store.path} is of none of the models that were fitted, and stands for {names[m]}"
        for store, row, m in zip(stores, shared, order, strict=True)
        if not any(row)
    )
    return order, doubts


def _paired(shared: Sequence[Sequence[bool]]) -> tuple[tuple[int, ...], int | None]:
    """A member for each store, its own place where that fits; and a store whose members are all taken, if there is one.

    shared: whether a store and a member have a model in common. H. Kuhn's augmenting paths; stores that share nothing
    get what is left.
    """
    count = len(shared)
    holder: dict[int, int] = {}

    def find(store: int, tried: set[int]) -> bool:
        for member in (store, *(m for m in range(count) if m != store)):
            if shared[store][member] and member not in tried:
                tried.add(member)
                if member not in holder or find(holder[member], tried):
                    holder[member] = store
                    return True
        return False

    for store in range(count):
        if any(shared[store]) and not find(store, set()):
            return tuple(range(count)), store
    order = {store: member for member, store in holder.items()}
    free = [member for member in range(count) if member not in holder]
    for store in range(count):
        if store not in order:
            order[store] = free.pop(free.index(store) if store in free else 0)
    return tuple(order[store] for store in range(count)), None


def models(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Hashes of the weights that a store's probabilities come from, through ensembles and joined folds."""
    found: set[str] = set()
    if isinstance(manifest.get("weights"), str):
        found.add(manifest["weights"])
    for entry in manifest.get("runs") or ():
        if isinstance(entry, Mapping) and entry.get("checkpoint_sha256"):
            found.add(str(entry["checkpoint_sha256"]))
    for source in manifest.get("sources") or ():
        if isinstance(source, Mapping):
            found |= models(source)
    return frozenset(found)
