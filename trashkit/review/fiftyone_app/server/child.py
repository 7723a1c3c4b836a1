"""What the server's process runs: FiftyOne's server behind the guard, until standard input is closed."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TypedDict

from trashkit.readers import decode_json
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.server.allowed import is_allowed_operator
from trashkit.review.fiftyone_app.server.guard import Access, guarded
from trashkit.review.fiftyone_app.server.process import loopback

GRACE = 2.0
"""Seconds for requests that are being answered when the server is ended. Event streams would go on for ever."""


class Settings(TypedDict):
    """The line that the parent writes first; not on the command line, where other users would see the token."""

    port: int
    token: str
    folders: list[str]


def main() -> None:
    """Serve until standard input ends: then the parent has ended, or wants this process to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    settings: Settings = decode_json(sys.stdin.buffer.readline(), Settings)
    access = Access(settings["port"], settings["token"], tuple(map(Path, settings["folders"])))
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    app = guarded(private_api.server_app(access.port, is_allowed_operator), access)
    asyncio.run(_serve(app, access.port, ended))
    private_api.cancel_cleanup_at_exit()


def _wait_for_end(ended: threading.Event) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    ended.set()
    time.sleep(GRACE)
    signal.raise_signal(signal.SIGKILL)


async def _serve(app: object, port: int, ended: threading.Event) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in loopback()]
    config.include_server_header = False
    config.loglevel = "WARNING"
    config.graceful_timeout = 1.0
    await serve(app, config, shutdown_trigger=lambda: asyncio.to_thread(ended.wait))  # type: ignore[arg-type]
