"""Run trashkit commands as child processes, with their progress and messages passed on."""

from __future__ import annotations

import ctypes
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.progress import Log, Progress, discard, silent
from trashkit.readers import decode_json

_PROGRESS = re.compile(r"(.+): (\d+) of (\d+), \d+ s")
_CLOSING = ("next: ", "wrote ")
"""Beginnings of lines that tell the user of a single command what comes next."""
_LAST = 40


class CommandError(TrashkitError):
    """A command that failed: the message and the hint that it printed."""


def run_command(
    words: Sequence[str],
    *,
    exits: Sequence[int] = (0,),
    launch: str = "",
    log: Log = discard,
    progress: Progress = silent,
) -> Any:
    """Run ``trashkit WORDS --json`` in a process of its own and return its JSON result.

    launch: a command line that starts the processes, such as "accelerate launch". log: receives what the command tells,
    without what it suggests next. The process ends with this one, even if that is killed. Raises CommandError with the
    command's own message where its exit code is not among `exits`, KeyboardInterrupt where Ctrl-C ended it.
    """
    line = [*_starter(launch), "-m", "trashkit", *words, "--json"]
    last: list[str] = []
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            line,
            stdout=out,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, loaded before
        )
        try:
            assert process.stderr is not None
            for text in process.stderr:
                told = text.rstrip()
                last = [*last[-_LAST:], told]
                if found := _PROGRESS.fullmatch(told):
                    progress(found[1], int(found[2]), int(found[3]))
                elif told and not told.startswith((*_CLOSING, "error: ", "usage error: ")):
                    log(told)
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if code not in exits:
            raise _failure(code, last, words)
        out.seek(0)
        return decode_json(out.read())


def _starter(launch: str) -> list[str]:
    """The words before ``-m trashkit``: this Python, or a launcher, also one that is only in this environment."""
    if not launch:
        return [sys.executable, "-P"]  # not with the Python files of the folder it is called in
    first, *rest = shlex.split(launch)
    beside = Path(sys.executable).parent / first
    found = shutil.which(first) or (str(beside) if beside.is_file() else None)
    if found is None:
        raise TrashkitError(f"there is no program {first}", hint='such as --launch "accelerate launch"')
    return [found, *rest]


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Let Linux end this process when its parent has ended, in whatever way; elsewhere it works to its end."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _failure(code: int, last: Sequence[str], words: Sequence[str]) -> TrashkitError | KeyboardInterrupt:
    if code in (130, -signal.SIGINT):
        return KeyboardInterrupt()
    if code < 0:
        name = signal.Signals(-code).name
        hint = "the system may have been out of memory" if -code == signal.SIGKILL else ""
        return CommandError(f"{words[0]} was ended by {name}", hint=hint)
    for n, line in reversed(list(enumerate(last))):
        kind, colon, message = line.partition(": ")
        if colon and kind.endswith("error"):
            hint = last[n + 1].strip() if n + 1 < len(last) and last[n + 1].startswith("  ") else ""
            return CommandError(f"{words[0]}: {message}", hint=hint)
    return CommandError(f"{words[0]} ended with exit code {code}: {last[-1] if last else 'no message'}")
