"""What a training reads: contradictions are refused, folds and recipes are found, without a trained network."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.workflows.train_inputs import TrainRequest, read_folds, read_inputs, read_recipes, recipe_of_run


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Ten images with one annotation each; no photos."""
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in range(10)]
    ring = [4, 4, 40, 4, 40, 40, 4, 40]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1 + n % 2, "segmentation": [ring], "bbox": [4, 4, 36, 36],
         "area": 1296, "iscrowd": 0}
        for n in range(10)
    ]  # fmt: skip
    categories = [{"id": 1, "name": "Metal"}, {"id": 2, "name": "Glass"}]
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"all_data": True, "fold": "0"}, "--all-data leaves no images"),
        ({"fold": "0"}, "--fold needs --split"),
        ({"cache": Path(__file__)}, "is a file"),
        ({"cache": Path("runs/one"), "out": Path("runs/one")}, "is a run folder, not a cache"),
    ],
)
def test_contradictions_are_refused(annotations: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(TrashkitError, match=message):
        read_inputs(replace(TrainRequest(data=annotations), **changes))


def test_missing_inputs_of_a_training_are_reported(annotations: Path, tmp_path: Path) -> None:
    inputs = read_inputs(TrainRequest(data=annotations))
    with pytest.raises(TrashkitError, match="training needs --images"):
        inputs.photo_folder()
    with pytest.raises(TrashkitError, match="training needs --out"):
        inputs.run_folder()
    inputs = read_inputs(TrainRequest(data=annotations, images=tmp_path, out=tmp_path / "run"))
    assert inputs.photo_folder() == tmp_path
    assert inputs.run_folder() == tmp_path / "run"


def test_folds_come_from_a_split_or_a_holdout(annotations: Path, tmp_path: Path) -> None:
    dataset = read_dataset(annotations)
    ids = list(range(10))
    assert read_folds(dataset, all_data=True) == {None: (ids, [])}
    lines: list[str] = []
    ((train, val),) = read_folds(dataset, log=lines.append).values()
    assert sorted([*train, *val]) == ids
    assert len(val) == 2
    assert "20%" in lines[0]
    split = tmp_path / "split.json"
    folds = [{"train": ids[5:], "val": ids[:5]}, {"train": ids[:5], "val": ids[5:]}]
    split.write_text(json.dumps({"folds": folds, "quality": {}, "seed": 0, "source": {}}))
    assert list(read_folds(dataset, split, "all")) == [0, 1]
    assert read_folds(dataset, split, "1") == {1: (ids[:5], ids[5:])}
    with pytest.raises(TrashkitError, match='has no fold "7"'):
        read_folds(dataset, split, "7")


def test_recipes_are_resolved_by_name() -> None:
    lines: list[str] = []
    (default,) = read_recipes([], ["epochs=3"], device="cpu", log=lines.append).items()
    assert default[0] == "cpu-small"
    assert default[1].epochs == 3
    assert "cpu-small" in lines[0]
    assert list(read_recipes(["tiny", "cpu-small"], [])) == ["tiny", "cpu-small"]
    with pytest.raises(TrashkitError, match='two recipes are called "tiny"'):
        read_recipes(["tiny", "tiny"], [])


def test_the_settings_of_a_run_are_a_recipe(tmp_path: Path) -> None:
    assert recipe_of_run(None) == []
    assert recipe_of_run(tmp_path / "nowhere") == []
    assert recipe_of_run(tmp_path) == []


def test_options_reach_other_processes() -> None:
    from trashkit.nn.training.train import TrainOptions

    options = TrainOptions(device="cpu", fsdp=True, trackers=("wandb",))
    assert pickle.loads(pickle.dumps(options)) == options
