"""FiftyOne set up for a review: trashkit's own mongod and plugin, telemetry off, before FiftyOne is imported.

FiftyOne connects to its database the moment it is imported, and to whatever mongod another FiftyOne of the same user
has started. A mongod of its own keeps a review away from the user's other data sets.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    import psutil

ADDRESS = "127.0.0.1"
PLUGINS = Path(__file__).parent / "plugin"
STARTING, ENDING = 60.0, 30.0
"""Seconds that mongod gets to answer, and to end."""
SERVER_ENDING = 5.0
"""Seconds that the App's server gets to end by itself: what it does is in the log and the database already."""
_HTML = "or write a page to decide on with --html FILE"


@contextmanager
def fiftyone_ready(
    home: Path, database_uri: str = "", *, port: int | None = None
) -> Iterator[subprocess.Popen[bytes] | None]:
    """FiftyOne can be imported inside this block, and only there.

    port: start the App's server there too, which is yielded and may not answer yet: it takes as long to start as this
    process takes to import FiftyOne, so both are done at once.

    home: the folder for the database; reviews that run at the same time share it. database_uri: a MongoDB of one's own
    instead. Raises TrashkitError where FiftyOne or its mongod is missing or does not start.
    """
    package = require_fiftyone(database_uri)
    settings = {
        "FIFTYONE_DO_NOT_TRACK": "1",
        "FIFTYONE_PLUGINS_DIR": str(PLUGINS),
        "FIFTYONE_DEFAULT_APP_ADDRESS": ADDRESS,
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "FIFTYONE_LOGGING_LEVEL": "ERROR",
        "FIFTYONE_DATABASE_VALIDATION": "false",
    }
    with _environment(settings):
        yield from _connected(home, database_uri, package, port)


def require_fiftyone(database_uri: str = "") -> Path:
    """Where FiftyOne is installed. TrashkitError where it, or without `database_uri` its mongod, is not."""
    spec = find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        raise TrashkitError("the review App needs FiftyOne", hint=f"pip install 'trashkit[review]', {_HTML}")
    package = Path(next(iter(spec.submodule_search_locations)))
    if not database_uri and not _mongod(package).is_file():
        raise TrashkitError(
            f"FiftyOne's mongod is not at {_mongod(package)}", hint=f"trashkit doctor says what to install, {_HTML}"
        )
    return package


def _mongod(package: Path) -> Path:
    return package / "db" / "bin" / "mongod"


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Settings that FiftyOne and its server find in the environment, put back afterwards."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _connected(
    home: Path, database_uri: str, package: Path, port: int | None
) -> Iterator[subprocess.Popen[bytes] | None]:
    if database_uri:
        with _served(package, port, database_uri) as server:
            _import_with(database_uri, own=True)
            yield server
        return
    home.mkdir(parents=True, exist_ok=True)
    with (home / "in-use").open("w") as users:
        with _alone(home):
            fcntl.flock(users, fcntl.LOCK_SH)
            uri = f"mongodb://{ADDRESS}:{_reached(home) or _start(_mongod(package), home)}"
        try:
            with _served(package, port, uri) as server:
                _import_with(uri)
                yield server
        finally:
            _forget_cleaning()
            with _alone(home):
                _stop_unless_used(home, users.fileno())


def _forget_cleaning() -> None:
    """FiftyOne cleans its database up when Python ends, and waits half a minute for the mongod that ended before it."""
    database = sys.modules.get("fiftyone.core.odm.database")
    cleaning = getattr(database, "_delete_non_persistent_datasets_if_allowed", None)
    if cleaning is not None:
        atexit.unregister(cleaning)


@contextmanager
def _served(package: Path, port: int | None, uri: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """FiftyOne's server at a port, started as FiftyOne itself does but without importing it; None without a port."""
    if port is None:
        yield None
        return
    words = [sys.executable, package / "service" / "main.py", "--51-service", "server"]
    words += [sys.executable, "main.py", "--port", port, "--address", ADDRESS]
    # Ctrl-C reaches every process of the terminal: this one alone answers, and ends the server itself.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=package / "server",
            stdin=subprocess.PIPE,
            env={**os.environ, "FIFTYONE_DATABASE_URI": uri, "FIFTYONE_DISABLE_SERVICES": "1"},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        _end_server(process)


def _end_server(process: subprocess.Popen[bytes]) -> None:
    """Close the server's input, which ends it; end it and its children where a browser's connection holds it up."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.Error:
        family = []
    if process.stdin is not None:
        process.stdin.close()
    _, alive = psutil.wait_procs(family, timeout=SERVER_ENDING)
    for one in alive:
        try:
            one.kill()
        except psutil.Error:
            continue
    process.wait()


def _import_with(uri: str, *, own: bool = False) -> None:
    """own: whether the address is the user's."""
    os.environ["FIFTYONE_DATABASE_URI"] = uri
    already = "fiftyone" in sys.modules
    try:
        import fiftyone as fo

        fo.dataset_exists("")  # FiftyOne connects when it is first asked for something
    except Exception as error:  # FiftyOne raises errors of many kinds where its database does not answer
        told = " ".join(str(error).split()) or type(error).__name__
        if own:  # never the whole address: it may hold a password
            host = uri.partition("://")[2].rpartition("@")[2].partition("/")[0]
            raise TrashkitError(
                f"FIFTYONE_DATABASE_URI names {host}, which FiftyOne cannot use: {told.replace(uri, host)[:200]}",
                hint=f"correct or unset FIFTYONE_DATABASE_URI, {_HTML}",
            ) from error
        raise TrashkitError(f"FiftyOne does not start: {told}", hint=f"trashkit doctor says why, {_HTML}") from error
    if already and fo.config.database_uri != uri:
        raise TrashkitError("FiftyOne is connected to another database already", hint="start a process of its own")
    fo.config.plugins_dir = str(PLUGINS)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    with (home / "starting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _running(home: Path) -> tuple[psutil.Process, int] | None:
    """The mongod that has this folder open and its port, one left behind by a killed review too; None without one.

    mongod itself keeps its process id in its folder, whoever started it.
    """
    import psutil  # comes with FiftyOne

    try:
        process = psutil.Process(int((home / "mongodb" / "mongod.lock").read_text()))
        words = process.cmdline()
        if str(home / "mongodb") not in words:  # an id that another program has by now
            return None
        return process, int(words[words.index("--port") + 1])
    except (OSError, ValueError, IndexError, psutil.Error):
        return None


def _answers(port: int) -> bool:
    try:
        socket.create_connection((ADDRESS, port), timeout=2).close()
    except OSError:
        return False
    return True


def _reached(home: Path) -> int | None:
    """The port of a mongod that runs and answers; one that never does is ended. None where there is none."""
    running = _running(home)
    if running is None:
        return None
    process, port = running
    end = time.monotonic() + STARTING
    while not _answers(port):
        if not process.is_running() or time.monotonic() > end:
            _end(process)
            return None
        time.sleep(0.1)
    return port


def _start(mongod: Path, home: Path) -> int:
    data, log = home / "mongodb", home / "mongod.log"
    data.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port: int = free.getsockname()[1]
    words = [mongod, "--dbpath", data, "--logpath", log, "--port", port, "--bind_ip", ADDRESS, "--nounixsocket"]
    # In a session of its own, so that Ctrl-C in the terminal does not take the database away before the review ends.
    process = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + STARTING
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            raise TrashkitError(
                f"mongod does not start ({lines[-1][:200] if lines else 'it writes no log'})",
                hint=f"look into {log}, or set FIFTYONE_DATABASE_URI to a MongoDB of your own",
            )
        time.sleep(0.1)
    return port


def _stop_unless_used(home: Path, users: int) -> None:
    """End mongod if no other review holds its lock; what it holds is on disk."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    running = _running(home)
    if running is not None:
        _end(running[0])


def _end(process: psutil.Process) -> None:
    """Ask mongod to end and wait: it writes what it still holds, and the next one needs the folder."""
    import psutil

    try:
        process.send_signal(signal.SIGTERM)
        process.wait(ENDING)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.Error:
        return
