"""Starts the FiftyOne App on a review, waits until it is ended, and shuts it down cleanly."""

from __future__ import annotations

import signal
import socket
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from trashkit.edits.edit import Edit
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.progress import Progress, silent
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.server.process import Server, loopback
from trashkit.review.session import ReviewSession
from trashkit.review.session_file import save_session
from trashkit.review.stored_reviews import PREFIX, in_use, remove_old, session_file

FINDINGS_VIEW, SHARED_VIEW = "all-findings-worst-first", "shared-cases"
"""Saved views that are open at first, as addresses write them."""
SERVER_START_TIMEOUT = 300.0
POLL_SECONDS = 2.0
"""Seconds between checks for changes that the Annotate tab has saved."""

ReportEdits = Callable[[list[Edit], list[str]], None]
"""Called with edits that were taken over from the Annotate tab, and with problems."""


@dataclass(frozen=True, slots=True)
class OpenedReview:
    """A data set ready for the App.

    built: whether it was built anew. seconds: how long opening it took. notes: sentences about its photos.
    """

    dataset: Any
    built: bool
    seconds: float
    notes: tuple[str, ...] = ()


def open_review(
    session: ReviewSession, home: Path, *, test: ReviewSession | None = None, progress: Progress = silent
) -> OpenedReview:
    """Build or find the data set of a session, and write the session to disk for the App's server.

    home: the review's folder. test: the test set, shown next to the images under review. Only inside
    `trashkit.review.fiftyone_app.database.fiftyone_ready`.
    """
    start = time.monotonic()
    _require_utf8(session, *([test] if test is not None else []))
    from trashkit.review.fiftyone_app.dataset_sync import dataset_name, open_dataset
    from trashkit.review.fiftyone_app.photo_samples import add_photos

    dataset, built = open_dataset(session, progress=progress)
    path = session_file(home, dataset_name(session))
    save_session(session, path)
    notes = add_photos(dataset, session, test, progress=progress)
    dataset.info["room"] = str(real_path(path))
    dataset.info["test"] = [str(test.coco.path), str(test.images)] if test is not None else None
    dataset.save()
    return OpenedReview(dataset, built, time.monotonic() - start, tuple(notes))


def _require_utf8(*sessions: ReviewSession) -> None:
    """Raise TrashkitError for paths that are not UTF-8, which the database cannot store."""
    for path in (path for one in sessions for path in (one.coco.path, one.images) if path is not None):
        try:
            str(real_path(path)).encode()
        except UnicodeEncodeError as error:
            raise TrashkitError(
                f"the App cannot open {path}: its name is not UTF-8", hint="rename it, or write a page with --html"
            ) from error


@contextmanager
def review_in_use(session: ReviewSession, home: Path) -> Iterator[None]:
    """Keep other reviews from removing this one as an old one. Only inside `fiftyone_ready`."""
    from trashkit.review.fiftyone_app.dataset_sync import dataset_name

    with in_use(home, dataset_name(session)):
        yield


def remove_old_reviews(home: Path) -> str:
    """Remove old reviews from trashkit's own database and folder, and say so; empty if there were none."""
    import fiftyone as fo

    stored = {name: private_api.dataset_bytes(fo.load_dataset(name)) for name in fo.list_datasets(f"{PREFIX}*")}
    number, freed = remove_old(home, stored, fo.delete_dataset)
    return f"removed {number} old review session{'' if number == 1 else 's'} ({freed / 1e6:.0f} MB)" if number else ""


def require_free_port(port: int) -> None:
    """Raise TrashkitError if another program listens at this port."""
    for address in loopback():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address, port))
            except OSError as error:
                raise TrashkitError(
                    f"port {port} is used by another program", hint="choose another one: --port 5152"
                ) from error


def serve(
    session: ReviewSession,
    opened: OpenedReview,
    server: Server,
    *,
    browser: bool = True,
    on_ready: Callable[[str], None] = lambda _: None,
    on_edits: ReportEdits = lambda *_: None,
) -> None:
    """Run the App until Ctrl-C or SIGTERM, taking over what the Annotate tab saves.

    server: as `fiftyone_ready` yields it. browser: open the App in the browser. on_ready: called once it answers, with
    the address that lets its reader in.
    """
    view = SHARED_VIEW if session.shared is not None else FINDINGS_VIEW
    with _until_interrupted():
        _wait_for_server(server)
        address = server.address(f"/datasets/{quote(opened.dataset.name, safe='')}", view=view, workspace="review")
        on_ready(address)
        if browser:
            webbrowser.open(address)
        _watch_annotate_tab(session, opened.dataset, on_edits)


def _wait_for_server(server: Server) -> None:
    """Wait for the App's server to answer. Raises TrashkitError if it ends, or does not answer in time."""
    end = time.monotonic() + SERVER_START_TIMEOUT
    while time.monotonic() < end and server.process.poll() is None:
        if server.answers():
            return
        time.sleep(0.25)
    raise TrashkitError(
        f"the App's server does not answer at port {server.access.port}",
        hint=f"see {server.log}, run trashkit doctor, or choose another port: --port 5152",
    )


def _watch_annotate_tab(session: ReviewSession, dataset: Any, on_edits: ReportEdits) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import take_over

    looked = dataset.info["looked"]
    taken: dict[tuple[Any, ...], Edit] = {}
    problems: dict[str, None] = {}

    def poll() -> bool:
        nonlocal looked
        edits, wrong, looked = take_over(dataset, session, looked)
        # While an outline is dragged around, its one edit is written again and again, but reported only once.
        taken.update({(edit.block, edit.row, edit.id, edit.kind): edit for edit in edits})
        problems.update(dict.fromkeys(wrong))
        return bool(edits or wrong)

    def report() -> None:
        if taken or problems:
            on_edits(list(taken.values()), list(problems))
        taken.clear()
        problems.clear()

    try:
        while True:
            time.sleep(POLL_SECONDS)
            if not poll():
                report()
    except KeyboardInterrupt:
        poll()
        report()
    dataset.reload()
    dataset.info["looked"] = looked
    dataset.save()


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, even if a shell started the command in the background, where Ctrl-C is ignored."""

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
