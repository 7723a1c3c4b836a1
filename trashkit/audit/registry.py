"""The checks: each is one function with `@check(...)`, and its docstring is its page in the reference."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, NamedTuple

from trashkit.errors import TrashkitError
from trashkit.finding import FixKind, Severity

View = Literal["file", "shapes", "measures", "photos", "predictions"]
"""What a check looks at, which is its one argument:

file: `trashkit.audit.table.Table`, the columns of the whole file; once per file.
shapes: `trashkit.audit.shapes.Shapes`, rings and polygons of some images; once per chunk, in several processes.
measures: `trashkit.audit.table.Table` with `table.measures`, what the shapes were measured to be; once per file.
photos: `trashkit.audit.photo_table.PhotoTable`, what one decode of each photo showed; only with a folder of photos.
predictions: `trashkit.audit.predicted_table.PredictedTable`, label errors that predictions show; only with these.
"""

RELATED_CAP = 20
"""Most rows that a finding lists as related; `related_count` has the full number."""


class Hit(NamedTuple):
    """What a check yields: the row of the source file it is about, and what to say.

    row: None where it is about the block or the file as a whole. related: rows of the same block, as many as there
    are; the finding lists the first RELATED_CAP. proposal: see `trashkit.finding.Finding`. The engine adds code, name,
    severity, ids and file name.
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
"""Takes the clean example file as plain values and breaks it in place; a text returned stands for the whole file."""


@dataclass(frozen=True)
class Check:
    """One check of the registry; `function` yields hits for the view named by `on`."""

    code: str
    name: str
    severity: Severity
    on: View
    function: CheckFunction
    broken: Breaker | None

    @property
    def page(self) -> str:
        """The docstring: what it finds, an example, the cure."""
        return inspect.getdoc(self.function) or ""

    @property
    def title(self) -> str:
        """First line of the page."""
        return self.page.partition("\n")[0]


_CHECKS: dict[str, Check] = {}


def check(
    code: str, name: str, severity: Severity, *, on: View = "shapes", broken: Breaker | None = None
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check. `broken` makes its example file, on which the tests hold it to its word."""

    def register(function: CheckFunction) -> CheckFunction:
        known = _CHECKS.get(code)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(f"two checks have the code {code}: {known.name} and {name}")
        _CHECKS[code] = Check(code, name, severity, on, function, broken)
        return function

    return register


def checks() -> dict[str, Check]:
    """All checks by code, in the order of their codes. Importing a new file in `checks/` is all it takes to join."""
    package = import_module("trashkit.audit.checks")

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_CHECKS.items()))


def find(wanted: str) -> list[Check]:
    """Checks meant by a code (``G003``), the beginning of codes (``G``, ``G00``) or a name (``invalid-ring``).

    Raises TrashkitError for what names none, with the closest.
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
    """Checks to run: those selected (all where nothing is), less those ignored.

    Raises TrashkitError as `find`, and where none is left.
    """
    picked = {c.code for wanted in select for c in find(wanted)} or set(checks())
    dropped = {c.code for wanted in ignore for c in find(wanted)}
    if not picked - dropped:
        raise TrashkitError("no check is left to run", hint="--ignore takes out all that --select chose: name fewer")
    return [c for code, c in checks().items() if code in picked - dropped]
