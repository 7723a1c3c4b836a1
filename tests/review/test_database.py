"""trashkit's own mongod: one that a killed review left behind is found, used, and stopped at the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from trashkit.review.fiftyone_app.database import fiftyone_ready
with fiftyone_ready(Path(sys.argv[1])):
    import fiftyone as fo
    if sys.argv[2] == "write":
        fo.Dataset("kept", persistent=True)
    print(fo.list_datasets(), flush=True)
    while sys.argv[2] == "write":
        time.sleep(1)
"""


def mongod(home: Path) -> int:
    return int((home / "mongodb" / "mongod.lock").read_text())


def start(home: Path, what: str) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    words = [sys.executable, "-c", SCRIPT, str(home), what]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=own, cwd=Path(__file__).parents[2])


@pytest.mark.slow
@pytest.mark.usefixtures("home")  # skips where FiftyOne or its mongod is missing
def test_a_mongod_left_behind_is_used_and_then_ended(tmp_path: Path) -> None:
    killed = start(tmp_path, "write")
    assert killed.stdout is not None
    assert "kept" in killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    left = mongod(tmp_path)
    assert psutil.pid_exists(left)
    output, _ = start(tmp_path, "read").communicate(timeout=120)
    assert "kept" in output, "nothing is lost"
    for _ in range(100):
        if not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the mongod that was left behind still runs")


SERVE = """
import sys, time
from pathlib import Path
from trashkit.review.fiftyone_app.database import fiftyone_ready
from trashkit.review.fiftyone_app.server.guard import Access
with fiftyone_ready(Path(sys.argv[1]), access=Access(int(sys.argv[2]), "the-token")) as server:
    while not server.answers():
        time.sleep(0.2)
    print(server.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_the_server_keeps_its_token_to_itself_and_ends_with_its_review(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    words = [sys.executable, "-c", SERVE, str(tmp_path), str(port)]
    review = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=own, cwd=Path(__file__).parents[2])
    assert review.stdout is not None
    server = psutil.Process(int(review.stdout.readline()))
    assert "the-token" not in str([*server.cmdline(), server.environ()])
    addresses = {one.laddr.ip for one in server.net_connections() if one.status == psutil.CONN_LISTEN}
    assert "127.0.0.1" in addresses and addresses <= {"127.0.0.1", "::1"}
    review.kill()
    review.wait(30)
    server.wait(30)
    os.kill(mongod(tmp_path), signal.SIGTERM)


def test_a_reused_process_id_is_not_killed(tmp_path: Path) -> None:
    from trashkit.review.fiftyone_app.database import _running

    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "mongod.lock").write_text(f"{os.getpid()}\n")
    assert _running(tmp_path) is None
    (tmp_path / "mongodb" / "mongod.lock").write_text("")
    assert _running(tmp_path) is None
