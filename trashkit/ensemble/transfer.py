"""Use a mix that was fitted on some stores for other stores of the same models, matched by class name and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trashkit.ensemble.combine import Mix
from trashkit.errors import TrashkitError
from trashkit.predictions.header import entries
from trashkit.predictions.store import Probabilities


@dataclass(frozen=True)
class TransferredMix:
    """A mix for given stores. order: for each store, its member of the fit. warnings: about unknown or other models."""

    mix: Mix
    order: tuple[int, ...]
    warnings: tuple[str, ...]


def transfer_mix(fitted: Probabilities, stores: Sequence[Probabilities]) -> TransferredMix:
    """Return the mix that made `fitted`, for `stores`.

    Weights per class follow the classes' names. Weights and temperatures per store follow the models where both sides
    record the hashes of their weights; else stores are taken in the given order, with a warning.
    Raises TrashkitError where `fitted` does not say how it was combined, for another number of stores, for other
    classes, and where two of the stores come from one model.
    """
    mix = _mix_of(fitted)
    if len(mix.weights) != len(stores):
        raise TrashkitError(
            f"the mix of {fitted.path} is for {len(mix.weights)} stores, not {len(stores)}",
            hint="give one store of each model that was fitted",
        )
    first = stores[0]
    if set(first.classes) != set(fitted.classes):
        lacking = sorted(set(first.classes) ^ set(fitted.classes))[0]
        raise TrashkitError(
            f"{first.path} has different classes than the fitted {fitted.path}: {lacking!r} is only in one of them",
            hint="give stores of the models that were fitted",
        )
    classes = [fitted.classes.index(name) for name in first.classes]
    order, warnings = _order(fitted, stores)
    weights = [mix.weights[n] for n in order]
    renamed = tuple(tuple(row[c] for c in classes) if isinstance(row, tuple) else row for row in weights)
    temperatures = tuple(mix.temperatures[n] for n in order)
    return TransferredMix(replace(mix, weights=renamed, temperatures=temperatures), order, warnings)  # type: ignore[arg-type]


def _mix_of(fitted: Probabilities) -> Mix:
    try:
        mix = Mix.of(fitted.manifest)
        if any(isinstance(row, tuple) and len(row) != len(fitted.classes) for row in mix.weights):
            raise ValueError("weights and classes differ in number")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TrashkitError(
            f"{fitted.path} does not say how it was combined", hint="give a store that trashkit ensemble --fit wrote"
        ) from error
    return mix


def _order(fitted: Probabilities, stores: Sequence[Probabilities]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """For each store its member of the fit, and warnings."""
    given = tuple(range(len(stores)))
    members = entries(fitted.manifest, "members") or [{}] * len(stores)
    names = [str(member.get("path", f"store {n + 1}")) for n, member in enumerate(members)]
    theirs = [models(source) for source in entries(fitted.manifest, "sources") or [{}] * len(stores)]
    ours = [models(store.manifest) for store in stores]
    if len(theirs) != len(stores) or len(names) != len(stores) or not all(theirs) or not all(ours):
        pairs = ", ".join(f"{store.path} for {name}" for store, name in zip(stores, names, strict=False))
        return given, (f"not all stores record their models, so they are matched in the given order: {pairs}",)
    shared = [[bool(one & other) for other in theirs] for one in ours]
    order, doubled = _paired(shared)
    if doubled is not None:
        raise TrashkitError(
            f"{stores[doubled].path} comes from the same model as another of the stores",
            hint=f"give one store of each of {', '.join(names)}",
        )
    warnings = tuple(
        f"{store.path} comes from none of the fitted models, and takes the weight of {names[m]}"
        for store, row, m in zip(stores, shared, order, strict=True)
        if not any(row)
    )
    return order, warnings


def _paired(shared: Sequence[Sequence[bool]]) -> tuple[tuple[int, ...], int | None]:
    """A member for each store, its own position where possible; and a store whose members are all taken, if any.

    shared: whether a store and a member have a model in common. Kuhn's augmenting paths; stores that share no model get
    the remaining members.
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
    """Return the hashes of the weights that predicted a store, through ensembles and joined folds."""
    found: set[str] = set()
    if isinstance(manifest.get("weights"), str):
        found.add(manifest["weights"])
    for entry in entries(manifest, "runs"):
        if entry.get("checkpoint_sha256"):
            found.add(str(entry["checkpoint_sha256"]))
    for source in entries(manifest, "sources"):
        found |= models(source)
    return frozenset(found)
