"""``compile=true``: the same training, by compiled code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trashkit.coco import read_dataset
from trashkit.nn.data.cache import content_hash
from trashkit.nn.models.networks import load_run_model
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import TrainData
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import Run
from trashkit.settings.training import resolve


@pytest.fixture
def compiler(monkeypatch, tmp_path_factory) -> str:
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        pytest.skip("no C++ compiler (g++ or clang++): torch.compile was not tried")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
    yield found
    torch.compiler.reset()


def start(annotations: Path, out: Path, assignments) -> Run:
    dataset = read_dataset(annotations)
    images = dataset.images
    data = TrainData(
        dataset, annotations.parent, images[:8], images[8:], content_hash(dataset, images, annotations.parent)
    )
    return train(
        resolve(None, assignments), data, out, TrainOptions(device="cpu"), about={}, cache=out.parent / "cache"
    )


@pytest.mark.slow
@pytest.mark.timeout(900)  # the compiler takes a minute on an idle machine
def test_a_compiled_run_is_that_of_the_plain_network(compiler, drawn, quick, tmp_path):
    """Names of weights stay, and scores are equal up to rounding."""
    settings = [*quick, "epochs=2", "data.augment=none", "ema=0"]
    plain = start(drawn, tmp_path / "plain", settings)
    compiled = start(drawn, tmp_path / "compiled", [*settings, "compile=true"])
    one, other = (load_file(run.path / "checkpoints/last.safetensors") for run in (plain, compiled))
    assert one.keys() == other.keys()
    losses = [[row["loss"] for row in read_metrics(run.path)] for run in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    photo = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    logits = [load_run_model(run.path)(photo) for run in (plain, compiled)]
    assert torch.allclose(*logits, atol=0.1)
