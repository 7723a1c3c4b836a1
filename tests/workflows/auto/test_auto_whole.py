"""The whole job on the embedded data set with a network of a few weights: killed at any moment, and with a launcher."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from trashkit.predictions.store import is_store, open_store
from trashkit.runs.run import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DATA = Path(__file__).parents[3] / "data" / "synth"
RECIPE = """
loss = "ce + dice"
ema = 0.8
model = {architecture = "fpn", encoder = "tu-test_efficientnet", weights = "none",
         options = {decoder_pyramid_channels = 32, decoder_segmentation_channels = 32}}
data = {size = 64, batch_size = 4, workers = 0}
"""
AUTO = ["auto", "--data", "data/train.json", "--images", "data/images", "--test", "data/test.json",
        "--sample", "data/sample_submission.csv", "--recipe", "small.toml", "--unsafe", "--device", "cpu",
        "--minutes", "1000"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DATA, tmp_path / "data")
    (tmp_path / "small.toml").write_text(RECIPE.replace("\n         ", " "), encoding="utf-8")
    return tmp_path


def start(words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trashkit", *words, "--json"], cwd=folder, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip


def finish(words: Sequence[str], folder: Path) -> dict[str, Any]:
    process = start(words, folder)
    out, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    found: dict[str, Any] = json.loads(out)
    return found


def with_few_epochs(folder: Path) -> None:
    """Make the plan, and shorten its training: the budget of a test does not measure the machine."""
    process = start(AUTO, folder)
    while not (folder / "runs/auto/plan.json").exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    path = folder / "runs/auto/plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan["choices"] |= {"epochs": 2, "folds": 2, "jobs": 2, "settings": ["threads=1"]}
    for left in (folder / "runs/auto").iterdir():
        if left.name != "plan.json":
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    path.write_text(json.dumps(plan), encoding="utf-8")


def contents(out: Path) -> dict[str, Any]:
    """All results, without times."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if is_store(path):
            store = open_store(path)
            digest = hashlib.sha256()
            for row in range(len(store)):
                digest.update(np.ascontiguousarray(store.read(row)).tobytes())
            found[name] = digest.hexdigest()
        elif path.name == "manifest.json":
            state = load_file(read_run(path.parent).checkpoint)
            found[name] = {key: hashlib.sha256(value.tobytes()).hexdigest() for key, value in state.items()}
        elif path.name in ("fixed.json", "edits.jsonl", "split.json", "submission.csv", "presence-oof.json"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.parent.name == "overlays":
            found[name] = path.stat().st_size
    return found


def test_killed_at_any_moment_it_reaches_the_same_result(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with_few_epochs(folder)
    other = tmp_path_factory.mktemp("killed") / "project"
    shutil.copytree(folder, other)
    began = time.monotonic()
    whole = finish([*AUTO, "--resume"], folder)
    took = time.monotonic() - began
    assert Path(folder / whole["page"]).stat().st_size > 10_000
    assert set(whole["tried"]) == {"views", "presence", "touching"}
    rng, kills = random.Random(5), 0
    for _ in range(40):
        process = start([*AUTO, "--resume"], other)
        try:
            process.wait(rng.uniform(0.05, 0.25) * took)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)  # of this process alone: its child has to notice
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
        time.sleep(1)
    assert process.returncode == 0
    assert kills >= 3
    assert contents(other / "runs/auto") == contents(folder / "runs/auto")


def test_a_launcher_trains_each_network_with_two_processes(folder: Path) -> None:
    with_few_epochs(folder)
    path = folder / "runs/auto/plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    launch = "torchrun --standalone --nproc-per-node 2"
    plan["request"]["launch"] = launch
    path.write_text(json.dumps(plan), encoding="utf-8")
    found = finish([*AUTO, "--resume", "--launch", launch], folder)
    assert found["submission"] == "runs/auto/submission.csv"
    for fold in range(2):
        run = read_run(folder / f"runs/auto/small/fold-{fold}")
        assert run.manifest["device"]["processes"] == 2


def test_out_of_fold_predictions_are_those_of_training(folder: Path) -> None:
    with_few_epochs(folder)
    finish([*AUTO, "--resume"], folder)
    words = ["predict", "runs/auto/small", "--data", "runs/auto/fixed.json", "--images", "data/images"]
    finish([*words, "--out-of-fold", "--out", "again"], folder)
    again, trained = open_store(folder / "again"), open_store(folder / "runs/auto/small/oof")
    assert again.image_ids == trained.image_ids
    for row in range(len(again)):
        assert np.abs(again.read(row) - trained.read(row)).max() <= 1 / 255 + 1e-6
