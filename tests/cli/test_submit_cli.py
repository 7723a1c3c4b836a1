"""`submit`, `score` and `ensemble` on the command line: exit codes, JSON keys, messages, and no partial outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from trashkit.cli.app import app
from trashkit.coco import OFFICIAL_NAMES
from trashkit.predictions.store import create_store

IMAGES = [{"id": n, "file_name": f"batch/{n} 사진.jpg", "width": 300, "height": 280} for n in (3, 1, 2)]


def fill(tmp_path: Path) -> Path:
    """Make `test.json`, `truth.json`, and the stores `a` and `b` for their images."""
    categories = [{"id": n, "name": name} for n, name in enumerate(OFFICIAL_NAMES) if n]
    box = [[10, 10, 200, 10, 200, 150, 10, 150]]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1 + n, "segmentation": box, "area": 26600, "bbox": [10, 10, 190, 140]}
        for n in (1, 2, 3)
    ]
    test = {"images": IMAGES, "annotations": [], "categories": categories}
    (tmp_path / "test.json").write_text(json.dumps(test))
    (tmp_path / "truth.json").write_text(json.dumps({**test, "annotations": annotations}))
    for seed, name in enumerate("ab"):
        with create_store(
            tmp_path / name,
            image_ids=[image["id"] for image in IMAGES],
            file_names=[str(image["file_name"]) for image in IMAGES],
            native_sizes=[(280, 300)] * 3,
            classes=OFFICIAL_NAMES,
            manifest={"seed": seed},
        ) as writer:
            for row in range(3):
                values = np.random.default_rng(10 * seed + row).random((11, 256, 256), dtype=np.float32)
                writer.write(row, values / values.sum(axis=0))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a submission and with files of other images; not to be written to."""
    folder = fill(tmp_path_factory.mktemp("ready"))
    made(folder)
    other = json.loads((folder / "truth.json").read_text())
    other["images"] = [{"id": 9, "file_name": "x.jpg", "width": 300, "height": 280}]
    other["annotations"] = [{**other["annotations"][0], "image_id": 9}]
    (folder / "other.json").write_text(json.dumps(other))
    (folder / "keys.json").write_text("{}")
    return folder


def trashkit(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def made(folder: Path, store: str = "a", *more: Any) -> Result:
    return trashkit("submit", folder / store, "--data", folder / "test.json", "--out", folder / f"{store}.csv", *more)


def test_stores_become_a_scored_submission(folder: Path) -> None:
    result = trashkit("ensemble", folder / "a", folder / "b", "--out", folder / "ab", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 3
    result = made(folder, "ab", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"] is True
    assert "next: trashkit leaderboard add" in result.stderr
    assert trashkit("submit", "check", folder / "ab.csv", "--data", folder / "test.json").exit_code == 0
    scores = []
    for predicted in ("ab", "ab.csv"):
        result = trashkit("score", folder / predicted, "--data", folder / "truth.json", "--json")
        assert result.exit_code == 0, result.output
        scores.append(json.loads(result.stdout))
        assert scores[-1].pop("predictions") == [str(folder / predicted)]
    assert scores[0] == scores[1]
    assert scores[0]["images"] == 3
    assert set(scores[0]["per_class"]) == set(OFFICIAL_NAMES)
    assert scores[0]["miou"] == scores[0]["definitions"][scores[0]["definition"]]


def test_a_bad_submission_exits_with_1_and_names_the_place(folder: Path) -> None:
    made(folder)
    lines = (folder / "a.csv").read_bytes().splitlines()
    (folder / "bad.csv").write_bytes(b"\n".join([lines[0], lines[1][:-1] + b"x", lines[2]]))
    result = trashkit("submit", "check", folder / "bad.csv", "--data", folder / "test.json", "--json")
    assert result.exit_code == 1
    failures = json.loads(result.stdout)["failures"]
    assert [(failure["code"], failure["line"], failure["file_name"]) for failure in failures] == [
        ("values", 2, "batch/3 사진.jpg"),
        ("missing-image", None, "batch/2 사진.jpg"),
    ]
    result = trashkit("submit", "check", folder / "bad.csv", "--data", folder / "test.json")
    assert result.exit_code == 1
    assert "value 65536 (pixel row 255, column 255)" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["submit", "nowhere", "--data", "test.json", "--out", "x.csv"], "there is no store at"),
        (["submit", "a", "--data", "nowhere.json", "--out", "x.csv"], "does not exist"),
        (["submit", "a", "--data", "a.csv", "--out", "x.csv"], "is not a COCO file: it is CSV"),
        (["submit", "a", "--data", "test.json", "--out", "a.csv"], "already exists"),
        (["submit", "a", "--data", "other.json", "--out", "x.csv"], "was made for other images"),
        (["submit", "check", "nowhere.csv", "--data", "test.json"], "cannot be read"),
        (["submit", "check", "a.csv", "--data", "keys.json"], 'no list "images"'),
        (["submit", "vote", "a.csv", "--data", "test.json", "--out", "x.csv"], "at least two"),
        (["submit", "trace", "truth.json"], "no note"),
        (["ensemble", "a", "nowhere", "--out", "x"], "there is no store at"),
        (["ensemble", "a", "b", "--out", "x", "--method", "median"], "not one of"),
        (["ensemble", "a", "b", "--out", "x", "--method", "weighted", "--weights", "1;2"], "is not a list of numbers"),
        (["score", "a", "--data", "test.json"], "no annotations"),
        (["score", "a", "--data", "other.json"], "none of the 1 images"),
        (["score", "nowhere", "--data", "truth.json"], "there is no"),
        (["score", "a", "--data", "truth.json", "--order", "size"], "is not one of"),
    ],
)
def test_bad_input_is_one_line_and_a_hint(
    ready: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    before = sorted(path.name for path in ready.iterdir())
    monkeypatch.chdir(ready)
    result = trashkit(*words)
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert lines[0].startswith("error: "), result.output
    assert message in lines[0]
    assert len(lines) == 2
    assert "Traceback" not in result.output
    assert sorted(path.name for path in ready.iterdir()) == before


def test_real_test_images_with_the_header_of_their_sample(tmp_path: Path, real_data: Path) -> None:
    household = real_data / "household"
    images = json.loads((household / "test.json").read_text())["images"]
    with create_store(
        tmp_path / "store",
        image_ids=[image["id"] for image in images],
        file_names=[image["file_name"] for image in images],
        native_sizes=[(image["height"], image["width"]) for image in images],
        classes=OFFICIAL_NAMES,
        size=(64, 64),
        manifest={},
    ) as writer:
        for row in range(len(images)):
            values = np.random.default_rng(row).random((11, 64, 64), dtype=np.float32)
            writer.write(row, values / values.sum(axis=0))
    words = ["--data", household / "test.json", "--sample", household / "sample_submission.csv"]
    result = trashkit("submit", tmp_path / "store", "--out", tmp_path / "s.csv", *words)
    assert result.exit_code == 0, result.output
    assert "the store is 64x64, its probabilities were resampled to 256x256" in result.stdout
    assert trashkit("submit", "check", tmp_path / "s.csv", *words).exit_code == 0
