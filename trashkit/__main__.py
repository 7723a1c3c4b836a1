"""The trashkit command, also as ``python -m trashkit`` where the environment's scripts were moved.

Nothing is imported at the top but what tells of Ctrl-C: loading the command line takes a few tenths of a second, in
which there is nothing to clean up yet.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    # By the file number: print may be in the middle of something when the signal comes.
    os.write(2, b"stopped\n  run the same command again\n")
    os._exit(130)


def main() -> None:
    """Entry point of the console script: one line and exit code 130 on Ctrl-C, at any moment."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from trashkit.cli.app import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    except KeyboardInterrupt:  # outside the command itself: while its words are read, or while it ends
        os.write(2, b"stopped\n  run the same command again\n")
        sys.exit(130)
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)  # while Python ends


if __name__ == "__main__":
    main()
