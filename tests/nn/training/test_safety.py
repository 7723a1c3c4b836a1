"""Killed runs, full disks and damaged files: runs resume and end with the same weights."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.nn.checkpoints import checkpoint
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import Run, read_run

from ..conftest import start

SCRIPT = Path(__file__).parents[1] / "train_script.py"


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def assert_same(run: Run, whole: Run) -> None:
    assert run.status == "complete"
    for name in ("last", "best"):
        assert same(run.path / f"checkpoints/{name}.safetensors", whole.path / f"checkpoints/{name}.safetensors")
    assert [row["miou"] for row in read_metrics(run.path)] == [row["miou"] for row in read_metrics(whole.path)]
    assert run.scores["miou"] == whole.scores["miou"]


@pytest.mark.parametrize("writes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 8, 10))])
def test_a_run_stopped_by_a_full_disk_can_be_resumed(drawn, quick, whole, tmp_path, monkeypatch, writes):
    """Each epoch flushes its weights and its state; after so many flushes the disk is full."""
    to_disk, done = checkpoint._sync_to_disk, []

    def full(path: Path) -> None:
        done.append(path)
        if len(done) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        to_disk(path)

    monkeypatch.setattr(checkpoint, "_sync_to_disk", full)
    with pytest.raises(OSError, match="No space left"):
        start(drawn, tmp_path / "run", quick)
    assert read_run(tmp_path / "run").status == "running"
    assert not list((tmp_path / "run/checkpoints").glob(".*"))
    monkeypatch.setattr(checkpoint, "_sync_to_disk", to_disk)
    assert_same(start(drawn, tmp_path / "run", quick, resume=True), whole)


@pytest.mark.slow
def test_a_run_stopped_by_a_file_size_limit_can_be_resumed(drawn, quick, whole, tmp_path):
    """The kernel refuses to write further than the weights are long: the state does not fit."""
    size = (whole.path / "checkpoints/last.safetensors").stat().st_size
    code = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "sys.argv = sys.argv[1:]; limit = int(sys.argv.pop());"
        "import trashkit.nn.training.learner as learner; save = learner.save_state\n"
        "def limited(*given):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); save(*given)\n"
        "learner.save_state = limited; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = [sys.executable, "-c", code, str(SCRIPT), str(drawn), str(tmp_path / "run"), *quick, str(size + 1000)]
    done = subprocess.run(
        words, timeout=250, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"File too large" in done.stderr or b"write" in done.stderr, done.stderr.decode()[-800:]
    assert_same(start(drawn, tmp_path / "run", quick, resume=True), whole)


@pytest.mark.parametrize(
    "damage", ["one bit", *(pytest.param(how, marks=pytest.mark.slow) for how in ("cut off", "empty", "garbage"))]
)
def test_damaged_states_and_weights_are_noticed(drawn, quick, whole, stopped, tmp_path, damage):
    """The newest state and the weights are damaged: the previous state recreates both."""
    shutil.copytree(stopped, tmp_path / "run")
    for name in ("state.pt", "last.safetensors"):
        path = tmp_path / "run/checkpoints" / name
        content = bytearray(path.read_bytes())
        if damage == "one bit":
            content[len(content) // 2] ^= 1
        path.write_bytes({"cut off": content[:-1000], "empty": b"", "garbage": b"x" * 5000}.get(damage, content))
    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, resume=True, log=said.append)
    assert any("state.pt is damaged" in line for line in said)
    assert "resuming after epoch 1 of 3" in said
    assert_same(run, whole)


@pytest.mark.slow
def test_a_damaged_best_checkpoint_is_reported(drawn, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "trashkit.nn.training.train.smoothed_miou", lambda rows: [1 / len(rows)]
    )  # the first epoch is the best

    def damage(rows) -> None:
        if len(rows) == 2:
            (tmp_path / "run/checkpoints/best.safetensors").write_bytes(b"nothing")

    short, said = [*quick, "epochs=2"], []
    run = start(drawn, tmp_path / "run", short, after_epoch=damage, log=said.append)
    assert any("best.safetensors is damaged or missing, so it is not a candidate" in line for line in said)
    assert "best" not in [one["name"] for one in run.manifest["choice"]["candidates"]]
    whole = start(drawn, tmp_path / "whole", short)
    assert "best" in [one["name"] for one in whole.manifest["choice"]["candidates"]]


@pytest.mark.slow
def test_training_restarts_if_both_states_are_damaged(drawn, quick, whole, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    for path in (tmp_path / "run/checkpoints").glob("state*.pt"):
        path.write_bytes(path.read_bytes()[:-5])
    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, resume=True, log=said.append)
    assert len([line for line in said if "is damaged" in line]) == 2
    assert "no training state is intact: training starts from the beginning" in said
    assert_same(run, whole)


@pytest.mark.parametrize("damage", ["cut off", "one bit", "empty"])
def test_damaged_weights_of_a_complete_run_are_one_line(drawn, whole, tmp_path, damage):
    """Neither a truncated file nor one with changed weights is used for prediction."""
    shutil.copytree(whole.path, tmp_path / "run")
    path = read_run(tmp_path / "run").checkpoint
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[-7] ^= 1
    path.write_bytes({"cut off": content[:-1000], "empty": b""}.get(damage, content))
    photo = next((drawn.parent / "photos").iterdir())
    done = CliRunner().invoke(
        app, ["predict", str(tmp_path / "run"), str(photo), "--overlay", str(tmp_path / "overlays")]
    )
    assert done.exit_code == 2
    first, hint = done.stderr.splitlines()[-2:]
    assert first == f"error: {path} is damaged: its content has changed since training"
    assert "train the run again" in hint
    assert not (tmp_path / "overlays").exists()


@pytest.mark.slow
def test_killed_again_and_again_ends_with_the_same_weights(drawn, quick, whole, tmp_path):
    """SIGKILL at a random time after the first step, a dozen times or until a run comes to its end before."""
    command = [sys.executable, str(SCRIPT), str(drawn), str(tmp_path / "run"), *quick]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    chance, kills, at_work = random.Random(0), 0, tmp_path / "at-work"
    while True:
        at_work.unlink(missing_ok=True)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kills == 12:
            process.wait(120)
            break
        while not at_work.exists() and process.poll() is None:
            time.sleep(0.01)
        try:
            process.wait(chance.uniform(0.0, 0.5))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert process.returncode == 0
    assert kills > 0
    assert_same(read_run(tmp_path / "run"), whole)
