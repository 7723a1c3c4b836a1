"""trashkit's own mongod: one that a killed review left behind is found, used, and ended in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from trashkit.review.database import fiftyone_ready
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


@pytest.mark.usefixtures("home")  # skips where FiftyOne or its mongod is missing
def test_a_mongod_left_behind_is_used_and_then_ended(tmp_path: Path) -> None:
    killed = start(tmp_path, "write")
    assert killed.stdout is not None
    assert "kept" in killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    left = mongod(tmp_path)
    assert psutil.pid_exists(left)
    told, _ = start(tmp_path, "read").communicate(timeout=120)
    assert "kept" in told, "nothing is lost"
    for _ in range(100):
        if not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the mongod that was left behind still runs")


def test_a_process_id_that_another_program_has_by_now_is_left_alone(tmp_path: Path) -> None:
    from trashkit.review.database import _running

    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "mongod.lock").write_text(f"{os.getpid()}\n")
    assert _running(tmp_path) is None
    (tmp_path / "mongodb" / "mongod.lock").write_text("")
    assert _running(tmp_path) is None
