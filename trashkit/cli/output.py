"""The one sink through which commands speak: results on stdout, everything else on stderr."""

from __future__ import annotations

import json as jsonlib
import math
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, everything else on stderr.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an output that was begun with the same inputs and settings.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="official|own|taco|MAP.json",
        help="Which classes the categories become; default: the ten official where the names fit, else the file's own.",
    ),
]

WIDTH_WHEN_PIPED = 120


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What would steer the terminal, turn the direction of writing or cannot be encoded: texts come from strangers' files.
Line ends and tabs may stand."""


def printable(text: str) -> str:
    """A text with control characters and lone surrogates written as escapes such as ``\\x1b``."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def console(*, stderr: bool = False) -> Console:
    """A rich console that leaves texts alone but for `printable`: no markup, no highlighting of paths and numbers."""
    from rich.console import Console

    class Plain(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_WHEN_PIPED
    return Plain(file=stream, stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", tight: bool = False) -> Table:
    """A table for people; numbers stand right, floats have four digits, NaN and None are a dash.

    tight: columns stand closer and no cell is wrapped, for tables that were measured to fit.
    """
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    filled = [list(row) for row in rows]
    made = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=tight,
    )
    for n, column in enumerate(columns):
        number = any(isinstance(row[n], int | float) for row in filled)
        made.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=tight)
    for row in filled:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def short(name: str, most: int = 24) -> str:
    """A name cut in its middle where it is longer: names often differ at their end."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - 1 - most // 2) :]}"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    # a line end would break the row, and lets a text pose as another row
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value)).replace("\n", "\\n")


def command(*words: object) -> str:
    """A trashkit command line that can be copied: ``command("train", "--data", path)``."""
    return shlex.join(["trashkit", *(str(word) for word in words)])


def plain(value: Any) -> Any:
    """A value as JSON can hold it: paths as texts, NaN and infinities as null, numpy values as Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    return str(value)


def show(
    result: Any,
    *,
    json: bool = False,
    human: RenderableType | Sequence[RenderableType] = (),
    wrote: Path | str | None = None,
    next: str = "",
) -> None:
    """Show a command's result: `result` as JSON, or `human` (texts and tables) for people.

    wrote: where the result lies. next: the command that a user would type next (see `command`).
    """
    if json:
        text = jsonlib.dumps(plain(result), ensure_ascii=False, indent=1) + "\n"
        # in JSON the escape of a lone surrogate is that surrogate
        sys.stdout.write(text.encode(errors="backslashreplace").decode())
        sys.stdout.flush()
    else:
        out = console()
        for item in [human] if isinstance(human, str) or not isinstance(human, Sequence) else human:
            out.print(item, soft_wrap=isinstance(item, str))
    closing = console(stderr=json)
    if wrote is not None:
        closing.print(f"wrote {wrote}", soft_wrap=True)
    if next:
        closing.print(f"next: {next}", soft_wrap=True)


def note(message: str) -> None:
    """One line on stderr: an automatic choice with its reason, or how things go."""
    console(stderr=True).print(message, soft_wrap=True)


def warn(message: str) -> None:
    """One line on stderr that begins with "warning:"."""
    note(f"warning: {message}")


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress callback: a bar with rate and time left on a terminal, else a line every ten seconds, on stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


class _Lines:
    """Progress where nobody watches a terminal: a line every ten seconds."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= 10:
            self.last = now
            note(f"{what}: {done} of {total}, {now - self.start:.0f} s")
