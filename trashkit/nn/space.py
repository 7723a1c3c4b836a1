"""Settings to try: ranges and lists by the name of a setting, for `sweep`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.config import setting_names, unknown
from trashkit.errors import TrashkitError, why_unread

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_EXAMPLE = "such as optimiser.lr=1e-4..1e-3:log, epochs=10..30 or data.augment=light|strong"


@dataclass(frozen=True)
class Range:
    """All numbers from low to high, both included; whole ones where `whole`, evenly in the logarithm where `log`."""

    low: float
    high: float
    log: bool
    whole: bool


Space = Mapping[str, Range | tuple[Any, ...]]
"""By dotted setting: a range, or the values to choose from."""


def read_space(file: Path | None, tries: Sequence[str]) -> Space:
    """The space of a TOML file and of ``KEY=WHAT`` texts, which take precedence.

    The file holds ``"optimiser.lr" = "1e-4..1e-3:log"`` or ``"data.augment" = ["light", "strong"]``. Raises one
    TrashkitError with all mistakes: unknown settings, empty ranges, what is neither range nor list.
    """
    given: dict[str, Any] = {}
    mistakes: list[str] = []
    if file is not None:
        try:
            given |= _flat(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise TrashkitError(
                f"the space {file} cannot be read: {why_unread(error)}", hint="check --space"
            ) from error
        except tomllib.TOMLDecodeError as error:
            raise TrashkitError(f"the space {file} is not TOML: {error}", hint=f"write {_EXAMPLE}") from error
    for text in tries:
        key, equals, what = text.partition("=")
        if not equals:
            mistakes.append(f'"{text}" is nothing to try: write {_EXAMPLE}')
        given[key.strip()] = what.strip()
    space: dict[str, Range | tuple[Any, ...]] = {}
    for key, what in given.items():
        free = key.startswith("model.options.")
        if key == "seed":
            mistakes.append("seed: all trials have one, or luck would be the best setting; --seed chooses it")
            continue
        if key not in setting_names() and not free:
            mistakes.append(unknown("setting", key, setting_names()))
            continue
        try:
            space[key] = _values(what)
        except ValueError as error:
            mistakes.append(f"{key}: {error}")
    if mistakes:
        raise TrashkitError(
            "; ".join(mistakes), hint="`trashkit recipes show cpu-small` prints a recipe with all settings"
        )
    if not space:
        raise TrashkitError("there is nothing to try", hint=f"add --try KEY=WHAT, {_EXAMPLE}, or --space FILE.toml")
    return space


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _values(what: Any) -> Range | tuple[Any, ...]:
    if isinstance(what, list):
        if not what:
            raise ValueError("the list is empty")
        return tuple(what)
    text = str(what)
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match:
        low, high = float(match[1]), float(match[2])
        log = match[3] is not None
        if low >= high or (log and low <= 0):
            raise ValueError(f"{text} holds nothing" if low >= high else f"{text} has no logarithm at {low:g}")
        whole = all(re.fullmatch(r"[+-]?\d+", end) for end in (match[1], match[2]))
        return Range(low, high, log, whole)
    if ".." in text:
        raise ValueError(f'"{text}" is no range of numbers')
    values = tuple(_value(choice.strip()) for choice in text.split("|"))
    if len(values) == 1:
        raise ValueError(f"{text} is one value: --set keeps it, and a sweep tries several, {_EXAMPLE}")
    if len(set(map(repr, values))) < len(values):
        raise ValueError(f"{text} has a value twice")
    return values


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def check_space(space: Space, resolve: Callable[[Sequence[str]], Any]) -> None:
    """Try every choice, and both ends of every range, alone and then beside the first values of the others.

    resolve: from assignments to settings; raises TrashkitError for those that cannot be. What fails only beside certain
    others is found when it is tried. Raises one TrashkitError with all mistakes.
    """
    first = {key: _ends(one)[0] for key, one in space.items()}
    found: list[TrashkitError] = []
    for key, one in space.items():
        for value in _ends(one):
            try:
                resolve([assignment(key, value)])
            except TrashkitError as error:
                try:
                    resolve([assignment(name, other) for name, other in (first | {key: value}).items()])
                except TrashkitError:
                    found.append(error)
    if found:
        raise TrashkitError("; ".join(dict.fromkeys(error.message for error in found)), hint=found[0].hint)


def _ends(one: Range | tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(one, Range):
        return one
    return (int(one.low), int(one.high)) if one.whole else (one.low, one.high)


def assignment(key: str, value: Any) -> str:
    """``KEY=VALUE`` as `trashkit.config.resolve` reads it."""
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"
