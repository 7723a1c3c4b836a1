"""The only error that a user sees without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TrashkitError(Exception):
    """Something the user can mend: what is wrong and where, and in `hint` what to type.

    `message` is one line without a closing full stop. `hint` is one line or empty. The command line prints both and
    exits with 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Inside, the message of an error begins with what it is about; nothing changes where `name` is empty."""
    try:
        yield
    except TrashkitError as error:
        if not name:
            raise
        raise TrashkitError(f"{name}: {error.message}", hint=error.hint) from error


def why_unread(error: Exception) -> str:
    """Why a file of text could not be read, in words of its reader's: the system's reason, no text, or what it says."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return " ".join(str(error).split())[:160]
