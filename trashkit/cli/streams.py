"""Stdout and stderr that survive encodings other than UTF-8, closed descriptors, closed pipes and full disks."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import IO, Any


class StdoutError(OSError):
    """The result could not be written to stdout."""


class _Stream(io.TextIOWrapper):
    """A standard stream. Characters that its encoding lacks are escaped.

    When the reader of a pipe has gone, what follows is dropped: the command finishes, and its exit code counts. Any
    other error of stderr is dropped as well, and of stdout raised once, as StdoutError.
    """

    lost: StdoutError | None = None

    def write(self, text: str) -> int:
        if text == "":  # click asks in this way whether the stream takes text
            return 0
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        number = self.fileno()
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, number)  # what is still buffered goes there, too
        os.close(devnull)
        if number == 1 and error.errno != errno.EPIPE:
            self.lost = StdoutError(error.errno, error.strerror)
            raise self.lost from error


def prepare() -> None:
    """Replace sys.stdout and sys.stderr. Call first: closed descriptors would be taken by the first files opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)  # opened as `number`: the lowest that is free
    sys.stdout = _replaced(sys.stdout, 1)
    sys.stderr = _replaced(sys.stderr, 2)
    # Libraries that restore the original streams take these; the old objects are without a descriptor now.
    vars(sys).update(__stdout__=sys.stdout, __stderr__=sys.stderr)


def _replaced(stream: IO[str] | Any, number: int) -> Any:
    if stream is None:  # it was closed when Python started
        raw: Any = open(number, "wb", closefd=False)  # noqa: SIM115
        return _Stream(raw, encoding="utf-8", errors="backslashreplace")
    if type(stream) is not io.TextIOWrapper:  # a test's or a notebook's
        return stream
    encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
    return _Stream(stream.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)


def finish(leaving: BaseException | None = None) -> None:
    """Write what is buffered. Raises StdoutError where stdout could not be written, now or before.

    leaving: the exception with which the program ends; if that is exit code 2, the user knows already.
    """
    sys.stderr.flush()
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    if lost is not None and not (isinstance(leaving, SystemExit) and leaving.code == 2):
        raise lost
