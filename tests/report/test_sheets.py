"""Sheets: photo, truth and predictions side by side, worst first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import open_predictions
from trashkit.predictions.store import create_store
from trashkit.report.sheets import MARK, write_sheets

SIDE = 128


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three photos with a square each, and a store that sees all of the first, half of the second, none of the last."""
    (tmp_path / "photos").mkdir()
    images, annotations = [], []
    for n in range(3):
        images.append({"id": n + 1, "file_name": f"{n}.png", "width": SIDE, "height": SIDE})
        square = [20, 20, 100, 20, 100, 100, 20, 100]
        annotations.append(
            {
                "id": n + 1,
                "image_id": n + 1,
                "category_id": 1,
                "segmentation": [square],
                "area": 6400,
                "bbox": [20, 20, 80, 80],
            }
        )
        cv2.imwrite(str(tmp_path / "photos" / f"{n}.png"), np.full((SIDE, SIDE, 3), 90, np.uint8))
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Can"}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    (tmp_path / "test.json").write_text(json.dumps({**content, "annotations": []}))
    with create_store(
        tmp_path / "store", image_ids=[1, 2, 3], file_names=["0.png", "1.png", "2.png"],
        native_sizes=[(SIDE, SIDE)] * 3,
        classes=["Background", "Can"], size=(64, 64), manifest={},
    ) as writer:  # fmt: skip
        for row, right in enumerate((50, 30, 10)):
            seen = np.zeros((64, 64), np.float32)
            seen[10:50, 10:right] = 1
            writer.write(row, np.stack([1 - seen, seen]))
    return tmp_path


def test_the_worst_comes_first_and_panes_match_their_titles(data: Path) -> None:
    dataset = read_dataset(data / "train.json")
    parts = [[open_predictions(data / "store", dataset)]]
    made = write_sheets(parts, data / "photos", data / "out", names=["store"], most=2, side=SIDE)
    assert [one.file_name for one in made] == ["2.png", "1.png"]
    assert made[0].mious[0] < made[1].mious[0] < 1
    assert [one.sheet.name for one in made] == ["1-2.jpg", "2-1.jpg"] and made[1].sheet.is_file()
    picture = cv2.cvtColor(cv2.imread(str(made[1].sheet)), cv2.COLOR_BGR2RGB).astype(int)
    panes = [picture[:SIDE, start : start + SIDE] for start in (0, SIDE + 4, 2 * SIDE + 8)]
    colour = np.array(dataset.classes.shown_colors[1])
    painted = 0.55 * 90 + 0.45 * colour
    assert np.abs(panes[0] - 90).max() < 12  # the photo as it is
    for pane, right in ((panes[1], 95), (panes[2], 55)):
        assert np.abs(pane[40:80, 30:right] - painted).mean() < 12
        assert np.abs(pane[40:80, 105:120] - 90).mean() < 12
    assert np.abs(panes[2][40:80, 70:95] - 90).mean() < 12  # what the prediction misses


def test_from_the_command_without_truth(data: Path) -> None:
    words = ["sheets", str(data / "store"), "--data", str(data / "test.json"), "--images", str(data / "photos")]
    done = CliRunner().invoke(app, [*words, "--out", str(data / "out"), "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)["sheets"]
    assert [one["file_name"] for one in made] == ["0.png", "1.png", "2.png"] and made[0]["mious"] == {}
    again = CliRunner().invoke(app, [*words, "--out", str(data / "out")])
    assert again.exit_code == 2


def test_predictions_of_other_images_are_refused(data: Path) -> None:
    content = json.loads((data / "train.json").read_text())
    content["images"] = [{**image, "id": image["id"] + 10} for image in content["images"]]
    (data / "other.json").write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(TrashkitError, match="none of the 3 images"):
        open_predictions(data / "store", read_dataset(data / "other.json"))


def test_sheets_replace_sheets_and_no_photos(data: Path) -> None:
    parts = [[open_predictions(data / "store", read_dataset(data / "train.json"))]]
    for most in (3, 1):
        write_sheets(parts, data / "photos", data / "out", names=["store"], most=most, overwrite=True)
    assert {path.name for path in (data / "out").iterdir()} == {MARK, "1-2.jpg"}
    shutil.copytree(data / "photos", data / "others")
    with pytest.raises(TrashkitError, match=r"holds 0\.png, which this command did not write"):
        write_sheets(parts, data / "photos", data / "others", names=["store"], overwrite=True)
    assert len(list((data / "others").iterdir())) == 3
