"""The trashkit command, also as ``python -m trashkit`` where the environment's scripts were moved.

Only what handling Ctrl-C needs is imported at the top: loading the command line takes a few tenths of a second, during
which there is nothing to clean up yet.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Not by print, which may be interrupted in the middle of a write.
    os.write(2, b"stopped\n  run the same command again\n")
    os._exit(130)


def main() -> None:
    """Entry point of the console script: one line and exit code 130 on Ctrl-C, 2 on any error, at any moment."""
    # No process that this one starts imports Python files of the folder it is called in, which may be a stranger's.
    os.environ["PYTHONSAFEPATH"] = "1"
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        from trashkit.cli.streams import finish, prepare

        prepare()
        from trashkit.cli.limits import fit_address_space

        fit_address_space()
        from trashkit.cli.app import main as run

        signal.signal(signal.SIGINT, before)
        try:
            run()
        finally:
            finish(sys.exception())
    except KeyboardInterrupt:  # outside the command itself: while its arguments are parsed, or while it exits
        os.write(2, b"stopped\n  run the same command again\n")
        sys.exit(130)
    except Exception as error:  # also outside: while the program loads or writes the last of its result
        _explain(error)
        sys.exit(2)
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)  # while Python exits


def _explain(error: Exception) -> None:
    try:
        from trashkit.cli.failures import explain, explain_known
        from trashkit.cli.output import say
        from trashkit.errors import TrashkitError

        say("error", *(explain_known(error) if isinstance(error, TrashkitError) else explain(error)))
    except Exception:  # no memory or file handle is left for that
        with contextlib.suppress(OSError):
            kind = type(error).__name__.encode()
            os.write(
                2, b"error: trashkit cannot be loaded (" + kind + b")\n  raise the limits on memory and open files\n"
            )


if __name__ == "__main__":
    main()
