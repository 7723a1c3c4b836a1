"""Whole rounds: what they write, that an interrupted one resumes to the same result, folds and parent rounds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.predictions.store import open_store
from trashkit.pseudo.record import read_round
from trashkit.pseudo.selection import Selection
from trashkit.pseudo.strategies import stages
from trashkit.raster.label_maps import open_label_maps
from trashkit.raster.masks import dataset_label_map
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import find_runs, read_run
from trashkit.workflows.pseudo_plan import RoundRequest, plan_round
from trashkit.workflows.pseudo_round import run_round

SELECTION = Selection(threshold=0.9, at_least=0.5)


def request(place: Path, out: Path, **changes: object) -> RoundRequest:
    given: dict[str, object] = {
        "teachers": (place / "first",),
        "data": place / "train.json",
        "images": place / "photos",
        "unlabeled": place / "test.json",
        "unlabeled_images": place / "photos",
        "out": out,
        "strategy": "joint-then-clean",
        "stages": stages("joint-then-clean", ["clean.epochs=1"], weight=0.5, ramp=0.5),
        "selection": SELECTION,
        "tta": "none",
        "size": 64,
        "recipe": None,
        "assignments": (),
        "start": None,
        "all_data": False,
        "classes": None,
        "device": "cpu",
        "command": "test",
    }
    return RoundRequest(**{**given, **changes})


def go(wanted: RoundRequest, *, stop: tuple[str, int] | None = None, resume: bool = False, overwrite: bool = False):
    def progress(what: str, done: int, total: int) -> None:
        if (what, done) == stop:
            raise KeyboardInterrupt

    return run_round(plan_round(wanted), resume=resume, overwrite=overwrite, progress=progress)


def assert_same(one: Path, other: Path) -> None:
    assert open_label_maps(one / "labels").fingerprint == open_label_maps(other / "labels").fingerprint
    assert json.loads((one / "labels.json").read_text()) == json.loads((other / "labels.json").read_text())
    for stage in ("joint", "clean"):
        first, second = (load_file(read_run(folder / stage).checkpoint) for folder in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
        losses = [[row["loss"] for row in read_metrics(folder / stage)] for folder in (one, other)]
        assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def whole(place, tmp_path_factory):
    """A round that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    go(request(place, out))
    return out


def test_a_round_writes_labels_runs_record_and_page(whole):
    record = read_round(whole)
    assert record["status"] == "complete"
    assert record["round"] == 1
    assert record["parent"] is None
    (group,) = record["groups"]
    labels = open_label_maps(whole / "labels")
    pixels = np.stack([labels.read(n) for n in range(len(labels))])
    counted = np.bincount(pixels.ravel(), minlength=256)
    assert counted[:11].tolist() == group["labels"]["kept"]
    assert 0 < counted[255] < pixels.size
    for predicted, kept in zip(group["labels"]["predicted"], group["labels"]["kept"], strict=True):
        assert kept >= 0.5 * predicted or group["labels"]["left_out"]
    store = open_store(whole / "probabilities")
    assert all(((m == 255) | (m == store.label_map(n))).all() for n, m in enumerate(pixels))
    html = (whole / "pseudo.html").read_text()
    assert "시험 00.png" in html
    assert "without background" in html.partition("What was trained")[2][:500]
    assert "data:image/jpeg" in html
    assert not (whole / ".cache").exists()


def test_only_the_last_stage_is_the_run_that_is_used(whole, place, ok, tmp_path):
    assert [run.path.name for run in find_runs(whole)] == ["clean"]
    assert not (whole / "joint/oof").exists()
    made = ok("predict", whole, "--data", place / "test.json", "--images", place / "photos", "--out", tmp_path / "t")
    assert made["runs"] == [str(whole / "clean")]
    assert ok("score", whole, "--data", place / "train.json", "--partial")["miou"] == pytest.approx(
        read_run(whole / "clean").miou, abs=1e-6
    )


def test_manifests_record_the_training_data(whole, place):
    joint, clean = read_run(whole / "joint"), read_run(whole / "clean")
    (source,) = joint.manifest["inputs"]["label_maps"]
    assert (source["weight"], source["ramp"]) == (0.5, 0.5)
    assert source["files"] == [image.file_name for image in open_label_maps(whole / "labels").images]
    assert clean.manifest["inputs"]["label_maps"] == []
    assert clean.manifest["settings"]["model"]["weights"] == str((whole / "joint").resolve())
    assert clean.manifest["pseudo"]["teachers"] == [str((place / "first").resolve())]


STOPS = [
    ("joint, steps", 6), ("making label maps", 3), ("predict", 4), ("counting pixels", 2), ("joint, steps", 4),
    ("clean, steps", 2), ("clean, out-of-fold", 6),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop", [pytest.param(stop, marks=pytest.mark.slow if n else ()) for n, stop in enumerate(STOPS)]
)
def test_interrupted_and_resumed_is_the_same_round(place, whole, tmp_path, stop):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        go(request(place, out), stop=stop)
    assert read_round(out)["status"] == "running"
    go(request(place, out), resume=True)
    assert_same(out, whole)


@pytest.mark.slow
def test_a_round_killed_between_files_resumes(place, whole, tmp_path):
    """Label maps without their count, and a stage's folder without a manifest."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / "labels.json").unlink()
    shutil.rmtree(out / "clean")
    shutil.rmtree(out / "joint")
    (out / "joint/checkpoints").mkdir(parents=True)
    record = {**read_round(out), "status": "running"}
    del record["groups"]
    (out / "pseudo.json").write_text(json.dumps(record))
    go(request(place, out), resume=True)
    assert_same(out, whole)


def test_a_complete_round_is_not_repeated_and_another_one_is_refused(place, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    go(request(place, out), resume=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(TrashkitError, match="already exists"):
        go(request(place, out))
    with pytest.raises(TrashkitError, match=r"selection.threshold was 0.9, now 0.8"):
        go(request(place, out, selection=Selection(threshold=0.8, at_least=0.5)), resume=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.txt").write_text("mine")
    with pytest.raises(TrashkitError, match="is not a folder of a pseudo-label round"):
        go(request(place, tmp_path / "photos"), overwrite=True)
    assert (tmp_path / "photos/mine.txt").read_text() == "mine"


def test_a_round_without_certain_labels_says_what_to_change(place, tmp_path):
    with pytest.raises(TrashkitError, match="no pseudo-label is certain enough"):
        go(request(place, tmp_path / "out", selection=Selection(threshold=1.0)))


@pytest.mark.slow
def test_folds_stay_apart_and_a_second_round_names_its_parent(place, pseudo, ok, tmp_path):
    words = ["--strategy", "finetune", "--at-least", 0.5, "--stage", "finetune.epochs=0.5"]
    made = ok(*pseudo(place / "folds", out=tmp_path / "one"), *words)
    assert [one["fold"] for one in made["groups"]] == [0, 1]
    for number in range(2):
        run = read_run(tmp_path / f"one/fold-{number}/finetune")
        assert [Path(path).name for path in run.manifest["pseudo"]["teachers"]] == [f"fold-{number}"]
        validated = set(run.manifest["inputs"]["validation_files"])
        assert len(validated) == 6
        assert not validated & set(run.manifest["inputs"]["training_files"])
    assert ok("score", tmp_path / "one", "--data", place / "train.json")["images"] == 12

    again = ok(*pseudo(tmp_path / "one", out=tmp_path / "two"), *words)
    assert again["round"] == 2
    assert again["parent"] == {"folder": str(tmp_path / "one"), "round": 1}
    change = again["groups"][0]["change"]
    assert change["images"] + change["only_after"] == 4 - len(again["groups"][0]["labels"]["left_out"])
    assert change["both"] > 0
    assert "Changes since the previous round" in (tmp_path / "two/pseudo.html").read_text()
    for row in change["by_class"].values():
        assert row["went"] <= row["before"]
        assert row["came"] <= row["after"]
    for side in ("went", "came"):
        assert sum(row[side] for row in change["by_class"].values()) == change["relabelled"]


def taught(targets: str) -> dict[str, object]:
    """What a short round with these targets asks for: at any certainty, so that two epochs teach something online."""
    return {
        "targets": targets,
        "selection": Selection(threshold=0.2, min_kept=0.0),
        "strategy": "joint",
        "stages": stages("joint", [], weight=0.5, ramp=0.5),
        "assignments": ("epochs=2",),
    }


@pytest.fixture(scope="module")
def by_targets(place, tmp_path_factory) -> Callable[[str], Path]:
    """The round of `taught` with these targets, made when first asked for; read-only."""

    @cache
    def made(targets: str) -> Path:
        out = tmp_path_factory.mktemp(targets) / "out"
        go(request(place, out, **taught(targets)))
        return out

    return made


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return load_file(read_run(out / "joint").checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["soft", "online"])
def test_other_targets_train_another_student(place, by_targets, targets):
    plain, other = weights_of(by_targets("hard")), weights_of(by_targets(targets))
    assert not all(torch.equal(plain[key], other[key]) for key in other)
    (source,) = read_run(by_targets(targets) / "joint").manifest["inputs"]["label_maps"]
    assert source["teaching"]["kind"] == targets
    assert read_round(by_targets(targets))["targets"] == targets
    with pytest.raises(TrashkitError, match="targets was"):
        go(request(place, by_targets(targets), **taught("hard")), resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("targets", [pytest.param("soft", marks=pytest.mark.slow), "online"])
def test_other_targets_resume_to_the_same_weights(place, by_targets, tmp_path, targets):
    with pytest.raises(KeyboardInterrupt):
        go(request(place, tmp_path / "out", **taught(targets)), stop=("joint, steps", 6))
    go(request(place, tmp_path / "out", **taught(targets)), resume=True)
    whole, resumed = weights_of(by_targets(targets)), weights_of(tmp_path / "out")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_invalid_targets_are_refused(place, tmp_path):
    for changes, words in (
        ({"targets": "online", "assignments": ("ema=0",)}, "which is off"),
        ({"targets": "online", "selection": Selection("margin")}, "not by margin"),
    ):
        with pytest.raises(TrashkitError, match=words):
            plan_round(request(place, tmp_path / "x", **changes))


def test_labels_are_also_written_as_coco(whole):
    """Sampled at the maps' size, its annotations are the kept pixels and no others; scores reach the threshold."""
    data = read_dataset(whole / "pseudo-labels.json")
    maps = open_label_maps(whole / "labels")
    assert [image.file_name for image in data.images] == [image.file_name for image in maps.images]
    for image in data.images:
        kept = maps.read(image.row)
        np.testing.assert_array_equal(
            dataset_label_map(data, image.row, size=maps.size), np.where(kept == 255, 0, kept)
        )
    scores = [record["score"] for record in data.coco.records("annotations")]
    count = json.loads((whole / "labels.json").read_text())
    assert scores
    assert min(scores) >= min(one for one in count["thresholds"] if one is not None) - 1e-3
    assert max(scores) <= 1


def test_views_may_have_to_agree(place, tmp_path):
    wanted = request(
        place, tmp_path / "out", tta="flip", selection=Selection(threshold=0.0, agreement=1.0, min_kept=0.0),
        strategy="joint", stages=stages("joint", ["joint.epochs=0.5"]),
    )  # fmt: skip
    go(wanted)
    views = [open_store(path) for path in sorted((tmp_path / "out/probabilities").iterdir())]
    assert len(views) == 2
    labels = open_label_maps(tmp_path / "out/labels")
    for image in labels.images:
        row = views[0].file_names.index(image.file_name)
        same = views[0].label_map(row) == views[1].label_map(row)
        assert ((labels.read(image.row) != 255) == same).all()
    with pytest.raises(TrashkitError, match="agreement needs several"):
        plan_round(request(place, tmp_path / "x", selection=Selection(agreement=1.0)))
