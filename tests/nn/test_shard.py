"""A network in pieces learns what a whole one learns, with each process holding its part, and goes on as either."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.errors import TrashkitError
from trashkit.nn.learner import start_accelerator
from trashkit.nn.shard import LAUNCHED, check_cut, gathered, together
from trashkit.run import read_metrics, read_run

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
def whole(run_of) -> Path:
    return run_of()


@pytest.fixture(scope="module")
def sharded(run_of) -> Path:
    return run_of("shard")


@pytest.fixture(scope="module")
def cut_off(run_of, sharded) -> Path:
    """A sharded run that was killed in its second epoch."""
    return run_of("shard", f"kill={read_metrics(sharded)[0]['step'] + 1}", killed=True)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """All that a run ends with: the candidates for its weights, and the network and its average in each process."""
    files = [*(run / "checkpoints").glob("*.safetensors"), *run.parent.glob("*.safetensors")]
    return {f"{file.stem} {key}": value for file in files for key, value in load_file(file).items()}


def assert_near(run: Path, other: Path) -> None:
    """Equal but for rounding: whole weights lie in memory channel by channel, so that sums are made in other orders."""
    one, two = weights_of(run), weights_of(other)
    assert one.keys() == two.keys()
    for key in one:
        assert torch.allclose(one[key], two[key], rtol=1e-4, atol=2e-5), key
    losses = [[row["loss"] for row in read_metrics(path)] for path in (run, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_sharded_network_learns_what_a_whole_one_learns(whole, sharded):
    assert read_run(sharded).status == "complete"
    assert_near(sharded, whole)


def test_each_process_holds_half(whole, sharded):
    for rank in range(2):
        all_of_it, part = (json.loads((run.parent / f"bytes-{rank}.json").read_text()) for run in (whole, sharded))
        for what, size in all_of_it.items():
            assert part[what] == pytest.approx(size / 2, rel=0.01), what


def test_a_sharded_run_goes_on_to_the_same_weights(run_of, sharded, cut_off, tmp_path):
    shutil.copytree(cut_off, tmp_path / "run")
    one, other = weights_of(run_of("shard", out=tmp_path / "run")), weights_of(sharded)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_sharded_run_goes_on_whole(run_of, whole, cut_off, tmp_path):
    shutil.copytree(cut_off, tmp_path / "run")
    assert_near(run_of(out=tmp_path / "run"), whole)


@pytest.mark.slow
def test_a_whole_run_goes_on_sharded(run_of, whole, sharded):
    begun = run_of(f"kill={read_metrics(whole)[0]['step'] + 1}", killed=True)
    assert_near(run_of("shard", out=begun), sharded)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["ema=0", "optimiser.name=sgd"], ["optimiser.name=lamb", "optimiser.frozen_norm=true"]], ids=str
)
def test_other_choices_learn_the_same_too(drawn, quick, two_processes, tmp_path, words):
    for name, more in (("whole", []), ("sharded", ["shard"])):
        out = tmp_path / name / "run"
        out.parent.mkdir()
        done = two_processes(drawn, out, *quick, "epochs=2", "data.batch_size=2", *words, *more)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert_near(tmp_path / "sharded/run", tmp_path / "whole/run")


def test_an_optimiser_that_needs_whole_weights_is_refused(drawn, quick, two_processes, tmp_path):
    done = two_processes(drawn, tmp_path / "run", *quick, "shard", "optimiser.name=cadamw")
    assert "the optimiser cadamw cannot work on a sharded network" in done.stderr.decode()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("by", ["the option", "accelerate launch --use_fsdp"])
def test_one_process_has_nothing_to_shard_over(drawn, quick, tmp_path, monkeypatch, by):
    if by != "the option":
        monkeypatch.setenv(LAUNCHED, "true")
    words = ["train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--device", "cpu"]
    words += ["--shard"] if by == "the option" else []
    words += [word for setting in quick for word in ("--set", setting)]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code != 0
    assert "over several processes, and here is one" in f"{done.output} {done.exception}"
    assert not (tmp_path / "run").exists()


def test_parameters_that_are_single_numbers_are_refused(monkeypatch):
    engine = start_accelerator("cpu", "off")
    monkeypatch.setattr(type(engine), "num_processes", property(lambda _: 2))
    model = nn.Linear(2, 3)
    check_cut(model, engine)
    model.gain = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(TrashkitError, match="gain is a single number"):
        check_cut(model, engine)


def test_whole_networks_and_states_stay_what_they_are():
    model = nn.Linear(2, 3)
    with together(model):
        assert gathered(model.state_dict())["weight"].data_ptr() == model.weight.data_ptr()
    assert gathered({"a": [1, None], "b": (0.9, 0.99)}) == {"a": [1, None], "b": (0.9, 0.99)}
