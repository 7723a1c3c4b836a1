"""Runs that are killed, starved of disk and damaged: they go on, and end with the same weights."""

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
from trashkit.coco import read_dataset
from trashkit.config import resolve
from trashkit.nn import checkpoint
from trashkit.nn.cache import content_hash
from trashkit.nn.record import TrainData
from trashkit.nn.train import train
from trashkit.run import Run, read_metrics, read_run

SCRIPT = Path(__file__).with_name("train_script.py")


def start(annotations: Path, out: Path, assignments, **options) -> Run:
    dataset = read_dataset(annotations)
    content = content_hash(dataset, dataset.images, annotations.parent)
    data = TrainData(dataset, annotations.parent, dataset.images[:9], dataset.images[9:], content)
    config = resolve(None, assignments)
    return train(config, data, out, about={}, cache=out.parent / "cache", device="cpu", **options)


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def whole(drawn: Path, quick, tmp_path_factory) -> Run:
    return start(drawn, tmp_path_factory.mktemp("whole") / "run", quick)


def assert_same(run: Run, whole: Run) -> None:
    assert run.status == "complete"
    for name in ("last", "best"):
        assert same(run.path / f"checkpoints/{name}.safetensors", whole.path / f"checkpoints/{name}.safetensors")
    assert [row["miou"] for row in read_metrics(run.path)] == [row["miou"] for row in read_metrics(whole.path)]
    assert run.scores["miou"] == whole.scores["miou"]


@pytest.mark.parametrize("writes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 8, 10))])
def test_a_full_disk_stops_a_run_that_goes_on_later(drawn, quick, whole, tmp_path, monkeypatch, writes):
    """Each epoch flushes its weights and its state; after so many flushes the disk is full."""
    to_disk, done = checkpoint._to_disk, []

    def full(path: Path) -> None:
        done.append(path)
        if len(done) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        to_disk(path)

    monkeypatch.setattr(checkpoint, "_to_disk", full)
    with pytest.raises(OSError, match="No space left"):
        start(drawn, tmp_path / "run", quick)
    assert read_run(tmp_path / "run").status == "running"
    assert not list((tmp_path / "run/checkpoints").glob(".*"))
    monkeypatch.setattr(checkpoint, "_to_disk", to_disk)
    assert_same(start(drawn, tmp_path / "run", quick, resume=True), whole)


@pytest.mark.slow
def test_a_real_limit_on_files_stops_a_run_that_goes_on_later(drawn, quick, whole, tmp_path):
    """The kernel refuses to write further than the weights are long: the state does not fit."""
    size = (whole.path / "checkpoints/last.safetensors").stat().st_size
    code = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "sys.argv = sys.argv[1:]; limit = int(sys.argv.pop());"
        "import trashkit.nn.learner as learner; save = learner.save_state\n"
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
def test_damaged_states_and_weights_are_noticed(drawn, quick, whole, tmp_path, damage):
    """The newest state is damaged, and so are the weights beside it: the state before it makes both again."""

    def stop(what: str, done: int, total: int) -> None:
        if what == "training, steps" and done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", quick, progress=stop)
    for name in ("state.pt", "last.safetensors"):
        path = tmp_path / "run/checkpoints" / name
        content = bytearray(path.read_bytes())
        if damage == "one bit":
            content[len(content) // 2] ^= 1
        path.write_bytes({"cut off": content[:-1000], "empty": b"", "garbage": b"x" * 5000}.get(damage, content))
    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, resume=True, say=said.append)
    assert any("state.pt is damaged" in line for line in said)
    assert "going on after epoch 1 of 3" in said
    assert_same(run, whole)


def test_a_damaged_best_epoch_is_told(drawn, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("trashkit.nn.train.smoothed", lambda rows: [1 / len(rows)])  # the first epoch is the best

    def damage(rows) -> None:
        if len(rows) == 3:
            (tmp_path / "run/checkpoints/best.safetensors").write_bytes(b"nothing")

    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, after_epoch=damage, say=said.append)
    assert any("best.safetensors is damaged or missing, and no candidate" in line for line in said)
    assert "best" not in [one["name"] for one in run.manifest["choice"]["candidates"]]
    whole = start(drawn, tmp_path / "whole", quick)
    assert "best" in [one["name"] for one in whole.manifest["choice"]["candidates"]]


def test_both_states_damaged_begins_again_and_says_so(drawn, quick, whole, tmp_path):
    def stop(what: str, done: int, total: int) -> None:
        if what == "training, steps" and done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", quick, progress=stop)
    for path in (tmp_path / "run/checkpoints").glob("state*.pt"):
        path.write_bytes(path.read_bytes()[:-5])
    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, resume=True, say=said.append)
    assert len([line for line in said if "is damaged" in line]) == 2
    assert "no training state is whole: training begins again" in said
    assert_same(run, whole)


@pytest.mark.parametrize("damage", ["cut off", "one bit", "empty"])
def test_damaged_weights_of_a_complete_run_are_one_line(drawn, whole, tmp_path, damage):
    """Neither half a file nor one whose pixels would silently be other ones is predicted with."""
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
    assert first == f"error: {path} is damaged: it is not what the training wrote"
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
