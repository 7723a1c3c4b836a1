"""`leaderboard add`, `list` and `plot` on the command line: exit codes, JSON keys, messages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trashkit.coco import read_dataset
from trashkit.predictions.store import create_store
from trashkit.raster.masks import dataset_label_map

from .conftest import CLASSES, NAMES, SIZE, add, options, run


def test_add_records_a_submission(folder: Path, ledger: Path) -> None:
    entry = json.loads(ledger.read_text().splitlines()[0])
    assert entry["run"]["name"] == "runs/0"
    assert entry["images"] == 20
    assert sum(entry["pixels"].values()) == 20 * SIZE * SIZE
    assert set(entry["pixels"]) == {"Background", *NAMES}
    score = run("score", folder / "oof-0.csv", *options(folder), "--csv-size", SIZE, "--json")
    assert entry["validation"]["miou"] == pytest.approx(json.loads(score.stdout)["miou"])
    assert entry["validation"]["truth_sha256"] == read_dataset(folder / "train.json").coco.sha256


def test_add_refuses_duplicates_and_takes_late_scores(folder: Path, ledger: Path) -> None:
    again = add(folder, ledger, 1, "--public", 0.85)
    assert again.exit_code == 2
    assert "already in" in again.stderr
    late = run("leaderboard", "add", folder / "sub-1.csv", "--private", 0.8, "--ledger", ledger, "--json")
    assert late.exit_code == 0
    assert json.loads(late.stdout)["private"] == 0.8
    listed = run("leaderboard", "--ledger", ledger, "--json")
    assert [row["private"] for row in json.loads(listed.stdout)["submissions"]] == [None, 0.8, None, None, None]


def mean(entry: dict[str, Any]) -> float:
    """Mean IoU of the classes without background, from what the ledger records by class."""
    known = [value for value in list(entry["validation"]["per_class"].values())[1:] if value is not None]
    return sum(known) / len(known)


def test_add_takes_validation_that_comes_later(folder: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "l.jsonl"
    for n in range(2):
        assert add(folder, ledger, n, "--public", 0.8 - n / 10).exit_code == 0
    before = json.loads(run("leaderboard", "--ledger", ledger, "--json").stdout)["submissions"]
    # Other out-of-fold predictions of the first submission, with another run and without a score.
    other = ["--oof", folder / "oof-4.csv", *options(folder), "--run", "runs/again", "--ledger", ledger]
    done = run("leaderboard", "add", folder / "sub-0.csv", *other, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["validation"]["miou"] < before[0]["validation"]["miou"] - 0.05
    assert (value["public"], value["run"]["name"], value["name"]) == (0.8, "runs/again", "sub-0")
    assert len(ledger.read_text().splitlines()) == 3, "the first line stays as it was"
    assert "later" in json.loads(ledger.read_text().splitlines()[2])
    after = json.loads(run("leaderboard", "--ledger", ledger, "--json").stdout)["submissions"]
    assert after == [{**value, "miou_without_background": pytest.approx(mean(after[0]))}, before[1]]
    rows = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)["submissions"]
    assert {row["name"]: row["out_of_fold"] for row in rows}["sub-0"] == value["validation"]["miou"]
    again = run("leaderboard", "add", folder / "sub-0.csv", *other)
    assert again.exit_code == 2
    assert "nothing about it is new" in again.stderr
    assert add(folder, ledger, 1).exit_code == 2
    assert len(list((tmp_path / "l.evidence").iterdir())) == 3, "nothing is kept twice"


def test_list_is_the_default_and_skips_an_incomplete_line(ledger: Path) -> None:
    with ledger.open("a") as file:
        file.write('{"format": 1, "name": "su')
    done = run("leaderboard", "--ledger", ledger)
    assert done.exit_code == 0
    assert "sub-4" in done.stdout
    assert "line 6 is incomplete" in done.stderr


def test_the_page_is_self_contained(ledger: Path, tmp_path: Path) -> None:
    out = tmp_path / "board.html"
    assert run("leaderboard", "plot", "--ledger", ledger, "--html", out).exit_code == 0
    text = out.read_text()
    assert text.count("<circle") == 5 + 5, "validation against public, and the estimates"
    assert "sub-4" in text
    assert "://" not in text
    assert run("leaderboard", "plot", "--ledger", ledger, "--html", out).exit_code == 2


def test_the_page_draws_candidates_with_their_intervals(folder: Path, ledger: Path, tmp_path: Path) -> None:
    assert add(folder, ledger, 5, "--name", "<b>late</b>").exit_code == 0
    out = tmp_path / "board.html"
    done = run("leaderboard", "plot", "--ledger", ledger, "--html", out, "--level", 0.8, "--json")
    assert json.loads(done.stdout)["estimates"] == 6
    text = out.read_text()
    assert "Expected hidden score, 80% intervals" in text
    rows = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--level", 0.8, "--json").stdout)["submissions"]
    for row in rows:
        assert f"expected {row['expected']:.4f}, {row['interval'][0]:.4f} to {row['interval'][1]:.4f}" in text
    assert text.count("(candidate)</text>") == 1
    assert "<b>late" not in text


def test_a_refused_add_leaves_no_evidence(folder: Path, ledger: Path, tmp_path: Path) -> None:
    evidence = ledger.with_name("leaderboard.evidence")
    before = sorted(evidence.iterdir())
    held = ledger.read_bytes()
    # Another score than the recorded one, with other matrices; the very same; and a score that is none.
    other = ["--oof", folder / "oof-4.csv", *options(folder), "--ledger", ledger]
    assert run("leaderboard", "add", folder / "sub-0.csv", "--public", 0.1, *other).exit_code == 2
    assert add(folder, ledger, 2).exit_code == 2
    assert add(folder, ledger, 5, "--public", 1.5).exit_code == 2
    assert sorted(evidence.iterdir()) == before
    assert ledger.read_bytes() == held
    fresh = tmp_path / "fresh" / "l.jsonl"
    assert add(folder, fresh, 0, "--public", 7).exit_code == 2
    assert not fresh.parent.exists()


def test_a_failure_after_the_evidence_was_written_removes_it(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(ledger.with_name("leaderboard.evidence").iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trashkit.leaderboard.ledger.append", full)
    assert add(folder, ledger, 5).exit_code != 0
    assert sorted(ledger.with_name("leaderboard.evidence").iterdir()) == before


def test_the_page_never_replaces_its_inputs(ledger: Path) -> None:
    held = ledger.read_bytes()
    for out in (ledger, ledger.parent / "." / ledger.name, ledger.with_name("leaderboard.evidence")):
        done = run("leaderboard", "plot", "--ledger", ledger, "--html", out, "--overwrite")
        assert done.exit_code == 2
        assert "would be overwritten" in done.stderr
    assert ledger.read_bytes() == held
    assert run("leaderboard", "proxy", "--ledger", ledger).exit_code == 0


def test_a_run_folder_provides_its_out_of_fold_stores(folder: Path, tmp_path: Path) -> None:
    data = read_dataset(folder / "train.json", classes="own")
    oof = tmp_path / "run" / "oof"
    with create_store(
        oof,
        image_ids=[image.id for image in data.images],
        file_names=[image.file_name for image in data.images],
        native_sizes=[(64, 64)] * len(data),
        classes=data.classes.names,
        size=(SIZE, SIZE),
        manifest={},
    ) as store:
        for row, image in enumerate(data.images):
            right = dataset_label_map(data, image.row, size=(SIZE, SIZE))
            store.write(row, np.eye(CLASSES, dtype=np.float32)[right].transpose(2, 0, 1))
    (tmp_path / "run" / "manifest.json").write_text("{}")
    csv = tmp_path / "s.csv"
    shutil.copy(folder / "sub-0.csv", csv)
    words = ["leaderboard", "add", csv, "--run", tmp_path / "run", *options(folder), "--ledger", tmp_path / "l.jsonl"]
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["validation"]["miou"] == 1.0
    assert "manifest_sha256" in value["run"]


def test_mistakes_are_reported(folder: Path, tmp_path: Path) -> None:
    absent = run("leaderboard", "--ledger", tmp_path / "none.jsonl")
    assert absent.exit_code == 2
    assert "leaderboard add" in absent.stderr
    for words, told in (
        (["--oof", folder / "oof-0.csv"], "add --data"),
        (["--data", folder / "train.json"], "add --oof"),
        (["--public", "82.09"], "not an mIoU"),
    ):
        done = run("leaderboard", "add", folder / "sub-0.csv", *words, "--ledger", tmp_path / "l.jsonl", "--size", SIZE)
        assert done.exit_code == 2
        assert told in done.stderr
        assert not (tmp_path / "l.jsonl").exists()


def test_an_empty_ledger_points_to_add(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    done = run("leaderboard", "list", "--ledger", empty)
    assert done.exit_code == 0
    assert "leaderboard add SUB.csv --public SCORE" in " ".join(done.output.split())
    assert "proxy" not in done.output
