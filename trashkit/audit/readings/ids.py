"""References whose id exists only as another type (``"1"`` for 1), or by the name of what it refers to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from trashkit.coco.dataset import is_valid_id

_LONGEST = 18
"""Digits of the largest number that an id may be."""


class Reference(NamedTuple):
    """What a reference was meant to be.

    id: the id that exists, None if there is no proof. why: the proof, or what is similar. by_type: only the type
    differs. lost: nothing in the file is similar, so that nobody can tell what was meant.
    """

    id: Any
    why: str
    by_type: bool = False
    lost: bool = False


def key_of(value: Any) -> Any:
    """A key that is the same for 1, 1.0 and "1", but not for "007" or "1.0"; None if the value cannot be an id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else None
    if isinstance(value, str):
        digits = value.removeprefix("-")
        plain = digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST
        return int(value) if plain and str(int(value)) == value else value
    return value if isinstance(value, int) else None


class References:
    """The ids of one block, to look up references to them.

    what: how messages name a row, such as "image". names: names of the rows in the order of `ids`, None if unknown.
    """

    def __init__(self, what: str, ids: Sequence[Any], names: Sequence[str | None]) -> None:
        self.what = what
        self.by_key: dict[Any, set[Any]] = {}
        self.by_name: dict[str, set[Any]] = {}
        self.similar: dict[str, Any] = {}
        for value, name in zip(ids, names, strict=True):
            key = key_of(value)
            if key is None:
                continue
            self.by_key.setdefault(key, set()).add(_marked(value))
            self.similar.setdefault(_loosely(value), value)
            for one in _names(name, what):
                self.by_name.setdefault(one, set()).add(_marked(value))
                self.similar.setdefault(_loosely(one), value)

    def read(self, value: Any) -> Reference:
        """What a reference that does not exist was meant to be."""
        key = key_of(value)
        found = self.by_key.get(key, set()) if key is not None else set()
        if len(found) == 1:
            ((_, real),) = found
            if not is_valid_id(real):  # the id itself is fixed first
                return Reference(None, f"the {self.what} has the id {real!r:.40}")
            return Reference(real, f"only its type differs from that of {self.what} {real!r:.40}", True)
        if isinstance(value, str):
            found = self.by_name.get(value, set())
            if len(found) == 1 and is_valid_id(next(iter(found))[1]):
                ((_, real),) = found
                return Reference(real, f"it is the name of {self.what} {real!r:.40}")
        near = self.similar.get(_loosely(value)) if isinstance(value, str | int | float) else None
        if near is not None:
            return Reference(None, f"perhaps {near!r:.40} is meant, but nothing proves it")
        return Reference(None, "", lost=True)


def _marked(value: Any) -> tuple[str, Any]:
    """The value with its type, so that 1 and 1.0 are two members of a set."""
    return type(value).__name__, value


def _names(name: str | None, what: str) -> Iterable[str]:
    """A row's name; of a file also without its folder and its ending."""
    if not name:
        return ()
    if what != "image":
        return (name,)
    path = PurePosixPath(name.replace("\\", "/"))
    return {name, path.name, path.stem}


def _loosely(value: Any) -> str:
    """A text that is the same for values that may mean the same: "007", " 7", "7.0" and 7, or "Can" and "can"."""
    text = str(value).strip().casefold()
    try:
        number = float(text)
    except ValueError:
        return text
    whole = math.isfinite(number) and number == int(number)
    return str(int(number)) if whole and abs(number) < 1e15 else text
