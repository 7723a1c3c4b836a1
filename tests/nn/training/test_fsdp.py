"""Sharded training (FSDP) equals unsharded training, each process holds a shard, and runs resume either way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.errors import TrashkitError
from trashkit.nn.checkpoints.validate import SCORE_SIZE, validate
from trashkit.nn.data.cache import open_cache, validation_layout
from trashkit.nn.models.networks import load_run_model
from trashkit.nn.training.fsdp import ENVIRONMENT_VARIABLE, check_shardable, full_state, unsharded
from trashkit.nn.training.learner import start_accelerator
from trashkit.predictions.store import open_store
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import read_run

from ..conftest import data_of

SETTINGS = [
    "epochs=3", "data.batch_size=2", "optimiser.accumulate=2", "optimiser.clip=0.5", "optimiser.freeze_epochs=1",
    "model.presence=0.4", "online",
]  # fmt: skip
"""The network is first frozen in part; it has an auxiliary head, and its average is asked by one batch or another."""


@pytest.fixture(scope="module")
def run_of(drawn, quick, two_processes, tmp_path_factory):
    """Trains in two processes and returns the folder of the run."""

    def train(*words: str, out: Path | None = None, killed: bool = False) -> Path:
        out = out or tmp_path_factory.mktemp("run") / "run"
        done = two_processes(drawn, out, *quick, *SETTINGS, *words)
        assert (done.returncode != 0) == killed, done.stderr.decode()[-3000:]
        return out

    return train


@pytest.fixture(scope="module")
def launched(drawn, quick, two_processes, tmp_path_factory) -> Path:
    """Two processes train with and without sharding, and with an optimiser that does not support it."""
    folder = tmp_path_factory.mktemp("launched")
    for name in ("whole", "sharded", "refused"):
        (folder / name).mkdir()
    words = [*quick, *SETTINGS]
    done = two_processes(
        drawn, folder / "whole/run", *words, "then", str(folder / "sharded/run"), *words, "shard",
        "then", str(folder / "refused/run"), *words, "shard", "refused", "optimiser.name=cadamw",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder


@pytest.fixture(scope="module")
def whole(launched) -> Path:
    return launched / "whole/run"


@pytest.fixture(scope="module")
def sharded(launched) -> Path:
    return launched / "sharded/run"


@pytest.fixture(scope="module")
def cut_off(run_of, sharded) -> Path:
    """A sharded run that was killed in its second epoch."""
    return run_of("shard", f"kill={read_metrics(sharded)[0]['step'] + 1}", killed=True)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """All that a run ends with: the candidates for its weights, and the network and its average in each process."""
    files = [*(run / "checkpoints").glob("*.safetensors"), *run.parent.glob("*.safetensors")]
    return {f"{file.stem} {key}": value for file in files for key, value in load_file(file).items()}


def assert_near(run: Path, other: Path) -> None:
    """Equal up to rounding: unsharded weights are channels-last, so sums are computed in another order."""
    one, two = weights_of(run), weights_of(other)
    assert one.keys() == two.keys()
    for key in one:
        assert torch.allclose(one[key], two[key], rtol=1e-4, atol=2e-5), key
    losses = [[row["loss"] for row in read_metrics(path)] for path in (run, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(whole, drawn, tmp_path):
    """Gradients are averaged, running statistics too, and every validation image is counted once (three for two)."""
    for name in ("model", "average"):
        one, other = (load_file(whole.parent / f"{name}-{rank}.safetensors") for rank in range(2))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    run = read_run(whole)
    assert run.manifest["device"]["processes"] == 2
    assert len(open_store(run.path / "oof")) == 3
    data = data_of(drawn)
    cache = open_cache(
        data.dataset,
        data.val,
        data.folder,
        validation_layout(64, SCORE_SIZE, "area"),
        tmp_path,
        content="",
        budget=10**9,
    )
    again = validate(load_run_model(run.path), cache, Accelerator(cpu=True), batch_size=2, workers=0)
    # other batches, other last bits: a near tie may fall to another class
    assert again.miou() == pytest.approx(run.scores["miou"], abs=1e-4)
    assert again.matrix.sum() == 3 * 256 * 256


@pytest.mark.slow
def test_sharded_and_unsharded_training_are_equal(whole, sharded):
    assert read_run(sharded).status == "complete"
    assert_near(sharded, whole)


@pytest.mark.slow
def test_each_process_holds_half_of_a_sharded_network(whole, sharded):
    for rank in range(2):
        all_of_it, part = (json.loads((run.parent / f"bytes-{rank}.json").read_text()) for run in (whole, sharded))
        for what, size in all_of_it.items():
            assert part[what] == pytest.approx(size / 2, rel=0.01), what


@pytest.mark.slow
def test_a_resumed_sharded_run_ends_with_the_same_weights(run_of, sharded, cut_off, tmp_path):
    shutil.copytree(cut_off, tmp_path / "run")
    one, other = weights_of(run_of("shard", out=tmp_path / "run")), weights_of(sharded)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_a_sharded_run_resumes_unsharded(run_of, whole, cut_off, tmp_path):
    shutil.copytree(cut_off, tmp_path / "run")
    assert_near(run_of(out=tmp_path / "run"), whole)


@pytest.mark.slow
def test_an_unsharded_run_resumes_sharded(run_of, whole, sharded):
    begun = run_of(f"kill={read_metrics(whole)[0]['step'] + 1}", killed=True)
    assert_near(run_of("shard", out=begun), sharded)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["ema=0", "optimiser.name=sgd"], ["optimiser.name=lamb", "optimiser.frozen_norm=true"]], ids=str
)
def test_other_settings_train_the_same_when_sharded(drawn, quick, two_processes, tmp_path, words):
    for name, more in (("whole", []), ("sharded", ["shard"])):
        out = tmp_path / name / "run"
        out.parent.mkdir()
        done = two_processes(drawn, out, *quick, "epochs=2", "data.batch_size=2", *words, *more)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert_near(tmp_path / "sharded/run", tmp_path / "whole/run")


@pytest.mark.slow
def test_an_optimiser_without_sharding_support_is_refused(launched):
    assert "the optimiser cadamw does not support --shard" in (launched / "refused/refused.txt").read_text()
    assert not (launched / "refused/run").exists()


@pytest.mark.parametrize("by", ["the option", "accelerate launch --use_fsdp"])
def test_sharding_over_one_process_is_refused(drawn, quick, tmp_path, monkeypatch, by):
    if by != "the option":
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "true")
    words = ["train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--device", "cpu"]
    words += ["--shard"] if by == "the option" else []
    words += [word for setting in quick for word in ("--set", setting)]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code != 0
    assert "sharding needs several processes" in f"{done.output} {done.exception}"
    assert not (tmp_path / "run").exists()


def test_scalar_parameters_are_refused(monkeypatch):
    engine = start_accelerator("cpu", "off")
    monkeypatch.setattr(type(engine), "num_processes", property(lambda _: 2))
    model = nn.Linear(2, 3)
    check_shardable(model, engine)
    model.gain = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(TrashkitError, match="gain is a scalar"):
        check_shardable(model, engine)


def test_unsharded_networks_and_states_are_unchanged():
    model = nn.Linear(2, 3)
    with unsharded(model):
        assert full_state(model.state_dict())["weight"].data_ptr() == model.weight.data_ptr()
    assert full_state({"a": [1, None], "b": (0.9, 0.99)}) == {"a": [1, None], "b": (0.9, 0.99)}
