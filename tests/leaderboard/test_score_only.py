"""Estimates from validation scores alone, and the caution about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from trashkit.cli.app import app
from trashkit.leaderboard.calibrate import leave_one_out
from trashkit.leaderboard.score_only import COMMON_SD, OWN_SD, estimate_from_scores
from trashkit.predictions.submission_csv import CsvLayout, write

runner = CliRunner()


def run(*words: object) -> Result:
    return runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def submissions(tmp_path: Path) -> list[Path]:
    """Eight submissions of two images that differ."""
    paths = []
    for n in range(8):
        label_map = np.zeros((32, 32), np.uint8)
        label_map[: 2 + n] = 1
        write(tmp_path / f"sub-{n}.csv", [("1.jpg", label_map), ("2.jpg", label_map.T)], CsvLayout(height=32, width=32))
        paths.append(tmp_path / f"sub-{n}.csv")
    return paths


def add(path: Path, *words: object) -> Result:
    return run("leaderboard", "add", path, "--size", 32, "--ledger", path.parent / "l.jsonl", *words)


def test_offset_and_slope_are_fitted_to_scores_only(submissions: list[Path]) -> None:
    for n, path in enumerate(submissions):
        scores = ["--validation", 0.60 + 0.02 * n, *(["--public", 0.70 + 0.02 * n] if n < 6 else [])]
        done = add(path, *scores)
        assert done.exit_code == 0, done.stderr
        assert "validation score" in done.stdout
    ledger = submissions[0].parent / "l.jsonl"
    done = run("leaderboard", "proxy", "--ledger", ledger, "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["enough"], said["evidence"]) == (True, "scores")
    assert [row["name"] for row in said["submissions"]] == [f"sub-{n}" for n in reversed(range(8))]
    assert said["calibration"]["offset"] == pytest.approx(0.1)
    assert said["calibration"]["slope"] == pytest.approx(1)
    assert said["errors"]["proxy"] == pytest.approx(0, abs=1e-9)
    assert any("weak evidence: of 8 of 8 submissions only a validation score" in line for line in said["says"])
    assert "choose sub-7" in " ".join(said["says"])
    best = said["submissions"][0]
    assert best["interval"][0] < 0.84 < best["interval"][1]
    assert best["interval"][1] - best["interval"][0] > 3.9 * OWN_SD
    assert "none" in run("leaderboard", "--ledger", ledger).stdout
    told = run("leaderboard", "proxy", "--ledger", ledger, "--split", submissions[0])
    assert told.exit_code == 0
    assert "--split and --history have no effect" in told.stderr
    page = ledger.parent / "page.html"
    assert run("leaderboard", "plot", "--ledger", ledger, "--html", page).exit_code == 0
    assert "weak evidence" in page.read_text()


def test_below_five_there_is_no_estimate(submissions: list[Path]) -> None:
    for n, path in enumerate(submissions[:4]):
        assert add(path, "--validation", 0.6 + 0.02 * n, "--public", 0.7).exit_code == 0
    said = json.loads(run("leaderboard", "proxy", "--ledger", submissions[0].parent / "l.jsonl", "--json").stdout)
    assert not said["enough"]
    assert said["errors"] == {}
    assert all("expected" not in row for row in said["submissions"])


def test_a_score_added_later_keeps_the_recorded_values(submissions: list[Path]) -> None:
    assert add(submissions[0], "--public", 0.7).exit_code == 0
    later = add(submissions[0], "--validation", 0.6, "--json")
    assert later.exit_code == 0, later.stderr
    entry = json.loads(later.stdout)
    assert entry["validation"] == {"miou": 0.6}
    assert entry["images"] == 2
    assert sum(entry["pixels"].values()) == 2 * 32 * 32
    again = add(submissions[0], "--validation", 0.6)
    assert again.exit_code == 2
    assert "nothing about it is new" in again.stderr
    assert json.loads(add(submissions[0], "--validation", 0.61, "--json").stdout)["validation"] == {"miou": 0.61}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--validation", 61], "--validation 61.0 is not an mIoU"),
        (["--validation", "nan"], "is not an mIoU"),
        (["--validation", 0.6, "--oof", "x", "--data", "y"], "for submissions without --oof"),
    ],
)
def test_mistakes_are_reported_and_write_nothing(submissions: list[Path], words: list[object], message: str) -> None:
    done = add(submissions[0], *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (submissions[0].parent / "l.jsonl").exists()


def test_intervals_have_their_coverage_with_the_reported_noise() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        quality = 0.7 + 0.04 * rng.standard_normal(12)
        luck = OWN_SD / np.sqrt(2) * rng.standard_normal((3, 12)) + COMMON_SD * rng.standard_normal((3, 1))
        validation, public, private = quality + luck
        found = estimate_from_scores(validation, np.where(np.arange(12) < 8, public, np.nan))
        held.append(((found.low <= private) & (private <= found.high)).mean())
    assert 0.92 < np.mean(held) < 0.99


def test_pairs_that_scatter_more_than_reported_widen_the_intervals() -> None:
    rng = np.random.default_rng(1)
    validation = np.linspace(0.5, 0.7, 10)
    near = estimate_from_scores(validation, validation + 0.001 * rng.standard_normal(10))
    far = estimate_from_scores(validation, validation + 0.1 * rng.standard_normal(10))
    assert (far.high - far.low).min() > 1.5 * (near.high - near.low).max()
    public = validation + 0.01
    assert estimate_from_scores(validation, public).errors == leave_one_out(
        validation, validation, public, OWN_SD**2, COMMON_SD**2
    )
