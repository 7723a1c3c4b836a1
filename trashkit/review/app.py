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

VIEW, SHARED_VIEW = "all-findings-worst-first", "shared-cases"
"""The saved views that are open at first, as addresses write them."""
PATIENCE = 300.0
"""Seconds that the App's server gets to answer."""
LOOKING_EVERY = 2.0
"""Seconds between looks at what the Annotate tab has saved."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A data set ready for the App. built: whether it was filled anew. seconds: how long that took. said: what is to
    be told about its photos."""

    dataset: Any
    built: bool
    seconds: float
    said: tuple[str, ...] = ()


def open_review(room: Room, home: Path, *, test: Room | None = None, progress: Progress = silent) -> Opened:
    """The data set of a room, filled or found again, and the room on disk for the App's server.

    test: the test set's images, shown beside those under review.
    Needs `trashkit.review.database.fiftyone_ready`, as does `serve`.
    """
    start = time.monotonic()
    from trashkit.review.board import name_of, open_board
    from trashkit.review.photo_board import add_photos

    dataset, built = open_board(room, progress=progress)
    path = home / "rooms" / f"{name_of(room)}.json"
    save_room(room, path)
    said = add_photos(dataset, room, test, progress=progress)
    dataset.info["room"] = str(path.resolve())
    dataset.info["test"] = [str(test.coco.path), str(test.images)] if test is not None else None
    dataset.save()
    return Opened(dataset, built, time.monotonic() - start, tuple(said))


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
    view: str = VIEW,
    ready: Callable[[str], None] = lambda _: None,
    told: Callable[[list[Edit], list[str]], None] = lambda *_: None,
) -> None:
    """Run the App until Ctrl-C or SIGTERM, taking over what the Annotate tab saves.

    view: the saved view to open, as addresses write it. ready: called with the address once the App answers. told:
    called with edits taken over, and problems.
    """
    free_port(port)
    with _ending():
        # The server alone: a session of FiftyOne's would only be needed to talk to the App from Python.
        service = _server(port)
        try:
            _answers(port, service.child)
            address = f"http://localhost:{port}/datasets/{opened.dataset.name}?view={view}&workspace=review"
            ready(address)
            if browser:
                webbrowser.open(address)
            _wait(room, opened.dataset, told)
        finally:
            service.stop()


def _server(port: int) -> Any:
    """FiftyOne's server, started; it may not answer yet."""
    from fiftyone.core.service import ServerService

    class Server(ServerService):  # type: ignore[misc]
        def _wait_for_child_port(self, port: int | None = None, **_: Any) -> int | None:
            """FiftyOne gives up after a minute, which a busy machine may need: `_answers` waits instead."""
            return port

    # Ctrl-C reaches every process of the terminal: this one alone answers, and ends the server itself.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return Server(port, address=ADDRESS, do_not_track=True)
    finally:
        signal.signal(signal.SIGINT, before)


def _answers(port: int, process: Any) -> None:
    """Wait for the App's server to answer. Raises TrashkitError where it ends, or does not within some minutes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}/fiftyone", timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise TrashkitError(
        f"the App's server does not answer at port {port}", hint="trashkit doctor, or another port: --port 5152"
    )


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
