"""Output of commands: results go to stdout, everything else to stderr."""

from __future__ import annotations

import json as jsonlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.names import json_escaped, printable, printable_cell, quoted, shortened
from trashkit.progress import Progress, time_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDTH_WHEN_PIPED = 120
LONGEST_CELL = 400
"""Most characters of a cell of a table: a name may have any length."""
LONGEST_LINE = 2000
"""Most characters of a note, a warning or an error."""


def console(*, stderr: bool = False) -> Console:
    """A rich console without markup and highlighting.

    Each text that it prints is one line: line ends inside are part of a name, and are escaped with all else that
    `printable` escapes. A text of several lines is printed line by line.
    """
    from rich.console import Console

    class Plain(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_WHEN_PIPED
    return Plain(file=stream, stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def table(
    columns: Sequence[str | Text], rows: Iterable[Sequence[object]], *, title: str = "", tight: bool = False
) -> Table:
    """Build a table: numbers are right-aligned, floats have four decimals, NaN and None are shown as a dash.

    tight: narrow gaps and no wrapping, for tables that are known to fit.
    """
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    filled = [list(row) for row in rows]
    made = Table(
        title=Text(printable_cell(title)) if title else None,
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=tight,
    )
    for n, column in enumerate(columns):
        number = any(isinstance(row[n], int | float) for row in filled)
        made.add_column(
            stacked(column) if isinstance(column, str) else column,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=tight,
        )
    for row in filled:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def stacked(*lines: str) -> Text:
    """The head of a column on several lines."""
    from rich.text import Text

    return Text("\n".join(printable_cell(line) for line in lines))


def short(name: str, most: int = 24) -> str:
    """Shorten a name in the middle, after escaping it."""
    return shortened(printable_cell(name), most)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else short(str(value), LONGEST_CELL)


def command(*words: object) -> str:
    """Quoted trashkit command line to copy: ``command("train", "--data", path)``."""
    shorten = _shorten.get()
    return " ".join(["trashkit", *(quoted(str(word)) for word in (words if shorten is None else shorten(words)))])


def unused(path: str | Path) -> Path:
    """The path, or the first of NAME-2, NAME-3 ... that does not exist, so that a suggested command is not refused."""
    path, number = Path(path), 1
    found = path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def plain(value: Any) -> Any:
    """Convert a value for JSON: paths to strings, NaN and infinity to null, numpy values to Python values."""
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


_project: ContextVar[Mapping[str, Any] | None] = ContextVar("project", default=None)
_knows: ContextVar[frozenset[str]] = ContextVar("knows", default=frozenset())
_shorten: ContextVar[Callable[[Sequence[object]], Sequence[object]] | None] = ContextVar("shorten", default=None)


def set_project(
    used: Mapping[str, Any] | None,
    shorten: Callable[[Sequence[object]], Sequence[object]] | None = None,
    knows: Iterable[str] = (),
) -> None:
    """Note the project file that this command uses and the values taken from it, which JSON results name; or none.

    shorten: leaves out of the words of a next command what the project file gives. knows: the files that it names.
    """
    _project.set(used)
    _knows.set(frozenset(knows))
    _shorten.set(shorten)


def project_knows(name: str) -> bool:
    """Whether the project file names such a file, such as "test", so that a next command needs no option for it."""
    return name in _knows.get()


def used_project() -> dict[str, Any]:
    """What JSON results say about the project: ``{"project": {"file": ..., "values": {...}}}``, empty without one."""
    used = _project.get()
    return {} if used is None else {"project": used}


def show(
    result: Any,
    *,
    json: bool = False,
    human: RenderableType | Sequence[RenderableType] = (),
    wrote: Path | str | None = None,
    next: str = "",
    pager: bool = False,
) -> None:
    """Show a command's result: `result` as JSON if `json`, else `human` (texts and tables).

    human: each text is one line. wrote: path of the output. next: a likely next command (see `command`).
    pager: on a terminal, show more lines than fit in the pager of the system.
    """
    if json:
        if isinstance(result, Mapping):
            result = {**result, **used_project()}
        write_json([jsonlib.dumps(plain(result), ensure_ascii=False, indent=1) + "\n"])
    else:
        out = console()
        items = [human] if isinstance(human, str) or not isinstance(human, Sequence) else human
        with out.pager() if pager and out.is_terminal and len(items) >= out.height else nullcontext():
            for item in items:
                out.print(item, soft_wrap=isinstance(item, str))
    closing = console(stderr=json)
    if wrote is not None:
        closing.print(f"wrote {wrote}", soft_wrap=True)
    if next:
        closing.print(f"next: {next}", soft_wrap=True)


def write_json(pieces: Iterable[str]) -> None:
    """Write a JSON text to stdout, with escapes for invisible characters and where the terminal is not UTF-8."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    for piece in pieces:
        sys.stdout.write(json_escaped(piece, ascii_only=not encoding.startswith("utf")))
    sys.stdout.flush()


def note(message: str) -> None:
    """Print one line on stderr: an automatic choice with its reason, or a status."""
    console(stderr=True).print(shortened(printable(message), LONGEST_LINE), soft_wrap=True)


def warn(message: str) -> None:
    """Print one line on stderr that starts with "warning:"."""
    note(f"warning: {message}")


def say(kind: str, message: str, hint: str) -> None:
    """Show a message on stderr, and below it a hint."""
    note(f"{kind}: {message}" if message else kind)
    if hint:
        note(f"  {hint}")


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress callback on stderr: a progress bar on a terminal, else a line every ten seconds."""
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
                tasks[what] = bars.add_task(short(what, 60), total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


class _Lines:
    """Progress without a terminal: a line every ten seconds, with the time left at the speed so far."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.begun: dict[str, tuple[float, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        since, before = self.begun.setdefault(what, (now, done))
        if now - self.last >= 10:
            self.last = now
            left = (now - since) / (done - before) * (total - done) if done > before else 0.0
            ahead = f", about {time_text(left)} left" if left else ""
            note(f"{what}: {done} of {total}, {now - self.start:.0f} s{ahead}")
