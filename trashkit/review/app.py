"""Starts the FiftyOne App on a review, waits, and ends cleanly."""

from __future__ import annotations

import signal
import socket
import subprocess
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
    server: subprocess.Popen[bytes] | None,
    *,
    port: int,
    browser: bool = True,
    view: str = VIEW,
    ready: Callable[[str], None] = lambda _: None,
    told: Callable[[list[Edit], list[str]], None] = lambda *_: None,
) -> None:
    """Run the App until Ctrl-C or SIGTERM, taking over what the Annotate tab saves.

    server: as `fiftyone_ready` yields it. view: the saved view to open, as addresses write it. ready: called with the
    address once the App answers. told: called with edits taken over, and problems.
    """
    with _ending():
        _answers(port, server)
        address = f"http://localhost:{port}/datasets/{opened.dataset.name}?view={view}&workspace=review"
        ready(address)
        if browser:
            webbrowser.open(address)
        _wait(room, opened.dataset, told)


def _answers(port: int, process: subprocess.Popen[bytes] | None) -> None:
    """Wait for the App's server to answer. Raises TrashkitError where it ends, or does not within some minutes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process is not None and process.poll() is None:
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
    made: dict[tuple[Any, ...], Edit] = {}
    wrong: dict[str, None] = {}

    def look() -> bool:
        nonlocal looked
        edits, problems, looked = take_over(dataset, room, looked)
        # While an outline is dragged about its one edit is written again and again, which is told of once.
        made.update({(edit.block, edit.row, edit.id, edit.kind): edit for edit in edits})
        wrong.update(dict.fromkeys(problems))
        return bool(edits or problems)

    def tell() -> None:
        if made or wrong:
            told(list(made.values()), list(wrong))
        made.clear()
        wrong.clear()

    try:
        while True:
            time.sleep(LOOKING_EVERY)
            if not look():
                tell()
    except KeyboardInterrupt:
        look()
        tell()
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
