"""The server's process: how it is started, asked and ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import trashkit
from trashkit.files import real_path
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.server.guard import TOKEN_HEADER, Access

STOP_TIMEOUT = 5.0
"""Seconds before the server is killed. Its work is in the log and the database already."""
_START = (
    "import sys; sys.path[:0] = [path for path in sys.argv[1:] if path not in sys.path]; "
    "from trashkit.review.fiftyone_app.server.child import main; main()"
)


def loopback() -> list[str]:
    """The addresses of this machine that only it can reach, all of which ``localhost`` may mean.

    The server listens at each, or a program of another user that listens at one would be given the token.
    """
    found = ["127.0.0.1"]
    with suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        found.append("::1")
    return found


@dataclass(frozen=True, slots=True)
class Server:
    """A started server, which may not answer yet, and how to reach it. log: what it printed."""

    process: subprocess.Popen[bytes]
    access: Access
    log: Path

    def address(self, path: str, **query: str) -> str:
        """The address of a page of the App, with the token that lets its reader in."""
        return f"http://localhost:{self.access.port}{path}?{urlencode({**query, 'token': self.access.token})}"

    def answers(self) -> bool:
        """Whether the server answers."""
        own = urllib.request.Request(
            f"http://127.0.0.1:{self.access.port}/fiftyone", headers={TOKEN_HEADER: self.access.token}
        )
        # Whatever proxy the environment names, this machine is reached without it.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(own, timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def running_server(access: Access, home: Path, database_uri: str) -> Iterator[Server]:
    """Start the server and end it afterwards. home: the folder of its log file.

    Only inside the environment that `fiftyone_ready` sets.
    """
    log = home / f"server-{access.port}.log"
    home.mkdir(parents=True, exist_ok=True)
    root = str(real_path(trashkit.__file__).parents[1])
    settings = {"port": access.port, "token": access.token, "folders": [str(one) for one in access.folders]}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, root],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "FIFTYONE_DATABASE_URI": database_uri, **private_api.SERVER_ENVIRONMENT},
            # Ctrl-C reaches every process of the terminal's group. Only this process answers it.
            process_group=0,
        )
    try:
        if process.stdin is not None:
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            process.stdin.flush()
        yield Server(process, access, log)
        log.unlink(missing_ok=True)  # it is only of use after an error
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Close the server's input, which ends it. Kill it and its children if a browser's connection holds it up."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.Error:
        family = []
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    _, alive = psutil.wait_procs(family, timeout=STOP_TIMEOUT)
    for one in alive:
        try:
            one.kill()
        except psutil.Error:
            continue
    process.wait()
