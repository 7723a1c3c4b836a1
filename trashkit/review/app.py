"""Starts the FiftyOne App on a review, waits, and ends cleanly."""

from __future__ import annotations

import signal
import socket
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from trashkit.coco.edit import Edit
from trashkit.errors import TrashkitError
from trashkit.progress import Progress, silent
from trashkit.review.database import ADDRESS
from trashkit.review.room import Room
from trashkit.review.room_file import save_room

VIEW = "all-findings-worst-first"
"""The saved view that is open at first, as addresses write it."""
LOOKING_EVERY = 2.0
"""Seconds between looks at what the Annotate tab has saved."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A data set ready for the App. built: whether it was filled anew. seconds: how long that took."""

    dataset: Any
    built: bool
    seconds: float


def open_review(room: Room, home: Path, *, progress: Progress = silent) -> Opened:
    """The data set of a room, filled or found again, and the room on disk for the App's server.

    Needs `trashkit.review.database.fiftyone_ready`, as does `serve`.
    """
    start = time.monotonic()
    from trashkit.review.board import name_of, open_board

    dataset, built = open_board(room, progress=progress)
    path = home / "rooms" / f"{name_of(room)}.json"
    save_room(room, path)
    dataset.info["room"] = str(path.resolve())
    dataset.save()
    return Opened(dataset, built, time.monotonic() - start)


def free_port(port: int) -> None:
    """Raise TrashkitError where something listens at this port already."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((ADDRESS, port))
        except OSError as error:
            raise TrashkitError(
                f"port {port} is taken by another program", hint="choose another one: --port 5152"
            ) from error


def serve(
    room: Room,
    opened: Opened,
    *,
    port: int,
    browser: bool = True,
    ready: Callable[[str], None] = lambda _: None,
    told: Callable[[list[Edit], list[str]], None] = lambda *_: None,
) -> None:
    """Run the App until Ctrl-C or SIGTERM, taking over what the Annotate tab saves.

    ready: called with the address once the App answers. told: called with edits taken over, and problems.
    """
    from fiftyone.core.service import ServerService

    free_port(port)
    with _ending():
        # The server alone: a session of FiftyOne's would only be needed to talk to the App from Python.
        service = ServerService(port, address=ADDRESS, do_not_track=True)
        try:
            _answers(port)
            address = f"http://localhost:{port}/datasets/{opened.dataset.name}?view={VIEW}&workspace=review"
            ready(address)
            if browser:
                webbrowser.open(address)
            _wait(room, opened.dataset, told)
        finally:
            service.stop()


def _answers(port: int) -> None:
    """Wait for the App's server to answer. Raises TrashkitError where it does not within two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}/fiftyone", timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise TrashkitError(f"the App's server does not answer at port {port}", hint="choose another one: --port 5152")


def _wait(room: Room, dataset: Any, told: Callable[[list[Edit], list[str]], None]) -> None:
    from trashkit.review.board import take_over

    looked = dataset.info["looked"]
    try:
        while True:
            time.sleep(LOOKING_EVERY)
            edits, problems, looked = take_over(dataset, room, looked)
            if edits or problems:
                told(edits, problems)
    except KeyboardInterrupt:
        edits, problems, looked = take_over(dataset, room, looked)
        told(edits, problems)
    dataset.reload()
    dataset.info["looked"] = looked
    dataset.save()


@contextmanager
def _ending() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C, and so does an interrupt where a shell started the command in the background."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
