"""The one error that users see without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TrashkitError(Exception):
    """An error that the user can fix: what is wrong and where, and in `hint` what to type.

    `message` is one line without a closing full stop. `hint` is one line or empty. The command line prints both and
    exits with 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Begin the message of a TrashkitError from the block with `name`; nothing changes where `name` is empty."""
    try:
        yield
    except TrashkitError as error:
        if not name:
            raise
        raise TrashkitError(f"{name}: {error.message}", hint=error.hint) from error


def read_error_reason(error: Exception) -> str:
    """Return why a text file could not be read: the system's reason, wrong encoding, or the error's own message."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return " ".join(str(error).split())[:160]
