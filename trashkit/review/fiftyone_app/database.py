"""FiftyOne set up for a review: trashkit's own mongod, its plugin, and no telemetry, all before FiftyOne is imported.

FiftyOne connects to its database when it is first used, and shares whatever mongod another FiftyOne of the same user
has started. A separate mongod keeps reviews away from the user's other data sets.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trashkit.errors import TrashkitError
from trashkit.files import lock
from trashkit.readers import read_bytes, read_text
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.server.guard import Access
from trashkit.review.fiftyone_app.server.process import Server, running_server

if TYPE_CHECKING:
    import psutil

ADDRESS = "127.0.0.1"
PLUGINS = Path(__file__).parent / "plugin"
MONGOD_START_TIMEOUT, MONGOD_STOP_TIMEOUT = 60.0, 30.0
_OR_HTML = "or write a review page with --html FILE"


@contextmanager
def fiftyone_ready(home: Path, database_uri: str = "", *, access: Access | None = None) -> Iterator[Server | None]:
    """Context in which FiftyOne can be imported and used. Do not import it outside.

    home: folder of the database; reviews that run at the same time share it. database_uri: use this MongoDB instead.
    access: also start the App's server for whom this lets in, and yield it. It may not answer yet: it starts while this
    process imports FiftyOne, since both take long.
    Raises TrashkitError if FiftyOne or its mongod is missing or does not start.
    """
    package = require_fiftyone(database_uri)
    settings = {
        **private_api.ENVIRONMENT,
        "FIFTYONE_PLUGINS_DIR": str(PLUGINS),
        "FIFTYONE_DEFAULT_APP_ADDRESS": ADDRESS,
    }
    with _environment(settings):
        if database_uri:
            with _server(access, home, database_uri) as server:
                _import_fiftyone(database_uri, from_user=True)
                yield server
        else:
            with _own_mongod(home, package) as uri, _server(access, home, uri) as server:
                _import_fiftyone(uri)
                yield server


def require_fiftyone(database_uri: str = "") -> Path:
    """The folder in which FiftyOne is installed.

    Raises TrashkitError if it is not installed or, without `database_uri`, if its mongod is missing.
    """
    spec = find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        raise TrashkitError("the review App needs FiftyOne", hint=f"pip install 'trashkit[review]', {_OR_HTML}")
    package = Path(next(iter(spec.submodule_search_locations)))
    mongod = private_api.mongod_path(package)
    if not database_uri and not mongod.is_file():
        raise TrashkitError(
            f"FiftyOne's mongod is not at {mongod}", hint=f"trashkit doctor says what to install, {_OR_HTML}"
        )
    return package


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables for FiftyOne and its server, and restore the environment afterwards."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _import_fiftyone(uri: str, *, from_user: bool = False) -> None:
    """Import FiftyOne and connect it to a database. from_user: whether the user gave the address."""
    os.environ["FIFTYONE_DATABASE_URI"] = uri
    already = "fiftyone" in sys.modules
    try:
        import fiftyone as fo

        fo.dataset_exists("")  # FiftyOne connects at the first query
    except Exception as error:  # FiftyOne raises errors of many kinds if its database does not answer
        message = " ".join(str(error).split()) or type(error).__name__
        if from_user:  # do not show the whole address: it may contain a password
            host = uri.partition("://")[2].rpartition("@")[2].partition("/")[0]
            raise TrashkitError(
                f"FiftyOne cannot use {host} of FIFTYONE_DATABASE_URI: {message.replace(uri, host)[:200]}",
                hint=f"correct or unset FIFTYONE_DATABASE_URI, {_OR_HTML}",
            ) from error
        raise TrashkitError(
            f"FiftyOne does not start: {message}", hint=f"trashkit doctor says why, {_OR_HTML}"
        ) from error
    if already and fo.config.database_uri != uri:
        raise TrashkitError("FiftyOne is already connected to another database", hint="start a new process")
    fo.config.plugins_dir = str(PLUGINS)


def _server(access: Access | None, home: Path, uri: str) -> AbstractContextManager[Server | None]:
    return running_server(access, home, uri) if access is not None else nullcontext()


# ------------------------------------------------------------ trashkit's own mongod
@contextmanager
def _own_mongod(home: Path, package: Path) -> Iterator[str]:
    """The address of a mongod whose data is in `home`. The first user starts it, the last one ends it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "in-use").open("w") as users:
        with _exclusive(home):
            lock(users, shared=True)
            port = _running_port(home) or _start_mongod(private_api.mongod_path(package), home)
        try:
            yield f"mongodb://{ADDRESS}:{port}"
        finally:
            private_api.cancel_cleanup_at_exit()
            with _exclusive(home):
                _stop_if_last(home, users)


@contextmanager
def _exclusive(home: Path) -> Iterator[None]:
    """Only one process at a time starts or stops mongod."""
    with (home / "starting").open("w") as file:
        lock(file)
        yield


def _running(home: Path) -> tuple[psutil.Process, int] | None:
    """The mongod that has this folder open and its port, even one that a killed review left behind; None without one.

    mongod itself keeps its process id in its folder, whoever started it.
    """
    import psutil  # installed with FiftyOne

    try:
        process = psutil.Process(int(read_text(home / "mongodb" / "mongod.lock")))
        words = process.cmdline()
        if str(home / "mongodb") not in words:  # another program has this process id by now
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


def _running_port(home: Path) -> int | None:
    """The port of a mongod that runs and answers; one that does not answer is stopped. None without one."""
    running = _running(home)
    if running is None:
        return None
    process, port = running
    end = time.monotonic() + MONGOD_START_TIMEOUT
    while not _answers(port):
        if not process.is_running() or time.monotonic() > end:
            _stop_mongod(process)
            return None
        time.sleep(0.1)
    return port


_OPTIONS = (
    "--noscripting",
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"),
)
"""No JavaScript in queries, and neither 300 MB of journal nor up to 200 MB of diagnostic data, for a database of some
MB."""


def _start_mongod(mongod: Path, home: Path) -> int:
    data, log = home / "mongodb", home / "mongod.log"
    data.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port: int = free.getsockname()[1]
    words = [mongod, "--dbpath", data, "--logpath", log, "--port", port, "--bind_ip", ADDRESS, "--nounixsocket"]
    words += _OPTIONS
    # In its own session, so that Ctrl-C in the terminal does not stop the database before the review ends.
    process = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + MONGOD_START_TIMEOUT
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            lines = read_bytes(log).decode(errors="replace").splitlines() if log.exists() else []
            raise TrashkitError(
                f"mongod does not start ({lines[-1][:200] if lines else 'its log is empty'})",
                hint=f"see {log}, or set FIFTYONE_DATABASE_URI to another MongoDB",
            )
        time.sleep(0.1)
    return port


def _stop_if_last(home: Path, users: IO[str]) -> None:
    """Stop mongod unless another review still uses it. Its data is on disk."""
    try:
        lock(users, wait=False)
    except OSError:
        return
    running = _running(home)
    if running is not None:
        _stop_mongod(running[0])


def _stop_mongod(process: psutil.Process) -> None:
    """Ask mongod to end and wait: it still writes its data, and the next one needs the folder."""
    import psutil

    try:
        process.send_signal(signal.SIGTERM)
        process.wait(MONGOD_STOP_TIMEOUT)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.Error:
        return
