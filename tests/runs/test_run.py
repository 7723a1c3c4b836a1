"""The run folder: started, refused, continued, listed, damaged."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.errors import TrashkitError
from trashkit.runs.folder import LOCK, is_being_trained, locked
from trashkit.runs.json_values import differences
from trashkit.runs.manifest import RunSpec
from trashkit.runs.metrics import Validation, read_metrics, read_validation, write_metrics, write_validation
from trashkit.runs.run import find_runs, open_run, read_run, require_runs, search_runs, update

SPEC = RunSpec(
    "fpn", "e", {"a": 1}, (64, 48), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), ("Background", "종이"), ((0, 0, 0), (1, 2, 3))
)


def begin(path, identity=None, **options):
    options = {"resume": False, "overwrite": False, **options}
    return open_run(path, identity or {"epochs": 3}, {"model": SPEC.as_json(), "settings": {"epochs": 3}}, **options)


def test_a_run_is_read_back_from_its_folder(tmp_path):
    begin(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.spec == SPEC
    assert run.status == "running"
    assert run.wanted == 3
    assert math.isnan(run.miou)
    assert run.checkpoint == tmp_path / "run/checkpoints/last.safetensors"
    assert {"trashkit", "python", "numpy"} <= set(run.manifest["versions"])
    update(run, status="complete", scores={"miou": 0.5, "iou": {"can": math.nan}}, checkpoint="best")
    run = read_run(tmp_path / "run")
    assert (run.status, run.miou, run.scores["iou"]) == ("complete", 0.5, {"can": None})
    assert run.checkpoint.name == "best.safetensors"


def test_a_folder_in_the_way_is_refused(tmp_path):
    begin(tmp_path / "run")
    with pytest.raises(TrashkitError, match="already exists"):
        begin(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("years of work")
    with pytest.raises(TrashkitError, match="is not a run folder, so it is not replaced"):
        begin(tmp_path / "other", overwrite=True)
    assert (tmp_path / "other/thesis.txt").exists()
    with pytest.raises(TrashkitError, match="is not a run folder"):
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
    with pytest.raises(TrashkitError, match="already exists"):
        begin(tmp_path / "run")
    assert begin(tmp_path / "run", overwrite=True).status == "running"
    (tmp_path / "run/settings.toml").write_text("epochs = 3")
    manifest.unlink()
    with pytest.raises(TrashkitError, match=r"no longer contains manifest\.json"):
        begin(tmp_path / "run", resume=True)
    assert begin(tmp_path / "run", overwrite=True).status == "running"
    (tmp_path / "other/checkpoints").mkdir(parents=True)
    (tmp_path / "other/manifest.json").write_text("of another program")
    with pytest.raises(TrashkitError, match="is not a run folder, so it is not replaced"):
        begin(tmp_path / "other", overwrite=True)


def test_overwriting_leaves_nothing_behind(tmp_path):
    begin(tmp_path / "run")
    write_metrics(tmp_path / "run", [{"epoch": 1}])
    begin(tmp_path / "run", overwrite=True)
    assert read_metrics(tmp_path / "run") == []


def test_a_link_into_another_run_is_not_resumed(tmp_path):
    begin(tmp_path / "other")
    begin(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").rmdir()
    (tmp_path / "run" / "checkpoints").symlink_to("../other/checkpoints")
    with pytest.raises(TrashkitError, match=r"checkpoints is part of the run folder .*other"):
        begin(tmp_path / "run", resume=True)
    (tmp_path / "run" / "checkpoints").unlink()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to("../scratch")
    assert begin(tmp_path / "run", resume=True).path


def test_resume_names_what_differs(tmp_path):
    begin(tmp_path / "run", {"settings": {"lr": 0.1, "epochs": 3}, "train": [1, 2]})
    assert begin(tmp_path / "run", {"settings": {"lr": 0.1, "epochs": 3}, "train": [1, 2]}, resume=True).path
    with pytest.raises(TrashkitError, match=r"settings.lr was 0.1, now 0.2; train was \[1, 2\], now \[1\]"):
        begin(tmp_path / "run", {"settings": {"lr": 0.2, "epochs": 3}, "train": [1]}, resume=True)
    assert begin(tmp_path / "fresh", resume=True).status == "running"


def test_differences_include_missing_entries_and_nan():
    assert differences({"a": 1}, {"b": 1}) == ["a was 1, now null", "b was null, now 1"]
    assert differences({"a": math.nan}, {"a": math.nan}) == []
    assert differences({"a": [1, 2]}, {"a": (1, 2)}) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no manifest.json"),
        ("{", "cannot be read"),
        ("[]", "not the manifest"),
        ('{"format": "x"}', "not the manifest"),
    ],
)
def test_folders_that_are_not_runs_are_refused(tmp_path, content, message):
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


def test_a_manifest_without_network_is_reported(tmp_path):
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


def test_a_run_that_is_being_trained_is_refused(tmp_path):
    begin(tmp_path / "run", resume=False, overwrite=False)
    with contextlib.suppress(KeyError), locked(tmp_path / "run"):
        for how in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
            with pytest.raises(TrashkitError, match="is being trained already"):
                begin(tmp_path / "run", **how)
        raise KeyError  # the lock is released however the training ends
    begin(tmp_path / "run", resume=True, overwrite=False)
    assert not (tmp_path / "run" / ".training").exists()


@pytest.mark.parametrize("how", ["resume", "overwrite", "neither"])
def test_a_run_killed_before_its_manifest_can_start_again(tmp_path, how):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    made = begin(tmp_path / "run", resume=how == "resume", overwrite=how == "overwrite")
    assert made.status == "running"


DEEP = "[" * 3000 + "]" * 3000
DAMAGED_MANIFESTS = {
    "nested": {"identity": {"settings": {"a": DEEP}}},
    "nested raw": DEEP,
    "long integer": "9" * 5000,
    "fold is a list": {"fold": [1]},
    "device is a text": {"device": "cpu"},
    "choice lacks its reason": {"choice": {"chosen": "last"}},
    "candidates are numbers": {"choice": {"chosen": "last", "reason": "", "candidates": [1]}},
    "interval of one": {"scores": {"miou": 0.5, "miou_interval": [0.1]}},
    "checkpoint elsewhere": {"checkpoint": "../../other/last"},
    "epochs are text": {"settings": {"epochs": "many"}},
    "inputs are a list": {"inputs": []},
    "labels are a number": {"pseudo": {"labels": 1}},
    "version is a text": {"version": "one"},
}


def damage(path, content):
    """Put a damaged manifest into a run. content: entries to change, or the text of the file."""
    (path / "settings.toml").write_text("epochs = 3")
    manifest = json.loads((path / "manifest.json").read_text())
    text = content if isinstance(content, str) else json.dumps(manifest | content)
    (path / "manifest.json").write_text(text.replace(json.dumps(DEEP), DEEP))


@pytest.mark.parametrize("content", DAMAGED_MANIFESTS.values(), ids=DAMAGED_MANIFESTS)
def test_a_damaged_manifest_is_an_error_of_its_run_only(tmp_path, content):
    begin(tmp_path / "good")
    begin(tmp_path / "bad")
    damage(tmp_path / "bad", content)
    with pytest.raises(TrashkitError, match=r"bad.manifest\.json (is damaged|cannot be read): "):
        read_run(tmp_path / "bad")
    found = search_runs(tmp_path)
    assert [run.path.name for run in found.runs] == ["good"]
    assert [path.name for path in found.damaged] == ["bad"]
    assert [run.path.name for run in find_runs(tmp_path)] == ["good"]
    with pytest.raises(TrashkitError, match="bad"):
        require_runs(tmp_path)


DAMAGED_METRICS = {
    "nested": DEEP.encode(),
    "a number": b"3",
    "a list": b"[]",
    "not UTF-8": b'{"epoch": "\xff"}',
    "no epoch": b'{"miou": 0.5}',
    "miou is a text": b'{"epoch": 1, "miou": "high"}',
    "interval of one": b'{"epoch": 1, "miou_interval": [0.5]}',
    "loss is a list": b'{"epoch": 1, "loss": [1]}',
    "long integer": b'{"epoch": ' + b"9" * 5000 + b"}",
    "half a line": b'{"epoch": 1, "mi',
}


@pytest.mark.parametrize("line", DAMAGED_METRICS.values(), ids=DAMAGED_METRICS)
def test_damaged_metrics_are_an_error_of_their_run_only(tmp_path, line):
    begin(tmp_path / "good")
    begin(tmp_path / "bad")
    (tmp_path / "bad/metrics.jsonl").write_bytes(b'{"epoch": 1, "miou": 0.5}\n' + line + b'\n{"epoch": 3}\n')
    with pytest.raises(TrashkitError, match=r"metrics\.jsonl, line 2 is damaged"):
        read_metrics(tmp_path / "bad")
    found = search_runs(tmp_path)
    assert ([run.path.name for run in found.runs], [path.name for path in found.damaged]) == (["good"], ["bad"])
    (tmp_path / "bad/metrics.jsonl").write_bytes(b'{"epoch": 1, "miou": 0.5}\n' + line)  # cut off by a kill
    assert [row["epoch"] for row in read_metrics(tmp_path / "bad")] == [1]


def test_a_pipe_instead_of_metrics_is_not_waited_for(tmp_path):
    begin(tmp_path / "run")
    os.mkfifo(tmp_path / "run/metrics.jsonl")
    with pytest.raises(TrashkitError, match="it is a pipe or a device"):
        read_metrics(tmp_path / "run")


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def about(**changes):
    value = {"names": ["a", "b"], "files": ["1.jpg"], "epoch": 1} | changes
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


COUNTS = np.ones((1, 2, 2), np.uint32)
DAMAGED_VALIDATION = {
    "empty": b"",
    "not an archive": b"PK\x03\x04",
    "no counts": archive(about=about()),
    "no images": archive(about=about(files=[]), per_image=COUNTS[:0]),
    "two dimensions": archive(about=about(), per_image=COUNTS[0]),
    "text": archive(about=about(), per_image=np.full((1, 2, 2), "a")),
    "negative": archive(about=about(), per_image=-COUNTS.astype(np.int64)),
    "overflow": archive(about=about(), per_image=COUNTS.astype(np.int64) << 62),
    "other classes": archive(about=about(names=["a"]), per_image=COUNTS),
    "other images": archive(about=about(files=[]), per_image=COUNTS),
    "names are a text": archive(about=about(names="ab"), per_image=COUNTS),
    "nested": archive(about=np.frombuffer(DEEP.encode(), np.uint8), per_image=COUNTS),
}


@pytest.mark.parametrize("content", DAMAGED_VALIDATION.values(), ids=DAMAGED_VALIDATION)
def test_damaged_validation_counts_are_left_out(tmp_path, content):
    begin(tmp_path / "run")
    (tmp_path / "run/validation.npz").write_bytes(content)
    assert read_validation(tmp_path / "run") is None
    write_validation(tmp_path / "run", Validation(COUNTS.astype(np.int64), ("a", "b"), ("1.jpg",), 1))
    assert read_validation(tmp_path / "run").files == ("1.jpg",)


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_list_of_runs_names_damaged_ones(tmp_path):
    begin(tmp_path / "good")
    for name in ("manifest", "metrics"):
        begin(tmp_path / name)
    damage(tmp_path / "manifest", "{")
    (tmp_path / "metrics/metrics.jsonl").write_text("3\n")
    found = json.loads(command("runs", tmp_path, "--json").stdout)["runs"]
    assert [(row["path"].rpartition("/")[2], row["status"]) for row in found] == [
        ("good", "running"),
        ("manifest", "damaged"),
        ("metrics", "damaged"),
    ]
    assert found[0].keys() | {"reason"} == found[1].keys()
    assert "line 1 is damaged" in found[2]["reason"]
    shown = command("runs", tmp_path)
    assert shown.stdout.count("damaged") == 2


def test_the_list_of_runs_tells_a_stopped_run_from_one_that_is_being_trained(tmp_path):
    run = begin(tmp_path / "run")
    update(run, command="trashkit train --out run --overwrite")
    with locked(tmp_path / "run"):
        assert json.loads(command("runs", tmp_path, "--json").stdout)["runs"][0]["state"] == "being trained"
        assert "was stopped" not in command("runs", tmp_path).stdout
    assert json.loads(command("runs", tmp_path, "--json").stdout)["runs"][0]["state"] == "stopped"
    assert "continue: trashkit train --out run --resume" in command("runs", tmp_path).stdout
    (tmp_path / "run" / LOCK).touch()  # what a killed training leaves behind
    assert is_being_trained(tmp_path / "run") is False
    update(run, status="complete")
    assert json.loads(command("runs", tmp_path, "--json").stdout)["runs"][0]["state"] == "complete"


def test_a_report_of_rows_without_seconds_is_written(tmp_path):
    begin(tmp_path / "run")
    write_metrics(tmp_path / "run", [{"epoch": 1, "loss": None}])
    assert command("report", tmp_path / "run").exit_code == 0
    (tmp_path / "run/metrics.jsonl").write_text("[]\n")
    (tmp_path / "run/report.html").unlink()
    refused = command("report", tmp_path / "run")
    assert refused.exit_code == 2
    assert "metrics.jsonl, line 1 is damaged" in refused.stderr
    assert not (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize(
    "model", [{"class_names": True}, {"class_colors": [[0, 0, []]]}, {"class_colors": 5}, {"class_names": "ab"}, {}]
)
def test_a_report_of_a_run_without_network_is_written(tmp_path, model):
    run = begin(tmp_path / "run")
    update(run, model=model)
    write_metrics(tmp_path / "run", [{"epoch": 1, "loss": 0.5, "miou": 0.5, "iou": {"a": 0.5}}])
    write_validation(tmp_path / "run", Validation(COUNTS.astype(np.int64), ("a", "b"), ("1.jpg",), 1))
    shown = command("report", tmp_path / "run")
    assert shown.exit_code == 0, shown.output
