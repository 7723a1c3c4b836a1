"""Ctrl-C at any moment: one line, exit code 130, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.usefixtures("interruptible"),
]

START = """
import os, signal, sys, threading, time
import trashkit.__main__ as entry
threading.Timer({delay}, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
sys.argv = ["trashkit", "split", sys.argv[1], "--out", sys.argv[2], "--seconds", "3"]
entry.main()
"""


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.08, 0.15, 0.25, 0.4])
def test_ctrl_c_while_the_program_loads(delay: float, tmp_path: Path) -> None:
    missing = tmp_path / "train.json"
    run = subprocess.run(
        [sys.executable, "-c", START.format(delay=delay), str(missing), str(tmp_path / "split.json")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert "Traceback" not in run.stderr
    # A machine fast enough to have read the words by then says that the file is missing.
    assert (run.returncode, run.stderr.splitlines()[0]) == (130, "stopped") or "train.json" in run.stderr


def test_a_signal_at_the_first_import(tmp_path: Path) -> None:
    slow = tmp_path / "typer.py"  # found first, and never done
    slow.write_text("import time\nprint('loading', flush=True)\ntime.sleep(30)\n")
    run = subprocess.Popen(
        [sys.executable, "-m", "trashkit", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])},
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout is not None
    begun = time.monotonic()
    assert run.stdout.readline() == "loading\n"
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=20)
    assert run.returncode == 130
    assert told == "stopped\n  run the same command again\n"
    assert time.monotonic() - begun < 20
