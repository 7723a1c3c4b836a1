"""`leaderboard proxy` on the command line: exit codes, JSON keys, messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trashkit.leaderboard.assessment import assess
from trashkit.leaderboard.comparable import comparable_entries
from trashkit.leaderboard.ledger import read_ledger
from trashkit.leaderboard.subset_search import search_subset
from trashkit.leaderboard.subset_validation import SubsetValidation

from .conftest import add, run, split_of


def test_the_proxy_ranks_candidates_and_advises(folder: Path, ledger: Path) -> None:
    assert add(folder, ledger, 5).exit_code == 0
    value = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)
    assert value["enough"] is True
    rows = value["submissions"]
    assert {row["name"] for row in rows} == {f"sub-{n}" for n in range(6)}
    assert rows[-1]["name"] == "sub-5"
    assert rows[-1]["public"] is None
    assert all(row["interval"][0] < row["expected"] < row["interval"][1] for row in rows)
    assert {"proxy", "plain_offset", "plain", "mean"} == set(value["errors"])
    assert value["says"][0].startswith("choose sub-0 and ")
    assert value["history"] is None, "a subset is only searched where it is asked for"
    words = ["leaderboard", "proxy", "--ledger", ledger, "--history", "--json", "--seed"]
    tried = [json.loads(run(*words, seed).stdout)["history"] for seed in (0, 7)]
    assert tried[0] == tried[1], "whether a subset is used does not hang on the seed"
    assert len(tried[0]["image_ids"]) == tried[0]["images"] >= 6
    told = run("leaderboard", "proxy", "--ledger", ledger, "--history")
    assert told.exit_code == 0
    assert "chunk" not in told.stdout


def test_a_lead_only_on_the_public_half_causes_a_warning(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    for n in range(6):
        add(folder, path, n, "--public", 0.9 - 0.02 * n if n != 3 else 0.905)
    said = " ".join(json.loads(run("leaderboard", "proxy", "--ledger", path, "--json").stdout)["says"])
    assert "sub-3 leads on the public half, but sub-0 is expected" in said


def test_fewer_than_five_public_scores_are_too_few(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    for n in range(4):
        add(folder, path, n, "--public", 0.9 - 0.05 * n)
    add(folder, path, 4)
    done = run("leaderboard", "proxy", "--ledger", path, "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == 0
    assert value["enough"] is False
    assert "too little" in value["says"][0]
    assert not any("expected" in row for row in value["submissions"])
    assert value["errors"] == {}
    assert value["history"] is None


def test_a_split_provides_weights_and_folds(folder: Path, ledger: Path, tmp_path: Path) -> None:
    ids = list(range(1, 31))
    folds = [{"train": [i for i in ids if i % 3 != k], "val": [i for i in ids if i % 3 == k]} for k in range(3)]
    weights = [[i, 2.0 if i < 10 else 0.5] for i in ids]
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"folds": folds, "quality": {"test_likeness": {"weights": weights}}}))
    value = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--split", path, "--history", "--json").stdout)
    assert value["weighted_by_likeness"] is True
    assert value["history"]["tried"] > 1000
    plain = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)
    assert plain["weighted_by_likeness"] is False
    assert plain["submissions"][0]["expected"] != value["submissions"][0]["expected"]


def test_a_split_of_another_data_set_is_refused(folder: Path, ledger: Path, tmp_path: Path) -> None:
    words = ["leaderboard", "proxy", "--ledger", ledger, "--json", "--split"]
    right = split_of(range(1, 31), tmp_path / "right.json", folder / "train.json")
    assert json.loads(run(*words, right).stdout)["weighted_by_likeness"] is True
    other = split_of(range(5, 35), tmp_path / "other.json", None)
    same_ids = split_of(range(1, 31), tmp_path / "same.json", folder / "hidden.json")
    for path, told in ((other, "lacks 4 of the 30"), (same_ids, "not the file that the submissions")):
        done = run(*words, path)
        assert done.exit_code == 2
        assert told in done.stderr
        plot = run("leaderboard", "plot", "--ledger", ledger, "--split", path, "--html", tmp_path / "p.html")
        assert plot.exit_code == 2


def test_meaningless_weights_are_not_used(folder: Path, ledger: Path, tmp_path: Path) -> None:
    path = split_of(range(1, 31), tmp_path / "s.json", folder / "train.json", auc=0.53)
    done = run("leaderboard", "proxy", "--ledger", ledger, "--split", path, "--json")
    assert json.loads(done.stdout)["weighted_by_likeness"] is False
    assert "cannot be distinguished" in done.stderr


def test_the_recorded_split_weights_the_images(folder: Path, ledger: Path, tmp_path: Path) -> None:
    path = split_of(range(1, 31), tmp_path / "s.json", folder / "train.json")
    assert add(folder, ledger, 5, "--split", path).exit_code == 0
    done = run("leaderboard", "proxy", "--ledger", ledger, "--json")
    assert json.loads(done.stdout)["weighted_by_likeness"] is True
    assert f"{path}, the split of sub-5" in done.stderr
    path.write_text(path.read_text() + " ")
    assert json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)["weighted_by_likeness"] is False


def test_a_subset_that_is_used_leaves_the_plain_rows_plain(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the search finds, rows of the plain score are of all images, and only a clear winner is used."""
    plain = assess(read_ledger(ledger)).as_json()
    held = comparable_entries(read_ledger(ledger))
    subset = search_subset(held.matrices, held.public)
    assert subset is not None
    asked: list[float] = []
    for error, used in ((0.0, True), (0.5, False)):
        trial = SubsetValidation(subset, 5, used, "" if used else "of that", error, 0.6)

        def found(*_: object, simple: float, trial: SubsetValidation = trial, **__: object) -> SubsetValidation:
            asked.append(simple)
            return trial

        monkeypatch.setattr("trashkit.leaderboard.assessment.validate_subset", found)
        value = assess(read_ledger(ledger), history=True).as_json()
        assert value["history"]["used"] is used
        for row in ("plain", "plain_offset", "mean"):
            assert value["errors"][row] == plain["errors"][row]
        assert value["errors"]["proxy"] == (error if used else plain["errors"]["proxy"])
        says = " ".join(value["says"])
        assert ("are used: with the subset chosen anew" in says) is used
        assert not (used and "ledger adds nothing" in says)
    assert set(asked) == {min(plain["errors"]["plain_offset"], plain["errors"]["mean"])}
