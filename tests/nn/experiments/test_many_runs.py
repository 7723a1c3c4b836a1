"""Several runs: soups, sweeps, runs in parallel, and report pages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.errors import TrashkitError
from trashkit.metrics.summary import without_background
from trashkit.nn.experiments.search_space import Range, check_space, read_space
from trashkit.runs.metrics import read_metrics, read_validation
from trashkit.runs.run import read_run


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def options(quick, *more: str) -> list[str]:
    return [word for assignment in [*quick, *more] for word in ("--set", assignment)]


@pytest.fixture(scope="module")
def two(drawn: Path, quick, tmp_path_factory) -> Path:
    """Two recipes trained one after the other on one fold."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("one", "two"):
        (folder / f"{name}.toml").write_text(
            f"recipe.title = '{name}'\n[optimiser]\nlr = {0.01 if name == 'one' else 0.002}\n"
        )
    done = run(
        "train", "--data", drawn, "--images", drawn.parent, "--recipe", folder / "one.toml", "--recipe",
        folder / "two.toml", "--device", "cpu", "--out", folder / "runs", *options(quick, "epochs=2"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder / "runs"


@pytest.mark.slow
def test_parallel_runs_equal_sequential_runs(drawn, quick, two, tmp_path):
    recipes = [word for name in ("one", "two") for word in ("--recipe", two.parent / f"{name}.toml")]
    done = run("train", "--data", drawn, "--images", drawn.parent, *recipes, "--jobs", 2, "--device", "cpu",
               "--track", "none", "--out", tmp_path / "beside", *options(quick, "epochs=2"))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "2 runs, 2 in parallel" in done.stderr
    for name in ("one", "two"):
        files = [runs / name / "run/checkpoints/last.safetensors" for runs in (two, tmp_path / "beside")]
        alone, beside = (load_file(file) for file in files)
        assert all(np.allclose(alone[key], beside[key], atol=1e-5) for key in alone)
    assert not (tmp_path / "beside/one/run/tensorboard").exists()
    assert list((two / "one/run/tensorboard").glob("events*"))


def test_several_runs_do_not_replace_the_one_that_they_start_from(drawn, two):
    recipes = [word for name in ("one", "two") for word in ("--recipe", two.parent / f"{name}.toml")]
    words = ["train", "--data", drawn, "--images", drawn.parent, *recipes, "--overwrite", "--device", "cpu"]
    for chosen in (["--init", two / "two/run"], ["--set", f"model.weights={two / 'two/run'}"]):
        done = run(*words, *chosen, "--out", two)
        assert done.exit_code == 2, done.output
        assert "two/run is an input and would be overwritten" in " ".join(done.stderr.split())
    assert read_run(two / "one/run").status == read_run(two / "two/run").status == "complete"


def test_a_soup_is_a_run(two, tmp_path):
    done = run("soup", two / "one/run", two / "two/run", "--out", tmp_path / "soup", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    soup = read_run(tmp_path / "soup")
    assert soup.status == "complete"
    assert made["miou"] >= max(one["miou"] for one in made["ingredients"]) - 1e-3
    assert all(
        0 <= one["miou_without_background"] <= 1 for one in (*made["ingredients"], *made["choice"]["candidates"])
    )
    assert (tmp_path / "soup/oof").exists()
    again = run("soup", two / "one/run", two / "two/run", "--out", tmp_path / "soup")
    assert again.exit_code == 2
    assert "already exists" in again.stderr


def test_a_uniform_soup_is_the_mean(two, tmp_path):
    done = run("soup", two / "one/run", two / "two/run", "--out", tmp_path / "soup", "--method", "uniform", "--device",
               "cpu")  # fmt: skip
    assert done.exit_code == 0, done.output
    one, other, soup = (
        load_file(path / "checkpoints/last.safetensors")
        for path in (two / "one/run", two / "two/run", tmp_path / "soup")
    )
    for key, value in soup.items():
        if "running" not in key and "num_batches" not in key:
            assert np.allclose(value, (one[key] + other[key]) / 2, atol=1e-6), key


def test_a_soup_of_runs_validated_on_other_images_is_refused(two, tmp_path):
    for name, images in (("other", [1, 2]), ("all", [])):
        shutil.copytree(two / "two/run", tmp_path / name)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        manifest["identity"]["validation images"] = images
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    done = run("soup", two / "one/run", tmp_path / "other", "--out", tmp_path / "soup")
    assert done.exit_code == 2
    assert "have different validation images" in done.stderr
    assert "without --split each seed holds out different images" in done.stderr
    done = run("soup", tmp_path / "all", two / "one/run", "--out", tmp_path / "soup")
    assert done.exit_code == 2
    assert "all has no validation images (--all-data)" in " ".join(done.stderr.split())
    assert not (tmp_path / "soup").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [((), "at least two"), (("--method", "nonsense"), "is not one of"), (("--device", "tpu"), "is not one of")],
)
def test_invalid_soups_are_refused(two, tmp_path, words, message):
    done = run("soup", two / "one/run", two / "one/run", "--out", tmp_path / "soup", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_the_page_of_a_run(drawn, two, tmp_path):
    page = (two / "one/run/report.html").read_text()
    for part in (
        "Training",
        "Confusion",
        "Calibration",
        "wrong class",
        "boundary",
        "worst",
        "missed: Metal",
        "candidate checkpoints",
    ):
        assert part in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'http-equiv="refresh"' not in page
    done = run("report", two / "one/run", two / "two/run", "--out", tmp_path / "both.html", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["photos"] is True
    both = (tmp_path / "both.html").read_text()
    assert "optimiser.lr was 0.01, now 0.002" in both
    assert "one/run" in both
    assert "two/run" in both
    choice = read_run(two / "one/run").manifest["choice"]
    chosen = next(one for one in choice["candidates"] if one["name"] == choice["chosen"])
    assert read_run(two / "one/run").scores["miou_interval"] == chosen["interval"]
    assert f"{choice['margin']:+.4f} mIoU" in both


def test_a_page_replaces_only_pages(drawn, two, tmp_path):
    one = tmp_path / "one"
    shutil.copytree(two / "one/run", one)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/thesis.txt").write_text("years of work")
    annotations = tmp_path / "ann.json"
    shutil.copy(drawn, annotations)
    wrong = [
        ((one, "--out", tmp_path / "folder"), "already exists"),
        ((one, "--out", tmp_path / "folder", "--overwrite"), "is a folder"),
        ((one, "--out", one, "--overwrite"), "is an input"),
        ((one, "--out", one / "manifest.json", "--overwrite"), "is part of the run"),
        ((one, "--out", annotations), "ends as JSON does"),
        ((one, "--out", annotations, "--data", annotations, "--overwrite"), "is an input"),
        ((one, "--out", one / "checkpoints/last.safetensors", "--overwrite"), "is part of the run"),
        ((one, "--out", two / "two/run/validation.npz", "--overwrite"), "is part of the run"),
        ((one, "--out", next((drawn.parent / "photos").iterdir()), "--overwrite"), "ends as a picture does"),
        ((one, one), "given twice"),
        ((annotations,), "is a file, not a run folder"),
    ]
    for words, text in wrong:
        done = run("report", *words)
        assert done.exit_code == 2, words
        assert text in " ".join(done.stderr.split())
    assert (tmp_path / "folder/thesis.txt").exists()
    assert json.loads(annotations.read_text())
    assert read_run(one).status == "complete"
    assert run("report", one).exit_code == 0  # its own page is written anew


def test_annotations_other_than_those_of_the_run_are_refused(drawn, two, tmp_path):
    content = json.loads(drawn.read_text())
    gone = content["images"].pop(0)["id"], content["images"].pop(-1)["id"]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] not in gone]
    for image in content["images"]:
        image["id"] += 1000
    for one in content["annotations"]:
        one["image_id"] += 1000
    (tmp_path / "other.json").write_text(json.dumps(content))
    done = run("report", two / "two/run", "--data", tmp_path / "other.json", "--images", drawn.parent, "--out",
               tmp_path / "page.html")  # fmt: skip
    assert done.exit_code == 2
    assert "validation images" in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_the_same_weights_twice_are_as_good_as_once(two, tmp_path):
    shutil.copytree(two / "two/run", tmp_path / "twin")
    done = run("soup", two / "two/run", tmp_path / "twin", "--out", tmp_path / "soup", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert all(one["taken"] for one in made["ingredients"])
    assert made["miou"] >= made["ingredients"][0]["miou"]


def test_matrices_of_a_run_are_its_score(two, tmp_path):
    found = read_validation(two / "one/run")
    assert found is not None
    assert len(found.files) == len(found.per_image)
    from trashkit.metrics.scores import Confusion

    assert Confusion(found.per_image.sum(axis=0), found.names).miou() == pytest.approx(read_run(two / "one/run").miou)
    shutil.copytree(two / "one/run", tmp_path / "damaged")
    (tmp_path / "damaged/validation.npz").write_bytes(b"PK damaged")
    assert read_validation(tmp_path / "damaged") is None


@pytest.mark.slow
def test_a_sweep_finds_the_rate_that_learns_and_resumes(drawn, quick, tmp_path):
    pytest.importorskip("optuna")
    words = ["sweep", "--data", drawn, "--images", drawn.parent, "--device", "cpu", "--out", tmp_path / "sweep",
             "--try", "optimiser.lr=1e-6|2e-2", "--json", *options(quick, "epochs=1", "ema=0")]  # fmt: skip
    first = run(*words, "--trials", 1)
    assert first.exit_code == 0, first.output
    assert run(*words, "--trials", 1).exit_code == 2
    done = run(*words, "--trials", 2, "--resume")
    assert done.exit_code == 0, done.output
    trials = json.loads(done.stdout)["trials"]
    assert len(trials) == 2
    for trial in trials:
        if trial["state"] == "complete":
            last = read_metrics(Path(trial["path"]))[-1]
            assert trial["score"] == pytest.approx(last["smoothed"])
            assert trial["miou_without_background"] == pytest.approx(without_background(last["iou"].values()))
    best = trials[0]["settings"]["optimiser.lr"]
    shown = run("recipes", "show", tmp_path / "sweep/best.toml")
    assert shown.exit_code == 0
    assert f"lr = {best!r}" in shown.stdout
    other = run(*words, "--trials", 4, "--resume", "--set", "epochs=2")
    assert other.exit_code == 2
    (tmp_path / "sweep/study.db").unlink()
    lost = run(*words, "--trials", 1, "--resume")
    assert lost.exit_code == 0, lost.output
    assert "study.db was lost" in " ".join(lost.stderr.split())
    (tmp_path / "sweep/study.db").write_bytes(b"no database")
    damaged = run(*words, "--trials", 4, "--resume")
    assert damaged.exit_code == 2
    assert "study.db cannot be read" in damaged.stderr
    assert "epochs was 1, now 2" in other.stderr


def test_a_sweep_of_invalid_values_writes_nothing(drawn, quick, tmp_path):
    words = ["sweep", "--data", drawn, "--images", drawn.parent, "--device", "cpu", "--out", tmp_path / "sweep"]
    tried = ["--try", "optimiser.lr=-1..0.1", "--try", "loss=ce|focal(gamma=-1)|nonsense", "--try", "epochs=0..3"]
    done = run(*words, *options(quick), *tried)
    assert done.exit_code == 2
    told = " ".join(done.stderr.split())
    for part in (
        "optimiser.lr: input should be greater than 0",
        'loss "nonsense" is unknown',
        "epochs: input",
        "gamma",
    ):
        assert part in told
    assert run(*words, "--try", "epochs=1..3", "--fold", "0").exit_code == 2
    assert not (tmp_path / "sweep").exists()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/photo.jpg").touch()
    for more in ("--resume", "--overwrite"):
        adopted = run(*words, "--recipe", "tiny", "--try", "optimiser.lr=0.1|0.2", more)
        assert adopted.exit_code == 2, adopted.output
        assert "is not a sweep, so it is not replaced" in " ".join(adopted.stderr.split())
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["photo.jpg"]


def test_values_valid_only_in_combination_are_accepted():
    def resolve(given):
        if "a=1" in given and "b=2" not in given:
            raise TrashkitError("a 1 needs b 2")

    check_space({"a": (0, 1), "b": (2, 3)}, resolve)
    with pytest.raises(TrashkitError, match="a 1 needs b 2"):
        check_space({"a": (0, 1), "b": (3, 2)}, resolve)


def test_spaces_are_read_and_refused(tmp_path):
    space = read_space(None, ["optimiser.lr=1e-4..1e-3:log", "epochs=5..20", "data.augment=light|strong", "ema=0|0.9"])
    assert space == {
        "optimiser.lr": Range(1e-4, 1e-3, True, False),
        "epochs": Range(5, 20, False, True),
        "data.augment": ("light", "strong"),
        "ema": (0, 0.9),
    }
    with pytest.raises(TrashkitError, match=r"optimiser\.lrr.*; epochs: 9\.\.3 is empty; ema: .* logarithmic"):
        read_space(None, ["optimiser.lrr=1..2", "epochs=9..3", "ema=0..1:log"])
    with pytest.raises(TrashkitError, match="search space is empty"):
        read_space(None, [])
    with pytest.raises(TrashkitError, match="seed: all trials use the same seed"):
        read_space(None, ["seed=1|2"])
    with pytest.raises(TrashkitError, match=r"epochs: 3 is a single value.*ema: 0\|0 lists a value twice"):
        read_space(None, ["epochs=3", "ema=0|0"])
    binary = tmp_path / "space.toml"
    binary.write_bytes(b"\xb0\xff")
    with pytest.raises(TrashkitError, match="it is not UTF-8 text"):
        read_space(binary, [])


def test_profile_names_the_phases(drawn, quick):
    done = run("train", "--data", drawn, "--images", drawn.parent, "--device", "cpu", "--profile", 2, "--json",
               *options(quick))  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found["seconds"]) == {"loader", "transfer", "forward", "loss", "backward", "step"}
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert 4 <= found["images"] <= 8  # two batches, of nearly the same size


def test_trackers_are_selected_by_name():
    from trashkit.nn.training.tracking import scalars, tracker_names

    assert tracker_names(["none"]) == []
    assert tracker_names(["auto", "tensorboard"]) in (["tensorboard"], [])
    with pytest.raises(TrashkitError, match="wand"):
        tracker_names(["wand"])
    row = {
        "epoch": 1,
        "loss": 0.5,
        "miou_interval": [0, 1],
        "iou": {"Metal": 0.5, "Glass": float("nan"), "Paper": None},
    }
    assert scalars(row) == {"loss": 0.5, "iou/Metal": 0.5}


def test_each_process_uses_its_own_gpu(monkeypatch):
    """Without a GPU: the device that torch is set to before training."""
    import queue
    from types import SimpleNamespace

    import torch

    from trashkit.nn.experiments.launcher import _work

    done: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    messages: queue.Queue[tuple[str, int, object]] = queue.Queue()
    monkeypatch.setattr(
        "trashkit.nn.experiments.launcher.signal.signal", lambda *_: None
    )  # here it is the tests' own process
    task = SimpleNamespace(run=lambda **_: done.append("trained"), name="run")
    for gpu in (1, None):
        _work(task, 3, gpu, 1, messages)
    assert done == [1, "trained", "trained"]
    assert messages.get() == ("done", 3, None)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_waits_until_a_process_is_started_and_is_not_that_process_s():
    from trashkit.nn.experiments.launcher import _delay_interrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a script
    with _delay_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = []
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with pytest.raises(KeyboardInterrupt), _delay_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert reached == ["True\n"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
