"""Scores of files: a run folder is scored on the photos that it held out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.predictions.store import create_store
from trashkit.workflows.score import ScoringOptions, compare_files, score_files


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Four images with one box each."""
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 32, "height": 32} for n in range(4)]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]], "area": 256}
        for n in range(4)
    ]
    whole = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "can"}]}
    (tmp_path / "truth.json").write_text(json.dumps(whole))
    return tmp_path / "truth.json"


def held_out(path: Path, data: Dataset, rows: list[int], *, shift: int) -> Path:
    """A store of boxes that are shifted by this many pixels."""
    images = [data.images[row] for row in rows]
    with create_store(
        path,
        image_ids=[image.id for image in images],
        file_names=[image.file_name for image in images],
        native_sizes=[(image.height, image.width) for image in images],
        classes=data.classes.names,
        size=(32, 32),
        manifest={},
    ) as store:
        for n in range(len(rows)):
            found = np.zeros((2, 32, 32), np.float32)
            found[1, 4 : 20 + shift, 4:20] = 1
            found[0] = 1 - found[1]
            store.write(n, found)
    return path


def test_a_run_folder_is_scored_on_what_it_held_out(truth: Path, tmp_path: Path) -> None:
    data = read_dataset(truth)
    (tmp_path / "run").mkdir()
    store = held_out(tmp_path / "run/oof", data, [1, 3], shift=4)
    options = ScoringOptions(size=32)
    found = score_files([tmp_path / "run"], truth, options)
    assert (len(found.evaluation.images), found.evaluation.left_out) == (2, 2)
    with pytest.raises(TrashkitError, match="lack"):  # a store is meant to cover all images
        score_files([store], truth, options)
    (tmp_path / "other").mkdir()
    held_out(tmp_path / "other/oof", data, [1, 3], shift=0)
    compared = compare_files(tmp_path / "run", tmp_path / "other", truth, options)
    assert compared.comparison.second > compared.comparison.first
    assert compared.comparison.images == 2


def test_errors_are_told_by_kind_and_class_with_the_worst_photos(truth: Path, tmp_path: Path) -> None:
    data = read_dataset(truth)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    held_out(tmp_path / "a/oof", data, [3, 1], shift=1)  # one row too much, the nearer half within 2 % of the diagonal
    held_out(tmp_path / "b/oof", data, [0, 2], shift=-16)  # nothing is found
    words = [str(tmp_path / "a"), str(tmp_path / "b"), "--data", str(truth), "--size", "64", "--errors"]
    done = CliRunner().invoke(app, ["score", *words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    wrong = sum(map(sum, found["confusion"])) - sum(row[n] for n, row in enumerate(found["confusion"]))
    errors = found["errors"]
    assert errors["wrong_pixels"] == wrong == sum(one["pixels"] for one in errors["kinds"].values())
    missed, boundary = errors["kinds"]["missed_object"], errors["kinds"]["boundary"]
    assert missed["per_class"] == {"Background": 0, "can": 2 * 32 * 32}
    assert [one["file_name"] for one in missed["worst"]] == ["0.jpg", "2.jpg"]
    assert boundary["pixels"] + errors["kinds"]["invented_object"]["pixels"] == 2 * 2 * 32
    assert missed["miou_if_fixed"] == pytest.approx(found["miou"] + missed["gain"])
    shown = CliRunner().invoke(app, ["score", *words], env={"COLUMNS": "160"}).output
    assert "missed object" in shown
    assert "0.jpg, 2.jpg" in shown
    assert "errors" not in json.loads(CliRunner().invoke(app, ["score", *words[:-1], "--json"]).stdout)
