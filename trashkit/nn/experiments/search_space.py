"""The search space of a sweep: ranges and lists of values by setting."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.readers import ContentError, decode_toml, read_bytes
from trashkit.settings.training import setting_names, unknown

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_EXAMPLE = "such as optimiser.lr=1e-4..1e-3:log, epochs=10..30 or data.augment=light|strong"


@dataclass(frozen=True)
class Range:
    """All numbers from low to high, both included. integer: whole numbers only. log: uniform in the logarithm."""

    low: float
    high: float
    log: bool
    integer: bool


Space = Mapping[str, Range | tuple[Any, ...]]
"""By dotted name of a setting: a range, or the values to choose from."""


def read_space(file: Path | None, tries: Sequence[str]) -> Space:
    """The search space of a TOML file and of ``KEY=VALUES`` texts, which take precedence.

    The file holds ``"optimiser.lr" = "1e-4..1e-3:log"`` or ``"data.augment" = ["light", "strong"]``. Raises one
    TrashkitError with all mistakes: unknown settings, empty ranges, values that are neither a range nor a list.
    """
    given: dict[str, Any] = {}
    mistakes: list[str] = []
    if file is not None:
        try:
            given |= _flat(decode_toml(read_bytes(file)))
        except OSError as error:
            raise TrashkitError(
                f"the search space {file} cannot be read: {read_error_reason(error)}", hint="check --space"
            ) from error
        except ContentError as error:
            raise TrashkitError(f"the search space {file} is not TOML: {error}", hint=f"write {_EXAMPLE}") from error
    for text in tries:
        key, equals, what = text.partition("=")
        if not equals:
            mistakes.append(f'"{text}" is not KEY=VALUES: write {_EXAMPLE}')
        given[key.strip()] = what.strip()
    space: dict[str, Range | tuple[Any, ...]] = {}
    for key, what in given.items():
        free = key.startswith("model.options.")
        if key == "seed":
            mistakes.append("seed: all trials use the same seed, so that chance does not decide; set it with --seed")
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
        raise TrashkitError("the search space is empty", hint=f"add --try KEY=VALUES, {_EXAMPLE}, or --space FILE.toml")
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
    match = _RANGE.fullmatch(text.replace(" ", "")) if len(text) < 100 else None
    if match:
        low, high = float(match[1]), float(match[2])
        log = match[3] is not None
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{text[:80]} is not a range of numbers")
        if low >= high or (log and low <= 0):
            raise ValueError(f"{text} is empty" if low >= high else f"{text}: a logarithmic range must start above 0")
        integer = all(re.fullmatch(r"[+-]?\d+", end) for end in (match[1], match[2]))
        return Range(low, high, log, integer)
    if ".." in text:
        raise ValueError(f'"{text}" is not a range of numbers')
    values = tuple(_value(choice.strip()) for choice in text.split("|"))
    if len(values) == 1:
        raise ValueError(f"{text} is a single value: use --set for it, or give several, {_EXAMPLE}")
    if len(set(map(repr, values))) < len(values):
        raise ValueError(f"{text} lists a value twice")
    return values


def _value(text: str) -> Any:
    try:
        return decode_toml(f"value = {text}")["value"]
    except ContentError:
        return text


def check_space(space: Space, resolve: Callable[[Sequence[str]], Any]) -> None:
    """Check every choice, and both ends of every range, alone and together with the first values of the others.

    resolve: from assignments to settings; raises TrashkitError for invalid ones. A value that is invalid only in some
    combinations is found when it is tried. Raises one TrashkitError with all mistakes.
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
    return (int(one.low), int(one.high)) if one.integer else (one.low, one.high)


def assignment(key: str, value: Any) -> str:
    """``KEY=VALUE`` as `trashkit.settings.training.resolve` reads it."""
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"
