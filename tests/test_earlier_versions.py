"""Files that trashkit 0.1.0 wrote stay readable: each is opened by a command with the same result as then."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app

FILES = Path(__file__).parent / "fixtures" / "v0_1"
FIXED = "35f0c270c617a3358385b4ad59c31c37a2952bbd93935cb74f4bdb5eb3c1be7b"
"""SHA-256 of fixed.json, as the run and the split name it."""


def invoke(words: str, code: int = 0) -> Any:
    """The JSON result of a command that must end with `code`."""
    done = CliRunner().invoke(app, [*words.split(), "--json"])
    assert done.exit_code == code, f"trashkit {words}: exit {done.exit_code}\n{done.output}"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files, with fixed.json, which the edit log gives; treat it as read-only."""
    folder = tmp_path_factory.mktemp("earlier") / "v0_1"
    shutil.copytree(FILES, folder)
    invoke(f"edits apply {folder}/data/train.json {folder}/edits.jsonl --out {folder}/fixed.json")
    return folder


@pytest.fixture(autouse=True)
def place(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a copy of the files, to be written to."""
    shutil.copytree(originals, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-3)


def test_edit_log_gives_the_same_bytes(place: Path) -> None:
    assert sha256((place / "fixed.json").read_bytes()).hexdigest() == FIXED


def test_edit_log_inverts(place: Path) -> None:
    invoke("edits invert fixed.json edits.jsonl --out undo.jsonl")
    invoke("edits apply fixed.json undo.jsonl --out undone.json")
    assert json.loads((place / "undone.json").read_text()) == json.loads((place / "data/train.json").read_text())


def test_edit_log_of_fixes() -> None:
    found = invoke("edits stats edits.jsonl")
    assert found["edits"] == 45
    assert found["kinds"] == {"delete": 34, "reshape": 7, "change": 3, "renumber": 1}
    assert found["authors"]["I003"] == 11
    assert len(invoke("edits show edits.jsonl --kind reshape")["edits"]) == 7


def test_edit_log_of_a_reviewer() -> None:
    found = invoke("edits stats review.jsonl")
    assert found["kinds"] == {"reject": 1, "unusable": 1, "note": 1, "relabel": 1, "delete": 1}
    assert (found["decisions"], found["relabels"]) == (3, {"1 -> 2": 1})
    assert invoke("edits apply data/train.json review.jsonl --out reviewed.json")["edits"] == 2
    assert invoke("fix data/train.json --edits review.jsonl --out also.json")["edits"] == 2
    respected = invoke("fix data/train.json --respect review.jsonl --unsafe --out respected.json")
    assert respected["summary"].items() >= {"edits": 15, "kept_back": 0, "rejected": 1}.items()


def test_audit_settings() -> None:
    """trashkit.toml in the current folder: thresholds, a waiver, and a baseline made with it."""
    found = invoke("audit data/train.json --fail-on never")["summary"]
    assert (found["findings"], found["waived"]) == (47, 1)
    assert (found["by_code"]["G003"], found["by_code"]["S022"]) == (1, 2)
    known = invoke("audit data/train.json --baseline known.json")["summary"]
    assert (known["findings"], known["known"]) == (0, 47)


def test_split() -> None:
    assert invoke("split show split.json --data fixed.json")["images"] == 15
    checked = invoke("split check split.json --data fixed.json --images data/images")
    assert (checked["passed"], checked["findings"]) == (True, [])
    folds = invoke("split export split.json --data fixed.json --out folds")
    assert folds
    assert len(json.loads(Path("folds/fold-0/val.json").read_text())["images"]) == 3


def test_runs_are_listed() -> None:
    student, run = invoke("runs .")["runs"]
    assert (run["path"], run["status"], run["recipe"], run["fold"]) == ("run", "complete", "small", 0)
    assert (run["epochs"], run["wanted_epochs"], run["miou"]) == (12, 12, near(0.0771))
    assert (student["path"], student["miou"]) == ("pseudo/joint", near(0.0835))


def test_run_is_reported(place: Path) -> None:
    found = invoke("report run --data fixed.json --images data/images --out page.html")
    assert (found["status"], found["checkpoint"], found["photos"]) == ("complete", "last", True)
    assert "svg" in (place / "page.html").read_text()


def test_run_has_out_of_fold_predictions() -> None:
    found = invoke("score run --truth fixed.json --partial")
    assert (found["images"], found["miou"], found["pixel_accuracy"]) == (3, near(0.0771), near(0.8481))


def test_run_predicts() -> None:
    """The weights and the manifest give the same predictions as then."""
    pytest.importorskip("torch")
    invoke("predict run --data data/test.json --images data/images --size 32 --out again")
    assert invoke("score again --truth data/truth.json --size 32")["miou"] == near(0.0630)
    invoke("submit again --data data/test.json --size 32 --out again.csv")
    assert invoke("submit diff submission.csv again.csv --data data/test.json --size 32")["share"] < 0.01


def test_run_is_a_recipe_and_a_start() -> None:
    pytest.importorskip("torch")
    shown = invoke("recipes show run/settings.toml")["settings"]
    assert (shown["optimiser"]["lr"], shown["class_weights"], shown["epochs"]) == (0.02, "effective", 12)
    again = "train --data fixed.json --images data/images --recipe run/settings.toml --init run --split split.json"
    invoke(f"{again} --set epochs=1 --out again --track none")
    assert [run["epochs"] for run in invoke("runs again")["runs"]] == [1]


def test_stores() -> None:
    found = invoke("score test-store --truth data/truth.json --size 32")
    assert (found["miou"], found["per_class"]["Background"]) == (near(0.0630), near(0.6926))
    assert invoke("score mix --truth data/truth.json --size 32")["miou"] == near(0.9077)
    assert invoke("compare test-store mix --truth data/truth.json --size 32 --resamples 100")["difference"] > 0.8
    invoke("ensemble test-store mix --out both")
    invoke("submit both --data data/test.json --size 32 --out both.csv")


def test_presence_file() -> None:
    found = invoke("postprocess test-store --presence presence-test.json --out weighed")
    assert found["steps"][0]["added"]["Styrofoam"] == 1024


def test_label_maps() -> None:
    read = invoke("data import predictions label-maps --data fixed.json --size 32 --out truth-store")
    assert (read["images"], read["kinds"]) == (15, {"label maps": 15})
    assert invoke("score truth-store --truth fixed.json --size 32")["miou"] == 1.0


def test_submission_and_its_note() -> None:
    checked = invoke("submit check submission.csv --data data/test.json --size 32")
    assert (checked["ok"], checked["rows"], len(checked["warnings"])) == (True, 4, 2)
    assert invoke("score submission.csv --truth data/truth.json --size 32 --csv-size 32")["miou"] == near(0.0630)
    traced = invoke("submit trace submission.csv --in data")
    assert [(run["path"], run["state"], run["miou"]) for run in traced["runs"]] == [("run", "same", near(0.0771))]
    assert traced["runs"][0]["data_sha256"] == FIXED
    (log,) = [edits for file in traced["files"] for edits in file.get("edits") or ()]
    assert log


def test_ledger() -> None:
    listed = invoke("leaderboard list")["submissions"]
    assert [entry["name"] for entry in listed] == ["a", "b", "third", "d", "e", "submission"]
    assert [entry["public"] for entry in listed] == [0.61, 0.52, 0.44, 0.57, 0.49, None]
    assert listed[1]["private"] == 0.5
    assert listed[5]["validation"]["miou"] == near(0.0771)


def test_ledger_estimates() -> None:
    found = invoke("leaderboard proxy --split split.json")
    assert found["enough"]
    assert [entry["name"] for entry in found["submissions"]][:2] == ["a", "d"]
    assert found["submissions"][0]["out_of_fold"] == near(0.5910)
    assert found["submissions"][0]["expected"] == near(0.6077)


def test_ledger_grows() -> None:
    invoke("leaderboard add submission.csv --public 0.07 --size 32")
    assert invoke("leaderboard list")["submissions"][5]["public"] == 0.07


def test_pseudo_labels() -> None:
    words = "review fixed.json --images data/images --predictions pseudo --test data/test.json --html page.html"
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    assert Path("page.html").stat().st_size > 10_000
