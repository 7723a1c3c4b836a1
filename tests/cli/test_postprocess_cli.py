"""The postprocess command: the store it writes, what it reports, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from trashkit.cli.app import app
from trashkit.predictions.class_presence import ClassPresence, write_presence
from trashkit.predictions.store import create_store, open_store

NAMES = ("Background", "Paper", "Glass")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two images of 16x16: one with a single pixel of Glass next to a block of Paper, one with a block of Glass."""
    labels = np.zeros((2, 16, 16), np.uint8)
    labels[0, 2:8, 2:8], labels[0, 12, 12] = 1, 2
    labels[1, 3:9, 3:9] = 2
    with create_store(
        tmp_path / "store", image_ids=[1, 2], file_names=["a.jpg", "b.jpg"], native_sizes=[(16, 16)] * 2,
        classes=NAMES, size=(16, 16), manifest={},
    ) as writer:  # fmt: skip
        for row in range(2):
            writer.write(row, np.eye(3, dtype=np.float32)[labels[row]].transpose(2, 0, 1) * 0.4 + 0.2)
    return tmp_path / "store"


def test_it_writes_a_cleaned_store_and_reports_each_step(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "cleaned"
    done = run("postprocess", store, "--step", "min-area=4", "--step", "fill-holes=2", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["store"] == str(out)
    first, second = result["steps"]
    assert (first["name"], first["images"], first["regions_erased"]) == ("min-area=4", 1, 1)
    assert first["erased"] == {"Background": 0, "Paper": 0, "Glass": 1}
    assert first["added"] == {"Background": 1, "Paper": 0, "Glass": 0}
    assert (second["name"], second["images"]) == ("fill-holes=2", 0)
    cleaned, given = open_store(out), open_store(store)
    assert given.label_map(0)[12, 12] == 2, "the input is left as it was"
    assert cleaned.label_map(0)[12, 12] == 0
    np.testing.assert_array_equal(cleaned.label_map(1), given.label_map(1))


def test_the_table_names_the_classes_that_lost_and_gained(store: Path, tmp_path: Path) -> None:
    done = run("postprocess", store, "--step", "min-area=Glass:4", "--out", tmp_path / "cleaned")
    assert done.exit_code == 0, done.output
    row = next(line for line in done.stdout.splitlines() if "min-area" in line)
    assert "Glass 1" in row
    assert "Background 1" in row


def test_classes_are_reweighted_by_class_presence(store: Path, tmp_path: Path) -> None:
    about = {"encoders": ["a"], "seen": 2}
    shares = np.array([[0.95, 0.05], [0.95, 0.05]])
    write_presence(ClassPresence(NAMES[1:], (1, 2), ("a.jpg", "b.jpg"), shares, about), tmp_path / "presence.json")
    words = ["postprocess", store, "--presence", tmp_path / "presence.json", "--out", tmp_path / "out", "--json"]
    done = run(*words, "--power", 2)
    assert done.exit_code == 0, done.output
    assert [one["images"] for one in json.loads(done.stdout)["steps"]] == [2]
    assert set(np.unique(open_store(tmp_path / "out").label_map(1))) == {0, 1}, "Glass became Paper"
    assert "2 of its photos" in " ".join(done.stderr.split()), "a classifier that learned from them is warned of"


def test_it_overwrites_a_store_only_with_overwrite_and_resumes_one(store: Path, tmp_path: Path) -> None:
    words = ["postprocess", store, "--step", "min-area=4", "--out", tmp_path / "out", "--json"]
    first = run(*words)
    refused = run(*words)
    assert refused.exit_code == 2
    assert f"{tmp_path / 'out'}" in refused.stderr.replace("\n", "")
    for again in ("--resume", "--overwrite"):
        assert run(*words, again).exit_code == 0
    other = ["postprocess", store, "--step", "min-area=5", "--out", tmp_path / "out", "--resume"]
    assert run(*other).exit_code == 2, "another step makes another store"
    assert run(*other[:-1], "--overwrite", "--json").exit_code == 0
    assert json.loads(first.stdout)["store"] == str(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no step"),
        (["--step", "sharpen=3"], "sharpen"),
        (["--step", "min-area=Metal:3"], "Metal"),
        (["--step", "min-area=4", "--power", "2"], "--power needs --presence"),
        (["--presence", "missing.json"], "missing.json"),
    ],
)
def test_mistakes_write_nothing(store: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = run("postprocess", store, "--out", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
