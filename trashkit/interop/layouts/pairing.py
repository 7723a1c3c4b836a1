"""Pairs label files with photos by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from trashkit.names import composed

L = TypeVar("L")

Key = Callable[[str], str]
"""What must be equal in the names of a label file and its photo, both without suffix."""


def folded(stem: str) -> str:
    """A name without regard to case."""
    return composed(stem).casefold()


def pair(
    labels: Mapping[str, L], photos: Iterable[str], *, keys: Sequence[Key] = (composed, folded)
) -> tuple[dict[str, L], list[L]]:
    """The label of each photo that has one, and the labels without a photo.

    labels: by path without suffix. photos: paths without suffix. keys: tried in order; a key pairs a label and a photo
    only if no other label or photo that is left has the same one.
    """
    found: dict[str, L] = {}
    left = dict(labels)
    free = dict.fromkeys(photos)
    for key in keys:
        by_key = _unique(key, free)
        for value, stem in _unique(key, left).items():
            photo = by_key.get(value)
            if photo is not None:
                found[photo] = left.pop(stem)
                del free[photo]
    return found, list(left.values())


def _unique(key: Key, stems: Iterable[str]) -> dict[str, str]:
    """Names by key, without those that share it."""
    found: dict[str, list[str]] = {}
    for stem in stems:
        found.setdefault(key(stem), []).append(stem)
    return {value: names[0] for value, names in found.items() if len(names) == 1}
