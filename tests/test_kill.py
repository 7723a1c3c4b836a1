"""Kill each step of the whole workflow and run it again: the files are the same, without losses or duplicates."""

from __future__ import annotations

import contextlib
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
from trashkit.raster.label_maps import open_label_maps
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = [
    "model.encoder=tu-test_efficientnet", "model.weights=none", "data.size=64", "data.batch_size=4", "data.workers=0",
    "model.options={decoder_pyramid_channels = 32, decoder_segmentation_channels = 32}", "epochs=3", "ema=0.8",
]  # fmt: skip
SET = [word for one in SETTINGS for word in ("--set", one)]
DATA = ["--data", "fixed.json", "--images", "data/images", "--device", "cpu"]
TEST = ["--data", "data/test.json", "--images", "data/images", "--size", "64"]
ROUND = [*DATA, "--unlabeled", "data/test.json", "--size", "64", "--threshold", "0.3", "--min-kept", "0",
         "--strategy", "joint-then-clean"]  # fmt: skip

STEPS: dict[str, list[str]] = {
    "synth": ["data", "synth", "--out", "data", "--images", "40", "--size", "64", "--whole-photos"],
    "fix": ["fix", "data/train.json", "--unsafe", "--out", "fixed.json", "--write-edits", "edits.jsonl"],
    "split": ["split", "fixed.json", "--folds", "3", "--out", "split.json"],
    "train": ["train", *DATA, *SET, "--split", "split.json", "--fold", "all", "--out", "runs/folds"],
    "predict": ["predict", "runs/folds", *TEST, "--out", "stores/folds"],
    "ensemble": ["ensemble", "stores/folds", "stores/folds", "--out", "stores/mean"],
    "pseudo": ["pseudo", "runs/folds/cpu-small/fold-0", *ROUND, "--out", "runs/one"],
    "second round": ["pseudo", "runs/one", *ROUND, "--targets", "online", "--out", "runs/two"],
    "submit": ["submit", "stores/mean", "--data", "data/test.json", "--size", "64", "--out", "s.csv"],
}
WHOLE = ("edits.jsonl", "fixed.json", "split.json", "s.csv", "labels.json", "pseudo-labels.json")
"""Files that must be byte-identical, in addition to the photos."""
CONTINUED = {"train", "predict", "ensemble", "pseudo", "second round"}
"""Steps that continue with --resume; the others start again."""


def start(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "trashkit", *words], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(words: Sequence[str], folder: Path) -> float:
    """Run a command, which must succeed; returns its seconds."""
    began = time.monotonic()
    process = start(words, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    return time.monotonic() - began


def kill_in_the_middle(words: Sequence[str], folder: Path, seconds: float, rng: random.Random) -> bool:
    """Start a command, kill it some time after its first output, and return whether it was still running."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    process = start(words, folder)
    while process.poll() is None:
        if any(before.get(path) is None for path in folder.rglob("*")):
            break
        time.sleep(0.002)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0, 0.5) * seconds)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    return running


def contents(folder: Path) -> dict[str, Any]:
    """Contents of all files of a workflow, without times and absolute paths."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_store(path):
            store = open_store(path)
            pixels = hashlib.sha256()
            for row in range(len(store)):
                pixels.update(np.ascontiguousarray(store.read(row)).tobytes())
            found[name] = (store.file_names, bool(store.done.all()), pixels.hexdigest())
        elif path.name == "manifest.json":
            run = read_run(path.parent)
            state = load_file(run.checkpoint)
            weights = {key: hashlib.sha256(value.tobytes()).hexdigest() for key, value in state.items()}
            found[name] = (run.status, weights, [row["loss"] for row in read_metrics(path.parent)])
        elif path.name == "maps.json":
            maps = open_label_maps(path.parent)  # its header names the absolute folder of the teacher
            digests = [hashlib.sha256(maps.read(image.row).tobytes()).hexdigest() for image in maps.images]
            found[name] = [(image.file_name, digest) for image, digest in zip(maps.images, digests, strict=True)]
        elif path.is_file() and (path.name in WHOLE or path.is_relative_to(folder / "data")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "pseudo.json":
            found[name] = json.loads(path.read_text())["status"]
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, float]]:
    """An uninterrupted workflow: its folder before each step and after the last, and the seconds of each step."""
    place = tmp_path_factory.mktemp("story")
    folder, seconds = place / "after", {}
    folder.mkdir()
    before = {}
    for name, words in STEPS.items():
        before[name] = place / name.replace(" ", "-")
        shutil.copytree(folder, before[name])
        seconds[name] = finish(words, folder)
    return {**before, "after": folder}, seconds


@pytest.mark.parametrize("step", list(STEPS))
def test_a_killed_step_ends_with_the_same_files(
    step: str, story: tuple[dict[str, Path], dict[str, float]], tmp_path: Path
) -> None:
    folders, seconds = story
    folder = tmp_path / "story"
    shutil.copytree(folders[step], folder)
    rng = random.Random(step)
    again = "--resume" if step in CONTINUED else "--overwrite"
    words = STEPS[step]
    killed = kill_in_the_middle(words, folder, seconds[step], rng)
    if killed and step in CONTINUED and any((folder / words[-1]).rglob("*")):
        kill_in_the_middle([*words, again], folder, seconds[step], rng)
    finish([*words, again], folder)
    names = list(STEPS)
    following = folders[names[names.index(step) + 1]] if step != names[-1] else folders["after"]
    wanted, found = contents(following), contents(folder)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    left = [path.name for path in folder.rglob("*") if ".part" in path.name or path.name.endswith(".cache")]
    assert left == []
