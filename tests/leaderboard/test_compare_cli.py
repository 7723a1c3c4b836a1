"""`compare` and `score` on the command line: exit codes, JSON keys, messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import NAMES, SIZE, options, run


def test_compare_reports_the_better_prediction_and_the_classes(folder: Path) -> None:
    words = [*options(folder), "--csv-size", SIZE]
    done = run("compare", folder / "oof-0.csv", folder / "oof-5.csv", *words, "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert {"a", "b", "difference", "interval", "probability_b_better", "evidence", "verdict", "classes"} <= set(value)
    assert value["difference"] < 0
    assert value["evidence"] is True
    assert value["probability_b_better"] == 0
    assert {row["name"] for row in value["classes"]} == {"Background", *NAMES}
    same = run("compare", folder / "oof-0.csv", folder / "oof-0.csv", *words)
    assert same.exit_code == 0
    assert "no evidence" in same.stdout


def test_score_gives_an_interval_to_each_class(folder: Path) -> None:
    words = ["score", folder / "oof-2.csv", *options(folder), "--csv-size", SIZE]
    value = json.loads(run(*words, "--json").stdout)
    assert value["per_class_interval"].keys() == value["per_class"].keys()
    for name, iou in value["per_class"].items():
        low, high = value["per_class_interval"][name]
        assert low < iou < high
    # Of one class among four, an interval is wider than that of their mean.
    low, high = value["interval"]
    assert max(b - a for a, b in value["per_class_interval"].values()) > high - low
    low, high = value["per_class_interval"]["Metal"]
    assert f"{low:.3f} to {high:.3f}" in run(*words).stdout


def test_compare_refuses_predictions_without_common_images(folder: Path) -> None:
    words = [*options(folder), "--csv-size", SIZE]
    done = run("compare", folder / "oof-0.csv", folder / "sub-0.csv", *words)
    assert done.exit_code == 2
    assert "has none of the 30 images" in done.stderr


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("nonsense", "is not JSON")])
def test_files_that_are_not_predictions_are_refused(folder: Path, tmp_path: Path, text: str, words: str) -> None:
    junk = tmp_path / "junk.json"
    junk.write_text(text)
    done = run("score", junk, "--data", folder / "train.json")
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert "PredictionString" not in done.output
