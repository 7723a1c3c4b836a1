"""The run folder: started, refused, continued, listed, damaged."""

from __future__ import annotations

import math

import pytest

from trashkit.errors import TrashkitError
from trashkit.run import (
    RunSpec,
    as_json,
    differences,
    find_runs,
    open_run,
    read_metrics,
    read_run,
    update,
    write_metrics,
)
from trashkit.run_folder import lock, unlock

SPEC = RunSpec(
    "fpn", "e", {"a": 1}, (64, 48), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), ("Background", "종이"), ((0, 0, 0), (1, 2, 3))
)


def begin(path, identity=None, **options):
    options = {"resume": False, "overwrite": False, **options}
    return open_run(path, identity or {"epochs": 3}, {"model": as_json(SPEC), "settings": {"epochs": 3}}, **options)


def test_a_run_comes_back_from_its_folder(tmp_path):
    begin(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.spec == SPEC
    assert run.status == "running"
    assert run.wanted == 3
    assert math.isnan(run.miou)
    assert run.checkpoint == tmp_path / "run/checkpoints/last.safetensors"
    assert {"trashkit", "python", "numpy"} <= set(run.manifest["versions"])
    update(run, status="complete", scores={"miou": 0.5, "iou": [math.nan]}, checkpoint="best")
    run = read_run(tmp_path / "run")
    assert (run.status, run.miou, run.scores["iou"]) == ("complete", 0.5, [None])
    assert run.checkpoint.name == "best.safetensors"


def test_a_folder_in_the_way_is_refused(tmp_path):
    begin(tmp_path / "run")
    with pytest.raises(TrashkitError, match="exists already"):
        begin(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("years of work")
    with pytest.raises(TrashkitError, match="not a run, and is not removed"):
        begin(tmp_path / "other", overwrite=True)
    assert (tmp_path / "other/thesis.txt").exists()
    with pytest.raises(TrashkitError, match="is no run"):
        begin(tmp_path / "other", resume=True)
    (tmp_path / "empty").mkdir()
    assert begin(tmp_path / "empty").status == "running"


def test_a_run_with_a_damaged_manifest_can_be_replaced(tmp_path):
    begin(tmp_path / "run")
    (tmp_path / "run/settings.toml").write_text("epochs = 3")
    manifest = tmp_path / "run/manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:50])
    with pytest.raises(TrashkitError, match=r"manifest\.json cannot be read") as refused:
        begin(tmp_path / "run", resume=True)
    assert "--overwrite" in refused.value.hint
    with pytest.raises(TrashkitError, match="exists already"):
        begin(tmp_path / "run")
    assert begin(tmp_path / "run", overwrite=True).status == "running"
    (tmp_path / "run/settings.toml").write_text("epochs = 3")
    manifest.unlink()
    with pytest.raises(TrashkitError, match=r"has lost its manifest\.json"):
        begin(tmp_path / "run", resume=True)
    assert begin(tmp_path / "run", overwrite=True).status == "running"
    (tmp_path / "other/checkpoints").mkdir(parents=True)
    (tmp_path / "other/manifest.json").write_text("of another program")
    with pytest.raises(TrashkitError, match="not a run, and is not removed"):
        begin(tmp_path / "other", overwrite=True)


def test_overwriting_leaves_nothing_behind(tmp_path):
    begin(tmp_path / "run")
    write_metrics(tmp_path / "run", [{"epoch": 1}])
    begin(tmp_path / "run", overwrite=True)
    assert read_metrics(tmp_path / "run") == []


def test_resume_names_what_differs(tmp_path):
    begin(tmp_path / "run", {"settings": {"lr": 0.1, "epochs": 3}, "train": [1, 2]})
    assert begin(tmp_path / "run", {"settings": {"lr": 0.1, "epochs": 3}, "train": [1, 2]}, resume=True).path
    with pytest.raises(TrashkitError, match=r"settings.lr was 0.1, now 0.2; train was \[1, 2\], now \[1\]"):
        begin(tmp_path / "run", {"settings": {"lr": 0.2, "epochs": 3}, "train": [1]}, resume=True)
    assert begin(tmp_path / "fresh", resume=True).status == "running"


def test_differences_see_missing_entries_and_nan():
    assert differences({"a": 1}, {"b": 1}) == ["a was 1, now null", "b was null, now 1"]
    assert differences({"a": math.nan}, {"a": math.nan}) == []
    assert differences({"a": [1, 2]}, {"a": (1, 2)}) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no manifest.json"),
        ("{", "cannot be read"),
        ("[]", "no manifest"),
        ('{"format": "x"}', "no manifest"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, content, message):
    folder = tmp_path / "run"
    folder.mkdir()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    with pytest.raises(TrashkitError, match=message):
        read_run(folder)
    with pytest.raises(TrashkitError, match="there is no run"):
        read_run(tmp_path / "nowhere")


def test_a_folder_of_runs_gets_a_hint(tmp_path):
    begin(tmp_path / "runs/recipe/fold-0")
    with pytest.raises(TrashkitError) as caught:
        read_run(tmp_path / "runs")
    assert "fold-0" in caught.value.hint


def test_a_manifest_without_network_says_so(tmp_path):
    run = begin(tmp_path / "run")
    update(run, model={"architecture": "fpn"})
    with pytest.raises(TrashkitError, match="does not describe a network"):
        _ = read_run(tmp_path / "run").spec


def test_runs_are_found_best_first(tmp_path):
    for name, miou in (("a", 0.3), ("b/fold-0", 0.7), ("c", None)):
        run = begin(tmp_path / name)
        if miou:
            update(run, scores={"miou": miou})
    write_metrics(tmp_path / "c", [{"epoch": 1, "miou": 0.1}, {"epoch": 2, "miou": 0.5}])
    (tmp_path / "d").mkdir()
    (tmp_path / "d/manifest.json").write_text("{}")
    assert [str(run.path.relative_to(tmp_path)) for run in find_runs(tmp_path)] == ["b/fold-0", "c", "a"]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    begin(tmp_path / "run")
    write_metrics(tmp_path / "run", [{"epoch": 1, "miou": math.nan}, {"epoch": 2}])
    file = tmp_path / "run/metrics.jsonl"
    file.write_text(file.read_text()[:-4])
    assert read_metrics(tmp_path / "run") == [{"epoch": 1, "miou": None}]


def test_a_run_that_is_being_trained_is_left_alone(tmp_path):
    begin(tmp_path / "run", resume=False, overwrite=False)
    held = lock(tmp_path / "run")
    for how in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
        with pytest.raises(TrashkitError, match="is being trained by another process"):
            begin(tmp_path / "run", **how)
    unlock(tmp_path / "run", held)
    begin(tmp_path / "run", resume=True, overwrite=False)
    assert not (tmp_path / "run" / ".training").exists()


@pytest.mark.parametrize("how", ["resume", "overwrite", "neither"])
def test_a_run_killed_before_its_manifest_begins_again(tmp_path, how):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    made = begin(tmp_path / "run", resume=how == "resume", overwrite=how == "overwrite")
    assert made.status == "running"
