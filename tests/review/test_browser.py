"""The real App in a real browser: a fix accepted and a class changed by clicking end up in the log and in the file."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read
from trashkit.coco.edit_log import read_log

ROOT = Path(__file__).resolve().parents[2]
SYNTH = ROOT / "data" / "synth"


@contextmanager
def running(log: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`trashkit review` as people start it; yields the App's address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["review", SYNTH / "train.json", "--images", SYNTH / "images", "--edits", log, "--port", port]
    # The tests' own FiftyOne has left the address of its database.
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trashkit", *map(str, words), "--no-browser", "--reviewer", "ann"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**own, "TRASHKIT_HOME": str(folder / "home")},
    )
    told: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line)
            found = re.search(r"review at (http\S+)", line)
            if found:
                yield found[1], process
                break
        else:
            pytest.fail("the review did not start: " + "".join(told))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def wait_for(log: Path, number: int) -> list[Any]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        edits = read_log(log).edits if log.exists() else []
        if len(edits) >= number:
            return edits
        time.sleep(0.3)
    raise AssertionError(f"{log} does not come to {number} edits")


@pytest.mark.browser
@pytest.mark.usefixtures("home")  # skips where FiftyOne or its mongod is missing
def test_a_fix_accepted_and_a_class_changed_by_clicking(tmp_path: Path, browser: Any) -> None:
    log = tmp_path / "review.jsonl"
    with running(log, tmp_path) as (address, process):
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(address, wait_until="domcontentloaded")
        accept = page.get_by_text("Accept fix", exact=True)
        accept.wait_for(timeout=240_000)
        dismiss = page.get_by_text("Dismiss", exact=True)
        if dismiss.count():
            dismiss.click()
        assert "0 of" in page.get_by_text("findings decided").first.inner_text()
        accept.click()
        accepted = wait_for(log, 1)
        page.get_by_text(re.compile("^[1-9] of")).first.wait_for(timeout=120_000)
        choice = page.get_by_placeholder("Type or select a value").first
        choice.click()
        choice.fill("Glass")
        page.get_by_role("option", name="Glass").click()
        page.get_by_text("Change class", exact=True).click()
        edits = wait_for(log, len(accepted) + 1)
        page.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert accepted[0].author == "G001"
    assert edits[-1].kind == "relabel"
    assert edits[-1].author == "ann"
    fixed = tmp_path / "fixed.json"
    words = ["fix", SYNTH / "train.json", "--edits", log, "--out", fixed]
    subprocess.run([sys.executable, "-m", "trashkit", *map(str, words)], check=True, capture_output=True, timeout=60)
    before, after = read(SYNTH / "train.json"), read(fixed)
    kept = {bytes(raw) for raw in after.rows("annotations")}
    changed = {row for row, raw in enumerate(before.rows("annotations")) if bytes(raw) not in kept}
    assert changed == {edit.row for edit in edits}
    glass = next(c["id"] for c in before.records("categories") if c["name"] == "Glass")
    relabelled = next(one for one in after.records("annotations") if one["id"] == edits[-1].id)
    assert relabelled["category_id"] == glass


@pytest.mark.browser
@pytest.mark.usefixtures("home")
def test_the_app_ends_on_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path / "log.jsonl", tmp_path) as (_, process):
        pid = int((tmp_path / "home" / "review" / "mongodb" / "mongod.lock").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
