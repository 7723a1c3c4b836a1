"""The registry of checks: each is one function with `@check(...)`, and its docstring is its page in the reference."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, NamedTuple, get_args

from trashkit.errors import TrashkitError
from trashkit.finding import FixKind, Severity

View = Literal["file", "shapes", "measures", "photos", "predictions"]
"""The view that a check works on, which is its one argument:

file: `trashkit.audit.views.table.Table`, columns of the whole file; once per file.
shapes: `trashkit.audit.views.shapes.Shapes`, rings and polygons of some images; once per chunk, in several processes.
measures: `trashkit.audit.views.table.Table` with `table.measures`, the measured areas and boxes; once per file.
photos: `trashkit.audit.views.photo_table.PhotoTable`, statistics of each decoded photo; only with a folder of photos.
predictions: `trashkit.audit.views.prediction_table.PredictionTable`, label errors; only with predictions.
"""

FAMILIES = {
    "S": "Structure: the file and its references",
    "G": "Geometry: rings, masks, areas and boxes",
    "L": "Labels: annotations compared with each other and with their class",
    "I": "Images: the photos themselves, with `--images`",
    "P": "Predictions: labels that a model disagrees with, with `--predictions`",
}
"""What the first letter of a code means."""

RELATED_CAP = 20
"""Most rows that a finding lists as related; `related_count` is the full number."""


class Hit(NamedTuple):
    """What a check yields: the row of the source file it is about, and a message.

    row: None if it is about the block or the file as a whole. related: all related rows of the same block; the finding
    lists the first RELATED_CAP. proposal: see `trashkit.finding.Finding`. The engine adds code, name, severity, ids and
    file name.
    """

    row: int | None
    message: str
    score: float | None = None
    fix: FixKind | None = None
    related: Sequence[int] = ()
    block: str = "annotations"
    proposal: Any = None


CheckFunction = Callable[[Any], Iterable[Hit]]
Breaker = Callable[[dict[str, Any]], str | None]
"""Breaks the clean example file, given as plain values, in place; may return the text of the broken file instead."""


@dataclass(frozen=True)
class Check:
    """One check of the registry. `function` takes the view named by `on` and yields hits."""

    code: str
    name: str
    severity: Severity
    on: View
    function: CheckFunction
    broken: Breaker | None

    @property
    def page(self) -> str:
        """The docstring: what it finds, an example, how to fix it."""
        return inspect.getdoc(self.function) or ""

    @property
    def title(self) -> str:
        """First line of the page."""
        return self.page.partition("\n")[0]


_CHECKS: dict[str, Check] = {}


def check(
    code: str, name: str, severity: Severity, *, on: View = "shapes", broken: Breaker | None = None
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check. `broken` makes its example file, in which the tests expect the check to find something.

    Raises ValueError for an unknown view, for a code that is taken or not of the form ``G003``, and for a parameter
    that is named after another view than `on`.
    """
    views = get_args(View)
    if on not in views:
        raise ValueError(f"check {code}: on={on!r} is not a view; choices: {', '.join(views)}")
    if not re.fullmatch(f"[{''.join(FAMILIES)}][0-9]{{3}}", code):
        families = "; ".join(f"{letter} = {title}" for letter, title in FAMILIES.items())
        raise ValueError(f"check code {code!r} is not a letter and three digits; letters: {families}")

    def register(function: CheckFunction) -> CheckFunction:
        known = _CHECKS.get(code)
        if known is not None and _full_name(known.function) != _full_name(function):
            raise ValueError(
                f"two checks have the code {code}: {_full_name(known.function)} and {_full_name(function)}"
            )
        parameter = next(iter(inspect.signature(function).parameters), "")
        if parameter in views and parameter != on:
            raise ValueError(
                f"check {code}: {_full_name(function)} takes {parameter}, but the decorator says on={on!r}"
            )
        _CHECKS[code] = Check(code, name, severity, on, function, broken)
        return function

    return register


def _full_name(function: CheckFunction) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def checks() -> dict[str, Check]:
    """All checks by code, in the order of their codes. Every file in `checks/` is imported and takes part."""
    package = import_module("trashkit.audit.checks")

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_CHECKS.items()))


def find(wanted: str) -> list[Check]:
    """Checks selected by a code (``G003``), the beginning of codes (``G``, ``G00``) or a name (``invalid-ring``).

    Raises TrashkitError if there are none, and suggests the closest ones.
    """
    text = wanted.strip()
    found = [c for c in checks().values() if c.name == text.lower() or (text and c.code.startswith(text.upper()))]
    if not found:
        words = [word for c in checks().values() for word in (c.code, c.name)]
        close = get_close_matches(text.upper(), words, 2) + get_close_matches(text.lower(), words, 2)
        meant = (
            f"did you mean {' or '.join(dict.fromkeys(close))}?"
            if close
            else "`trashkit audit --explain all` lists the checks"
        )
        raise TrashkitError(f"there is no check {wanted!r}", hint=meant)
    return found


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> list[Check]:
    """Checks to run: the selected ones (all if none are selected), without the ignored ones.

    An entry may name several checks, separated by commas. Raises TrashkitError as `find` does, and if no check is left.
    """
    picked = {c.code for wanted in _split(select) for c in find(wanted)} or set(checks())
    dropped = {c.code for wanted in _split(ignore) for c in find(wanted)}
    if not picked - dropped:
        raise TrashkitError("there are no checks to run", hint="--ignore excludes all selected checks")
    return [c for code, c in checks().items() if code in picked - dropped]


def _split(entries: Iterable[str]) -> Iterator[str]:
    for entry in entries:
        parts = [part.strip() for part in entry.split(",") if part.strip()]
        yield from parts or [entry]
